use flagstore_core::{AllData, FeatureStoreCore, Kind, Upsert};

use super::{caching, every_mode};
use crate::case::{Case, Database, Succeed, flags, item, tombstone};
use crate::controlled::Operation;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(init_fills_the_cache),
        Case::new(init_replaces_what_is_cached),
        Case::new(init_may_lower_versions),
        Case::new(init_leaves_other_kinds_cached),
        Case::new(init_ends_cached_misses),
        Case::new(update_is_read_without_the_database),
        Case::new(update_is_one_call),
        Case::new(late_update_brings_the_newer_item),
        Case::new(late_update_brings_what_is_stored_at_the_same_version),
        Case::new(rejected_item_is_never_among_all),
        Case::new(update_ends_a_cached_miss),
        Case::new(deletion_is_read_without_the_database),
        Case::new(deletion_that_is_too_late_changes_nothing),
        Case::new(newer_update_brings_a_deleted_item_back),
    ]
}

/// After an init nothing of it has to be read, be it one item, a deleted one or all.
fn init_fills_the_cache(database: &Database<'_>) {
    for setup in caching(database) {
        setup.store.init(&flags([("a", item("a", 1, "")), ("dead", tombstone("dead", 2))])).succeed();
        setup.without_the_database(|| {
            assert_eq!(setup.version("a"), Some(1), "{setup}");
            assert_eq!(setup.get("dead"), None, "{setup}");
            assert_eq!(setup.all(), [("a".to_owned(), 1)], "{setup}");
        });
    }
}

/// What a later init does not name is gone, in every mode.
fn init_replaces_what_is_cached(database: &Database<'_>) {
    for setup in every_mode(database) {
        setup.store.init(&flags([("a", item("a", 1, "")), ("gone", item("gone", 1, ""))])).succeed();
        assert_eq!((setup.version("gone"), setup.all().len()), (Some(1), 2), "{setup}");
        setup.store.init(&flags([("a", item("a", 2, "")), ("new", item("new", 1, ""))])).succeed();
        assert_eq!((setup.version("a"), setup.get("gone")), (Some(2), None), "{setup}");
        assert_eq!(setup.all(), [("a".to_owned(), 2), ("new".to_owned(), 1)], "{setup}");
    }
}

/// An init is the truth, also where it is older.
fn init_may_lower_versions(database: &Database<'_>) {
    for setup in every_mode(database) {
        setup.store.init(&flags([("a", item("a", 5, ""))])).succeed();
        setup.update("a", 9);
        setup.store.init(&flags([("a", item("a", 3, ""))])).succeed();
        assert_eq!((setup.version("a"), setup.version_among_all("a")), (Some(3), Some(3)), "{setup}");
        assert_eq!(setup.upsert("a", 4), Upsert::Applied, "{setup}");
        assert_eq!((setup.version("a"), setup.version_among_all("a")), (Some(4), Some(4)), "{setup}");
    }
}

/// An init of flags says nothing about segments.
fn init_leaves_other_kinds_cached(database: &Database<'_>) {
    for setup in caching(database) {
        setup.store.init(&AllData::new().with(Kind::SEGMENTS, [("s", item("s", 1, ""))])).succeed();
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        setup.without_the_database(|| {
            let segment = setup.store.get(&Kind::SEGMENTS, "s").succeed();
            assert_eq!(segment, Some(item("s", 1, "")), "{setup}");
            assert_eq!(setup.store.all(&Kind::SEGMENTS).succeed().len(), 1, "{setup}");
        });
    }
}

/// A key that was missing is there after an init that names it, and looked up after one that does not.
fn init_ends_cached_misses(database: &Database<'_>) {
    for setup in caching(database) {
        assert_eq!((setup.get("a"), setup.get("b")), (None, None), "{setup}");
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        setup.another_writes("b", 1);
        setup.without_the_database(|| assert_eq!(setup.version("a"), Some(1), "{setup}"));
        assert_eq!(setup.version("b"), Some(1), "{setup}");
    }
}

/// An update that was applied is cached: as an item, and among all if these are cached.
fn update_is_read_without_the_database(database: &Database<'_>) {
    for setup in caching(database) {
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        assert_eq!(setup.upsert("a", 2), Upsert::Applied, "{setup}");
        assert_eq!(setup.upsert("b", 1), Upsert::Applied, "{setup}");
        setup.without_the_database(|| {
            assert_eq!((setup.version("a"), setup.version("b")), (Some(2), Some(1)), "{setup}");
            assert_eq!(setup.all(), [("a".to_owned(), 2), ("b".to_owned(), 1)], "{setup}");
        });
        assert_eq!((setup.stored("a"), setup.stored("b")), (Some(2), Some(1)), "{setup}");
    }
}

/// An update costs one call of the database and no read, in any mode.
fn update_is_one_call(database: &Database<'_>) {
    for setup in every_mode(database) {
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        let before = setup.core.all_calls();
        setup.update("a", 2);
        assert!(matches!(setup.upsert("a", 1), Upsert::Stale(_)), "{setup}");
        assert_eq!(setup.core.all_calls() - before, 2, "{setup}");
        assert_eq!(setup.core.calls(Operation::Upsert), 2, "{setup}");
    }
}

/// Whoever wrote too late is told what is stored, and from then on everybody reads that.
fn late_update_brings_the_newer_item(database: &Database<'_>) {
    for setup in caching(database) {
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        setup.another_writes("a", 5);
        let stored = item("a", 5, "another's");
        for version in [4, 5] {
            assert_eq!(setup.upsert("a", version), Upsert::Stale(stored.clone()), "{setup}");
        }
        setup.without_the_database(|| {
            assert_eq!(setup.get("a"), Some(stored.clone()), "{setup}");
            assert_eq!(setup.all(), [("a".to_owned(), 5)], "{setup}");
        });
    }
}

/// Two texts of one version: what is stored counts, wherever it is read.
fn late_update_brings_what_is_stored_at_the_same_version(database: &Database<'_>) {
    for setup in caching(database) {
        setup.store.init(&flags([("a", item("a", 5, "cached"))])).succeed();
        setup.core.inner().init(&flags([("a", item("a", 5, "stored"))])).succeed();
        assert_eq!(setup.upsert("a", 5), Upsert::Stale(item("a", 5, "stored")), "{setup}");
        setup.without_the_database(|| {
            assert_eq!(setup.get("a"), Some(item("a", 5, "stored")), "{setup}");
            assert_eq!(
                setup.store.all(&Kind::FEATURES).succeed().get("a"),
                Some(&item("a", 5, "stored")),
                "{setup}"
            );
        });
    }
}

/// What the database has refused is nowhere to be seen, and what it has instead may be deleted.
fn rejected_item_is_never_among_all(database: &Database<'_>) {
    for setup in caching(database) {
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        let tombstone = tombstone("a", 6);
        let _ = setup.core.inner().upsert(&Kind::FEATURES, "a", &tombstone).succeed();
        assert_eq!(setup.upsert("a", 5), Upsert::Stale(tombstone), "{setup}");
        setup.without_the_database(|| {
            assert_eq!(setup.get("a"), None, "{setup}");
            assert!(setup.all().is_empty(), "{setup}");
        });
    }
}

/// A key that was missing is there as soon as it is written.
fn update_ends_a_cached_miss(database: &Database<'_>) {
    for setup in caching(database) {
        assert_eq!(setup.get("a"), None, "{setup}");
        setup.update("a", 1);
        setup.without_the_database(|| assert_eq!(setup.version("a"), Some(1), "{setup}"));
    }
}

/// A deletion takes the item out of the cache's answers, and stays known.
fn deletion_is_read_without_the_database(database: &Database<'_>) {
    for setup in caching(database) {
        setup.store.init(&flags([("a", item("a", 1, "")), ("b", item("b", 1, ""))])).succeed();
        assert_eq!(setup.store.delete(&Kind::FEATURES, "a", 2).succeed(), Upsert::Applied, "{setup}");
        setup.without_the_database(|| {
            assert_eq!(setup.get("a"), None, "{setup}");
            assert_eq!(setup.all(), [("b".to_owned(), 1)], "{setup}");
        });
        assert_eq!(setup.stored("a"), Some(2), "{setup}: the tombstone is stored");
    }
}

/// A deletion with a version that is not newer is no deletion.
fn deletion_that_is_too_late_changes_nothing(database: &Database<'_>) {
    for setup in every_mode(database) {
        setup.store.init(&flags([("a", item("a", 5, ""))])).succeed();
        for version in [4, 5] {
            let outcome = setup.store.delete(&Kind::FEATURES, "a", version).succeed();
            assert_eq!(outcome, Upsert::Stale(item("a", 5, "")), "{setup}");
        }
        assert_eq!((setup.version("a"), setup.version_among_all("a")), (Some(5), Some(5)), "{setup}");
    }
}

/// A deleted item is there again after a newer update, and not after an older one.
fn newer_update_brings_a_deleted_item_back(database: &Database<'_>) {
    for setup in every_mode(database) {
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        let _ = setup.store.delete(&Kind::FEATURES, "a", 5).succeed();
        assert!(matches!(setup.upsert("a", 4), Upsert::Stale(_)), "{setup}");
        assert_eq!((setup.get("a"), setup.all().len()), (None, 0), "{setup}");
        assert_eq!(setup.upsert("a", 6), Upsert::Applied, "{setup}");
        assert_eq!((setup.version("a"), setup.all().len()), (Some(6), 1), "{setup}");
    }
}
