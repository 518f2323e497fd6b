use flagstore_core::{Kind, Upsert};

use crate::case::{Case, Database, Succeed, flags, item, parse, tombstone};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(newer_version_deletes),
        Case::new(older_version_is_ignored),
        Case::new(equal_version_is_ignored),
        Case::new(unknown_key_gets_a_tombstone),
        Case::new(older_update_does_not_bring_it_back),
        Case::new(equal_update_does_not_bring_it_back),
        Case::new(newer_update_brings_it_back),
        Case::new(every_dialect_of_tombstone_is_one),
    ]
}

/// A tombstone with a higher version takes the item's place.
fn newer_version_deletes(database: &Database<'_>) {
    let store = database.open();
    store.init(&flags([("a", item("a", 1, ""))])).succeed();
    let tombstone = tombstone("a", 2);
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &tombstone).succeed(), Upsert::Applied);
    assert_eq!(store.get(&Kind::FEATURES, "a").succeed(), Some(tombstone));
}

/// A deletion that is older than the item changes nothing.
fn older_version_is_ignored(database: &Database<'_>) {
    ignored(database, 9);
}

/// Neither does one of the same version.
fn equal_version_is_ignored(database: &Database<'_>) {
    ignored(database, 10);
}

fn ignored(database: &Database<'_>, version: u64) {
    let store = database.open();
    let stored = item("a", 10, "stored");
    store.init(&flags([("a", stored.clone())])).succeed();
    let outcome = store.upsert(&Kind::FEATURES, "a", &tombstone("a", version)).succeed();
    assert_eq!(outcome, Upsert::Stale(stored.clone()));
    assert_eq!(store.get(&Kind::FEATURES, "a").succeed(), Some(stored));
}

/// Deleting what was never there leaves a tombstone, against updates that arrive late.
fn unknown_key_gets_a_tombstone(database: &Database<'_>) {
    let store = database.open();
    let tombstone = tombstone("a", 5);
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &tombstone).succeed(), Upsert::Applied);
    assert_eq!(store.get(&Kind::FEATURES, "a").succeed(), Some(tombstone.clone()));
    let outcome = store.upsert(&Kind::FEATURES, "a", &item("a", 4, "late")).succeed();
    assert_eq!(outcome, Upsert::Stale(tombstone));
}

/// An update that is older than the deletion does not undo it.
fn older_update_does_not_bring_it_back(database: &Database<'_>) {
    stays_deleted(database, 9);
}

/// Neither does one of the same version.
fn equal_update_does_not_bring_it_back(database: &Database<'_>) {
    stays_deleted(database, 10);
}

fn stays_deleted(database: &Database<'_>, version: u64) {
    let store = database.open();
    store.init(&flags([("a", item("a", 1, ""))])).succeed();
    let _ = store.upsert(&Kind::FEATURES, "a", &tombstone("a", 10)).succeed();
    let outcome = store.upsert(&Kind::FEATURES, "a", &item("a", version, "late")).succeed();
    assert_eq!(outcome, Upsert::Stale(tombstone("a", 10)));
    assert_eq!(store.get(&Kind::FEATURES, "a").succeed(), Some(tombstone("a", 10)));
}

/// An update that is newer than the deletion does.
fn newer_update_brings_it_back(database: &Database<'_>) {
    let store = database.open();
    let _ = store.upsert(&Kind::FEATURES, "a", &tombstone("a", 10)).succeed();
    let back = item("a", 11, "back");
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &back).succeed(), Upsert::Applied);
    assert_eq!(store.get(&Kind::FEATURES, "a").succeed(), Some(back));
}

/// Tombstones of the official SDKs in the forms in which they write them, from wire-format's table.
const DIALECTS: [(&str, &str); 6] = [
    (
        "Go and Relay: flag",
        r#"{"key":"$deleted","on":false,"prerequisites":[],"targets":[],"contextTargets":[],"rules":[],"fallthrough":{},"offVariation":null,"variations":[],"clientSideAvailability":{"usingMobileKey":false,"usingEnvironmentId":false},"clientSide":false,"salt":"","trackEvents":false,"trackEventsFallthrough":false,"debugEventsUntilDate":null,"version":9,"deleted":true}"#,
    ),
    (
        "Go and Relay: segment",
        r#"{"key":"$deleted","included":[],"excluded":[],"salt":"","rules":[],"version":9,"deleted":true}"#,
    ),
    ("Java, .NET and Node", r#"{"version":9,"deleted":true}"#),
    ("Ruby", r#"{"key":"a","version":9,"deleted":true}"#),
    ("Python", r#"{"key": "a", "version": 9, "deleted": true}"#),
    ("Rust", r#"{"deleted":true,"key":"$deleted","version":9}"#),
];

/// Whoever wrote it, a tombstone reads back as one, of its version and in its own bytes.
fn every_dialect_of_tombstone_is_one(database: &Database<'_>) {
    let store = database.open();
    for (writer, text) in DIALECTS {
        let tombstone = parse(text);
        let _ = store.upsert(&Kind::FEATURES, writer, &tombstone).succeed();
        let read = store.get(&Kind::FEATURES, writer).succeed().unwrap_or_else(|| panic!("{writer}: gone"));
        assert_eq!((read.version(), read.is_deleted(), read.json()), (9, true, text), "{writer}");
        let all = store.get_all(&Kind::FEATURES).succeed().by_key;
        assert_eq!(all.get(writer), Some(&tombstone), "{writer}: among all");
        let late = store.upsert(&Kind::FEATURES, writer, &item("a", 9, "late")).succeed();
        assert_eq!(late, Upsert::Stale(tombstone), "{writer}");
    }
}
