//! All flags for a context, as a front end is bootstrapped with them.

use flagstore_core::BigSegmentsStatus::{Healthy, NotConfigured, StoreError};
use flagstore_core::{CachingStoreWrapper, Kind};
use flagstore_launchdarkly::{AllFlagsOptions, Evaluator};
use launchdarkly_server_sdk::{FlagDetailConfig, FlagValue};
use serde_json::{Value, json};

use crate::support::{Broken, Way, World, cases, flag, user, worlds};

/// Those with an evaluator.
fn evaluators() -> impl Iterator<Item = (World, Evaluator)> {
    filled().filter_map(|world| match &world.subject.way {
        Way::Evaluator(evaluator) => Some(evaluator.clone()).map(|evaluator| (world, evaluator)),
        Way::Client(_) => None,
    })
}

/// Flags in a Big Segment, in one that is lost, and in none; and one that is not for front ends.
fn filled() -> impl Iterator<Item = World> {
    worlds(|builder| builder).inspect(|world| {
        world.put_flag("in-big", &["seg"]);
        world.put_flag("in-lost", &["lost"]);
        world.put_flag("plain", &[]);
        let server =
            flag("server", "[]").replace(r#""usingEnvironmentId":true"#, r#""usingEnvironmentId":false"#);
        world.put(
            &Kind::FEATURES,
            "server",
            &server.replacen(
                '{',
                r#"{"prerequisites":[{"key":"plain","variation":0}],"trackEvents":true,"#,
                1,
            ),
        );
        world.put_big_segment("seg", r#""generation":1"#);
        world.put_big_segment("lost", "");
        world.big_segments.set("a", &["seg.g1"], &[]);
    })
}

cases![
    each_flag_has_a_status_of_its_own,
    a_store_that_fails_is_asked_once,
    the_client_has_one_status_for_all,
    as_json_it_bootstraps_a_front_end,
    details_are_there_for_tracked_flags_only_if_that_is_asked_for,
];

/// However many flags depend on it: each question can take as long as the store's deadline.
fn a_store_that_fails_is_asked_once() {
    for (world, evaluator) in evaluators() {
        world.put_flag("also-in-big", &["seg"]);
        world.big_segments.set_down(true);
        let state = evaluator.all_flags(&user("a"), AllFlagsOptions::new());
        world.assert_queries(&["a"]);
        let statuses = ["in-big", "also-in-big", "plain"].map(|key| state.big_segments_status(key));
        assert_eq!(statuses, [Some(StoreError), Some(StoreError), None], "{}", world.subject);
    }
}

/// Each flag has the status of what it depends on itself.
fn each_flag_has_a_status_of_its_own() {
    for (world, evaluator) in evaluators() {
        let state = evaluator.all_flags(&user("a"), AllFlagsOptions::new());
        assert!(state.is_valid());
        assert_eq!(state.keys().collect::<Vec<_>>(), ["in-big", "in-lost", "plain", "server"]);
        let statuses = ["in-big", "in-lost", "plain"].map(|key| state.big_segments_status(key));
        assert_eq!(statuses, [Some(Healthy), Some(NotConfigured), None], "{}", world.subject);
        assert_eq!(state.value("in-big"), Some(&FlagValue::Bool(true)));
        assert_eq!(state.variation_index("in-big"), Some(1));
        assert_eq!(state.reason("in-big"), None, "nobody has asked for it");
        assert_eq!(state.value("unknown"), None);
    }
}

/// Of the official client there is the worst of them. The values are the same.
fn the_client_has_one_status_for_all() {
    let mut clients = 0;
    for world in filled() {
        let Way::Client(client) = &world.subject.way else { continue };
        clients += 1;
        let (detail, status) = client.all_flags_detail(&user("a"), FlagDetailConfig::new());
        let detail = serde_json::to_value(detail).unwrap();
        let values = ["in-big", "in-lost", "plain", "server", "$valid"].map(|key| &detail[key]);
        assert_eq!(
            values.map(Value::as_bool),
            [true, false, false, false, true].map(Some),
            "{}",
            world.subject
        );
        assert_eq!(status, Some(NotConfigured), "{}", world.subject);
    }
    assert_eq!(clients, 2, "bare and cached");
}

/// The JSON is what LaunchDarkly's SDKs for front ends take.
fn as_json_it_bootstraps_a_front_end() {
    for (_, evaluator) in evaluators() {
        let options = AllFlagsOptions::new().with_reasons().client_side_only();
        let state = serde_json::to_value(evaluator.all_flags(&user("a"), options)).unwrap();
        let expected = json!({
            "in-big": true, "in-lost": false, "plain": false,
            "$flagsState": {
                "in-big": {"version": 1, "variation": 1,
                    "reason": {"kind": "RULE_MATCH", "ruleIndex": 0, "ruleId": "r", "bigSegmentsStatus": "HEALTHY"}},
                "in-lost": {"version": 1, "variation": 0,
                    "reason": {"kind": "FALLTHROUGH", "bigSegmentsStatus": "NOT_CONFIGURED"}},
                "plain": {"version": 1, "variation": 0, "reason": {"kind": "FALLTHROUGH"}},
            },
            "$valid": true,
        });
        assert_eq!(state, expected);
    }
}

/// Details of flags that nobody tracks can be left out.
fn details_are_there_for_tracked_flags_only_if_that_is_asked_for() {
    for (_, evaluator) in evaluators() {
        let options = AllFlagsOptions::new().with_reasons().details_only_for_tracked_flags();
        let state = serde_json::to_value(evaluator.all_flags(&user("a"), options)).unwrap();
        assert_eq!(state["$flagsState"]["plain"], json!({"variation": 0}));
        let expected = json!({"version": 1, "variation": 0, "reason": {"kind": "FALLTHROUGH"}, "trackEvents": true,
            "prerequisites": ["plain"]});
        assert_eq!(state["$flagsState"]["server"], expected);
    }
}

/// A store that fails has no flags, and the result says that it is not valid.
#[test]
fn without_a_store_the_state_is_not_valid() {
    let store = CachingStoreWrapper::builder(Broken).build().unwrap();
    let state = Evaluator::new(store).all_flags(&user("a"), AllFlagsOptions::new());
    assert!(!state.is_valid());
    assert_eq!(serde_json::to_value(state).unwrap(), json!({"$flagsState": {}, "$valid": false}));
}
