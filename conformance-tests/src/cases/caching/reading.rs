use flagstore_core::{AllData, ErrorKind, Kind};

use super::{Setup, caching, every_mode, off};
use crate::case::{Case, Database, Succeed, flags, item, tombstone};
use crate::controlled::Operation;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(live_items_come_back_and_deleted_ones_do_not),
        Case::new(item_is_read_once),
        Case::new(missing_key_is_looked_up_once),
        Case::new(tombstone_is_read_once),
        Case::new(all_items_are_read_once),
        Case::new(all_items_are_single_items_too),
        Case::new(all_items_prove_no_absence),
        Case::new(kinds_do_not_collide),
        Case::new(unreadable_item_is_an_error_each_time),
        Case::new(unreadable_item_is_left_out_of_all),
        Case::new(without_a_cache_every_read_asks),
        Case::new(what_is_forgotten_is_asked_again),
        Case::new(one_item_is_forgotten_and_no_other),
    ]
}

/// In every mode: live items are there, and a deleted one is as if it never was.
fn live_items_come_back_and_deleted_ones_do_not(database: &Database<'_>) {
    for setup in every_mode(database) {
        let data = flags([("a", item("a", 1, "")), ("dead", tombstone("dead", 2))]);
        setup.core.inner().init(&data).succeed();
        for _ in 0..2 {
            assert_eq!(setup.get("a"), Some(item("a", 1, "")), "{setup}");
            assert_eq!(setup.get("dead"), None, "{setup}: the tombstone is hidden");
            assert_eq!(setup.get("missing"), None, "{setup}");
            assert_eq!(setup.all(), [("a".to_owned(), 1)], "{setup}");
        }
    }
}

/// A hit is served although the database has changed.
fn item_is_read_once(database: &Database<'_>) {
    for setup in caching(database) {
        setup.another_writes("a", 1);
        assert_eq!(setup.version("a"), Some(1), "{setup}");
        setup.another_writes("a", 2);
        setup.without_the_database(|| assert_eq!(setup.version("a"), Some(1), "{setup}"));
    }
}

/// That there is none is cached like an item.
fn missing_key_is_looked_up_once(database: &Database<'_>) {
    for setup in caching(database) {
        assert_eq!(setup.get("a"), None, "{setup}");
        setup.another_writes("a", 1);
        setup.without_the_database(|| assert_eq!(setup.get("a"), None, "{setup}"));
    }
}

/// That one is deleted is cached like an item.
fn tombstone_is_read_once(database: &Database<'_>) {
    for setup in caching(database) {
        setup.core.inner().init(&flags([("a", tombstone("a", 1))])).succeed();
        assert_eq!(setup.get("a"), None, "{setup}");
        setup.another_writes("a", 2);
        setup.without_the_database(|| assert_eq!(setup.get("a"), None, "{setup}"));
    }
}

/// All items are cached, those of each kind for themselves.
fn all_items_are_read_once(database: &Database<'_>) {
    for setup in caching(database) {
        setup.another_writes("a", 1);
        assert_eq!(setup.all(), [("a".to_owned(), 1)], "{setup}");
        assert!(setup.store.all(&Kind::SEGMENTS).succeed().is_empty(), "{setup}");
        setup.another_writes("a", 2);
        setup.another_writes("b", 1);
        setup.without_the_database(|| {
            assert_eq!(setup.all(), [("a".to_owned(), 1)], "{setup}");
            assert!(setup.store.all(&Kind::SEGMENTS).succeed().is_empty(), "{setup}");
        });
    }
}

/// Whoever has read all items has read each, the deleted ones too.
fn all_items_are_single_items_too(database: &Database<'_>) {
    for setup in caching(database) {
        let data = flags([("a", item("a", 1, "")), ("dead", tombstone("dead", 2))]);
        setup.core.inner().init(&data).succeed();
        assert_eq!(setup.all().len(), 1, "{setup}");
        setup.without_the_database(|| {
            assert_eq!(setup.version("a"), Some(1), "{setup}");
            assert_eq!(setup.get("dead"), None, "{setup}");
        });
    }
}

/// A key that is not among all items may have come since, so the database is asked once.
fn all_items_prove_no_absence(database: &Database<'_>) {
    for setup in caching(database) {
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        assert_eq!(setup.all().len(), 1, "{setup}");
        setup.another_writes("later", 1);
        assert_eq!(setup.version("later"), Some(1), "{setup}");
        setup.core.fail(ErrorKind::Unavailable);
        let all = setup.all();
        assert!(all.contains(&("a".to_owned(), 1)), "{setup}: all items are still known, {all:?}");
    }
}

/// A flag and a segment of one key are two things.
fn kinds_do_not_collide(database: &Database<'_>) {
    for setup in caching(database) {
        let data =
            flags([("a", item("a", 1, "flag"))]).with(Kind::SEGMENTS, [("a", item("a", 2, "segment"))]);
        setup.core.inner().init(&data).succeed();
        for _ in 0..2 {
            assert_eq!(setup.get("a"), Some(item("a", 1, "flag")), "{setup}");
            let segment = setup.store.get(&Kind::SEGMENTS, "a").succeed();
            assert_eq!(segment, Some(item("a", 2, "segment")), "{setup}");
        }
        setup.store.invalidate_kind(&Kind::SEGMENTS);
        setup.without_the_database(|| assert_eq!(setup.version("a"), Some(1), "{setup}"));
    }
}

/// What cannot be read is neither missing nor cached: as soon as it is mended it is there.
fn unreadable_item_is_an_error_each_time(database: &Database<'_>) {
    for setup in caching(database) {
        setup.another_writes("a", 1);
        setup.core.fail_only(Operation::Get, ErrorKind::Corrupt);
        for calls in 1..=2 {
            let error = setup.store.get(&Kind::FEATURES, "a").expect_err("it cannot be read");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{setup}");
            assert_eq!(setup.core.calls(Operation::Get), calls, "{setup}");
        }
        setup.core.heal();
        assert_eq!(setup.version("a"), Some(1), "{setup}");
    }
}

/// Among all items it is left out, spoils no other, and does not count as missing.
fn unreadable_item_is_left_out_of_all(database: &Database<'_>) {
    for setup in every_mode(database) {
        setup.core.inner().init(&flags([("a", item("a", 1, "")), ("bad", item("bad", 1, ""))])).succeed();
        setup.core.spoil(&Kind::FEATURES, "bad");
        assert_eq!(setup.all(), [("a".to_owned(), 1)], "{setup}");
        let error = setup.store.get(&Kind::FEATURES, "bad").expect_err("it cannot be read");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{setup}");
    }
}

/// Without a cache everything is as it is in the database.
fn without_a_cache_every_read_asks(database: &Database<'_>) {
    let setup = Setup::new(database, off());
    for version in 1..=3 {
        setup.another_writes("a", version);
        assert_eq!(setup.version("a"), Some(version));
        assert_eq!(setup.version_among_all("a"), Some(version));
    }
    assert_eq!(setup.core.calls(Operation::Get), 3);
    assert_eq!(setup.core.calls(Operation::GetAll), 3);
}

/// After an invalidation of the item, of its kind or of everything the database is asked, for one and for all.
fn what_is_forgotten_is_asked_again(database: &Database<'_>) {
    for setup in caching(database) {
        setup.another_writes("a", 1);
        assert_eq!((setup.version("a"), setup.get("b")), (Some(1), None), "{setup}");
        let forget: [fn(&Setup); 3] = [
            |setup| ["a", "b"].iter().for_each(|key| setup.store.invalidate(&Kind::FEATURES, key)),
            |setup| setup.store.invalidate_kind(&Kind::FEATURES),
            |setup| setup.store.invalidate_all(),
        ];
        for (version, forget) in (2..).zip(forget) {
            assert_eq!(setup.version_among_all("a"), Some(version - 1), "{setup}");
            setup.another_writes("a", version);
            setup.another_writes("b", version);
            forget(&setup);
            assert_eq!(setup.version("a"), Some(version), "{setup}");
            assert_eq!(setup.version("b"), Some(version), "{setup}: no longer missing");
            assert_eq!(setup.version_among_all("a"), Some(version), "{setup}");
        }
    }
}

/// The others stay cached, and so do other kinds.
fn one_item_is_forgotten_and_no_other(database: &Database<'_>) {
    for setup in caching(database) {
        let data = AllData::new().with(Kind::SEGMENTS, [("s", item("s", 1, ""))]);
        let items = [("a", item("a", 1, "")), ("b", item("b", 1, ""))];
        setup.store.init(&data.with(Kind::FEATURES, items)).succeed();
        setup.store.invalidate(&Kind::FEATURES, "a");
        setup.without_the_database(|| {
            assert_eq!(setup.version("b"), Some(1), "{setup}");
            assert_eq!(setup.store.all(&Kind::SEGMENTS).succeed().len(), 1, "{setup}");
        });
        setup.another_writes("a", 2);
        assert_eq!(setup.version("a"), Some(2), "{setup}: it is asked for again");
    }
}
