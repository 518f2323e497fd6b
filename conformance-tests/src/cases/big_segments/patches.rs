use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use flagstore_core::{BigSegmentPatch, PatchOutcome, UnixMillis};

use super::{apply, including, known, open};
use crate::case::{Case, Database, Skip, Succeed};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(lead_from_one_version_to_the_next),
        Case::new(out_of_order_changes_nothing),
        Case::new(may_stay_at_a_version),
        Case::new(move_a_context_from_one_list_to_the_other),
        Case::new(lists_of_a_segment_are_apart),
        Case::new(leave_other_segments_alone),
        Case::new(without_contexts_lead_to_their_version),
        Case::new(of_many_contexts_are_written_whole),
        Case::new(leave_the_time_alone),
        Case::new(of_one_version_are_applied_once),
        Case::new(are_never_seen_half_done),
    ]
}

/// The pages of a first synchronisation, as the Relay Proxy applies them, and what follows.
fn lead_from_one_version_to_the_next(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    assert_eq!(store.get_version().succeed(), "");
    let page = |number: u32, versions| {
        let mut patch = including("s.g1", versions, [format!("in-{number}a"), format!("in-{number}b")]);
        patch.excluded.add = vec![format!("out-{number}a"), format!("out-{number}b")];
        patch
    };
    apply(&*store, &page(1, ("", "")));
    apply(&*store, &page(2, ("", "")));
    assert_eq!(store.get_version().succeed(), "");
    let mut patch = BigSegmentPatch::new("s.g1", "", "652ec9b7");
    patch.included.remove = vec!["in-1a".to_owned()];
    patch.excluded.remove = vec!["out-1a".to_owned()];
    apply(&*store, &patch);
    assert_eq!(store.get_version().succeed(), "652ec9b7");
    apply(&*store, &page(3, ("652ec9b7", "4b748182")));
    assert_eq!(store.get_version().succeed(), "4b748182");
    for (hash, expected) in [
        ("in-1a", None),
        ("in-1b", Some(true)),
        ("in-2a", Some(true)),
        ("in-3b", Some(true)),
        ("out-1a", None),
        ("out-1b", Some(false)),
        ("out-2b", Some(false)),
        ("out-3a", Some(false)),
    ] {
        assert_eq!(known(&*store, hash, ["s.g1"]), [expected], "{hash}");
    }
    Ok(())
}

/// One that is late, one that comes twice, one whose turn has not come yet. The answer says where the database
/// is.
fn out_of_order_changes_nothing(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    let never = including("s.g1", ("1", "2"), ["never"]);
    assert_eq!(store.apply_patch(&never).succeed(), PatchOutcome::OutOfOrder(String::new()), "at first");
    let first = including("s.g1", ("", "1"), ["a"]);
    apply(&*store, &first);
    apply(&*store, &including("s.g1", ("1", "2"), ["b"]));
    let mut late = first;
    late.included.remove = vec!["a".to_owned(), "b".to_owned()];
    for patch in [late, never, including("s.g1", ("3", "4"), ["never"])] {
        assert_eq!(
            store.apply_patch(&patch).succeed(),
            PatchOutcome::OutOfOrder("2".to_owned()),
            "{patch:?}"
        );
        assert_eq!(store.get_version().succeed(), "2", "{patch:?}");
    }
    for (hash, expected) in [("a", Some(true)), ("b", Some(true)), ("never", None)] {
        assert_eq!(known(&*store, hash, ["s.g1"]), [expected], "{hash}");
    }
    Ok(())
}

/// Several patches may belong to one version.
fn may_stay_at_a_version(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    apply(&*store, &including("s.g1", ("", "1"), ["a"]));
    apply(&*store, &including("s.g1", ("1", "1"), ["b"]));
    apply(&*store, &including("t.g1", ("1", "1"), ["b"]));
    assert_eq!(store.get_version().succeed(), "1");
    assert_eq!(known(&*store, "b", ["s.g1", "t.g1"]), [Some(true), Some(true)]);
    Ok(())
}

/// In one patch, there and back.
fn move_a_context_from_one_list_to_the_other(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    let hash = || vec!["h".to_owned()];
    apply(&*store, &including("s.g1", ("", "1"), hash()));
    let mut out = BigSegmentPatch::new("s.g1", "1", "2");
    (out.included.remove, out.excluded.add) = (hash(), hash());
    apply(&*store, &out);
    assert_eq!(known(&*store, "h", ["s.g1"]), [Some(false)]);
    let mut back = including("s.g1", ("2", "3"), hash());
    back.excluded.remove = hash();
    apply(&*store, &back);
    assert_eq!(known(&*store, "h", ["s.g1"]), [Some(true)]);
    Ok(())
}

/// Who is in both lists and leaves one is still in the other.
fn lists_of_a_segment_are_apart(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    let mut both = including("s.g1", ("", "1"), ["h"]);
    both.excluded.add = vec!["h".to_owned()];
    apply(&*store, &both);
    assert_eq!(known(&*store, "h", ["s.g1"]), [Some(true)]);
    let mut leaves = BigSegmentPatch::new("s.g1", "1", "2");
    leaves.included.remove = vec!["h".to_owned()];
    apply(&*store, &leaves);
    assert_eq!(known(&*store, "h", ["s.g1"]), [Some(false)]);
    Ok(())
}

/// A patch is of one segment in one generation.
fn leave_other_segments_alone(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    apply(&*store, &including("s.g1", ("", "1"), ["h"]));
    apply(&*store, &including("s.g2", ("1", "2"), ["h"]));
    let mut leaves = BigSegmentPatch::new("s.g1", "2", "3");
    leaves.included.remove = vec!["h".to_owned(), "nobody".to_owned()];
    apply(&*store, &leaves);
    assert_eq!(known(&*store, "h", ["s.g1", "s.g2"]), [None, Some(true)]);
    Ok(())
}

/// What has changed may be nothing that anybody sees.
fn without_contexts_lead_to_their_version(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    apply(&*store, &BigSegmentPatch::new("s.g1", "", "1"));
    assert_eq!(store.get_version().succeed(), "1");
    Ok(())
}

/// More than any database writes at once, and again, as after an interruption.
fn of_many_contexts_are_written_whole(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    let hashes = |count: usize| (0..count).map(|n| format!("h{n}"));
    for (count, versions) in [(50, ("", "1")), (99, ("1", "2")), (100, ("2", "3")), (350, ("3", "4"))] {
        let segment_ref = format!("s{count}.g1");
        apply(&*store, &including(&segment_ref, versions, hashes(count)));
        assert_eq!(store.get_version().succeed(), versions.1);
        for hash in hashes(count) {
            assert_eq!(known(&*store, &hash, [&segment_ref]), [Some(true)], "{hash} of {count}");
        }
        assert_eq!(known(&*store, &format!("h{count}"), [&segment_ref]), [None]);
    }
    Ok(())
}

/// Nor does a time change the version.
fn leave_the_time_alone(database: &Database<'_>) -> Result<(), Skip> {
    let store = open(database)?;
    store.set_metadata(UnixMillis(99_999)).succeed();
    assert_eq!(store.get_version().succeed(), "");
    apply(&*store, &including("s.g1", ("", "1"), ["h"]));
    assert_eq!(store.get_metadata().succeed(), Some(UnixMillis(99_999)));
    for millis in [100_000, 5] {
        store.set_metadata(UnixMillis(millis)).succeed();
        assert_eq!(store.get_metadata().succeed(), Some(UnixMillis(millis)));
    }
    assert_eq!(store.get_version().succeed(), "1");
    assert_eq!(known(&*store, "h", ["s.g1"]), [Some(true)]);
    Ok(())
}

/// Of several who write at the same time, one leads from each version to the next, and nobody else's patch is
/// stored.
fn of_one_version_are_applied_once(database: &Database<'_>) -> Result<(), Skip> {
    const WRITERS: usize = 4;
    let stores = (0..WRITERS).map(|_| open(database)).collect::<Result<Vec<_>, _>>()?;
    for round in 0..10 {
        let (before, after) = (version(round), version(round + 1));
        let applied: Vec<bool> = thread::scope(|scope| {
            let write = |writer: usize| {
                let patch = including("s.g1", (&before, &after), [format!("{round}-{writer}")]);
                // What somebody else's transaction is in the way of may say so, and has not happened then.
                matches!(stores[writer].apply_patch(&patch), Ok(PatchOutcome::Applied))
            };
            let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
            writers.into_iter().map(|writer| writer.join().unwrap_or_default()).collect()
        });
        let winners = applied.iter().filter(|applied| **applied).count();
        assert!(winners <= 1, "round {round}: {winners} were applied");
        if winners == 0 {
            apply(&*stores[0], &BigSegmentPatch::new("s.g1", before, after));
        }
        for (writer, applied) in applied.into_iter().enumerate() {
            let expected = applied.then_some(true);
            assert_eq!(known(&*stores[0], &format!("{round}-{writer}"), ["s.g1"]), [expected], "{writer}");
        }
    }
    Ok(())
}

fn version(number: usize) -> String {
    if number == 0 { String::new() } else { format!("version-{number}") }
}

/// A context that moves is always in one of the lists, and who sees what a patch has done to one context sees
/// what it has done to the next.
fn are_never_seen_half_done(database: &Database<'_>) -> Result<(), Skip> {
    const ROUNDS: usize = 200;
    if !database.fixture.init_is_atomic() {
        return Err(Skip("the fixture says that not every write is atomic"));
    }
    let (store, reader) = (open(database)?, open(database)?);
    let hashes = || (0..30).map(|n| format!("h{n:02}")).collect::<Vec<_>>();
    apply(&*store, &including("moves.g1", ("", &version(1)), hashes()));
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done(&is_done);
            for round in 1..ROUNDS {
                let mut patch = BigSegmentPatch::new("moves.g1", version(round), version(round + 1));
                let (from, to) = match round % 2 {
                    0 => (&mut patch.excluded, &mut patch.included),
                    _ => (&mut patch.included, &mut patch.excluded),
                };
                (from.remove, to.add) = (hashes(), hashes());
                apply(&*store, &patch);
                apply(
                    &*store,
                    &including(
                        &format!("grows.g{round}"),
                        (&version(round + 1), &version(round + 1)),
                        hashes(),
                    ),
                );
            }
        });
        while !is_done.load(Ordering::Acquire) {
            let first = reader.get_membership("h00").succeed().unwrap_or_default();
            let last = reader.get_membership("h29").succeed().unwrap_or_default();
            for membership in [&first, &last] {
                assert!(membership.check_membership("moves.g1").is_some(), "half way from list to list");
            }
            for (segment_ref, _) in first.iter() {
                assert!(last.check_membership(segment_ref).is_some(), "{segment_ref}: half a patch");
            }
        }
    });
    Ok(())
}

/// Sets it, also when the writer panics.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
