//! Big Segments wherever a segment can be, and what the harness does not ask.

use flagstore_core::BigSegmentsStatus::{Healthy, NotConfigured, Stale, StoreError};
use flagstore_core::{Kind, UnixMillis};
use launchdarkly_server_sdk::{EvalError, MultiContextBuilder, Reason};

use crate::support::{
    HEALTHY, cases, flag, of_kind, user, worlds, worlds_as_of, worlds_without_big_segments,
};

const GENERATION: &str = r#""generation":1"#;

cases![
    a_flag_without_big_segments_has_no_status,
    generation_zero_is_a_generation,
    a_new_generation_is_another_segment,
    a_big_segment_inside_the_rules_of_another,
    a_circle_of_segments_is_malformed,
    a_big_segment_of_a_prerequisite,
    the_worst_status_counts,
    inclusion_beats_exclusion,
    an_error_is_worse_than_old_data,
    an_error_is_not_cached,
    a_query_that_fails_is_not_repeated_in_its_evaluation,
    the_kind_of_the_segment_decides_which_key_is_asked_for,
    regular_lists_of_every_kind_decide_in_their_order,
    a_segment_that_cannot_be_parsed_is_missing,
];

/// A rule that who is in this segment matches.
fn in_segment(key: &str) -> String {
    format!(r#""rules":[{{"clauses":[{{"attribute":"","op":"segmentMatch","values":["{key}"]}}]}}]"#)
}

/// A flag without Big Segments has no status, and asks nobody.
fn a_flag_without_big_segments_has_no_status() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["regular"]);
        world.put(&Kind::SEGMENTS, "regular", r#"{"key":"regular","version":1,"included":["a"]}"#);
        assert_eq!(world.get(&user("a"), "flag"), (true, None), "{}", world.subject);
        assert_eq!(world.get(&user("b"), "flag"), (false, None), "{}", world.subject);
        world.assert_queries(&[]);
    }
}

/// Generation 0 is one like any other.
fn generation_zero_is_a_generation() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["seg"]);
        world.put_big_segment("seg", r#""generation":0"#);
        world.big_segments.set("a", &["seg.g0"], &[]);
        assert_eq!(world.get(&user("a"), "flag"), (true, Some(Healthy)), "{}", world.subject);
    }
}

/// A later generation is another segment, and is seen at once.
fn a_new_generation_is_another_segment() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["seg"]);
        world.put_big_segment("seg", GENERATION);
        world.big_segments.set("a", &["seg.g2"], &[]);
        assert_eq!(world.get(&user("a"), "flag"), (false, Some(Healthy)), "{}", world.subject);
        let next = r#"{"key":"seg","version":2,"unbounded":true,"generation":2.0}"#;
        world.put(&Kind::SEGMENTS, "seg", next);
        assert_eq!(world.get(&user("a"), "flag"), (true, Some(Healthy)), "{}", world.subject);
    }
}

/// A Big Segment in the rules of a regular one, of a Big one, and of one that excludes.
fn a_big_segment_inside_the_rules_of_another() {
    for world in worlds(|builder| builder) {
        world.put_flag("in-regular", &["regular"]);
        world.put_flag("in-big", &["outer"]);
        world.put(
            &Kind::SEGMENTS,
            "regular",
            &format!(r#"{{"key":"regular","version":1,"excluded":["excluded"],{}}}"#, in_segment("inner")),
        );
        world.put_big_segment("outer", &format!("{GENERATION},{}", in_segment("inner")));
        world.put_big_segment("inner", GENERATION);
        world.big_segments.set("a", &["inner.g1"], &[]);
        world.big_segments.set("out", &["inner.g1"], &["outer.g1"]);
        world.big_segments.set("excluded", &["inner.g1"], &[]);
        for (key, flag, expected) in [
            ("a", "in-regular", (true, Some(Healthy))),
            ("a", "in-big", (true, Some(Healthy))),
            ("out", "in-big", (false, Some(Healthy))),
            ("excluded", "in-regular", (false, None)),
            ("nobody", "in-regular", (false, Some(Healthy))),
        ] {
            assert_eq!(world.get(&user(key), flag), expected, "{key}, {flag}: {}", world.subject);
        }
    }
}

/// Segments that refer to each other make a flag malformed, as they do without Big Segments.
fn a_circle_of_segments_is_malformed() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["one"]);
        world.put_big_segment("one", &format!("{GENERATION},{}", in_segment("two")));
        world.put_big_segment("two", &format!("{GENERATION},{}", in_segment("one")));
        let evaluation = world.subject.evaluate(&user("a"), "flag");
        assert_eq!(
            evaluation.detail.reason,
            Reason::Error { error: EvalError::MalformedFlag },
            "{}",
            world.subject
        );
    }
}

/// A prerequisite's segments count like the flag's own, and so does their status.
fn a_big_segment_of_a_prerequisite() {
    for world in worlds(|builder| builder) {
        world.put_flag("before", &["seg"]);
        world.put_big_segment("seg", GENERATION);
        world.big_segments.set("a", &["seg.g1"], &[]);
        let flag = flag("flag", r#"[{"id":"all","variation":1,"clauses":[]}]"#).replacen(
            '{',
            r#"{"prerequisites":[{"key":"before","variation":1}],"#,
            1,
        );
        world.put(&Kind::FEATURES, "flag", &flag);
        assert_eq!(world.get(&user("a"), "flag"), (true, Some(Healthy)), "{}", world.subject);
        let failed = world.subject.evaluate(&user("b"), "flag");
        let expected = Reason::PrerequisiteFailed { prerequisite_key: "before".to_owned() };
        assert_eq!(
            (failed.detail.reason, failed.big_segments_status),
            (expected, Some(Healthy)),
            "{}",
            world.subject
        );
    }
}

/// Of several statuses in one evaluation the worst counts, in either order.
fn the_worst_status_counts() {
    for segments in [["seg", "lost"], ["lost", "seg"]] {
        for world in worlds(|builder| builder) {
            world.put_flag("flag", &segments);
            world.put_big_segment("seg", GENERATION);
            world.put_big_segment("lost", "");
            assert_eq!(world.get(&user("a"), "flag"), (false, Some(NotConfigured)), "{}", world.subject);
        }
    }
}

/// Who is in both lists of a Big Segment is in it.
fn inclusion_beats_exclusion() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["seg"]);
        world.put_big_segment("seg", GENERATION);
        world.big_segments.set("a", &["seg.g1"], &["seg.g1"]);
        assert_eq!(world.get(&user("a"), "flag"), (true, Some(Healthy)), "{}", world.subject);
    }
}

/// The same of those between: an error is worse than old data, and better than no store.
fn an_error_is_worse_than_old_data() {
    for segments in [["users", "orgs"], ["orgs", "users"]] {
        for world in worlds_as_of(UnixMillis(1), |builder| builder) {
            world.put_flag("flag", &segments);
            world.put_flag("with-lost", &["users", "lost", "orgs"]);
            world.put_big_segment("users", GENERATION);
            world.put_big_segment("orgs", &format!(r#"{GENERATION},"unboundedContextKind":"org""#));
            world.put_big_segment("lost", "");
            world.big_segments.set_unreadable("o");
            let mut both = MultiContextBuilder::new();
            let both = both.add_context(user("u")).add_context(of_kind("org", "o")).build().unwrap();
            assert_eq!(world.get(&user("u"), "flag"), (false, Some(Stale)), "{}", world.subject);
            assert_eq!(world.get(&both, "flag"), (false, Some(StoreError)), "{}", world.subject);
            assert_eq!(world.get(&both, "with-lost"), (false, Some(NotConfigured)), "{}", world.subject);
        }
    }
}

/// What failed for one evaluation is asked for again by the next, and what it finds then is right.
fn an_error_is_not_cached() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["seg"]);
        world.put_big_segment("seg", GENERATION);
        world.big_segments.set_unreadable("a");
        assert_eq!(world.get(&user("a"), "flag"), (false, Some(StoreError)), "{}", world.subject);
        assert_eq!(world.subject.status(), HEALTHY, "one that cannot be read is no outage");
        world.big_segments.set("a", &["seg.g1"], &[]);
        for _ in 0..2 {
            assert_eq!(world.get(&user("a"), "flag"), (true, Some(Healthy)), "{}", world.subject);
        }
        world.assert_queries(&["a", "a"]);
    }
}

/// One evaluation asks once for each key, also where the answer is an error, which no cache keeps.
fn a_query_that_fails_is_not_repeated_in_its_evaluation() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["one", "two", "three"]);
        for segment in ["one", "two", "three"] {
            world.put_big_segment(segment, GENERATION);
        }
        world.big_segments.set_down(true);
        assert_eq!(world.get(&user("a"), "flag"), (false, Some(StoreError)), "{}", world.subject);
        world.assert_queries(&["a"]);
        world.get(&user("a"), "flag");
        world.assert_queries(&["a", "a"]);
    }
}

/// In a context of several kinds the one that the segment is about counts.
fn the_kind_of_the_segment_decides_which_key_is_asked_for() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["orgs"]);
        world.put_big_segment("orgs", &format!(r#"{GENERATION},"unboundedContextKind":"org""#));
        world.big_segments.set("o", &["orgs.g1"], &[]);
        let mut both = MultiContextBuilder::new();
        both.add_context(user("u")).add_context(of_kind("org", "o"));
        assert_eq!(world.get(&both.build().unwrap(), "flag"), (true, Some(Healthy)), "{}", world.subject);
        assert_eq!(world.get(&of_kind("org", "o"), "flag"), (true, Some(Healthy)), "{}", world.subject);
        world.assert_queries(&["o"]);
    }
}

/// Long lists are looked up and not copied, and what they say is what it always was: where everyone else matches a rule,
/// and where nobody else does.
fn regular_lists_of_every_kind_decide_in_their_order() {
    let segment = |key: &str, rules: &str| {
        format!(
            r#"{{"key":"{key}","version":1,"included":["in","both"],"excluded":["out","both"],
            "includedContexts":[{{"contextKind":"org","values":["in"]}},{{"contextKind":"user","values":["listed"]}}],
            "excludedContexts":[{{"contextKind":"org","values":["out"]}},{{"contextKind":"user","values":["unlisted"]}}],
            "rules":{rules}}}"#
        )
    };
    for world in worlds_without_big_segments() {
        world.put_flag("loose", &["loose"]);
        world.put(&Kind::SEGMENTS, "loose", &segment("loose", r#"[{"clauses":[]}]"#));
        world.put_flag("strict", &["strict"]);
        world.put(&Kind::SEGMENTS, "strict", &segment("strict", "[]"));
        let (included, excluded, neither) = ([true, true], [false, false], [true, false]);
        for (context, expected) in [
            (user("in"), included),
            (user("both"), included),
            (user("listed"), included),
            (user("out"), excluded),
            (user("unlisted"), excluded),
            (user("by the rule"), neither),
            (of_kind("org", "in"), included),
            (of_kind("org", "out"), excluded),
            (of_kind("org", "listed"), neither),
            (of_kind("device", "out"), neither),
        ] {
            let results = ["loose", "strict"].map(|flag| world.get(&context, flag));
            assert_eq!(results, expected.map(|value| (value, None)), "{context:?}: {}", world.subject);
        }
    }
}

/// What cannot be parsed counts as missing, and comes back with a version that can.
fn a_segment_that_cannot_be_parsed_is_missing() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["seg"]);
        world.put(&Kind::SEGMENTS, "seg", r#"{"key":"seg","version":1,"unbounded":"yes"}"#);
        assert_eq!(world.get(&user("a"), "flag"), (false, None), "{}", world.subject);
        world.put(&Kind::SEGMENTS, "seg", r#"{"key":"seg","version":2,"included":["a"]}"#);
        assert_eq!(world.get(&user("a"), "flag"), (true, None), "{}", world.subject);
    }
}
