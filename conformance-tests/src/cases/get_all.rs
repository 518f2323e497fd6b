use flagstore_core::{AllData, Kind};

use crate::case::{Case, Database, Succeed, flags, item, tombstone};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(has_all_items_of_that_kind_only),
        Case::new(of_an_empty_kind_is_empty),
        Case::new(includes_tombstones),
        Case::new(sees_updates_and_deletions),
    ]
}

/// All items of the kind, by key, and none of another.
fn has_all_items_of_that_kind_only(database: &Database<'_>) {
    let store = database.open();
    let (a, b, s) = (item("a", 1, ""), item("b", 2, ""), item("s", 3, ""));
    let items = [("a", a.clone()), ("b", b.clone())];
    store
        .init(&AllData::new().with(Kind::FEATURES, items).with(Kind::SEGMENTS, [("s", s.clone())]))
        .succeed();
    let features = store.get_all(&Kind::FEATURES).succeed();
    assert_eq!(features.by_key, [("a".to_owned(), a), ("b".to_owned(), b)].into());
    assert!(features.unreadable.is_empty());
    assert_eq!(store.get_all(&Kind::SEGMENTS).succeed().by_key, [("s".to_owned(), s)].into());
}

/// A kind that was never written has no items, and that is no error.
fn of_an_empty_kind_is_empty(database: &Database<'_>) {
    let store = database.open();
    assert!(store.get_all(&Kind::FEATURES).succeed().by_key.is_empty(), "before an init");
    store.init(&flags([("a", item("a", 1, ""))])).succeed();
    assert!(store.get_all(&Kind::new("mock1")).succeed().by_key.is_empty(), "after one");
}

/// Tombstones are items like others.
fn includes_tombstones(database: &Database<'_>) {
    let store = database.open();
    store.init(&flags([("a", item("a", 1, "")), ("initially", tombstone("initially", 5))])).succeed();
    let _ = store.upsert(&Kind::FEATURES, "later", &tombstone("later", 6)).succeed();
    let all = store.get_all(&Kind::FEATURES).succeed().by_key;
    let found = |key: &str| all.get(key).map(|item| (item.version(), item.is_deleted()));
    assert_eq!(found("a"), Some((1, false)));
    assert_eq!(found("initially"), Some((5, true)));
    assert_eq!(found("later"), Some((6, true)));
}

/// All items are as up to date as one.
fn sees_updates_and_deletions(database: &Database<'_>) {
    let (writer, reader) = (database.open(), database.open());
    writer.init(&flags([("a", item("a", 1, "")), ("b", item("b", 1, ""))])).succeed();
    assert_eq!(reader.get_all(&Kind::FEATURES).succeed().by_key.len(), 2);
    let _ = writer.upsert(&Kind::FEATURES, "a", &item("a", 2, "new")).succeed();
    let _ = writer.upsert(&Kind::FEATURES, "c", &item("c", 1, "")).succeed();
    let all = reader.get_all(&Kind::FEATURES).succeed().by_key;
    assert_eq!(all.len(), 3);
    assert_eq!(all["a"], item("a", 2, "new"));
}
