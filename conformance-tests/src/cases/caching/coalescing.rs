use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use flagstore_core::{ErrorKind, FeatureStoreCore, Kind, StoreError};

use super::{Setup, caching, finite};
use crate::case::{Case, Database, Succeed, tombstone};
use crate::controlled::Operation;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(many_who_miss_an_item_make_one_call),
        Case::new(many_who_miss_all_items_make_one_call),
        Case::new(they_share_an_error_that_is_not_cached),
        Case::new(a_store_that_panics_leaves_nobody_waiting),
        Case::new(a_slow_item_delays_no_other),
        Case::new(a_hit_waits_for_nobody),
    ]
}

const THREADS: usize = 1_000;

/// What a reader does: it reads the item, or all of them.
type Read = fn(&Setup) -> Result<Option<u64>, StoreError>;

const READS: [(Operation, Read); 2] = [
    (Operation::Get, |setup| Ok(setup.store.get(&Kind::FEATURES, "a")?.map(|item| item.version()))),
    (Operation::GetAll, |setup| Ok(setup.store.all(&Kind::FEATURES)?.get("a").map(|item| item.version()))),
];

/// Many threads read at once, while the database takes its time. `then` is done when all have missed.
fn read_at_once(
    setup: &Setup,
    (operation, read): (Operation, Read),
) -> Vec<thread::Result<Result<Option<u64>, StoreError>>> {
    let misses = || setup.store.statistics().map_or(0, |statistics| statistics.misses);
    let before = misses();
    thread::scope(|scope| {
        let gate = setup.hold(operation);
        let reader = || scope.spawn(|| catch_unwind(AssertUnwindSafe(|| read(setup))));
        let readers: Vec<_> = (0..THREADS).map(|_| reader()).collect();
        gate.wait();
        setup.wait_for("all readers", || misses() - before == THREADS as u64);
        gate.open();
        readers.into_iter().map(|reader| reader.join().and_then(|outcome| outcome)).collect()
    })
}

fn assert_one_call(database: &Database<'_>, read: (Operation, Read)) {
    for setup in caching(database) {
        setup.another_writes("a", 7);
        let before = setup.core.calls(read.0);
        for outcome in read_at_once(&setup, read) {
            let version = outcome.unwrap_or_else(|_| panic!("{setup}: a reader panicked")).succeed();
            assert_eq!(version, Some(7), "{setup}");
        }
        assert_eq!(setup.core.calls(read.0) - before, 1, "{setup}: calls of the database");
    }
}

/// Sixty threads want one flag that nobody has read yet.
fn many_who_miss_an_item_make_one_call(database: &Database<'_>) {
    assert_one_call(database, READS[0]);
}

/// Sixty threads want all flags.
fn many_who_miss_all_items_make_one_call(database: &Database<'_>) {
    assert_one_call(database, READS[1]);
}

/// Who waits is given the error too, and who asks after that asks the database.
fn they_share_an_error_that_is_not_cached(database: &Database<'_>) {
    // A thread that is late, between its miss and the queue, rightly asks again. So not every attempt is one
    // call, but one of a few is.
    const ATTEMPTS: usize = 50;
    for read in READS {
        for setup in caching(database) {
            setup.core.fail_only(read.0, ErrorKind::Other);
            let is_one_call = |_| {
                let before = setup.core.calls(read.0);
                for outcome in read_at_once(&setup, read) {
                    let error = outcome.map(|result| result.map_err(|error| error.kind()));
                    assert!(matches!(error, Ok(Err(ErrorKind::Other))), "{setup}: {:?}", read.0);
                }
                setup.core.calls(read.0) - before == 1
            };
            assert!((0..ATTEMPTS).any(is_one_call), "{setup}: {:?}: the error is not shared", read.0);
            setup.core.heal();
            setup.another_writes("a", 1);
            assert_eq!((read.1)(&setup).succeed(), Some(1), "{setup}: {:?}: the error is cached", read.0);
        }
    }
}

/// The panic is for the one who called the database. The others get an error or try for themselves.
fn a_store_that_panics_leaves_nobody_waiting(database: &Database<'_>) {
    for read in READS {
        for setup in caching(database) {
            setup.another_writes("a", 1);
            setup.core.panic_once(read.0);
            let outcomes = read_at_once(&setup, read);
            let panicked = outcomes.iter().filter(|outcome| outcome.is_err()).count();
            assert_eq!(panicked, 1, "{setup}: {:?}: so many readers panicked", read.0);
            assert_eq!((read.1)(&setup).succeed(), Some(1), "{setup}: {:?}: it works again", read.0);
        }
    }
}

/// Only who wants the same thing waits for it.
fn a_slow_item_delays_no_other(database: &Database<'_>) {
    let setup = Setup::new(database, finite());
    let other = tombstone("s", 1);
    let _ = setup.core.inner().upsert(&Kind::SEGMENTS, "s", &other).succeed();
    setup.another_writes("a", 1);
    setup.another_writes("b", 2);
    thread::scope(|scope| {
        let gate = setup.hold(Operation::Get);
        let slow = scope.spawn(|| setup.version("a"));
        gate.wait();
        assert_eq!(setup.version("b"), Some(2));
        assert!(setup.store.all(&Kind::SEGMENTS).succeed().is_empty());
        gate.open();
        assert_eq!(slow.join().unwrap_or_default(), Some(1));
    });
}

/// What is cached is there at once, whatever the database does.
fn a_hit_waits_for_nobody(database: &Database<'_>) {
    for (operation, read) in READS {
        for setup in caching(database) {
            setup.another_writes("a", 1);
            assert_eq!((setup.version("a"), setup.all().len()), (Some(1), 1), "{setup}");
            thread::scope(|scope| {
                let gate = setup.hold(operation);
                scope.spawn(|| match operation {
                    Operation::Get => drop(setup.store.get(&Kind::FEATURES, "b")),
                    _ => drop(setup.store.all(&Kind::SEGMENTS)),
                });
                gate.wait();
                setup.without_the_database(|| assert_eq!(read(&setup).succeed(), Some(1), "{setup}"));
                gate.open();
            });
        }
    }
}
