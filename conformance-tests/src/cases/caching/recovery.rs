use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use flagstore_core::{AllData, ErrorKind, FeatureStoreCore, Kind};

use super::{HEALTHY, STALE, Setup, UNAVAILABLE, empty, every_mode, forever, keeping, with_refill};
use crate::case::{Case, Database, Succeed, flags, item, tombstone};
use crate::controlled::Operation;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(writes_what_has_failed_before_it_is_available),
        Case::new(is_unavailable_while_that_fails),
        Case::new(never_puts_older_over_newer),
        Case::new(after_a_loss_everything_is_initialized_again),
        Case::new(after_a_loss_the_newest_known_comes_back),
        Case::new(failed_init_is_written_as_an_init),
        Case::new(failed_init_spares_what_is_newer_and_other_kinds),
        Case::new(part_of_the_data_never_passes_for_all_of_it),
        Case::new(kind_that_was_never_initialized_here_is_not_filled_in),
        Case::new(of_two_that_failed_the_newer_is_written),
        Case::new(update_during_an_init_outlives_a_loss),
        Case::new(update_during_a_recovery_is_not_lost),
        Case::new(update_that_is_acknowledged_during_a_recovery_is_not_lost),
        Case::new(init_during_a_recovery_is_not_lost),
        Case::new(update_after_a_failed_init_need_not_be_newer_than_what_that_removed),
        Case::new(update_after_an_init_that_failed_during_a_recovery_is_not_lost),
        Case::new(init_while_updates_are_written_back_is_not_undone),
        Case::new(update_after_a_failed_init_outlives_its_repetition),
        Case::new(what_was_forgotten_is_read_as_it_was_written),
        Case::new(too_large_an_item_is_no_obstacle),
        Case::new(store_that_panics_is_tried_again),
        Case::new(database_holds_the_newest_of_everything),
        Case::new(updates_of_many_outages_are_all_there),
    ]
}

/// What is stored of a kind: versions, and whether they are of tombstones.
fn stored(setup: &Setup, kind: &Kind) -> BTreeMap<String, (u64, bool)> {
    let items = setup.core.inner().get_all(kind).succeed().by_key;
    items.into_iter().map(|(key, item)| (key, (item.version(), item.is_deleted()))).collect()
}

fn expected<const N: usize>(items: [(&str, u64, bool); N]) -> BTreeMap<String, (u64, bool)> {
    items.map(|(key, version, is_deleted)| (key.to_owned(), (version, is_deleted))).into()
}

fn init(setup: &Setup) {
    let data = flags([("a", item("a", 1, "")), ("b", item("b", 1, ""))]);
    setup.store.init(&data.with(Kind::SEGMENTS, [("s", item("s", 1, ""))])).succeed();
}

/// As soon as the status says that all is well, all is.
fn writes_what_has_failed_before_it_is_available(database: &Database<'_>) {
    for setup in keeping(database) {
        init(&setup);
        setup.begin_outage();
        setup.upsert_in_vain("a", 2);
        setup.upsert_in_vain("new", 1);
        assert!(setup.store.delete(&Kind::FEATURES, "b", 2).is_err(), "{setup}");
        setup.end_outage(HEALTHY);
        let features = expected([("a", 2, false), ("b", 2, true), ("new", 1, false)]);
        assert_eq!(stored(&setup, &Kind::FEATURES), features, "{setup}");
        assert_eq!(setup.all(), [("a".to_owned(), 2), ("new".to_owned(), 1)], "{setup}");
        assert_eq!((setup.version("a"), setup.get("b")), (Some(2), None), "{setup}");
    }
}

/// A database that is back and cannot be brought up to date is of no use yet.
fn is_unavailable_while_that_fails(database: &Database<'_>) {
    let steps = [Operation::IsAvailable, Operation::IsInitialized, Operation::Upsert];
    for step in steps {
        for setup in keeping(database) {
            init(&setup);
            setup.begin_outage();
            setup.upsert_in_vain("a", 2);
            setup.core.fail_exactly(&[step], ErrorKind::Unavailable);
            let tries = setup.core.calls(step);
            setup.wait_for("some tries", || setup.core.calls(step) > tries + 3);
            assert_eq!(setup.store.status(), UNAVAILABLE, "{setup}: {step:?} fails");
            setup.end_outage(HEALTHY);
            assert_eq!(setup.stored("a"), Some(2), "{setup}");
        }
    }
}

/// What others have written meanwhile counts by its version, and where it is newer than what had failed, the cache
/// learns of it.
fn never_puts_older_over_newer(database: &Database<'_>) {
    for setup in keeping(database) {
        init(&setup);
        setup.begin_outage();
        setup.upsert_in_vain("a", 2);
        setup.another_writes("a", 5);
        setup.another_writes("b", 7);
        setup.end_outage(HEALTHY);
        assert_eq!(stored(&setup, &Kind::FEATURES), expected([("a", 5, false), ("b", 7, false)]), "{setup}");
        assert_eq!((setup.version("a"), setup.version_among_all("a")), (Some(5), Some(5)), "{setup}");
    }
}

/// A database that comes back empty is filled: every kind, the deleted items, and that it is initialized. What
/// others have put there meanwhile stays.
fn after_a_loss_everything_is_initialized_again(database: &Database<'_>) {
    for setup in keeping(database) {
        init(&setup);
        setup.begin_outage();
        assert!(setup.store.delete(&Kind::FEATURES, "b", 2).is_err(), "{setup}");
        setup.core.replace(empty(database));
        setup.another_writes("a", 6);
        setup.another_writes("others", 1);
        setup.end_outage(HEALTHY);
        assert!(setup.core.inner().is_initialized().succeed(), "{setup}");
        let features = expected([("a", 6, false), ("b", 2, true), ("others", 1, false)]);
        assert_eq!(stored(&setup, &Kind::FEATURES), features, "{setup}");
        assert_eq!(stored(&setup, &Kind::SEGMENTS), expected([("s", 1, false)]), "{setup}");
    }
}

/// What was read of others' writes is known, and comes back too.
fn after_a_loss_the_newest_known_comes_back(database: &Database<'_>) {
    for setup in keeping(database) {
        init(&setup);
        setup.another_writes("a", 4);
        setup.another_writes("b", 3);
        setup.another_writes("others", 1);
        setup.store.invalidate_all();
        assert_eq!(setup.version("a"), Some(4), "{setup}");
        assert_eq!(setup.version_among_all("b"), Some(3), "{setup}");
        setup.begin_outage();
        setup.core.replace(empty(database));
        setup.end_outage(HEALTHY);
        let features = expected([("a", 4, false), ("b", 3, false), ("others", 1, false)]);
        assert_eq!(stored(&setup, &Kind::FEATURES), features, "{setup}");
    }
}

/// It removes what it does not name, and marks the store initialized, as if it had not failed.
fn failed_init_is_written_as_an_init(database: &Database<'_>) {
    for setup in keeping(database) {
        let data = |version| flags([("a", item("a", version, "")), ("dead", tombstone("dead", 2))]);
        setup.begin_outage();
        assert!(setup.store.init(&data(1)).is_err(), "{setup}");
        setup.upsert_in_vain("a", 3);
        setup.end_outage(HEALTHY);
        assert!(setup.core.inner().is_initialized().succeed(), "{setup}: for the first time");
        assert_eq!(setup.stored("a"), Some(3), "{setup}");

        setup.update("gone", 1);
        assert_eq!(setup.all().len(), 2, "{setup}");
        setup.begin_outage();
        assert!(setup.store.init(&data(4)).is_err(), "{setup}");
        setup.end_outage(HEALTHY);
        let features = expected([("a", 4, false), ("dead", 2, true)]);
        assert_eq!(stored(&setup, &Kind::FEATURES), features, "{setup}");
        assert_eq!((setup.get("gone"), setup.version("a")), (None, Some(4)), "{setup}");
        assert_eq!(setup.all().len(), 1, "{setup}");
    }
}

/// A newer version of an item that it names stays, and so does every kind that it does not name.
fn failed_init_spares_what_is_newer_and_other_kinds(database: &Database<'_>) {
    for setup in keeping(database) {
        init(&setup);
        setup.begin_outage();
        assert!(setup.store.init(&flags([("a", item("a", 2, "")), ("b", item("b", 2, ""))])).is_err());
        setup.another_writes("a", 5);
        let others = item("others", 1, "");
        let _ = setup.core.inner().upsert(&Kind::SEGMENTS, "others", &others).succeed();
        setup.end_outage(HEALTHY);
        assert_eq!(stored(&setup, &Kind::FEATURES), expected([("a", 5, false), ("b", 2, false)]), "{setup}");
        let segments = expected([("others", 1, false), ("s", 1, false)]);
        assert_eq!(stored(&setup, &Kind::SEGMENTS), segments, "{setup}");
        assert_eq!(setup.all(), [("a".to_owned(), 5), ("b".to_owned(), 2)], "{setup}");
    }
}

/// Without an init nobody here knows everything, so somebody else has to send it. What had failed is written.
fn part_of_the_data_never_passes_for_all_of_it(database: &Database<'_>) {
    for setup in keeping(database) {
        setup.another_writes("a", 1);
        assert_eq!(setup.all().len(), 1, "{setup}");
        setup.begin_outage();
        setup.upsert_in_vain("b", 1);
        setup.core.replace(empty(database));
        setup.end_outage(STALE);
        assert_eq!(stored(&setup, &Kind::FEATURES), expected([("b", 1, false)]), "{setup}");
        assert!(!setup.core.inner().is_initialized().succeed(), "{setup}");
    }
}

/// What is known of a kind by reading it is a part: whoever initializes it has the whole.
fn kind_that_was_never_initialized_here_is_not_filled_in(database: &Database<'_>) {
    for setup in keeping(database) {
        let segments = AllData::new().with(Kind::SEGMENTS, [("s", item("s", 1, "another's"))]);
        setup.core.inner().init(&segments).succeed();
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        assert_eq!(setup.store.all(&Kind::SEGMENTS).succeed().len(), 1, "{setup}");
        setup.begin_outage();
        setup.core.replace(empty(database));
        setup.end_outage(HEALTHY);
        assert_eq!(stored(&setup, &Kind::FEATURES), expected([("a", 1, false)]), "{setup}");
        assert_eq!(stored(&setup, &Kind::SEGMENTS), expected([]), "{setup}");
    }
}

/// Also if the older one failed later.
fn of_two_that_failed_the_newer_is_written(database: &Database<'_>) {
    for setup in every_mode(database) {
        setup.begin_outage();
        setup.upsert_in_vain("a", 5);
        setup.upsert_in_vain("a", 3);
        setup.end_outage(STALE);
        assert_eq!((setup.stored("a"), setup.version("a")), (Some(5), Some(5)), "{setup}");
    }
}

/// What the database took while an init was under way is known when the database has lost it.
fn update_during_an_init_outlives_a_loss(database: &Database<'_>) {
    for setup in keeping(database) {
        init(&setup);
        thread::scope(|scope| {
            let gate = setup.hold(Operation::Init);
            scope.spawn(|| init(&setup));
            gate.wait();
            setup.update("a", 5);
            gate.open();
        });
        setup.begin_outage();
        setup.core.replace(empty(database));
        setup.end_outage(HEALTHY);
        assert_eq!(stored(&setup, &Kind::FEATURES), expected([("a", 5, false), ("b", 1, false)]), "{setup}");
    }
}

/// Begins the recovery of a database that has lost its data, holds it where it has done this, and lets it go on after
/// `meanwhile`.
fn during_a_recovery(database: &Database<'_>, setup: &Setup, held: Operation, meanwhile: impl FnOnce()) {
    let gate = setup.hold(held);
    setup.core.replace(empty(database));
    setup.core.heal();
    gate.wait();
    meanwhile();
    gate.open();
    setup.wait_for_status(HEALTHY);
}

/// An update that fails once more, while the recovery does not know of it, is written all the same.
fn update_during_a_recovery_is_not_lost(database: &Database<'_>) {
    for setup in keeping(database) {
        init(&setup);
        setup.begin_outage();
        during_a_recovery(database, &setup, Operation::GetAll, || {
            setup.core.fail_only(Operation::Upsert, ErrorKind::Unavailable);
            setup.upsert_in_vain("a", 2);
            setup.core.heal();
            setup.update("b", 2);
        });
        assert_eq!(stored(&setup, &Kind::FEATURES), expected([("a", 2, false), ("b", 2, false)]), "{setup}");
        assert_eq!(setup.all(), [("a".to_owned(), 2), ("b".to_owned(), 2)], "{setup}");
    }
}

/// The recovery may have overwritten it.
fn update_that_is_acknowledged_during_a_recovery_is_not_lost(database: &Database<'_>) {
    for setup in keeping(database) {
        init(&setup);
        setup.begin_outage();
        during_a_recovery(database, &setup, Operation::GetAll, || setup.update("b", 2));
        assert_eq!(stored(&setup, &Kind::FEATURES), expected([("a", 1, false), ("b", 2, false)]), "{setup}");
        assert_eq!(setup.version("b"), Some(2), "{setup}");
    }
}

/// Neither is an init lost, be it one that succeeds or one that fails.
fn init_during_a_recovery_is_not_lost(database: &Database<'_>) {
    for is_failure in [false, true] {
        for setup in keeping(database) {
            setup.store.init(&flags([("a", item("a", 5, "")), ("gone", item("gone", 5, ""))])).succeed();
            setup.begin_outage();
            setup.upsert_in_vain("gone", 6);
            during_a_recovery(database, &setup, Operation::GetAll, || {
                if is_failure {
                    setup.core.fail_only(Operation::Init, ErrorKind::Unavailable);
                }
                let result = setup.store.init(&flags([("a", item("a", 3, ""))]));
                assert_eq!(result.is_err(), is_failure, "{setup}");
                setup.core.heal();
            });
            let features = stored(&setup, &Kind::FEATURES);
            let newest = if is_failure { 5 } else { 3 };
            assert_eq!(features, expected([("a", newest, false)]), "{setup}, failure: {is_failure}");
            assert_eq!(setup.all(), [("a".to_owned(), newest)], "{setup}, failure: {is_failure}");
            assert_eq!(setup.version("a"), Some(newest), "{setup}, failure: {is_failure}");
        }
    }
}

/// An init without `b`, and then an update of that, older than what was there before.
fn init_and_older_update_in_vain(setup: &Setup) {
    assert!(setup.store.init(&flags([("a", item("a", 3, ""))])).is_err(), "{setup}");
    setup.upsert_in_vain("b", 4);
}

fn has_init_and_older_update(setup: &Setup) {
    assert_eq!(stored(setup, &Kind::FEATURES), expected([("a", 3, false), ("b", 4, false)]), "{setup}");
    assert_eq!(setup.all(), [("a".to_owned(), 3), ("b".to_owned(), 4)], "{setup}");
}

/// What failed before the init is of no use after it, be its version as high as it likes.
fn update_after_a_failed_init_need_not_be_newer_than_what_that_removed(database: &Database<'_>) {
    for setup in keeping(database) {
        init(&setup);
        setup.begin_outage();
        setup.upsert_in_vain("b", 6);
        init_and_older_update_in_vain(&setup);
        setup.end_outage(HEALTHY);
        has_init_and_older_update(&setup);
    }
}

/// The init takes away what the recovery has written, which is newer than the update; the update comes after both.
fn update_after_an_init_that_failed_during_a_recovery_is_not_lost(database: &Database<'_>) {
    for setup in keeping(database) {
        init(&setup);
        setup.begin_outage();
        setup.upsert_in_vain("b", 6);
        during_a_recovery(database, &setup, Operation::Init, || {
            setup.core.fail_exactly(&[Operation::Init, Operation::Upsert], ErrorKind::Unavailable);
            init_and_older_update_in_vain(&setup);
            setup.core.heal();
        });
        has_init_and_older_update(&setup);
    }
}

/// What an init has removed is not brought back by an update from before it, which a recovery had still to write.
fn init_while_updates_are_written_back_is_not_undone(database: &Database<'_>) {
    for setup in every_mode(database) {
        init(&setup);
        setup.begin_outage();
        ["old", "older"].into_iter().for_each(|key| setup.upsert_in_vain(key, 5));
        let gate = setup.hold(Operation::Upsert);
        setup.core.heal();
        gate.wait();
        setup.store.init(&flags([("a", item("a", 3, ""))])).succeed();
        gate.open();
        setup.wait_for("the end of the outage", || setup.store.status().available);
        assert_eq!(stored(&setup, &Kind::FEATURES), expected([("a", 3, false)]), "{setup}");
        assert_eq!(setup.all(), [("a".to_owned(), 3)], "{setup}");
        assert_eq!((setup.get("old"), setup.get("older")), (None, None), "{setup}");
    }
}

/// What the database has taken after an init that failed is there after that is repeated, too.
fn update_after_a_failed_init_outlives_its_repetition(database: &Database<'_>) {
    for setup in every_mode(database) {
        init(&setup);
        setup.core.fail_exactly(&[Operation::Init, Operation::IsAvailable], ErrorKind::Unavailable);
        let data = flags([("a", item("a", 3, "")), ("b", item("b", 3, ""))]);
        assert!(setup.store.init(&data).is_err(), "{setup}");
        setup.update("new", 5);
        setup.update("a", 4);
        setup.core.heal();
        setup.wait_for("the end of the outage", || setup.store.status().available);
        let features = expected([("a", 4, false), ("b", 3, false), ("new", 5, false)]);
        assert_eq!(stored(&setup, &Kind::FEATURES), features, "{setup}");
        let all = [("a", 4), ("b", 3), ("new", 5)].map(|(key, version)| (key.to_owned(), version));
        assert_eq!(setup.all(), all, "{setup}");
    }
}

/// What the cache has forgotten during the outage it reads anew, and that is not older afterwards.
fn what_was_forgotten_is_read_as_it_was_written(database: &Database<'_>) {
    let setup = Setup::new(database, forever());
    init(&setup);
    setup.begin_outage();
    setup.upsert_in_vain("a", 2);
    setup.core.fail_exactly(&[Operation::IsAvailable], ErrorKind::Unavailable);
    setup.store.invalidate_all();
    assert_eq!((setup.version("a"), setup.version_among_all("a")), (Some(2), Some(2)));
    setup.end_outage(HEALTHY);
    assert_eq!((setup.version("a"), setup.version_among_all("a")), (Some(2), Some(2)));
    assert_eq!(setup.stored("a"), Some(2));
}

/// It would not fit the next time either.
fn too_large_an_item_is_no_obstacle(database: &Database<'_>) {
    for setup in keeping(database) {
        init(&setup);
        setup.begin_outage();
        setup.upsert_in_vain("a", 2);
        setup.core.fail_exactly(&[Operation::Upsert], ErrorKind::TooLarge);
        setup.wait_for_status(HEALTHY);
        assert_eq!(setup.stored("a"), Some(1), "{setup}");
        assert_eq!(setup.stored("b"), Some(1), "{setup}");
    }
}

/// A panic in the middle of a recovery ends that attempt, and not the recovery.
fn store_that_panics_is_tried_again(database: &Database<'_>) {
    for setup in keeping(database) {
        init(&setup);
        setup.begin_outage();
        setup.upsert_in_vain("a", 2);
        setup.core.panic_once(Operation::Upsert);
        setup.core.panic_once(Operation::GetAll);
        setup.end_outage(HEALTHY);
        assert_eq!(setup.stored("a"), Some(2), "{setup}");
    }
}

/// Everything at once: ours and theirs, newer and older, live and deleted, new and known.
fn database_holds_the_newest_of_everything(database: &Database<'_>) {
    for is_lost in [false, true] {
        for setup in [forever(), with_refill()].map(|settings| Setup::new(database, settings)) {
            let items = (0..20).map(|n| (format!("flag-{n}"), item("flag", 10, "")));
            setup.store.init(&AllData::new().with(Kind::FEATURES, items)).succeed();
            setup.begin_outage();
            if is_lost {
                setup.core.replace(empty(database));
            }
            for n in 0..10 {
                setup.upsert_in_vain(&format!("flag-{n}"), 11 + n % 2);
                setup.upsert_in_vain(&format!("new-{n}"), n);
            }
            for n in 5..15 {
                let _ = setup.core.inner().upsert(
                    &Kind::FEATURES,
                    &format!("flag-{n}"),
                    &tombstone("flag", 11 + n % 3),
                );
            }
            setup.end_outage(HEALTHY);
            let mut expected: BTreeMap<_, _> = (0..10).map(|n| (format!("new-{n}"), (n, false))).collect();
            for n in 0..20 {
                let ours = if n < 10 { (11 + n % 2, false) } else { (10, false) };
                let theirs = if (5..15).contains(&n) { (11 + n % 3, true) } else { (0, false) };
                // Of two equal ones the first stays, and that is theirs.
                let newest = if theirs.0 >= ours.0 { theirs } else { ours };
                expected.insert(format!("flag-{n}"), newest);
            }
            assert_eq!(stored(&setup, &Kind::FEATURES), expected, "{setup}, lost: {is_lost}");
            if is_lost {
                let live = expected.into_iter().filter(|(_, (_, is_deleted))| !is_deleted);
                let live: Vec<_> = live.map(|(key, (version, _))| (key, version)).collect();
                assert_eq!(setup.all(), live, "{setup}: all of it went through here");
            }
        }
    }
}

/// Writers go on, whatever the answer, while the database comes and goes. In the end it has the last of each.
fn updates_of_many_outages_are_all_there(database: &Database<'_>) {
    const VERSIONS: u64 = 200;
    const KEYS: [&str; 4] = ["a", "b", "c", "d"];
    for setup in keeping(database) {
        setup.store.init(&flags(KEYS.map(|key| (key, item(key, 0, ""))))).succeed();
        let (setup, is_over) = (&setup, AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    setup.core.fail(ErrorKind::Unavailable);
                    thread::yield_now();
                    setup.core.heal();
                    let polls = setup.core.calls(Operation::IsAvailable);
                    setup.wait_for("a poll", || {
                        is_over.load(Ordering::SeqCst) || setup.core.calls(Operation::IsAvailable) > polls
                    });
                }
            });
            let writers = KEYS.map(|key| {
                scope.spawn(move || {
                    for version in 1..=VERSIONS {
                        drop(setup.store.upsert(&Kind::FEATURES, key, &item(key, version, "")));
                    }
                })
            });
            let outcomes = writers.map(thread::ScopedJoinHandle::join);
            is_over.store(true, Ordering::SeqCst);
            assert!(outcomes.iter().all(Result::is_ok), "{setup}: a writer panicked");
        });
        setup.core.heal();
        setup.wait_for("the last recovery", || setup.store.status().available);
        let newest = KEYS.map(|key| (key, VERSIONS, false));
        assert_eq!(stored(setup, &Kind::FEATURES), expected(newest), "{setup}");
        assert_eq!(setup.store.status(), HEALTHY, "{setup}");
        for key in KEYS {
            assert_eq!(setup.version(key), Some(VERSIONS), "{setup}: {key}");
        }
    }
}
