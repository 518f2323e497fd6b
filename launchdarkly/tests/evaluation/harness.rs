//! The Big Segments cases of LaunchDarkly's own test harness, by its names.

use std::time::Duration;

use flagstore_core::BigSegmentsStatus::{self, Healthy, NotConfigured, Stale, StoreError};
use flagstore_core::{BigSegmentStoreStatus, UnixMillis};
use launchdarkly_server_sdk::MultiContextBuilder;

use crate::support::{
    HEALTHY, STALE, TestBigSegments, UNAVAILABLE, World, cases, of_kind, user, wait_until, worlds,
    worlds_as_of, worlds_without_big_segments,
};

const GENERATION: &str = r#""generation":1"#;
/// Matches the user `rule-user`.
const RULE: &str = r#""rules":[{"clauses":[{"attribute":"key","op":"in","values":["rule-user"]}]}]"#;

cases![
    evaluation_context_not_found,
    evaluation_membership_is_empty,
    evaluation_membership_is_null,
    evaluation_not_in_the_list_but_a_rule_matches,
    evaluation_included,
    evaluation_excluded,
    evaluation_excluded_and_a_rule_matches,
    evaluation_the_regular_include_list_is_ignored,
    evaluation_no_query_if_the_context_kind_does_not_match,
    caching_one_query_for_many_tests_in_an_evaluation,
    caching_one_query_for_each_context_kind,
    caching_a_query_is_by_key_whatever_the_kind,
    caching_a_membership_is_cached_across_evaluations,
    caching_each_context_has_a_membership_of_its_own,
    caching_a_membership_expires,
    caching_a_full_cache_drops_what_was_not_used_for_the_longest,
    polling_at_a_short_interval,
    polling_at_a_long_interval_is_one_query_and_evaluations_add_none,
    polling_the_status_goes_from_healthy_to_store_error_and_back,
    polling_the_status_goes_from_healthy_to_stale_and_back,
    errors_no_store_is_configured,
    errors_a_segment_without_a_generation_is_not_configured_and_makes_no_query,
    errors_a_query_that_fails_is_a_store_error,
];

/// Runs a case with data that is up to date, and with data that is not.
fn with_both_statuses(case: impl Fn(&World, Option<BigSegmentsStatus>)) {
    for (time, status) in [(UnixMillis::now(), Healthy), (UnixMillis(1), Stale)] {
        for world in worlds_as_of(time, |builder| builder) {
            case(&world, Some(status));
        }
    }
}

fn one_segment(world: &World, more: &str) {
    world.put_flag("flag", &["seg"]);
    let more = if more.is_empty() { GENERATION.to_owned() } else { format!("{GENERATION},{more}") };
    world.put_big_segment("seg", &more);
}

fn evaluation_context_not_found() {
    with_both_statuses(|world, status| {
        one_segment(world, "");
        assert_eq!(world.get(&user("a"), "flag"), (false, status), "{}", world.subject);
    });
}

fn evaluation_membership_is_empty() {
    with_both_statuses(|world, status| {
        one_segment(world, "");
        world.big_segments.set("a", &[], &[]);
        assert_eq!(world.get(&user("a"), "flag"), (false, status), "{}", world.subject);
    });
}

fn evaluation_membership_is_null() {
    with_both_statuses(|world, status| {
        one_segment(world, "");
        world.big_segments.set_null("a");
        assert_eq!(world.get(&user("a"), "flag"), (false, status), "{}", world.subject);
    });
}

fn evaluation_not_in_the_list_but_a_rule_matches() {
    with_both_statuses(|world, status| {
        one_segment(world, RULE);
        assert_eq!(world.get(&user("rule-user"), "flag"), (true, status), "{}", world.subject);
        assert_eq!(world.get(&user("other"), "flag"), (false, status), "{}", world.subject);
    });
}

fn evaluation_included() {
    with_both_statuses(|world, status| {
        one_segment(world, "");
        world.big_segments.set("a", &["seg.g1"], &[]);
        assert_eq!(world.get(&user("a"), "flag"), (true, status), "{}", world.subject);
    });
}

fn evaluation_excluded() {
    with_both_statuses(|world, status| {
        one_segment(world, "");
        world.big_segments.set("a", &[], &["seg.g1"]);
        assert_eq!(world.get(&user("a"), "flag"), (false, status), "{}", world.subject);
    });
}

fn evaluation_excluded_and_a_rule_matches() {
    with_both_statuses(|world, status| {
        one_segment(world, RULE);
        world.big_segments.set("rule-user", &[], &["seg.g1"]);
        assert_eq!(world.get(&user("rule-user"), "flag"), (false, status), "{}", world.subject);
    });
}

fn evaluation_the_regular_include_list_is_ignored() {
    with_both_statuses(|world, status| {
        one_segment(world, r#""included":["a"],"includedContexts":[{"contextKind":"user","values":["a"]}]"#);
        assert_eq!(world.get(&user("a"), "flag"), (false, status), "{}", world.subject);
    });
}

fn evaluation_no_query_if_the_context_kind_does_not_match() {
    with_both_statuses(|world, _| {
        one_segment(world, &format!(r#""unboundedContextKind":"org",{RULE}"#));
        world.big_segments.set("rule-user", &["seg.g1"], &[]);
        assert_eq!(world.get(&user("rule-user"), "flag"), (false, None), "{}", world.subject);
        world.assert_queries(&[]);
    });
}

fn caching_one_query_for_many_tests_in_an_evaluation() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["one", "two", "three"]);
        for segment in ["one", "two", "three"] {
            world.put_big_segment(segment, GENERATION);
        }
        world.big_segments.set("a", &["three.g1"], &["one.g1"]);
        assert_eq!(world.get(&user("a"), "flag"), (true, Some(Healthy)), "{}", world.subject);
        world.assert_queries(&["a"]);
    }
}

fn caching_one_query_for_each_context_kind() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["users", "orgs"]);
        world.put_big_segment("users", GENERATION);
        world.put_big_segment("orgs", &format!(r#"{GENERATION},"unboundedContextKind":"org""#));
        world.big_segments.set("o", &["orgs.g1"], &[]);
        let mut both = MultiContextBuilder::new();
        both.add_context(user("u")).add_context(of_kind("org", "o"));
        assert_eq!(world.get(&both.build().unwrap(), "flag"), (true, Some(Healthy)), "{}", world.subject);
        world.assert_queries(&["u", "o"]);
    }
}

fn caching_a_query_is_by_key_whatever_the_kind() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["users", "orgs"]);
        world.put_big_segment("users", GENERATION);
        world.put_big_segment("orgs", &format!(r#"{GENERATION},"unboundedContextKind":"org""#));
        world.big_segments.set("same", &["orgs.g1"], &[]);
        let mut both = MultiContextBuilder::new();
        both.add_context(user("same")).add_context(of_kind("org", "same"));
        assert_eq!(world.get(&both.build().unwrap(), "flag"), (true, Some(Healthy)), "{}", world.subject);
        world.assert_queries(&["same"]);
    }
}

fn caching_a_membership_is_cached_across_evaluations() {
    for world in worlds(|builder| builder) {
        one_segment(&world, "");
        world.big_segments.set("a", &["seg.g1"], &[]);
        for _ in 0..3 {
            assert_eq!(world.get(&user("a"), "flag"), (true, Some(Healthy)), "{}", world.subject);
        }
        world.assert_queries(&["a"]);
    }
}

fn caching_each_context_has_a_membership_of_its_own() {
    for world in worlds(|builder| builder) {
        one_segment(&world, "");
        world.big_segments.set("a", &["seg.g1"], &[]);
        for _ in 0..2 {
            assert_eq!(world.get(&user("a"), "flag"), (true, Some(Healthy)), "{}", world.subject);
            assert_eq!(world.get(&user("b"), "flag"), (false, Some(Healthy)), "{}", world.subject);
        }
        world.assert_queries(&["a", "b"]);
    }
}

fn caching_a_membership_expires() {
    for world in worlds(|builder| builder.context_cache_time(Duration::from_millis(10))) {
        one_segment(&world, "");
        assert_eq!(world.get(&user("a"), "flag"), (false, Some(Healthy)), "{}", world.subject);
        world.big_segments.set("a", &["seg.g1"], &[]);
        wait_until("the old membership stays", || world.get(&user("a"), "flag").0);
    }
}

fn caching_a_full_cache_drops_what_was_not_used_for_the_longest() {
    for world in worlds(|builder| builder.context_cache_size(2)) {
        one_segment(&world, "");
        for key in ["1", "2", "3", "1"] {
            assert_eq!(world.get(&user(key), "flag"), (false, Some(Healthy)), "{}", world.subject);
        }
        world.assert_queries(&["1", "2", "3", "1"]);
    }
}

fn polling_at_a_short_interval() {
    for world in worlds(|builder| builder.status_poll_interval(Duration::from_millis(10))) {
        wait_until("it does not poll", || world.big_segments.polls() >= 3);
    }
}

fn polling_at_a_long_interval_is_one_query_and_evaluations_add_none() {
    for world in worlds(|builder| builder.status_poll_interval(Duration::from_secs(10))) {
        one_segment(&world, "");
        for key in ["a", "b", "c"] {
            assert_eq!(world.get(&user(key), "flag"), (false, Some(Healthy)), "{}", world.subject);
        }
        assert_eq!(world.subject.status(), HEALTHY, "{}", world.subject);
        assert_eq!(world.big_segments.polls(), 1, "{}", world.subject);
    }
}

/// What is polled shows in the status of the store, and in that of an evaluation.
fn goes_there_and_back(
    there: (BigSegmentStoreStatus, BigSegmentsStatus),
    change: impl Fn(&TestBigSegments),
    change_back: impl Fn(&TestBigSegments),
) {
    for world in worlds(|builder| builder.status_poll_interval(Duration::from_millis(5))) {
        one_segment(&world, "");
        let is_seen = |(store, evaluation): (BigSegmentStoreStatus, BigSegmentsStatus)| {
            world.subject.status() == store && world.get(&user("a"), "flag") == (false, Some(evaluation))
        };
        assert!(is_seen((HEALTHY, Healthy)), "{}", world.subject);
        change(&world.big_segments);
        wait_until("the change is not seen", || is_seen(there));
        change_back(&world.big_segments);
        wait_until("the recovery is not seen", || is_seen((HEALTHY, Healthy)));
    }
}

fn polling_the_status_goes_from_healthy_to_store_error_and_back() {
    goes_there_and_back(
        (UNAVAILABLE, StoreError),
        |store| store.set_down(true),
        |store| store.set_down(false),
    );
}

fn polling_the_status_goes_from_healthy_to_stale_and_back() {
    goes_there_and_back(
        (STALE, Stale),
        |store| store.set_synchronized_on(None),
        |store| store.set_synchronized_on(Some(UnixMillis::now())),
    );
}

fn errors_no_store_is_configured() {
    for world in worlds_without_big_segments() {
        one_segment(&world, RULE);
        assert_eq!(world.get(&user("a"), "flag"), (false, Some(NotConfigured)), "{}", world.subject);
        let by_rule = world.get(&user("rule-user"), "flag");
        assert_eq!(by_rule, (true, Some(NotConfigured)), "the rules decide: {}", world.subject);
        assert_eq!(world.subject.status(), UNAVAILABLE, "{}", world.subject);
    }
}

fn errors_a_segment_without_a_generation_is_not_configured_and_makes_no_query() {
    for generation in ["", r#""generation":null,"#] {
        for world in worlds(|builder| builder) {
            world.put_flag("flag", &["seg"]);
            world.put_big_segment("seg", &format!("{generation}{RULE}"));
            let result = world.get(&user("rule-user"), "flag");
            assert_eq!(result, (false, Some(NotConfigured)), "no rule is looked at: {}", world.subject);
            world.assert_queries(&[]);
        }
    }
}

fn errors_a_query_that_fails_is_a_store_error() {
    for world in worlds(|builder| builder) {
        one_segment(&world, RULE);
        world.big_segments.set("a", &["seg.g1"], &[]);
        assert_eq!(world.subject.status(), HEALTHY, "{}", world.subject);
        world.big_segments.set_down(true);
        assert_eq!(world.get(&user("a"), "flag"), (false, Some(StoreError)), "{}", world.subject);
        let by_rule = world.get(&user("rule-user"), "flag");
        assert_eq!(by_rule, (true, Some(StoreError)), "the rules decide: {}", world.subject);
        world.assert_queries(&["a", "rule-user"]);
    }
}
