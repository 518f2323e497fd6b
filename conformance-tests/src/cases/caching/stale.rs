use std::thread;
use std::time::Duration;

use flagstore_core::{ErrorKind, FeatureStoreCore, Kind, StalePolicy};

use super::{HEALTHY, Setup, short};
use crate::CacheSettings;
use crate::case::{Case, Database, Succeed, flags, item};
use crate::controlled::Operation;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(refresh_reads_anew),
        Case::new(refresh_serves_the_old_value_if_that_fails),
        Case::new(refresh_serves_an_old_miss_if_that_fails),
        Case::new(refresh_asks_nobody_during_an_outage),
        Case::new(max_age_is_the_end_of_the_old_value),
        Case::new(background_refresh_serves_the_old_value_at_once),
        Case::new(background_refresh_brings_the_new_value_soon),
        Case::new(background_refresh_is_one_call),
        Case::new(background_refresh_survives_a_panic),
        Case::new(one_new_item_does_not_end_all_old_ones),
    ]
}

const POLICIES: [fn(Option<Duration>) -> StalePolicy; 2] =
    [|max_age| StalePolicy::Refresh { max_age }, |max_age| StalePolicy::RefreshAsync { max_age }];

fn refresh() -> CacheSettings {
    CacheSettings { stale_policy: StalePolicy::Refresh { max_age: None }, ..short() }
}

fn in_background() -> CacheSettings {
    CacheSettings { stale_policy: StalePolicy::RefreshAsync { max_age: None }, ..short() }
}

/// Waits until what is cached is too old, which shows by the database being asked.
fn wait_until_stale(setup: &Setup) {
    for (operation, read) in [
        (Operation::Get, (|setup| drop(setup.get("a"))) as fn(&Setup)),
        (Operation::GetAll, |setup| drop(setup.all())),
    ] {
        let before = setup.core.calls(operation);
        setup.wait_for("the end of its time", || {
            read(setup);
            setup.core.calls(operation) > before
        });
    }
}

/// Whoever comes when the time is over waits for the new value.
fn refresh_reads_anew(database: &Database<'_>) {
    let setup = Setup::new(database, refresh());
    setup.another_writes("a", 1);
    assert_eq!((setup.version("a"), setup.all().len(), setup.get("b")), (Some(1), 1, None));
    setup.another_writes("a", 2);
    setup.another_writes("b", 1);
    setup.wait_for("the new version", || setup.version("a") == Some(2));
    setup.wait_for("it among all", || setup.version_among_all("a") == Some(2));
    setup.wait_for("the new item", || setup.version("b") == Some(1));
}

/// A database that fails costs the update and not the value, whatever the error.
fn refresh_serves_the_old_value_if_that_fails(database: &Database<'_>) {
    for kind in [ErrorKind::Other, ErrorKind::Corrupt, ErrorKind::Unavailable] {
        let setup = Setup::new(database, refresh());
        setup.another_writes("a", 1);
        assert_eq!((setup.version("a"), setup.all().len()), (Some(1), 1));
        setup.core.fail_only(Operation::Get, kind);
        setup.core.fail_only(Operation::GetAll, kind);
        let failed = || setup.store.statistics().map_or(0, |statistics| statistics.failed_loads);
        setup.wait_for("a failed load", || {
            assert_eq!((setup.version("a"), setup.all().len()), (Some(1), 1), "{kind:?}");
            failed() > 0
        });
        assert_eq!((setup.version("a"), setup.all().len()), (Some(1), 1), "{kind:?}");
    }
}

/// That there is no such flag is a value too.
fn refresh_serves_an_old_miss_if_that_fails(database: &Database<'_>) {
    let setup = Setup::new(database, refresh());
    assert_eq!(setup.get("a"), None);
    setup.core.fail_only(Operation::Get, ErrorKind::Other);
    let before = setup.core.calls(Operation::Get);
    setup.wait_for("a failed load", || {
        assert_eq!(setup.get("a"), None);
        setup.core.calls(Operation::Get) > before
    });
}

/// Once it is known that the database is away, nobody waits for it until it is back.
fn refresh_asks_nobody_during_an_outage(database: &Database<'_>) {
    for policy in POLICIES {
        let setup = Setup::new(database, CacheSettings { stale_policy: policy(None), ..short() });
        setup.another_writes("a", 1);
        assert_eq!((setup.version("a"), setup.all().len(), setup.get("b")), (Some(1), 1, None));
        wait_until_stale(&setup);
        setup.begin_outage();
        // What is under way in the background may still end.
        setup.wait_for("reads that ask nobody", || {
            let before = setup.core.all_calls();
            for _ in 0..100 {
                assert_eq!((setup.version("a"), setup.all().len(), setup.get("b")), (Some(1), 1, None));
            }
            setup.core.all_calls() == before
        });
        setup.another_writes("a", 2);
        setup.core.heal();
        setup.wait_for("the new version", || setup.version("a") == Some(2));
    }
}

/// A value that is older than that is an error like any other that cannot be read.
fn max_age_is_the_end_of_the_old_value(database: &Database<'_>) {
    for policy in POLICIES {
        let stale_policy = policy(Some(Duration::from_millis(60)));
        let setup = Setup::new(database, CacheSettings { stale_policy, ..short() });
        setup.another_writes("a", 1);
        assert_eq!((setup.version("a"), setup.all().len()), (Some(1), 1));
        setup.begin_outage();
        setup.wait_for("the end", || setup.store.get(&Kind::FEATURES, "a").is_err());
        setup.wait_for("the end of all", || setup.store.all(&Kind::FEATURES).is_err());
        setup.end_outage(super::STALE);
        assert_eq!((setup.version("a"), setup.all().len()), (Some(1), 1));
    }
}

/// Nobody waits for the database, be it as slow as it likes.
fn background_refresh_serves_the_old_value_at_once(database: &Database<'_>) {
    let setup = Setup::new(database, in_background());
    setup.another_writes("a", 1);
    assert_eq!(setup.version("a"), Some(1));
    setup.another_writes("a", 2);
    let gate = setup.hold(Operation::Get);
    let before = setup.core.calls(Operation::Get);
    setup.wait_for("the read in the background", || {
        assert_eq!(setup.version("a"), Some(1), "the new one is held back");
        setup.core.calls(Operation::Get) > before
    });
    gate.wait();
    assert_eq!(setup.version("a"), Some(1), "the new one is still held back");
    gate.open();
    setup.wait_for("the new version", || setup.version("a") == Some(2));
}

/// The old value goes as soon as the new one is there, for one item, for a missing one, and for all.
fn background_refresh_brings_the_new_value_soon(database: &Database<'_>) {
    let setup = Setup::new(database, in_background());
    setup.another_writes("a", 1);
    assert_eq!((setup.version("a"), setup.all().len(), setup.get("b")), (Some(1), 1, None));
    setup.another_writes("a", 2);
    setup.another_writes("b", 1);
    setup.wait_for("the new version", || setup.version("a") == Some(2));
    setup.wait_for("the new item", || setup.version("b") == Some(1));
    setup.wait_for("all of them", || setup.all() == [("a".to_owned(), 2), ("b".to_owned(), 1)]);
}

/// However many find the value too old, it is read once.
fn background_refresh_is_one_call(database: &Database<'_>) {
    let setup = Setup::new(database, in_background());
    setup.another_writes("a", 1);
    assert_eq!(setup.version("a"), Some(1));
    let gate = setup.hold(Operation::Get);
    let before = setup.core.calls(Operation::Get);
    setup.wait_for("the read in the background", || {
        setup.get("a");
        setup.core.calls(Operation::Get) > before
    });
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..100).for_each(|_| assert_eq!(setup.version("a"), Some(1))));
        }
    });
    assert_eq!(setup.core.calls(Operation::Get) - before, 1);
    gate.open();
}

/// A store that panics in the background is asked again.
fn background_refresh_survives_a_panic(database: &Database<'_>) {
    let setup = Setup::new(database, in_background());
    setup.another_writes("a", 1);
    assert_eq!(setup.version("a"), Some(1));
    setup.core.panic_once(Operation::Get);
    let before = setup.core.calls(Operation::Get);
    setup.another_writes("a", 2);
    setup.wait_for("the panic", || {
        setup.get("a");
        setup.core.calls(Operation::Get) > before
    });
    setup.wait_for("the new version", || setup.version("a") == Some(2));
}

/// An item that was read anew joins the others, which are still there when the database is not.
fn one_new_item_does_not_end_all_old_ones(database: &Database<'_>) {
    for policy in POLICIES {
        let setup = Setup::new(database, CacheSettings { stale_policy: policy(None), ..short() });
        setup.core.inner().init(&flags([("a", item("a", 1, "")), ("b", item("b", 1, ""))])).succeed();
        assert_eq!(setup.all().len(), 2);
        setup.another_writes("a", 2);
        setup.core.fail_only(Operation::GetAll, ErrorKind::Other);
        setup.wait_for("the new version", || setup.version("a") == Some(2));
        assert_eq!(setup.all(), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert_eq!(setup.store.status(), HEALTHY);
    }
}
