//! What the SDK writes others can read, and what others write the SDK can read.

use std::sync::Arc;

use flagstore_core::{CachingStoreWrapper, Kind};
use flagstore_launchdarkly::cached_data_store;
use launchdarkly_server_sdk::{AllData, Client, DataKind, Flag, Reason, Segment};
use serde_json::Value;

use crate::support::{
    daemon, daemon_client, evaluate, flag, plug, put, segment, serialized, stored, stores, uncached,
};

/// Rollouts, a Big Segment and a rule with a weight: all that the SDK spells in its own way.
const PAYLOAD: &str = r#"{
    "flags": {"rollout": {"key":"rollout","version":3,"on":true,"prerequisites":[],"targets":[],
        "rules":[{"id":"r","clauses":[],"rollout":{"seed":61,"variations":[{"variation":0,"weight":40000},
            {"variation":1,"weight":60000,"untracked":true}]},"trackEvents":false}],
        "fallthrough":{"rollout":{"variations":[{"variation":0,"weight":99999.5},{"variation":1,"weight":0.5}]}},
        "offVariation":null,"variations":[130.65331632653061, null, {"weight": 2.0, "generation": null}],
        "clientSide":false,"salt":"x","debugEventsUntilDate":1700000000000}},
    "segments": {"half": {"key":"half","version":4,"included":[],"excluded":[],
        "rules":[{"clauses":[],"weight":50000}],"salt":"y"}}}"#;

fn payload() -> AllData<Flag, Segment> {
    serde_json::from_str(PAYLOAD).unwrap()
}

/// Integers are integers and nulls are gone, except where a value is a float or null.
#[track_caller]
fn assert_readable_by_others(flag: &str, segment: &str) {
    let expected = [
        r#""variation":1,"weight":60000,"untracked":true"#,
        r#""variation":0,"weight":99999.5"#,
        r#""variations":[130.65331632653061,null,{"generation":null,"weight":2.0}]"#,
        r#""deleted":false"#,
    ];
    for part in expected {
        assert!(flag.contains(part), "{part} is not in {flag}");
    }
    assert!(!flag.contains("offVariation"), "{flag}");
    assert!(segment.contains(r#""weight":50000"#) && !segment.contains("50000.0"), "{segment}");
    assert!(!segment.contains("null"), "{segment}");
}

/// Python refuses `"weight":60000.0`, and Go `"unboundedContextKind":null`.
#[test]
fn what_the_sdk_writes_at_the_start_others_can_read() {
    for store in stores() {
        daemon(&uncached(&store)).data_store_builder().build().unwrap().write().init(payload());
        assert_readable_by_others(
            &stored(&store, &Kind::FEATURES, "rollout"),
            &stored(&store, &Kind::SEGMENTS, "half"),
        );
    }
}

/// What comes later is written as what came at the start.
#[test]
fn what_the_sdk_updates_others_can_read() {
    for store in stores() {
        let sdk = daemon(&uncached(&store)).data_store_builder().build().unwrap();
        let AllData { flags, segments } = payload();
        for (key, flag) in flags {
            let flag = serde_json::to_string(&flag).unwrap();
            sdk.write().upsert(&key, serde_json::from_str(&flag).unwrap()).unwrap();
        }
        for (key, segment) in segments {
            let segment = serde_json::to_string(&segment).unwrap();
            sdk.write().upsert(&key, serde_json::from_str(&segment).unwrap()).unwrap();
        }
        assert_readable_by_others(
            &stored(&store, &Kind::FEATURES, "rollout"),
            &stored(&store, &Kind::SEGMENTS, "half"),
        );
    }
}

/// Only what is wrong is put right: an unknown property may be null.
#[test]
fn what_others_can_read_is_written_byte_for_byte() {
    let given = segment("staff", 3, "user-1").replace(r#""key""#, r#""new": null, "key""#);
    for store in stores() {
        assert!(plug(&store).upsert(DataKind::Segment, "staff", serialized(3, false, &given)).unwrap());
        assert_eq!(stored(&store, &Kind::SEGMENTS, "staff"), given, "{store}");
    }
}

/// Ways to write a flag that others read, and that are errors to the SDK or make the flag malformed.
fn dialects() -> Vec<(&'static str, String)> {
    let flag = flag("dark-mode", 3, true);
    let with = |from: &str, to: &str| {
        assert!(flag.contains(from), "{from}");
        flag.replace(from, to)
    };
    vec![
        ("a version with a fraction", with(r#""version":3"#, r#""version":3.0"#)),
        ("a version with an exponent", with(r#""version":3"#, r#""version":3e0"#)),
        ("no targets", with(r#""targets":[]"#, r#""targets":null"#)),
        ("no rules", with(r#""rules":[]"#, r#""rules":null"#)),
        ("no prerequisites", with(r#""prerequisites":[]"#, r#""prerequisites":null"#)),
        ("no salt", with(r#","salt":"""#, "")),
        ("a variation with a fraction", with(r#"{"variation":1}"#, r#"{"variation":1.0}"#)),
    ]
}

/// The SDK evaluates them, one by one and all at once, with our cache and without it.
#[test]
fn what_others_can_read_the_sdk_can_read() {
    let fallthrough = Reason::Fallthrough { in_experiment: false };
    for (dialect, json) in dialects() {
        for store in stores() {
            put(&store, &Kind::FEATURES, "dark-mode", &json);
            let wrapper = CachingStoreWrapper::builder(Arc::clone(&store)).build().unwrap();
            let mut cached = cached_data_store(wrapper);
            cached.no_caching();
            for client in [daemon_client(&store), Client::build(daemon(&cached)).unwrap()] {
                for _ in 0..2 {
                    assert_eq!(
                        evaluate(&client, "dark-mode"),
                        (true, fallthrough.clone()),
                        "{dialect}, {store}"
                    );
                }
            }
            assert_eq!(stored(&store, &Kind::FEATURES, "dark-mode"), json, "{dialect}, {store}");
            assert_eq!(plug(&store).all_flags().unwrap()["dark-mode"].version, 3, "{dialect}, {store}");
        }
    }
}

/// Segments too: a null list, a version with a fraction and a missing salt.
#[test]
fn a_segment_that_others_can_read_the_sdk_can_read() {
    let segment = segment("staff", 3, "user-1")
        .replace(r#""version":3"#, r#""version":3.0"#)
        .replace(r#""excluded":[]"#, r#""excluded":null"#)
        .replace(r#","salt":"""#, "");
    let rule = r#""rules":[{"id":"r","variation":1,"clauses":[{"attribute":"","op":"segmentMatch","values":["staff"],"negate":null}]}]"#;
    for store in stores() {
        put(&store, &Kind::FEATURES, "beta", &flag("beta", 1, false).replace(r#""rules":[]"#, rule));
        put(&store, &Kind::SEGMENTS, "staff", &segment);
        assert!(evaluate(&daemon_client(&store), "beta").0, "{store}");
    }
}

/// A repair is that of the text that is stored now.
#[test]
fn a_later_version_is_repaired_anew() {
    for store in stores() {
        let client = daemon_client(&store);
        for version in 1..5 {
            let on = version % 2 == 0;
            let json = flag("dark-mode", version, on).replace(r#""targets":[]"#, r#""targets":null"#);
            put(&store, &Kind::FEATURES, "dark-mode", &json);
            assert_eq!(evaluate(&client, "dark-mode").0, on, "{store}");
        }
    }
}

/// A float keeps its last digit on the way from LaunchDarkly to the database.
#[test]
fn floats_come_through_as_they_were() {
    for store in stores() {
        daemon(&uncached(&store)).data_store_builder().build().unwrap().write().init(payload());
        let json: Value = serde_json::from_str(&stored(&store, &Kind::FEATURES, "rollout")).unwrap();
        assert_eq!(json["variations"][0].to_string(), "130.65331632653061", "{store}");
    }
}
