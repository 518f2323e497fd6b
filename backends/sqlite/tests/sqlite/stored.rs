use flagstore_core::{AllData, ErrorKind, FeatureStoreCore, Item, Kind, Upsert};
use flagstore_sqlite::SqliteStore;
use flagstore_sqlite::rusqlite::limits::Limit;

use crate::{Folder, assert_kind, flag, flags, upsert, version};

/// What a stored item can be damaged to, as SQL.
const DAMAGES: [&str; 5] = [
    "json = CAST(x'80' AS TEXT)",
    // {"a":"..."} with a byte that is not UTF-8, which json_valid accepts.
    "json = CAST(x'7b2261223a2280227d' AS TEXT)",
    "version = -1",
    "version = 9007199254740993",
    "json = 'garbage'",
];

/// Only these can be seen without parsing JSON, which reads do not do.
fn unreadable() -> impl Iterator<Item = &'static str> {
    DAMAGES.into_iter().filter(|damage| !damage.contains("garbage"))
}

fn damaged(damage: &str) -> (Folder, SqliteStore) {
    let folder = Folder::new();
    let store = folder.store();
    upsert(&store, 5).unwrap();
    let _ = store.upsert(&Kind::FEATURES, "sound", &flag(1)).unwrap();
    let damaged = format!("UPDATE items SET {damage} WHERE key = 'dark-mode'");
    assert_eq!(folder.other().execute(&damaged, []).unwrap(), 1);
    (folder, store)
}

/// What is not an item in its columns is corrupt, and the error names it without showing it.
#[test]
fn an_unreadable_item_is_corrupt() {
    for damage in unreadable() {
        let (_folder, store) = damaged(damage);
        assert_kind(store.get(&Kind::FEATURES, "dark-mode"), ErrorKind::Corrupt, "get features/dark-mode: ");
        assert_eq!(store.get(&Kind::FEATURES, "sound").unwrap(), Some(flag(1)));
    }
}

/// What is not an item is left out of all items, and reported beside them.
#[test]
fn an_unreadable_item_spoils_no_other() {
    for damage in unreadable() {
        let (_folder, store) = damaged(damage);
        let all = store.get_all(&Kind::FEATURES).unwrap();
        assert_eq!(all.by_key.into_iter().collect::<Vec<_>>(), [("sound".to_owned(), flag(1))]);
        assert_eq!(all.unreadable.len(), 1);
        assert_eq!(all.unreadable[0].items(), [(Kind::FEATURES, "dark-mode".to_owned())]);
    }
}

/// A key that is not UTF-8 is reported as well as it can be, and an init removes it.
#[test]
fn an_unreadable_key_is_reported_and_removed() {
    let (folder, store) = damaged("key = CAST(x'6180' AS TEXT)");
    let all = store.get_all(&Kind::FEATURES).unwrap();
    assert_eq!(all.unreadable[0].items(), [(Kind::FEATURES, "a\u{fffd}".to_owned())]);
    store.init(&AllData::new().with(Kind::FEATURES, [("sound", flag(1))])).unwrap();
    let rows: i64 = folder.other().query_row("SELECT count(*) FROM items", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

/// What is not an item gives way to any version, also an older one.
#[test]
fn a_damaged_item_is_overwritten_by_any_version() {
    for damage in DAMAGES {
        for new in [4, 5] {
            let (_folder, store) = damaged(damage);
            let upserted = store.upsert(&Kind::FEATURES, "dark-mode", &flag(new)).unwrap();
            assert_eq!(upserted, Upsert::Applied, "{new} over {damage}");
            assert_eq!(version(&store), Some(new));
        }
    }
}

/// The columns say all there is about a tombstone, so it holds whatever its JSON is.
#[test]
fn a_tombstone_holds_whatever_its_json_is() {
    let (_folder, store) = damaged("deleted = 1, json = 'null'");
    let upserted = store.upsert(&Kind::FEATURES, "dark-mode", &flag(5)).unwrap();
    assert_eq!(upserted, Upsert::Stale(Item::from_parts(5, true, "null").unwrap()));
}

/// An init that brings what is there already writes nothing.
#[test]
fn an_init_of_the_same_data_changes_nothing() {
    let folder = Folder::new();
    let (store, other) = (folder.store(), folder.other());
    let commits = || other.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0)).unwrap();
    store.init(&flags(10, 1)).unwrap();
    let before = commits();
    store.init(&flags(10, 1)).unwrap();
    assert_eq!(commits(), before);
    store.init(&flags(10, 2)).unwrap();
    assert_ne!(commits(), before);
}

/// An init stores all but what is too large, leaves what was there under those keys, and names them all.
#[test]
fn an_init_stores_all_but_what_is_too_large() {
    let folder = Folder::new();
    let small = folder
        .builder()
        .configure(|connection| connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, 10_000).map(drop));
    let store = small.build().unwrap();
    let _ = store.upsert(&Kind::FEATURES, "large", &flag(1)).unwrap();
    let large = Item::parse(format!(r#"{{"version":2,"filler":"{}"}}"#, "x".repeat(10_000))).unwrap();
    let data = AllData::new()
        .with(Kind::SEGMENTS, [("larger", large.clone())])
        .with(Kind::FEATURES, [("large", large), ("small", flag(2))]);

    let error = store.init(&data).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(error.items(), [(Kind::SEGMENTS, "larger".to_owned()), (Kind::FEATURES, "large".to_owned())]);
    assert!(store.is_initialized().unwrap());
    assert_eq!(store.get(&Kind::FEATURES, "large").unwrap(), Some(flag(1)));
    assert_eq!(store.get(&Kind::FEATURES, "small").unwrap(), Some(flag(2)));
    assert_eq!(store.get(&Kind::SEGMENTS, "larger").unwrap(), None);
}

/// An upsert of what is too large changes nothing.
#[test]
fn an_upsert_of_what_is_too_large_says_so() {
    let store = SqliteStore::in_memory()
        .configure(|connection| connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, 10_000).map(drop))
        .build()
        .unwrap();
    upsert(&store, 1).unwrap();
    let large = Item::parse(format!(r#"{{"version":2,"filler":"{}"}}"#, "x".repeat(10_000))).unwrap();
    let upserted = store.upsert(&Kind::FEATURES, "dark-mode", &large);
    assert_kind(upserted, ErrorKind::TooLarge, "upsert features/dark-mode: ");
    assert_eq!(version(&store), Some(1));
}
