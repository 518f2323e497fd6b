//! Big Segments wherever a segment can be, and what the harness does not ask.

use flagstore_core::BigSegmentsStatus::{Healthy, NotConfigured, StoreError};
use flagstore_core::Kind;
use launchdarkly_server_sdk::{EvalError, MultiContextBuilder, Reason};

use crate::support::{flag, of_kind, user, worlds, worlds_without_big_segments};

const GENERATION: &str = r#""generation":1"#;

/// A rule that who is in this segment matches.
fn in_segment(key: &str) -> String {
    format!(r#""rules":[{{"clauses":[{{"attribute":"","op":"segmentMatch","values":["{key}"]}}]}}]"#)
}

/// A flag without Big Segments has no status, and asks nobody.
#[test]
fn a_flag_without_big_segments_has_no_status() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["regular"]);
        world.put(&Kind::SEGMENTS, "regular", r#"{"key":"regular","version":1,"included":["a"]}"#);
        assert_eq!(world.subject.get(&user("a"), "flag"), (true, None), "{}", world.subject);
        assert_eq!(world.subject.get(&user("b"), "flag"), (false, None), "{}", world.subject);
        world.assert_queries(&[]);
    }
}

/// Generation 0 is one like any other.
#[test]
fn generation_zero_is_a_generation() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["seg"]);
        world.put_big_segment("seg", r#""generation":0"#);
        world.big_segments.set("a", &["seg.g0"], &[]);
        assert_eq!(world.subject.get(&user("a"), "flag"), (true, Some(Healthy)), "{}", world.subject);
    }
}

/// A later generation is another segment, and is seen at once.
#[test]
fn a_new_generation_is_another_segment() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["seg"]);
        world.put_big_segment("seg", GENERATION);
        world.big_segments.set("a", &["seg.g2"], &[]);
        assert_eq!(world.subject.get(&user("a"), "flag"), (false, Some(Healthy)), "{}", world.subject);
        let next = r#"{"key":"seg","version":2,"unbounded":true,"generation":2.0}"#;
        world.put(&Kind::SEGMENTS, "seg", next);
        assert_eq!(world.subject.get(&user("a"), "flag"), (true, Some(Healthy)), "{}", world.subject);
    }
}

/// A Big Segment in the rules of a regular one, of a Big one, and of one that excludes.
#[test]
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
            assert_eq!(world.subject.get(&user(key), flag), expected, "{key}, {flag}: {}", world.subject);
        }
    }
}

/// Segments that refer to each other make a flag malformed, as they do without Big Segments.
#[test]
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
#[test]
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
        assert_eq!(world.subject.get(&user("a"), "flag"), (true, Some(Healthy)), "{}", world.subject);
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
#[test]
fn the_worst_status_counts() {
    for segments in [["seg", "lost"], ["lost", "seg"]] {
        for world in worlds(|builder| builder) {
            world.put_flag("flag", &segments);
            world.put_big_segment("seg", GENERATION);
            world.put_big_segment("lost", "");
            assert_eq!(
                world.subject.get(&user("a"), "flag"),
                (false, Some(NotConfigured)),
                "{}",
                world.subject
            );
        }
    }
}

/// One evaluation asks once for each key, also where the answer is an error, which no cache keeps.
#[test]
fn a_query_that_fails_is_not_repeated_in_its_evaluation() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["one", "two", "three"]);
        for segment in ["one", "two", "three"] {
            world.put_big_segment(segment, GENERATION);
        }
        world.big_segments.set_down(true);
        assert_eq!(world.subject.get(&user("a"), "flag"), (false, Some(StoreError)), "{}", world.subject);
        world.assert_queries(&["a"]);
        world.subject.get(&user("a"), "flag");
        world.assert_queries(&["a", "a"]);
    }
}

/// In a context of several kinds the one that the segment is about counts.
#[test]
fn the_kind_of_the_segment_decides_which_key_is_asked_for() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["orgs"]);
        world.put_big_segment("orgs", &format!(r#"{GENERATION},"unboundedContextKind":"org""#));
        world.big_segments.set("o", &["orgs.g1"], &[]);
        let mut both = MultiContextBuilder::new();
        both.add_context(user("u")).add_context(of_kind("org", "o"));
        assert_eq!(
            world.subject.get(&both.build().unwrap(), "flag"),
            (true, Some(Healthy)),
            "{}",
            world.subject
        );
        assert_eq!(
            world.subject.get(&of_kind("org", "o"), "flag"),
            (true, Some(Healthy)),
            "{}",
            world.subject
        );
        world.assert_queries(&["o"]);
    }
}

/// Long lists are looked up and not copied, and what they say is what it always was.
#[test]
fn regular_lists_of_every_kind_decide_in_their_order() {
    let segment = r#"{"key":"seg","version":1,"included":["in","both"],"excluded":["out","both"],
        "includedContexts":[{"contextKind":"org","values":["in"]},{"contextKind":"user","values":["listed"]}],
        "excludedContexts":[{"contextKind":"org","values":["out"]},{"contextKind":"user","values":["unlisted"]}],
        "rules":[{"clauses":[]}]}"#;
    for world in worlds_without_big_segments() {
        world.put_flag("flag", &["seg"]);
        world.put(&Kind::SEGMENTS, "seg", segment);
        for (context, expected) in [
            (user("in"), true),
            (user("both"), true),
            (user("listed"), true),
            (user("out"), false),
            (user("unlisted"), false),
            (user("by the rule"), true),
            (of_kind("org", "in"), true),
            (of_kind("org", "out"), false),
            (of_kind("org", "listed"), true),
            (of_kind("device", "out"), true),
        ] {
            assert_eq!(
                world.subject.get(&context, "flag"),
                (expected, None),
                "{context:?}: {}",
                world.subject
            );
        }
    }
}

/// What cannot be parsed counts as missing, and comes back with a version that can.
#[test]
fn a_segment_that_cannot_be_parsed_is_missing() {
    for world in worlds(|builder| builder) {
        world.put_flag("flag", &["seg"]);
        world.put(&Kind::SEGMENTS, "seg", r#"{"key":"seg","version":1,"unbounded":"yes"}"#);
        assert_eq!(world.subject.get(&user("a"), "flag"), (false, None), "{}", world.subject);
        world.put(&Kind::SEGMENTS, "seg", r#"{"key":"seg","version":2,"included":["a"]}"#);
        assert_eq!(world.subject.get(&user("a"), "flag"), (true, None), "{}", world.subject);
    }
}
