use flagstore_core::{AllData, ErrorKind, FeatureStoreCore};

use super::{Setup, caching, every_mode, finite, off, short};
use crate::case::{Case, Database, Succeed, flags, item};
use crate::controlled::Operation;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(is_not_asked_after_an_init),
        Case::new(yes_is_remembered),
        Case::new(no_is_remembered_for_a_while),
        Case::new(no_is_not_remembered_without_a_cache),
        Case::new(own_init_ends_a_remembered_no),
        Case::new(an_error_is_no_and_is_not_remembered),
        Case::new(empty_data_initializes),
    ]
}

/// Whoever has done it knows it.
fn is_not_asked_after_an_init(database: &Database<'_>) {
    for setup in every_mode(database) {
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        setup.without_the_database(|| assert!(setup.store.initialized(), "{setup}"));
    }
}

/// A store that is initialized stays so, and the database is asked once, in every mode.
fn yes_is_remembered(database: &Database<'_>) {
    for setup in every_mode(database) {
        setup.core.inner().init(&AllData::new()).succeed();
        assert!(setup.store.initialized(), "{setup}");
        setup.without_the_database(|| assert!(setup.store.initialized(), "{setup}"));
    }
}

/// Another's init is not seen at once, and it is seen in the end.
fn no_is_remembered_for_a_while(database: &Database<'_>) {
    let setup = Setup::new(database, finite());
    assert!(!setup.store.initialized());
    setup.core.inner().init(&AllData::new()).succeed();
    setup.without_the_database(|| assert!(!setup.store.initialized()));

    let setup = Setup::new(database, short());
    assert!(!setup.store.initialized());
    setup.core.inner().init(&AllData::new()).succeed();
    setup.wait_for("another's init", || setup.store.initialized());
}

/// Without a cache another's init is seen at once.
fn no_is_not_remembered_without_a_cache(database: &Database<'_>) {
    let setup = Setup::new(database, off());
    assert!(!setup.store.initialized());
    setup.core.inner().init(&AllData::new()).succeed();
    assert!(setup.store.initialized());
    assert_eq!(setup.core.calls(Operation::IsInitialized), 2);
}

/// One's own init is seen at once.
fn own_init_ends_a_remembered_no(database: &Database<'_>) {
    for setup in every_mode(database) {
        assert!(!setup.store.initialized(), "{setup}");
        setup.store.init(&AllData::new()).succeed();
        assert!(setup.store.initialized(), "{setup}");
    }
}

/// A database that cannot tell is asked again.
fn an_error_is_no_and_is_not_remembered(database: &Database<'_>) {
    for setup in caching(database) {
        setup.core.inner().init(&AllData::new()).succeed();
        setup.core.fail_only(Operation::IsInitialized, ErrorKind::Other);
        assert!(!setup.store.initialized(), "{setup}");
        setup.core.heal();
        assert!(setup.store.initialized(), "{setup}");
    }
}

/// An environment without flags is an environment.
fn empty_data_initializes(database: &Database<'_>) {
    for setup in every_mode(database) {
        setup.store.init(&flags([])).succeed();
        assert!(setup.store.initialized(), "{setup}");
        assert!(setup.all().is_empty(), "{setup}");
    }
}
