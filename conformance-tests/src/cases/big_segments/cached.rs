use std::thread;
use std::time::Duration;

use flagstore_core::{BigSegmentsStatus, ErrorKind, context_hash};

use super::wrapped::{Setup, hashes};
use crate::BigSegmentsSettings;
use crate::case::{Case, Database, Skip};
use crate::controlled_big_segments::Query;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(store_is_asked_for_the_hash),
        Case::new(known_context_is_asked_for_once),
        Case::new(unknown_context_is_asked_for_once),
        Case::new(contexts_are_asked_for_one_by_one),
        Case::new(what_is_too_old_is_asked_for_again),
        Case::new(context_that_was_not_used_the_longest_makes_room),
        Case::new(so_many_contexts_are_cached_and_no_more),
        Case::new(error_is_told_and_not_cached),
        Case::new(many_who_ask_for_a_context_make_one_query),
        Case::new(they_share_an_error),
        Case::new(slow_context_delays_no_other),
        Case::new(hit_waits_for_nobody),
        Case::new(cleared_cache_is_filled_anew),
        Case::new(clearing_beats_a_query_that_began_before_it),
        Case::new(store_that_panics_is_an_error),
        Case::new(stopped_wrapper_asks_nobody),
    ]
}

fn long() -> BigSegmentsSettings {
    BigSegmentsSettings::long()
}

/// Nobody but the application sees the key.
fn store_is_asked_for_the_hash(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &long())?;
    setup.include("user-key", &["s.g1"]);
    assert_eq!(setup.check("user-key", "s.g1"), Some(true));
    assert_eq!(setup.trust("user-key"), BigSegmentsStatus::Healthy);
    assert_eq!(setup.store.memberships(), ["CEXjZY7cHJG/ydFy7q4+YEFwVrG3/pkJwA4FAjrbfx0="]);
    Ok(())
}

/// Also where somebody has changed it since.
fn known_context_is_asked_for_once(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &long())?;
    setup.include("a", &["s.g1"]);
    assert_eq!(setup.check("a", "s.g1"), Some(true));
    setup.include("a", &["t.g1"]);
    for _ in 0..10 {
        assert_eq!((setup.check("a", "s.g1"), setup.check("a", "t.g1")), (Some(true), None));
    }
    assert_eq!(setup.store.memberships(), hashes(["a"]));
    Ok(())
}

/// That nothing is known is worth as much (bug 44 of peers), and is no exclusion (bug 41).
fn unknown_context_is_asked_for_once(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &long())?;
    for _ in 0..10 {
        assert_eq!(setup.check("nobody", "s.g1"), None);
        assert_eq!(setup.trust("nobody"), BigSegmentsStatus::Healthy);
    }
    assert_eq!(setup.store.memberships(), hashes(["nobody"]));
    Ok(())
}

/// Each has its own answer.
fn contexts_are_asked_for_one_by_one(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &long())?;
    setup.include("a", &["s.g1"]);
    setup.include("b", &["t.g1"]);
    for _ in 0..2 {
        assert_eq!((setup.check("a", "s.g1"), setup.check("a", "t.g1")), (Some(true), None));
        assert_eq!((setup.check("b", "s.g1"), setup.check("b", "t.g1")), (None, Some(true)));
    }
    assert_eq!(setup.store.memberships(), hashes(["a", "b"]));
    Ok(())
}

/// What is known has an end, and that nothing is known has one too.
fn what_is_too_old_is_asked_for_again(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(
        database,
        &BigSegmentsSettings { context_cache_time: Duration::from_millis(10), ..long() },
    )?;
    assert_eq!(setup.check("a", "s.g1"), None);
    setup.include("a", &["s.g1"]);
    setup.wait_for("the new membership", || setup.check("a", "s.g1") == Some(true));
    setup.include("a", &["t.g1"]);
    setup.wait_for("another one", || setup.check("a", "t.g1") == Some(true));
    Ok(())
}

/// Exactly that one, as the official harness wants it, and being used counts.
fn context_that_was_not_used_the_longest_makes_room(database: &Database<'_>) -> Result<(), Skip> {
    let two = BigSegmentsSettings { context_cache_size: 2, ..long() };
    for (asked, queries) in [
        (&["1", "2", "3", "1"][..], &["1", "2", "3", "1"][..]),
        (&["1", "2", "3", "3", "2", "1"], &["1", "2", "3", "1"]),
        (&["1", "2", "1", "3", "1", "2"], &["1", "2", "3", "2"]),
        (&["1", "2", "1", "1", "2", "1", "3", "2"], &["1", "2", "3", "2"]),
    ] {
        let setup = Setup::new(database, &two)?;
        for key in asked {
            setup.check(key, "s.g1");
        }
        let queries: Vec<String> = queries.iter().map(|key| context_hash(key)).collect();
        assert_eq!(setup.store.memberships(), queries, "asked for {asked:?}");
    }
    Ok(())
}

/// As many as were configured, in the same order.
fn so_many_contexts_are_cached_and_no_more(database: &Database<'_>) -> Result<(), Skip> {
    const SIZE: usize = 100;
    let setup = Setup::new(database, &BigSegmentsSettings { context_cache_size: SIZE as u64, ..long() })?;
    let keys: Vec<String> = (0..3 * SIZE).map(|n| format!("context-{n}")).collect();
    for key in &keys {
        setup.check(key, "s.g1");
    }
    assert_eq!(setup.store.memberships().len(), 3 * SIZE);
    setup.without_a_query(|| {
        for key in &keys[2 * SIZE..] {
            setup.check(key, "s.g1");
        }
    });
    for key in &keys[..2 * SIZE] {
        setup.check(key, "s.g1");
    }
    assert_eq!(setup.store.memberships().len(), 5 * SIZE, "more were cached");
    Ok(())
}

/// Who asks is told that the store has failed, and asks it again the next time.
fn error_is_told_and_not_cached(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &long())?;
    setup.include("a", &["s.g1"]);
    setup.store.fail(Query::Membership, ErrorKind::Other);
    for _ in 0..2 {
        let result = setup.wrapper.get_membership("a");
        assert_eq!(result.status, BigSegmentsStatus::StoreError);
        assert!(result.membership.is_empty());
    }
    setup.store.heal();
    let result = setup.wrapper.get_membership("a");
    assert_eq!(result.status, BigSegmentsStatus::Healthy);
    assert_eq!(result.membership.check_membership("s.g1"), Some(true));
    assert_eq!(setup.store.memberships(), hashes(["a", "a", "a"]));
    Ok(())
}

const THREADS: usize = 1_000;

/// Many threads ask for one context while the store takes its time, and what they are told.
fn ask_at_once(setup: &Setup<'_>) -> Vec<(Option<bool>, BigSegmentsStatus)> {
    let wrapper = &setup.wrapper;
    thread::scope(|scope| {
        let gate = setup.store.hold(Query::Membership, setup.patience);
        let ask = || {
            let result = wrapper.get_membership("a");
            (result.membership.check_membership("s.g1"), result.status)
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
        gate.wait();
        gate.open();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| panic!("a thread panicked")))
            .collect()
    })
}

/// A thousand threads, one query.
fn many_who_ask_for_a_context_make_one_query(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &long())?;
    setup.include("a", &["s.g1"]);
    for answer in ask_at_once(&setup) {
        assert_eq!(answer, (Some(true), BigSegmentsStatus::Healthy));
    }
    assert_eq!(setup.store.memberships(), hashes(["a"]));
    Ok(())
}

/// Who waits for a query is given its error too.
fn they_share_an_error(database: &Database<'_>) -> Result<(), Skip> {
    // A thread that comes after the error rightly asks again. So not every attempt has fewer queries than
    // threads, but one of a few has.
    const ATTEMPTS: usize = 50;
    let setup = Setup::new(database, &long())?;
    setup.store.fail(Query::Membership, ErrorKind::Other);
    let is_shared = |_| {
        let before = setup.store.memberships().len();
        for answer in ask_at_once(&setup) {
            assert_eq!(answer, (None, BigSegmentsStatus::StoreError));
        }
        setup.store.memberships().len() - before < THREADS / 2
    };
    assert!((0..ATTEMPTS).any(is_shared), "the error is not shared");
    Ok(())
}

/// Only who wants the same context waits for it.
fn slow_context_delays_no_other(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &long())?;
    setup.include("b", &["s.g1"]);
    let wrapper = &setup.wrapper;
    thread::scope(|scope| {
        let gate = setup.store.hold(Query::Membership, setup.patience);
        scope.spawn(|| wrapper.get_membership("a"));
        gate.wait();
        assert_eq!(setup.check("b", "s.g1"), Some(true));
        gate.open();
    });
    Ok(())
}

/// What is cached is there at once, whatever the store does, and whether or not it can be asked for its status.
fn hit_waits_for_nobody(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &long())?;
    setup.include("a", &["s.g1"]);
    assert_eq!(setup.check("a", "s.g1"), Some(true));
    let wrapper = &setup.wrapper;
    thread::scope(|scope| {
        let gate = setup.store.hold(Query::Membership, setup.patience);
        scope.spawn(|| wrapper.get_membership("b"));
        gate.wait();
        setup.without_a_query(|| assert_eq!(setup.check("a", "s.g1"), Some(true)));
        gate.open();
    });
    Ok(())
}

/// Clearing is for when the data is known to have changed.
fn cleared_cache_is_filled_anew(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &long())?;
    assert_eq!(setup.check("a", "s.g1"), None);
    setup.include("a", &["s.g1"]);
    assert_eq!(setup.check("a", "s.g1"), None);
    setup.wrapper.clear_cache();
    for _ in 0..2 {
        assert_eq!(setup.check("a", "s.g1"), Some(true));
    }
    assert_eq!(setup.store.memberships(), hashes(["a", "a"]));
    Ok(())
}

/// What a query brings that began before is old, and does not get into the cache (moka's own way lets it in).
fn clearing_beats_a_query_that_began_before_it(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &long())?;
    let wrapper = &setup.wrapper;
    thread::scope(|scope| {
        let gate = setup.store.hold(Query::Membership, setup.patience);
        let early = scope.spawn(|| wrapper.get_membership("a"));
        gate.wait();
        setup.include("a", &["s.g1"]);
        setup.wrapper.clear_cache();
        assert_eq!(setup.check("a", "s.g1"), Some(true), "after the clearing");
        gate.open();
        assert!(early.join().is_ok());
    });
    assert_eq!(setup.check("a", "s.g1"), Some(true), "when the query was back");
    Ok(())
}

/// Whoever evaluates a flag does not panic with it, nobody waits for ever, and the next one asks again.
fn store_that_panics_is_an_error(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &long())?;
    setup.include("a", &["s.g1"]);
    setup.store.panic_once(Query::Membership);
    assert_eq!(setup.trust("a"), BigSegmentsStatus::StoreError);
    assert_eq!(setup.check("a", "s.g1"), Some(true));
    Ok(())
}

/// It has stopped its store, once, and let go of it.
fn stopped_wrapper_asks_nobody(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &long())?;
    setup.include("a", &["s.g1"]);
    assert_eq!(setup.check("a", "s.g1"), Some(true));
    setup.wrapper.stop();
    setup.wrapper.stop();
    setup.without_a_query(|| {
        let result = setup.wrapper.get_membership("a");
        assert_eq!((result.membership.len(), result.status), (0, BigSegmentsStatus::StoreError));
    });
    assert_eq!(setup.store.stops(), 1);
    setup.wait_for("the end of its handle on the store", || std::sync::Arc::strong_count(&setup.store) == 1);
    Ok(())
}
