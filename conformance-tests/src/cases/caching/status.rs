use std::sync::Arc;
use std::thread;
use std::time::Duration;

use flagstore_core::{AllData, CacheMode, ErrorKind, FeatureStoreCore, Kind};
use parking_lot::Mutex;

use super::{HEALTHY, STALE, Setup, UNAVAILABLE, every_mode, finite, forever, off, short, with_refill};
use crate::CacheSettings;
use crate::case::{Case, Database, Succeed, flags, item};
use crate::controlled::Operation;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(is_available_at_first),
        Case::new(every_call_that_fails_shows),
        Case::new(errors_of_other_kinds_do_not_show),
        Case::new(only_the_poll_restores_it),
        Case::new(is_unavailable_until_the_database_says_otherwise),
        Case::new(changes_once_down_and_once_up),
        Case::new(is_stale_after_an_outage_where_no_data_is_kept),
        Case::new(database_that_is_down_at_first_comes_up),
        Case::new(survives_a_store_that_panics),
        Case::new(healthy_database_is_not_polled),
        Case::new(threads_end_with_the_cache),
    ]
}

/// Until something fails the database counts as available, and nobody is asked.
fn is_available_at_first(database: &Database<'_>) {
    for setup in every_mode(database) {
        setup.without_the_database(|| assert_eq!(setup.store.status(), HEALTHY, "{setup}"));
    }
}

type Call = fn(&Setup);

/// What an application can do, for the failure of it.
const CALLS: [(Operation, Call); 5] = [
    (Operation::Get, |setup| drop(setup.store.get(&Kind::FEATURES, "a"))),
    (Operation::GetAll, |setup| drop(setup.store.all(&Kind::FEATURES))),
    (Operation::Init, |setup| drop(setup.store.init(&AllData::new()))),
    (Operation::Upsert, |setup| drop(setup.store.upsert(&Kind::FEATURES, "a", &item("a", 1, "")))),
    (Operation::IsInitialized, |setup| _ = setup.store.initialized()),
];

/// Whichever operation fails, and in every mode.
fn every_call_that_fails_shows(database: &Database<'_>) {
    for (operation, call) in CALLS {
        for kind in [ErrorKind::Unavailable, ErrorKind::Timeout] {
            for settings in [off(), finite(), forever()] {
                let setup = Setup::new(database, settings);
                setup.core.fail_exactly(&[operation, Operation::IsAvailable], kind);
                call(&setup);
                assert_eq!(setup.store.status(), UNAVAILABLE, "{setup}: {operation:?}, {kind:?}");
            }
        }
    }
}

/// An item that cannot be read or stored says nothing about the database.
fn errors_of_other_kinds_do_not_show(database: &Database<'_>) {
    for (operation, call) in CALLS {
        for kind in [ErrorKind::Corrupt, ErrorKind::TooLarge, ErrorKind::Other] {
            for setup in every_mode(database) {
                setup.core.fail_exactly(&[operation], kind);
                if (operation, kind) == (Operation::Init, ErrorKind::TooLarge) {
                    setup.core.inner().init(&AllData::new()).succeed();
                }
                call(&setup);
                assert_eq!(setup.store.status(), HEALTHY, "{setup}: {operation:?}, {kind:?}");
                assert_eq!(setup.core.calls(operation), 1, "{setup}: {operation:?}");
            }
        }
    }
}

/// A call that succeeds again may be luck: nobody polls here, and so the status stays.
fn only_the_poll_restores_it(database: &Database<'_>) {
    for settings in [off(), finite(), forever()] {
        let poll_interval = Duration::from_secs(3600);
        let setup = Setup::new(database, CacheSettings { poll_interval, ..settings });
        setup.begin_outage();
        setup.core.heal();
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        setup.update("a", 2);
        assert_eq!((setup.version("a"), setup.all().len(), setup.get("b")), (Some(2), 1, None), "{setup}");
        assert!(setup.store.initialized(), "{setup}");
        assert_eq!(setup.store.status(), UNAVAILABLE, "{setup}");
    }
}

/// The poll goes on, and believes what it is told, while other calls succeed.
fn is_unavailable_until_the_database_says_otherwise(database: &Database<'_>) {
    for setup in every_mode(database) {
        setup.begin_outage();
        setup.core.fail_exactly(&[Operation::IsAvailable], ErrorKind::Unavailable);
        let polls = setup.core.calls(Operation::IsAvailable);
        setup.wait_for("polls", || setup.core.calls(Operation::IsAvailable) > polls + 3);
        assert_eq!(setup.get("a"), None, "{setup}");
        assert_eq!(setup.store.status(), UNAVAILABLE, "{setup}");
        setup.core.heal();
        setup.wait_for("the end", || setup.store.status().available);
    }
}

/// However many calls fail, there is one change for the worse and one for the better, each time.
fn changes_once_down_and_once_up(database: &Database<'_>) {
    for setup in every_mode(database) {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&changes);
        let _listening = setup.store.listen(Box::new(move |status| log.lock().push(status)));
        // One of the calls is an init, and this mode makes up for it.
        let after = if setup.settings.mode == CacheMode::Forever { HEALTHY } else { STALE };
        for outages in 1..=3 {
            setup.core.fail(ErrorKind::Unavailable);
            thread::scope(|scope| {
                for n in 0..8 {
                    let fail = CALLS[n % CALLS.len()].1;
                    let setup = &setup;
                    scope.spawn(move || (0..20).for_each(|_| fail(setup)));
                }
            });
            setup.end_outage(after);
            setup.wait_for("both changes", || changes.lock().len() >= 2 * outages);
        }
        assert_eq!(*changes.lock(), [UNAVAILABLE, after].repeat(3), "{setup}");
    }
}

/// Somebody has to send everything again; said once for each outage, and not taken back by a call.
fn is_stale_after_an_outage_where_no_data_is_kept(database: &Database<'_>) {
    for settings in [off(), finite()] {
        let setup = Setup::new(database, settings);
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        setup.begin_outage();
        setup.upsert_in_vain("a", 2);
        setup.end_outage(STALE);
        assert_eq!(setup.stored("a"), Some(2), "{setup}: what had failed is written in every mode");
        assert_eq!(setup.store.status(), STALE, "{setup}");
    }
}

/// An outage at the very beginning is one like any other.
fn database_that_is_down_at_first_comes_up(database: &Database<'_>) {
    for setup in every_mode(database) {
        setup.core.fail(ErrorKind::Unavailable);
        assert!(!setup.store.initialized(), "{setup}");
        assert!(setup.store.get(&Kind::FEATURES, "a").is_err(), "{setup}");
        setup.core.inner().init(&flags([("a", item("a", 1, ""))])).succeed();
        setup.end_outage(STALE);
        assert!(setup.store.initialized(), "{setup}");
        assert_eq!((setup.version("a"), setup.all().len()), (Some(1), 1), "{setup}");
    }
}

/// A store that panics when it is asked whether it is back is not back, and is asked again.
fn survives_a_store_that_panics(database: &Database<'_>) {
    for setup in every_mode(database) {
        setup.core.panic_once(Operation::IsAvailable);
        setup.begin_outage();
        setup.end_outage(STALE);
    }
}

/// As long as all goes well nobody asks whether it does.
fn healthy_database_is_not_polled(database: &Database<'_>) {
    for setup in every_mode(database) {
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        for version in 2..20 {
            setup.update("a", version);
            assert_eq!((setup.version("a"), setup.all().len()), (Some(version), 1), "{setup}");
        }
        assert_eq!(setup.core.calls(Operation::IsAvailable), 0, "{setup}");
    }
}

/// Whatever a cache is in the middle of, nothing keeps the store once its last handle is gone.
fn threads_end_with_the_cache(database: &Database<'_>) {
    let watchful = CacheSettings { detect_data_loss: Some(Duration::from_millis(1)), ..finite() };
    for settings in [off(), short(), forever(), with_refill(), watchful] {
        for is_outage in [false, true] {
            let setup = Setup::new(database, settings.clone());
            setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
            if is_outage {
                setup.begin_outage();
            }
            let Setup { core, store, patience, .. } = setup;
            let core = {
                let weak = Arc::downgrade(&core);
                drop((core, store));
                weak
            };
            crate::case::wait_for(patience, "the end of all threads", || core.strong_count() == 0);
        }
    }
}
