use flagstore_core::{UnixMillis, context_hash};

use super::{apply, fixture, including, known, open, open_prefix};
use crate::case::{Case, Database, Skip, Succeed};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(time_comes_back),
        Case::new(database_that_was_never_synchronized_has_no_time),
        Case::new(version_is_no_time),
        Case::new(unknown_context_has_no_membership),
        Case::new(included_and_excluded_are_told_apart),
        Case::new(inclusion_beats_exclusion),
        Case::new(generations_are_different_segments),
        Case::new(hashes_are_opaque),
        Case::new(ten_thousand_segments_are_all_there),
        Case::new(prefixes_share_nothing),
        Case::new(one_prefix_may_begin_with_another),
        Case::new(another_handle_reads_what_one_wrote),
    ]
}

/// The time that the Relay Proxy has stored, and a later one, and an earlier one.
fn time_comes_back(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    for millis in [1_234_567_890, 1_700_000_000_123, 1_600_000_000_000, 0] {
        fixture(database)?.put_metadata(&database.prefix, UnixMillis(millis));
        assert_eq!(store.get_metadata().succeed(), Some(UnixMillis(millis)));
    }
    Ok(())
}

/// No time at all is no error, also where there are memberships.
fn database_that_was_never_synchronized_has_no_time(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    assert_eq!(store.get_metadata().succeed(), None);
    fixture(database)?.put_membership(&database.prefix, "h", &["s.g1"], &[]);
    assert_eq!(store.get_metadata().succeed(), None);
    Ok(())
}

/// The metadata may have a version and no time.
fn version_is_no_time(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    apply(&*store, &including("s.g1", ("", "1234567890"), ["h"]));
    assert_eq!(store.get_metadata().succeed(), None);
    assert_eq!(store.get_version().succeed(), "1234567890");
    Ok(())
}

/// Who is in no list is not known, whoever else is.
fn unknown_context_has_no_membership(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    assert!(store.get_membership("h").succeed().is_none());
    fixture(database)?.put_membership(&database.prefix, "other", &["s.g1"], &[]);
    assert!(store.get_membership("h").succeed().is_none());
    // That is no hash, and so a context of which nothing is known.
    assert!(store.get_membership("").succeed().is_none());
    // Somebody who was in a list and has left it leaves a row without lists in some databases.
    apply(&*store, &including("s.g1", ("", "1"), ["h"]));
    let mut leaves = including("s.g1", ("1", "2"), [""; 0]);
    leaves.included.remove = vec!["h".to_owned()];
    apply(&*store, &leaves);
    assert!(store.get_membership("h").succeed().is_none(), "who has left");
    Ok(())
}

/// One segment and several, in one list and in both.
fn included_and_excluded_are_told_apart(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    let none: &[&str] = &[];
    let table = [
        ("one-in", &["a.g1"][..], none, [Some(true), None, None]),
        ("two-in", &["a.g1", "b.g1"], none, [Some(true), Some(true), None]),
        ("one-out", none, &["a.g1"], [Some(false), None, None]),
        ("two-out", none, &["a.g1", "b.g1"], [Some(false), Some(false), None]),
        ("in-and-out", &["a.g1", "b.g1"], &["b.g1", "c.g1"], [Some(true), Some(true), Some(false)]),
    ];
    for (hash, included, excluded, expected) in table {
        fixture(database)?.put_membership(&database.prefix, hash, included, excluded);
        assert_eq!(known(&*store, hash, ["a.g1", "b.g1", "c.g1"]), expected, "{hash}");
        let membership = store.get_membership(hash).succeed().unwrap_or_default();
        assert_eq!(membership.len(), expected.iter().flatten().count(), "{hash}: {membership:?}");
    }
    Ok(())
}

/// Who is in both lists of a segment is in it.
fn inclusion_beats_exclusion(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    fixture(database)?.put_membership(&database.prefix, "h", &["a.g1"], &["a.g1"]);
    assert_eq!(known(&*store, "h", ["a.g1"]), [Some(true)]);
    Ok(())
}

/// A reference is a segment in a generation, and the first generation may be 0.
fn generations_are_different_segments(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    fixture(database)?.put_membership(&database.prefix, "h", &["a.g1", "a.g0"], &["a.g2"]);
    let expected = [Some(true), Some(true), Some(false), None, None];
    assert_eq!(known(&*store, "h", ["a.g0", "a.g1", "a.g2", "a.g10", "a"]), expected);
    Ok(())
}

/// Every character of base64 occurs in hashes, case counts, and none of it means anything to a database.
fn hashes_are_opaque(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    let hashes = [
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".to_owned(),
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/".to_owned(),
        context_hash("user-key"),
        context_hash("user-key").trim_end_matches('=').to_owned(),
        context_hash("\u{e4} \u{1f600}"),
        "not base64: \u{e4} %_*?'\"".to_owned(),
    ];
    for (n, hash) in hashes.iter().enumerate() {
        fixture(database)?.put_membership(&database.prefix, hash, &[&format!("s{n}.g1")], &[]);
    }
    for (n, hash) in hashes.iter().enumerate() {
        let membership = store.get_membership(hash).succeed().unwrap_or_default();
        let expected = format!("s{n}.g1");
        assert_eq!(membership.iter().collect::<Vec<_>>(), [(expected.as_str(), true)], "{hash}");
    }
    Ok(())
}

/// Half of them included and half of them excluded.
fn ten_thousand_segments_are_all_there(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    let segment_refs: Vec<String> = (0..10_000).map(|n| format!("segment-{n}.g{}", n % 10)).collect();
    let segment_refs: Vec<&str> = segment_refs.iter().map(String::as_str).collect();
    let (included, excluded) = segment_refs.split_at(5_000);
    fixture(database)?.put_membership(&database.prefix, "h", included, excluded);
    let membership = store.get_membership("h").succeed().unwrap_or_default();
    assert_eq!(membership.len(), 10_000);
    for (list, expected) in [(included, Some(true)), (excluded, Some(false))] {
        assert!(list.iter().all(|segment_ref| membership.check_membership(segment_ref) == expected));
    }
    Ok(())
}

/// Neither the time, nor the version, nor a membership.
fn prefixes_share_nothing(database: &Database<'_>) -> Result<(), Skip> {
    let (one, other) = (open(database)?, open_prefix(database, &format!("{}-other", database.prefix))?);
    one.set_metadata(UnixMillis(5)).succeed();
    apply(&*one, &including("s.g1", ("", "1"), ["h"]));
    assert_eq!(other.get_metadata().succeed(), None);
    assert_eq!(other.get_version().succeed(), "");
    assert!(other.get_membership("h").succeed().is_none());
    apply(&*other, &including("t.g1", ("", "2"), ["h"]));
    assert_eq!(known(&*one, "h", ["s.g1", "t.g1"]), [Some(true), None]);
    assert_eq!(known(&*other, "h", ["s.g1", "t.g1"]), [None, Some(true)]);
    Ok(())
}

/// `app1` never sees what is of `app10`.
fn one_prefix_may_begin_with_another(database: &Database<'_>) -> Result<(), Skip> {
    let short = open_prefix(database, &format!("{}1", database.prefix))?;
    let long = open_prefix(database, &format!("{}10", database.prefix))?;
    long.set_metadata(UnixMillis(5)).succeed();
    apply(&*long, &including("s.g1", ("", "1"), ["h", "0h"]));
    assert_eq!(short.get_metadata().succeed(), None);
    assert_eq!(short.get_version().succeed(), "");
    for hash in ["h", "0h"] {
        assert!(short.get_membership(hash).succeed().is_none());
    }
    Ok(())
}

/// What is written is in the database, and in no handle.
fn another_handle_reads_what_one_wrote(database: &Database<'_>) -> Result<(), Skip> {
    let (one, other) = (open(database)?, open(database)?);
    assert!(other.get_membership("h").succeed().is_none());
    one.set_metadata(UnixMillis(5)).succeed();
    apply(&*one, &including("s.g1", ("", "1"), ["h"]));
    assert_eq!(other.get_metadata().succeed(), Some(UnixMillis(5)));
    assert_eq!(other.get_version().succeed(), "1");
    assert_eq!(known(&*other, "h", ["s.g1"]), [Some(true)]);
    Ok(())
}
