use std::sync::Arc;
use std::time::Duration;

use flagstore_core::{AllData, DataStoreStatus, ErrorKind, FeatureStoreCore, Kind};
use parking_lot::Mutex;

use super::{HEALTHY, STALE, Setup, UNAVAILABLE, empty, finite, forever, off, with_refill};
use crate::CacheSettings;
use crate::case::{Case, Database, Succeed, flags, item};
use crate::controlled::Operation;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(is_noticed_and_repaired_where_data_is_kept),
        Case::new(is_reported_once_where_no_data_is_kept),
        Case::new(of_a_database_that_never_had_any_is_none),
        Case::new(outage_is_noticed_without_a_caller),
        Case::new(store_that_panics_is_watched_on),
    ]
}

fn watchful(database: &Database<'_>, settings: CacheSettings) -> Setup {
    let interval = Duration::from_millis(2);
    Setup::new(database, CacheSettings { detect_data_loss: Some(interval), ..settings })
}

/// All changes of the status from now on. The second is the subscription.
fn changes(setup: &Setup) -> (Arc<Mutex<Vec<DataStoreStatus>>>, impl Sized) {
    let changes = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&changes);
    let listening = setup.store.listen(Box::new(move |status| log.lock().push(status)));
    (changes, listening)
}

fn wait_for_some_looks(setup: &Setup) {
    let looks = setup.core.calls(Operation::IsInitialized);
    setup.wait_for("some looks", || setup.core.calls(Operation::IsInitialized) > looks + 5);
}

/// It is an outage, after which everything is there again.
fn is_noticed_and_repaired_where_data_is_kept(database: &Database<'_>) {
    for settings in [forever(), with_refill()] {
        let setup = watchful(database, settings);
        let (changes, _listening) = changes(&setup);
        let data = flags([("a", item("a", 1, ""))]).with(Kind::SEGMENTS, [("s", item("s", 1, ""))]);
        setup.store.init(&data).succeed();
        setup.update("a", 2);
        setup.core.replace(empty(database));
        setup.wait_for("both changes", || changes.lock().len() >= 2);
        assert_eq!(*changes.lock(), [UNAVAILABLE, HEALTHY], "{setup}");
        assert_eq!(setup.stored("a"), Some(2), "{setup}");
        assert!(setup.core.inner().get(&Kind::SEGMENTS, "s").succeed().is_some(), "{setup}");
        assert!(setup.core.inner().is_initialized().succeed() && setup.store.initialized(), "{setup}");
        wait_for_some_looks(&setup);
        assert_eq!(changes.lock().len(), 2, "{setup}: it is over");
    }
}

/// Somebody has to send everything again, and is told once.
fn is_reported_once_where_no_data_is_kept(database: &Database<'_>) {
    for settings in [off(), finite()] {
        let setup = watchful(database, settings);
        let (changes, _listening) = changes(&setup);
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        setup.core.replace(empty(database));
        setup.wait_for("both changes", || changes.lock().len() >= 2);
        wait_for_some_looks(&setup);
        assert_eq!(*changes.lock(), [UNAVAILABLE, STALE], "{setup}");
        assert!(!setup.store.initialized(), "{setup}: nor is it");
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        assert!(setup.store.initialized(), "{setup}");
    }
}

/// A database that is not initialized yet has lost nothing, and one that another initializes is watched.
fn of_a_database_that_never_had_any_is_none(database: &Database<'_>) {
    for settings in [off(), finite(), forever()] {
        let setup = watchful(database, settings);
        wait_for_some_looks(&setup);
        assert_eq!(setup.store.status(), HEALTHY, "{setup}");
        setup.core.inner().init(&AllData::new()).succeed();
        wait_for_some_looks(&setup);
        assert_eq!(setup.store.status(), HEALTHY, "{setup}");
        setup.core.replace(empty(database));
        setup.wait_for_status(STALE);
    }
}

/// Whoever looks anyway also sees that there is nobody.
fn outage_is_noticed_without_a_caller(database: &Database<'_>) {
    let setup = watchful(database, finite());
    setup.core.fail(ErrorKind::Unavailable);
    setup.wait_for_status(UNAVAILABLE);
    setup.end_outage(STALE);
}

/// A panic is the end of one look.
fn store_that_panics_is_watched_on(database: &Database<'_>) {
    let setup = watchful(database, finite());
    setup.core.panic_once(Operation::IsInitialized);
    wait_for_some_looks(&setup);
    setup.store.init(&AllData::new()).succeed();
    setup.core.replace(empty(database));
    setup.wait_for_status(STALE);
}
