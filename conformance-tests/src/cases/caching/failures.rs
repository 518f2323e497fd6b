use flagstore_core::{AllData, ErrorKind, FeatureStoreCore, Kind};

use super::{HEALTHY, Setup, caching, every_mode, finite, forever, off};
use crate::case::{Case, Database, Skip, Succeed, flags, item, tombstone};
use crate::controlled::Operation;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(failed_update_is_not_seen_in_a_finite_cache),
        Case::new(failed_update_goes_on_in_a_lasting_cache),
        Case::new(failed_update_that_is_not_newer_changes_nothing),
        Case::new(failed_deletion_goes_on_in_a_lasting_cache),
        Case::new(failed_init_is_not_seen_in_a_finite_cache),
        Case::new(failed_init_goes_on_in_a_lasting_cache),
        Case::new(failed_init_stays_the_truth_until_it_is_written),
        Case::new(failed_update_outlives_an_invalidation),
        Case::new(too_large_an_item_is_looked_up_and_the_others_are_cached),
        Case::new(every_error_reaches_the_caller),
    ]
}

/// What the database has not taken, a cache with an end does not show either.
fn failed_update_is_not_seen_in_a_finite_cache(database: &Database<'_>) {
    let setup = Setup::new(database, finite());
    setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
    setup.core.fail_only(Operation::Upsert, ErrorKind::Unavailable);
    setup.upsert_in_vain("a", 2);
    assert_eq!((setup.version("a"), setup.version_among_all("a")), (Some(1), Some(1)));
    assert_eq!(setup.stored("a"), Some(1));
}

/// With Forever the update counts, and its error is returned all the same.
fn failed_update_goes_on_in_a_lasting_cache(database: &Database<'_>) {
    let setup = Setup::new(database, forever());
    setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
    setup.core.fail(ErrorKind::Unavailable);
    setup.upsert_in_vain("a", 2);
    setup.upsert_in_vain("new", 1);
    assert_eq!((setup.version("a"), setup.version("new")), (Some(2), Some(1)));
    assert_eq!(setup.all(), [("a".to_owned(), 2), ("new".to_owned(), 1)]);
}

/// The cache takes it by version, as the database would have done.
fn failed_update_that_is_not_newer_changes_nothing(database: &Database<'_>) {
    let setup = Setup::new(database, forever());
    setup.store.init(&flags([("a", item("a", 5, "before"))])).succeed();
    setup.core.fail(ErrorKind::Unavailable);
    for version in [4, 5] {
        setup.upsert_in_vain("a", version);
        assert_eq!(setup.get("a"), Some(item("a", 5, "before")), "after version {version}");
        assert_eq!(setup.store.all(&Kind::FEATURES).succeed().get("a"), Some(&item("a", 5, "before")));
    }
}

/// A deletion is an update like any other.
fn failed_deletion_goes_on_in_a_lasting_cache(database: &Database<'_>) {
    let setup = Setup::new(database, forever());
    setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
    setup.core.fail(ErrorKind::Timeout);
    assert!(setup.store.delete(&Kind::FEATURES, "a", 2).is_err());
    assert_eq!((setup.get("a"), setup.all().len()), (None, 0));
}

/// After an init that failed a cache with an end has what it had, and does not count as initialized.
fn failed_init_is_not_seen_in_a_finite_cache(database: &Database<'_>) {
    let setup = Setup::new(database, finite());
    setup.another_writes("a", 1);
    assert_eq!((setup.version("a"), setup.all().len()), (Some(1), 1));
    setup.core.fail_only(Operation::Init, ErrorKind::Unavailable);
    let data = flags([("a", item("a", 9, "")), ("b", item("b", 9, ""))]);
    assert!(setup.store.init(&data).is_err());
    setup.without_the_database(|| {
        assert_eq!(setup.version("a"), Some(1));
        assert_eq!(setup.all(), [("a".to_owned(), 1)]);
    });
    assert_eq!(setup.get("b"), None);
    assert!(!setup.store.initialized());
}

/// With Forever the data counts, and so it is initialized; the error is returned all the same.
fn failed_init_goes_on_in_a_lasting_cache(database: &Database<'_>) {
    for kind in [ErrorKind::Unavailable, ErrorKind::Timeout] {
        let setup = Setup::new(database, forever());
        setup.another_writes("gone", 1);
        assert_eq!(setup.all().len(), 1);
        setup.core.fail(kind);
        let error = setup.store.init(&flags([("a", item("a", 1, ""))])).expect_err("it was told to fail");
        assert_eq!(error.kind(), kind);
        setup.without_the_database(|| {
            assert_eq!(setup.version("a"), Some(1));
            assert_eq!(setup.all(), [("a".to_owned(), 1)]);
            assert!(setup.store.initialized());
        });
    }
}

/// What the init has removed does not come back because the database still has it.
fn failed_init_stays_the_truth_until_it_is_written(database: &Database<'_>) {
    let setup = Setup::new(database, forever());
    setup.another_writes("a", 1);
    setup.another_writes("gone", 1);
    setup.core.fail_exactly(&[Operation::Init, Operation::IsAvailable], ErrorKind::Timeout);
    assert!(setup.store.init(&flags([("a", item("a", 2, ""))])).is_err());
    assert_eq!(setup.get("gone"), None, "the database has it and the init has not");
    setup.store.invalidate_all();
    assert_eq!(setup.version("a"), Some(2), "the database has an older one");
    assert_eq!(setup.all(), [("a".to_owned(), 2)], "and so among all");
}

/// What somebody else may have changed is read anew, and never in place of what is newer and not yet written.
fn failed_update_outlives_an_invalidation(database: &Database<'_>) {
    let setup = Setup::new(database, forever());
    setup.store.init(&flags([("a", item("a", 1, "")), ("b", item("b", 1, ""))])).succeed();
    setup.core.fail_exactly(&[Operation::Upsert, Operation::IsAvailable], ErrorKind::Timeout);
    setup.upsert_in_vain("a", 3);
    setup.another_writes("b", 2);
    setup.store.invalidate_all();
    assert_eq!(setup.version("a"), Some(3));
    setup.store.invalidate_all();
    assert_eq!(setup.all()[0], ("a".to_owned(), 3));
    setup.end_outage(HEALTHY);
    assert_eq!(setup.all(), [("a".to_owned(), 3), ("b".to_owned(), 2)]);
    assert_eq!(setup.stored("a"), Some(3));
}

/// An init in which `large` does not fit: the others are stored, and `large` is what it was.
fn too_large_an_init(database: &Database<'_>, setup: &Setup) -> Result<(), Skip> {
    let size = database.fixture.too_large().ok_or(Skip("the fixture names no size that is too large"))?;
    setup.another_writes("large", 1);
    let data = flags([("a", item("a", 1, "")), ("large", item("large", 2, &"x".repeat(size)))]);
    let error = setup.store.init(&data).expect_err("it does not fit");
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    Ok(())
}

/// An item that does not fit spoils no other: these are cached, and of this one counts what is stored.
fn too_large_an_item_is_looked_up_and_the_others_are_cached(database: &Database<'_>) -> Result<(), Skip> {
    for settings in [finite(), off(), forever()] {
        let setup = Setup::new(database, settings);
        too_large_an_init(database, &setup)?;
        assert!(setup.store.initialized(), "{setup}");
        assert_eq!(setup.get("large"), Some(item("large", 1, "another's")), "{setup}");
        assert_eq!(setup.all(), [("a".to_owned(), 1), ("large".to_owned(), 1)], "{setup}");
        assert_eq!(setup.store.status(), super::HEALTHY, "{setup}");
    }
    let setup = Setup::new(database, finite());
    too_large_an_init(database, &setup)?;
    setup.without_the_database(|| assert_eq!(setup.version("a"), Some(1)));
    Ok(())
}

/// In every mode a caller learns of each failure, as what it is.
fn every_error_reaches_the_caller(database: &Database<'_>) {
    for setup in every_mode(database) {
        for kind in [ErrorKind::Other, ErrorKind::Corrupt, ErrorKind::Timeout, ErrorKind::Unavailable] {
            setup.core.fail(kind);
            let errors = [
                setup.store.get(&Kind::FEATURES, "unseen").err(),
                setup.store.all(&Kind::new("unseen")).err(),
                setup.store.upsert(&Kind::FEATURES, "a", &item("a", 1, "")).err(),
                setup.store.delete(&Kind::FEATURES, "a", 1).err(),
                setup.store.init(&AllData::new()).err(),
            ];
            let kinds = errors.map(|error| error.map(|error| error.kind()));
            assert_eq!(kinds, [Some(kind); 5], "{setup}");
        }
    }
    for setup in caching(database) {
        let tombstone = tombstone("dead", 1);
        let _ = setup.core.inner().upsert(&Kind::FEATURES, "dead", &tombstone).succeed();
        assert_eq!(setup.get("dead"), None, "{setup}: a deleted item is no error");
    }
}
