use flagstore_core::{Item, Kind, MAX_VERSION, Upsert};

use crate::case::{Case, Database, Succeed, flags, item, parse, tombstone};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(new_item_is_stored),
        Case::new(newer_version_replaces),
        Case::new(older_version_is_ignored),
        Case::new(equal_version_is_ignored),
        Case::new(version_zero_goes_into_an_empty_slot),
        Case::new(stale_brings_what_is_stored),
        Case::new(one_item_changes_and_no_other),
        Case::new(works_before_an_init),
        Case::new(large_versions_are_exact),
        Case::new(every_byte_survives),
    ]
}

/// An item under a new key is stored.
fn new_item_is_stored(database: &Database<'_>) {
    let store = database.open();
    store.init(&flags([("a", item("a", 1, ""))])).succeed();
    assert_eq!(store.upsert(&Kind::FEATURES, "b", &item("b", 1, "new")).succeed(), Upsert::Applied);
    assert_eq!(store.get(&Kind::FEATURES, "b").succeed(), Some(item("b", 1, "new")));
}

/// A higher version replaces the item.
fn newer_version_replaces(database: &Database<'_>) {
    let store = database.open();
    store.init(&flags([("a", item("a", 9, "old"))])).succeed();
    // 9 to 10: higher as a number, lower as a text.
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &item("a", 10, "new")).succeed(), Upsert::Applied);
    assert_eq!(store.get(&Kind::FEATURES, "a").succeed(), Some(item("a", 10, "new")));
}

/// A lower version changes nothing, and says so.
fn older_version_is_ignored(database: &Database<'_>) {
    let store = database.open();
    store.init(&flags([("a", item("a", 10, "stored"))])).succeed();
    let outcome = store.upsert(&Kind::FEATURES, "a", &item("a", 9, "older")).succeed();
    assert!(matches!(outcome, Upsert::Stale(_)), "said {outcome:?}");
    assert_eq!(store.get(&Kind::FEATURES, "a").succeed(), Some(item("a", 10, "stored")));
}

/// An update with an equal version changes nothing, and says so.
fn equal_version_is_ignored(database: &Database<'_>) {
    let store = database.open();
    store.init(&flags([("a", item("a", 10, "stored"))])).succeed();
    let outcome = store.upsert(&Kind::FEATURES, "a", &item("a", 10, "another")).succeed();
    assert!(matches!(outcome, Upsert::Stale(_)), "said {outcome:?}");
    assert_eq!(store.get(&Kind::FEATURES, "a").succeed(), Some(item("a", 10, "stored")));
}

/// Nothing is older than everything, also than version 0.
fn version_zero_goes_into_an_empty_slot(database: &Database<'_>) {
    let store = database.open();
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &item("a", 0, "zero")).succeed(), Upsert::Applied);
    assert_eq!(store.get(&Kind::FEATURES, "a").succeed(), Some(item("a", 0, "zero")));
    let again = store.upsert(&Kind::FEATURES, "a", &item("a", 0, "again")).succeed();
    assert_eq!(again, Upsert::Stale(item("a", 0, "zero")), "but 0 is not newer than 0");
}

/// Whoever wrote too late learns what is stored, so that a cache can take it.
fn stale_brings_what_is_stored(database: &Database<'_>) {
    let (one, other) = (database.open(), database.open());
    let _ = other.upsert(&Kind::FEATURES, "a", &item("a", 5, "of another")).succeed();
    for version in [4, 5] {
        let outcome = one.upsert(&Kind::FEATURES, "a", &item("a", version, "late")).succeed();
        assert_eq!(outcome, Upsert::Stale(item("a", 5, "of another")));
    }
    let tombstone = tombstone("a", 7);
    let _ = other.upsert(&Kind::FEATURES, "a", &tombstone).succeed();
    let outcome = one.upsert(&Kind::FEATURES, "a", &item("a", 6, "late")).succeed();
    assert_eq!(outcome, Upsert::Stale(tombstone), "also when it is a tombstone");
}

/// An update is about one item of one kind.
fn one_item_changes_and_no_other(database: &Database<'_>) {
    let store = database.open();
    let (a, b) = (item("a", 1, ""), item("b", 1, ""));
    store.init(&flags([("a", a), ("b", b.clone())]).with(Kind::SEGMENTS, [("a", b.clone())])).succeed();
    let _ = store.upsert(&Kind::FEATURES, "a", &item("a", 2, "new")).succeed();
    assert_eq!(store.get(&Kind::FEATURES, "b").succeed(), Some(b.clone()));
    assert_eq!(store.get(&Kind::SEGMENTS, "a").succeed(), Some(b));
}

/// An update needs no init before it.
fn works_before_an_init(database: &Database<'_>) {
    let store = database.open();
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &item("a", 1, "")).succeed(), Upsert::Applied);
    assert_eq!(store.get_all(&Kind::FEATURES).succeed().by_key.len(), 1);
}

/// Versions are exact up to 2^53. Millisecond timestamps are normal.
fn large_versions_are_exact(database: &Database<'_>) {
    let store = database.open();
    let mut stored = None;
    for version in [0, 1, 1 << 31, (1 << 32) + 1, 1_732_348_800_123, MAX_VERSION - 1, MAX_VERSION] {
        let newer = item("a", version, "");
        assert_eq!(
            store.upsert(&Kind::FEATURES, "a", &newer).succeed(),
            Upsert::Applied,
            "{version} after {stored:?}"
        );
        let read = store.get(&Kind::FEATURES, "a").succeed();
        assert_eq!(read.as_ref().map(Item::version), Some(version));
        let older = item("a", version.saturating_sub(1), "older");
        assert_eq!(store.upsert(&Kind::FEATURES, "a", &older).succeed(), Upsert::Stale(newer));
        stored = Some(version);
    }
}

/// The text is stored byte for byte: unknown properties, spacing, and how numbers are written.
fn every_byte_survives(database: &Database<'_>) {
    let texts = [
        "{ \"version\" : 2.0 ,\n\t\"on\":true, \"added in 2031\":{\"z\":1,\"a\":[1e2, 0.10]} }",
        r#"{"version":3,"salt":"\u0041\ud83d\udea9\/","big":123456789012345678901234567890}"#,
        "{\"version\":4,\"name\":\"\u{e9}\u{1f6a9}\u{2028}\u{7f}\"}",
        r#"{"version":5}"#,
    ];
    let store = database.open();
    let read = |key: &str| store.get(&Kind::FEATURES, key).succeed().map(|item| item.json().to_owned());
    store.init(&flags([("by-init", parse(texts[0]))])).succeed();
    assert_eq!(read("by-init").as_deref(), Some(texts[0]));
    for text in texts {
        let _ = store.upsert(&Kind::FEATURES, "by-upsert", &parse(text)).succeed();
        assert_eq!(read("by-upsert").as_deref(), Some(text));
        let all = store.get_all(&Kind::FEATURES).succeed().by_key;
        assert_eq!(all["by-upsert"].json(), text);
    }
}
