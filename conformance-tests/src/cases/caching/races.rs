use std::thread;
use std::time::Duration;

use flagstore_core::{AllData, ErrorKind, Item, Kind};

use super::{Setup, caching, forever};
use crate::case::{Case, Database, Succeed, flags, item};
use crate::controlled::Operation;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(update_beats_a_read_that_began_before_it),
        Case::new(update_beats_a_miss_that_began_before_it),
        Case::new(deletion_beats_a_read_that_began_before_it),
        Case::new(failed_update_beats_a_read_that_began_before_it),
        Case::new(init_beats_a_read_that_began_before_it),
        Case::new(init_with_a_lower_version_beats_a_read_that_began_before_it),
        Case::new(init_without_the_item_beats_a_read_that_began_before_it),
        Case::new(invalidation_beats_a_read_that_began_before_it),
        Case::new(disabling_beats_a_read_that_began_before_it),
        Case::new(two_reads_that_cross_leave_the_newer_item),
        Case::new(reader_after_an_update_gets_it_from_a_read_that_was_forgotten),
        Case::new(invalidation_beats_a_write_that_began_before_it),
        Case::new(writes_that_overlap_are_cached_in_the_order_of_the_database),
    ]
}

const MOMENT: Duration = Duration::from_millis(1);

/// The two ways to read: one item, or all of them.
const READS: [Operation; 2] = [Operation::Get, Operation::GetAll];

fn read(setup: &Setup, operation: Operation) -> Option<u64> {
    match operation {
        Operation::GetAll => setup.version_among_all("a"),
        _ => setup.version("a"),
    }
}

/// A reader is given its answer by the database, and before that arrives the rest happens.
fn while_a_read_is_slow(setup: &Setup, operation: Operation, meanwhile: impl FnOnce()) {
    thread::scope(|scope| {
        let gate = setup.hold(operation);
        scope.spawn(|| read(setup, operation));
        gate.wait();
        meanwhile();
        gate.open();
    });
}

/// What a reader gets who asks now, which he does not have to wait for.
fn read_now(setup: &Setup, operation: Operation) -> Option<u64> {
    thread::scope(|scope| {
        let reader = scope.spawn(|| read(setup, operation));
        setup.wait_for("a reader who should not have to wait", || reader.is_finished());
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// From now on every reader gets this version.
fn assert_everybody_reads(setup: &Setup, version: Option<u64>) {
    assert_eq!(setup.version("a"), version, "{setup}: an older item is served");
    assert_eq!(setup.version_among_all("a"), version, "{setup}: an older item is served among all");
}

/// Both ways to read, in both modes of caching, begin with this version stored, and end with that one served.
fn race(
    database: &Database<'_>,
    stored: Option<u64>,
    expected: Option<u64>,
    meanwhile: impl Fn(&Setup, Operation),
) {
    for operation in READS {
        for setup in caching(database) {
            if let Some(stored) = stored {
                setup.another_writes("a", stored);
            }
            while_a_read_is_slow(&setup, operation, || meanwhile(&setup, operation));
            assert_everybody_reads(&setup, expected);
        }
    }
}

/// What is read before an update and arrives after it is too old, for the cache and for later readers.
fn update_beats_a_read_that_began_before_it(database: &Database<'_>) {
    race(database, Some(1), Some(2), |setup, _| {
        setup.update("a", 2);
        assert_eq!(setup.version("a"), Some(2), "{setup}: after the update, before the read arrives");
    });
}

/// That there was none before an update says nothing after it.
fn update_beats_a_miss_that_began_before_it(database: &Database<'_>) {
    race(database, None, Some(1), |setup, _| {
        setup.update("a", 1);
        assert_eq!(setup.version("a"), Some(1), "{setup}: after the update, before the read arrives");
    });
}

/// A deleted item does not come back.
fn deletion_beats_a_read_that_began_before_it(database: &Database<'_>) {
    race(database, Some(1), None, |setup, _| {
        let _ = setup.store.delete(&Kind::FEATURES, "a", 2).succeed();
        assert_eq!(setup.get("a"), None, "{setup}: after the deletion, before the read arrives");
    });
}

/// With Forever an update counts that the database has not taken.
fn failed_update_beats_a_read_that_began_before_it(database: &Database<'_>) {
    for operation in READS {
        let setup = Setup::new(database, forever());
        setup.another_writes("a", 1);
        while_a_read_is_slow(&setup, operation, || {
            setup.core.fail_exactly(&[Operation::Upsert, Operation::IsAvailable], ErrorKind::Timeout);
            setup.upsert_in_vain("a", 2);
        });
        assert_everybody_reads(&setup, Some(2));
    }
}

/// What is read before an init and arrives after it is too old.
fn init_beats_a_read_that_began_before_it(database: &Database<'_>) {
    race(database, Some(1), Some(2), |setup, operation| {
        setup.store.init(&flags([("a", item("a", 2, ""))])).succeed();
        assert_eq!(read_now(setup, operation), Some(2), "{setup}: after the init, before the read arrives");
    });
}

/// An init is newer than what it replaces, whatever the versions say.
fn init_with_a_lower_version_beats_a_read_that_began_before_it(database: &Database<'_>) {
    race(database, Some(5), Some(3), |setup, operation| {
        setup.store.init(&flags([("a", item("a", 3, ""))])).succeed();
        assert_eq!(read_now(setup, operation), Some(3), "{setup}: after the init, before the read arrives");
    });
}

/// What an init has removed does not come back.
fn init_without_the_item_beats_a_read_that_began_before_it(database: &Database<'_>) {
    race(database, Some(5), None, |setup, operation| {
        setup.store.init(&flags([("b", item("b", 1, ""))])).succeed();
        assert_eq!(read_now(setup, operation), None, "{setup}: after the init, before the read arrives");
    });
}

/// What was read before an invalidation is forgotten by it, and who asks after it does not wait for the old.
fn invalidation_beats_a_read_that_began_before_it(database: &Database<'_>) {
    let invalidate: [fn(&Setup); 3] = [
        |setup| setup.store.invalidate(&Kind::FEATURES, "a"),
        |setup| setup.store.invalidate_kind(&Kind::FEATURES),
        |setup| setup.store.invalidate_all(),
    ];
    for invalidate in invalidate {
        race(database, Some(1), Some(2), |setup, operation| {
            setup.another_writes("a", 2);
            invalidate(setup);
            assert_eq!(read_now(setup, operation), Some(2), "{setup}: after the invalidation");
        });
    }
}

/// A cache that is disabled takes nothing any more.
fn disabling_beats_a_read_that_began_before_it(database: &Database<'_>) {
    race(database, Some(1), Some(2), |setup, operation| {
        setup.another_writes("a", 2);
        setup.store.disable_cache();
        assert_eq!(read_now(setup, operation), Some(2), "{setup}: after it was disabled");
    });
}

/// One item and all of them are read at once: whichever comes last, the newer counts.
fn two_reads_that_cross_leave_the_newer_item(database: &Database<'_>) {
    for (slow, fast) in [(READS[0], READS[1]), (READS[1], READS[0])] {
        for setup in caching(database) {
            setup.another_writes("a", 1);
            while_a_read_is_slow(&setup, slow, || {
                setup.another_writes("a", 2);
                assert_eq!(read_now(&setup, fast), Some(2), "{setup}");
            });
            setup.without_the_database(|| assert_everybody_reads(&setup, Some(2)));
        }
    }
}

/// Who asks after an update and waits for a read from before it gets the update, also if that read is forgotten
/// by the cache before it arrives.
fn reader_after_an_update_gets_it_from_a_read_that_was_forgotten(database: &Database<'_>) {
    for setup in caching(database) {
        setup.another_writes("a", 1);
        let misses = || setup.store.statistics().map_or(0, |statistics| statistics.misses);
        thread::scope(|scope| {
            let gate = setup.hold(Operation::GetAll);
            scope.spawn(|| setup.all());
            gate.wait();
            setup.update("a", 2);
            let before = misses();
            let late = scope.spawn(|| setup.version_among_all("a"));
            setup.wait_for("the late reader", || misses() > before || late.is_finished());
            setup.store.invalidate_all();
            gate.open();
            let version = late.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            assert_eq!(version, Some(2), "{setup}");
        });
    }
}

/// What we wrote may have been changed by somebody else, whose change made the cache forget.
fn invalidation_beats_a_write_that_began_before_it(database: &Database<'_>) {
    let data = || AllData::new().with(Kind::FEATURES, [("a", item("a", 2, "ours"))]);
    for operation in [Operation::Upsert, Operation::Init] {
        for setup in caching(database) {
            thread::scope(|scope| {
                let gate = setup.hold(operation);
                scope.spawn(|| match operation {
                    Operation::Init => setup.store.init(&data()).succeed(),
                    _ => setup.update("a", 2),
                });
                gate.wait();
                setup.another_writes("a", 3);
                setup.store.invalidate_all();
                gate.open();
            });
            assert_everybody_reads(&setup, Some(3));
            let stored = setup.core.inner().get(&Kind::FEATURES, "a").succeed();
            assert_eq!(stored.as_ref().map(Item::version), Some(3), "{setup}");
        }
    }
}

/// While an init has reached the database and not yet the cache, an update or another init comes. Whatever the
/// cache does about it, in the end it has what is stored.
fn writes_that_overlap_are_cached_in_the_order_of_the_database(database: &Database<'_>) {
    let data = |version| flags([("a", item("a", version, "ours"))]);
    let later: [&(dyn Fn(&Setup) + Sync); 2] = [
        &|setup| setup.update("a", 5),
        // An init ignores versions, so this one is lower.
        &|setup| setup.store.init(&data(1)).succeed(),
    ];
    for later in later {
        for setup in caching(database) {
            thread::scope(|scope| {
                let gate = setup.hold(Operation::Init);
                scope.spawn(|| setup.store.init(&data(3)).succeed());
                gate.wait();
                let later = scope.spawn(|| later(&setup));
                // One that waits for the first is right, and one that is done by then is put to the test.
                (0..20).take_while(|_| !later.is_finished()).for_each(|_| thread::sleep(MOMENT));
                gate.open();
            });
            assert_everybody_reads(&setup, setup.stored("a"));
        }
    }
}
