use flagstore_core::Kind;

use crate::case::{Case, Database, Succeed, flags, item, tombstone};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(existing_item_comes_back),
        Case::new(missing_key_is_none),
        Case::new(missing_kind_is_none),
        Case::new(deleted_item_is_its_tombstone),
        Case::new(kinds_do_not_collide),
        Case::new(another_handle_reads_what_one_wrote),
        Case::new(unusual_keys_are_keys),
    ]
}

/// An item is read as it was written.
fn existing_item_comes_back(database: &Database<'_>) {
    let store = database.open();
    let written = item("a", 3, "text");
    store.init(&flags([("a", written.clone()), ("b", item("b", 4, ""))])).succeed();
    assert_eq!(store.get(&Kind::FEATURES, "a").succeed(), Some(written));
}

/// A key that was never written is no error.
fn missing_key_is_none(database: &Database<'_>) {
    let store = database.open();
    store.init(&flags([("a", item("a", 1, ""))])).succeed();
    assert_eq!(store.get(&Kind::FEATURES, "b").succeed(), None);
}

/// Neither is a kind that was never written, nor an empty database.
fn missing_kind_is_none(database: &Database<'_>) {
    assert_eq!(database.open().get(&Kind::new("mock1"), "a").succeed(), None);
}

/// A deleted item is not missing: its tombstone is returned.
fn deleted_item_is_its_tombstone(database: &Database<'_>) {
    let store = database.open();
    store.init(&flags([("a", item("a", 1, ""))])).succeed();
    let _ = store.upsert(&Kind::FEATURES, "a", &tombstone("a", 2)).succeed();
    let read = store.get(&Kind::FEATURES, "a").succeed();
    assert_eq!(read.as_ref().map(|item| (item.version(), item.is_deleted())), Some((2, true)));
}

/// A flag and a segment may have the same key.
fn kinds_do_not_collide(database: &Database<'_>) {
    let store = database.open();
    let (flag, segment) = (item("a", 1, "flag"), item("a", 2, "segment"));
    let _ = store.upsert(&Kind::FEATURES, "a", &flag).succeed();
    assert_eq!(store.get(&Kind::SEGMENTS, "a").succeed(), None, "a flag is not a segment");
    let _ = store.upsert(&Kind::SEGMENTS, "a", &segment).succeed();
    assert_eq!(store.get(&Kind::FEATURES, "a").succeed(), Some(flag));
    assert_eq!(store.get(&Kind::SEGMENTS, "a").succeed(), Some(segment));
}

/// The data is in the database, not in the handle.
fn another_handle_reads_what_one_wrote(database: &Database<'_>) {
    let (writer, reader) = (database.open(), database.open());
    for version in 1..=3 {
        let written = item("a", version, "");
        let _ = writer.upsert(&Kind::FEATURES, "a", &written).succeed();
        assert_eq!(reader.get(&Kind::FEATURES, "a").succeed(), Some(written));
    }
}

/// Any text is a key, and no two of them are the same.
fn unusual_keys_are_keys(database: &Database<'_>) {
    let long = "k".repeat(1024);
    let keys = [
        " ",
        "A",
        "a",
        "a ",
        ":",
        "a:b",
        "$inited",
        "$deleted",
        "features",
        "launchdarkly:features",
        "a.b",
        "a/b",
        "*",
        "?",
        "%",
        "_",
        "\\",
        "'",
        "\"",
        "' OR 1=1 --",
        "'); DROP TABLE items; --",
        "{tag}",
        "\u{e9}",
        "e\u{301}",
        "\u{1f6a9}",
        "\n",
        "null",
        "0",
        long.as_str(),
    ];
    let store = database.open();
    let written = |n: usize| item("any", 1 + n as u64, "unusual");
    let half = keys.len() / 2;
    store.init(&flags(keys[..half].iter().enumerate().map(|(n, key)| (*key, written(n))))).succeed();
    for (n, key) in keys.iter().enumerate().skip(half) {
        let _ = store.upsert(&Kind::FEATURES, key, &written(n)).succeed();
    }
    let all = store.get_all(&Kind::FEATURES).succeed().by_key;
    assert_eq!(all.len(), keys.len());
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(store.get(&Kind::FEATURES, key).succeed(), Some(written(n)), "key {key:?}");
        assert_eq!(all.get(*key), Some(&written(n)), "key {key:?} among all");
    }
}
