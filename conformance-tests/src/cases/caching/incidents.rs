//! What went wrong once, in our own cache or in somebody else's, and must not again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use flagstore_core::{
    CacheMode, DataStoreStatus, ErrorKind, FeatureStoreCore, Item, Kind, StalePolicy, Upsert,
};
use parking_lot::Mutex;

use super::{HEALTHY, STALE, Setup, UNAVAILABLE, caching, empty, every_mode, finite, forever, keeping};
use crate::CacheSettings;
use crate::case::{Case, Database, Succeed, flags, item};
use crate::controlled::Operation;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(refused_update_is_not_kept),
        Case::new(refused_update_that_was_kept_is_given_up_and_the_others_are_written),
        Case::new(refused_update_leaves_what_was_there_before),
        Case::new(refused_update_hides_nothing_that_others_do),
        Case::new(what_made_room_is_not_forgotten_by_version),
        Case::new(init_that_happened_all_the_same_is_not_repeated),
        Case::new(flag_that_others_removed_does_not_come_back),
        Case::new(update_does_not_wait_for_an_init),
        Case::new(init_does_not_wait_for_an_update),
        Case::new(failure_between_the_probe_and_its_announcement_counts),
        Case::new(init_at_the_moment_of_a_look_is_no_loss),
        Case::new(what_is_in_doubt_is_served_when_the_database_fails),
        Case::new(many_old_items_are_read_at_once),
        Case::new(database_that_refuses_writes_stays_unavailable),
        Case::new(loss_without_a_watch_is_seen_by_whoever_writes_back),
        Case::new(all_items_and_single_ones_show_one_truth),
    ]
}

/// The changes of a status that a case has heard of.
fn heard(setup: &Setup) -> (Arc<Mutex<Vec<DataStoreStatus>>>, Box<dyn std::any::Any + Send>) {
    let changes = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&changes);
    let listening = setup.store.listen(Box::new(move |status| log.lock().push(status)));
    (changes, listening)
}

/// What a store refuses for what it is, is its caller's to know: no outage, no cache and no recovery learns of it.
fn refused_update_is_not_kept(database: &Database<'_>) {
    for kind in [ErrorKind::Other, ErrorKind::TooLarge] {
        for setup in every_mode(database) {
            setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
            setup.core.refuse("a", kind);
            setup.upsert_in_vain("a", 2);
            assert_eq!((setup.version("a"), setup.store.status()), (Some(1), HEALTHY), "{setup}: {kind:?}");
            setup.begin_outage();
            let is_forever = setup.settings.mode == CacheMode::Forever;
            setup.end_outage(if is_forever { HEALTHY } else { STALE });
            assert_eq!((setup.version("a"), setup.stored("a")), (Some(1), Some(1)), "{setup}: {kind:?}");
        }
    }
}

/// One that failed with the database, and is refused when that is back, holds up nothing that comes after it.
fn refused_update_that_was_kept_is_given_up_and_the_others_are_written(database: &Database<'_>) {
    for setup in keeping(database) {
        setup.store.init(&flags([("a", item("a", 1, "")), ("z", item("z", 1, ""))])).succeed();
        setup.begin_outage();
        ["a", "m", "z"].into_iter().for_each(|key| setup.upsert_in_vain(key, 2));
        setup.core.refuse("m", ErrorKind::Other);
        setup.end_outage(HEALTHY);
        assert_eq!(["a", "m", "z"].map(|key| setup.stored(key)), [Some(2), None, Some(2)], "{setup}");
        assert_eq!((setup.get("m"), setup.all().len()), (None, 2), "{setup}: nobody has it");
    }
}

/// What is served after a refusal is what was acknowledged, and that is what fills an empty database.
fn refused_update_leaves_what_was_there_before(database: &Database<'_>) {
    for setup in keeping(database) {
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        setup.core.refuse("a", ErrorKind::TooLarge);
        setup.upsert_in_vain("a", 2);
        assert_eq!(setup.version("a"), Some(1), "{setup}");
        setup.begin_outage();
        setup.core.replace(empty(database));
        setup.end_outage(HEALTHY);
        assert_eq!(setup.stored("a"), Some(1), "{setup}");
    }
}

/// After a refusal what others do is seen as before it.
fn refused_update_hides_nothing_that_others_do(database: &Database<'_>) {
    let setup = Setup::new(database, forever());
    setup.store.init(&flags([("a", item("a", 1, "")), ("b", item("b", 1, ""))])).succeed();
    setup.core.refuse("a", ErrorKind::Other);
    setup.upsert_in_vain("a", 2);
    setup.core.inner().init(&flags([("a", item("a", 3, ""))])).succeed();
    setup.store.invalidate_all();
    assert_eq!((setup.version("a"), setup.get("b")), (Some(3), None));
    assert_eq!(setup.all(), [("a".to_owned(), 3)]);
}

/// An older update does not get in because the newer item had to make room: not one whose answer is late, nor one that
/// failed, nor by a recovery.
fn what_made_room_is_not_forgotten_by_version(database: &Database<'_>) {
    for settings in [finite(), forever()] {
        let setup = Setup::new(database, CacheSettings { capacity: Some(1), ..settings });
        assert_eq!(setup.all(), [], "{setup}");
        thread::scope(|scope| {
            let gate = setup.hold(Operation::Upsert);
            scope.spawn(|| setup.update("a", 3));
            gate.wait();
            setup.update("a", 5);
            make_room(&setup);
            assert_eq!(setup.version_among_all("a"), Some(5), "{setup}");
            make_room(&setup);
            gate.open();
        });
        assert_eq!((setup.version_among_all("a"), setup.version("a")), (Some(5), Some(5)), "{setup}");
        make_room(&setup);
        setup.core.fail(ErrorKind::Timeout);
        setup.upsert_in_vain("a", 3);
        let is_old = |item: &Item| item.version() == 3;
        let one = setup.store.get(&Kind::FEATURES, "a");
        assert!(!one.is_ok_and(|item| item.as_ref().is_some_and(is_old)), "{setup}");
        let all = setup.store.all(&Kind::FEATURES);
        assert!(!all.is_ok_and(|all| all.get("a").is_some_and(is_old)), "{setup}");
        setup.end_outage(STALE);
        assert_eq!((setup.version("a"), setup.stored("a")), (Some(5), Some(5)), "{setup}");
    }
}

/// Nothing but these is cached afterwards, where there is a limit of one.
fn make_room(setup: &Setup) {
    for n in 0..20 {
        let key = format!("other-{n}");
        let version = setup.version(&key).unwrap_or_default();
        setup.update(&key, version + 1);
        setup.version(&key);
    }
}

/// Its answer was lost. What others have added since then stays.
fn init_that_happened_all_the_same_is_not_repeated(database: &Database<'_>) {
    for setup in every_mode(database) {
        assert_eq!(setup.all(), [], "{setup}");
        setup.core.lose_answers(Operation::Init);
        setup.core.fail_only(Operation::IsAvailable, ErrorKind::Unavailable);
        assert!(setup.store.init(&flags([("a", item("a", 1, ""))])).is_err(), "{setup}");
        setup.another_writes("relay", 1);
        let inits = setup.core.calls(Operation::Init);
        setup.core.heal();
        setup.wait_for("the end of the outage", || setup.store.status().available);
        assert_eq!((setup.stored("a"), setup.stored("relay")), (Some(1), Some(1)), "{setup}");
        assert_eq!(setup.core.calls(Operation::Init), inits, "{setup}");
        assert_eq!(
            (setup.version("a"), setup.version("relay")),
            (Some(1), Some(1)),
            "{setup}: what is known is asked again"
        );
    }
}

/// While the database has its data, a recovery writes what had failed and nothing else.
fn flag_that_others_removed_does_not_come_back(database: &Database<'_>) {
    for setup in keeping(database) {
        setup.store.init(&flags([("a", item("a", 1, "")), ("b", item("b", 1, ""))])).succeed();
        setup.core.inner().init(&flags([("a", item("a", 1, ""))])).succeed();
        setup.begin_outage();
        setup.upsert_in_vain("a", 2);
        setup.end_outage(HEALTHY);
        assert_eq!((setup.stored("a"), setup.stored("b")), (Some(2), None), "{setup}");
    }
}

/// Runs the call on a thread of its own, and fails if it has to wait for the operation that is held.
fn without_waiting_for(setup: &Setup, held: Operation, hold: impl Fn() + Sync, call: impl Fn() + Sync) {
    thread::scope(|scope| {
        let gate = setup.hold(held);
        scope.spawn(&hold);
        gate.wait();
        let called = scope.spawn(&call);
        setup.wait_for("a call that should not have to wait", || called.is_finished());
        gate.open();
    });
}

/// However long an init takes, an update returns as soon as the database has it; what overlapped is asked for again.
fn update_does_not_wait_for_an_init(database: &Database<'_>) {
    for setup in every_mode(database) {
        let init = || setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        without_waiting_for(&setup, Operation::Init, init, || setup.update("a", 2));
        assert_eq!(setup.version("a"), setup.stored("a"), "{setup}");
        assert_eq!(setup.version_among_all("a"), setup.stored("a"), "{setup}");
    }
}

/// Nor does an init wait for an update.
fn init_does_not_wait_for_an_update(database: &Database<'_>) {
    for setup in every_mode(database) {
        let update = || _ = setup.store.upsert(&Kind::FEATURES, "a", &item("a", 2, "")).succeed();
        let init = || setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        without_waiting_for(&setup, Operation::Upsert, update, init);
        assert_eq!(setup.version("a"), setup.stored("a"), "{setup}");
        assert_eq!(setup.version_among_all("a"), setup.stored("a"), "{setup}");
    }
}

/// The status does not say available if a call has failed since the probe.
fn failure_between_the_probe_and_its_announcement_counts(database: &Database<'_>) {
    for setup in every_mode(database) {
        let (changes, _listening) = heard(&setup);
        setup.begin_outage();
        let gate = setup.hold(Operation::IsAvailable);
        setup.core.heal();
        gate.wait();
        let probes = setup.core.calls(Operation::IsAvailable);
        setup.core.fail(ErrorKind::Unavailable);
        assert!(setup.store.get(&Kind::FEATURES, "also-unseen").is_err(), "{setup}");
        gate.open();
        setup.wait_for("more probes", || setup.core.calls(Operation::IsAvailable) > probes + 1);
        setup.wait_for("the change for the worse", || !changes.lock().is_empty());
        assert_eq!(*changes.lock(), [UNAVAILABLE], "{setup}");
        setup.end_outage(STALE);
        setup.wait_for("both changes", || changes.lock().len() == 2);
    }
}

/// The first init may end between the question and its answer.
fn init_at_the_moment_of_a_look_is_no_loss(database: &Database<'_>) {
    let settings = CacheSettings { detect_data_loss: Some(std::time::Duration::from_millis(5)), ..forever() };
    let setup = Setup::new(database, settings);
    let (changes, _listening) = heard(&setup);
    let gate = setup.hold(Operation::IsInitialized);
    gate.wait();
    setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
    let looks = setup.core.calls(Operation::IsInitialized);
    gate.open();
    setup.wait_for("more looks", || setup.core.calls(Operation::IsInitialized) > looks + 2);
    assert_eq!(*changes.lock(), []);
}

/// A notice that something may have changed is no reason to forget what is known, if nothing newer can be had.
fn what_is_in_doubt_is_served_when_the_database_fails(database: &Database<'_>) {
    let refresh = CacheSettings { stale_policy: StalePolicy::Refresh { max_age: None }, ..finite() };
    let in_background =
        CacheSettings { stale_policy: StalePolicy::RefreshAsync { max_age: None }, ..finite() };
    for settings in [forever(), refresh, in_background] {
        let setup = Setup::new(database, settings);
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        setup.core.fail(ErrorKind::Unavailable);
        setup.store.invalidate_all();
        assert_eq!((setup.version("a"), setup.all().len()), (Some(1), 1), "{setup}");
        setup.core.heal();
        setup.wait_for("the end of the outage", || setup.store.status().available);
        setup.another_writes("a", 2);
        setup.store.invalidate_kind(&Kind::FEATURES);
        setup.wait_for("the new version", || setup.version("a") == Some(2));
    }
}

/// One read of the kind, and not one of each item.
fn many_old_items_are_read_at_once(database: &Database<'_>) {
    const ITEMS: u64 = 300;
    let setup = Setup::new(
        database,
        CacheSettings { stale_policy: StalePolicy::RefreshAsync { max_age: None }, ..finite() },
    );
    let keys: Vec<String> = (0..ITEMS).map(|n| format!("flag-{n}")).collect();
    setup.store.init(&flags(keys.iter().map(|key| (key.as_str(), item(key, 1, ""))))).succeed();
    setup.core.inner().init(&flags(keys.iter().map(|key| (key.as_str(), item(key, 2, ""))))).succeed();
    setup.store.invalidate_all();
    keys.iter().for_each(|key| _ = setup.get(key));
    setup.wait_for("the new versions", || keys.iter().all(|key| setup.version(key) == Some(2)));
    assert!(setup.core.calls(Operation::GetAll) >= 1, "nobody has read all items");
    assert!(
        setup.core.calls(Operation::Get) < ITEMS as usize / 2,
        "{} single reads",
        setup.core.calls(Operation::Get)
    );
}

/// One that can be read and not written is not announced again and again.
fn database_that_refuses_writes_stays_unavailable(database: &Database<'_>) {
    for setup in every_mode(database) {
        let (changes, _listening) = heard(&setup);
        setup.core.fail_only(Operation::Upsert, ErrorKind::Unavailable);
        setup.upsert_in_vain("a", 1);
        let probes = setup.core.calls(Operation::Upsert);
        setup.wait_for("some probes", || setup.core.calls(Operation::Upsert) > probes + 3);
        setup.wait_for("the change for the worse", || !changes.lock().is_empty());
        assert_eq!(*changes.lock(), [UNAVAILABLE], "{setup}");
        setup.end_outage(STALE);
        assert_eq!(setup.stored("a"), Some(1), "{setup}");
    }
}

/// Where everything is known it is filled in again, and elsewhere somebody else has to do that.
fn loss_without_a_watch_is_seen_by_whoever_writes_back(database: &Database<'_>) {
    for settings in [finite(), forever()] {
        let setup = Setup::new(database, settings);
        setup.store.init(&flags([("a", item("a", 1, "")), ("b", item("b", 1, ""))])).succeed();
        setup.begin_outage();
        setup.upsert_in_vain("a", 2);
        setup.core.replace(empty(database));
        let is_forever = setup.settings.mode == CacheMode::Forever;
        setup.end_outage(if is_forever { HEALTHY } else { STALE });
        assert_eq!(setup.stored("a"), Some(2), "{setup}");
        assert_eq!(setup.stored("b"), is_forever.then_some(1), "{setup}");
        assert_eq!(setup.core.inner().is_initialized().succeed(), is_forever, "{setup}");
    }
}

/// Whoever has seen a version in one way of reading does not see an older one in the other.
fn all_items_and_single_ones_show_one_truth(database: &Database<'_>) {
    for setup in caching(database) {
        setup.store.init(&flags([("a", item("a", 0, ""))])).succeed();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut seen = Some(0);
                    while !is_over.load(Ordering::SeqCst) {
                        for read in [setup.version("a"), setup.version_among_all("a")] {
                            assert!(read >= seen, "{setup}: {read:?} after {seen:?}");
                            seen = read;
                        }
                    }
                });
            }
            let updated = (1..=2_000).all(|version| setup.upsert("a", version) == Upsert::Applied);
            is_over.store(true, Ordering::SeqCst);
            assert!(updated, "{setup}");
        });
    }
}
