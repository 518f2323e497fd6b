use flagstore_core::{ErrorKind, Item, Kind, StoreError, Upsert};

use crate::case::{Case, Database, Skip, Succeed, flags, item};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(large_items_are_stored_whole),
        Case::new(too_large_an_update_is_refused_and_the_old_item_kept),
        Case::new(too_large_an_item_does_not_spoil_an_init),
    ]
}

const UNLIMITED: Skip = Skip("the fixture names no size that is too large");

/// An item whose text is a little longer than `size`.
fn item_of(size: usize, version: u64) -> Item {
    item("large", version, &"x".repeat(size))
}

/// A megabyte, or half of what is too large, comes back as it went in.
fn large_items_are_stored_whole(database: &Database<'_>) {
    let size = database.fixture.too_large().map_or(1 << 20, |limit| limit / 2 - 1_000);
    let store = database.open();
    store.init(&flags([("by-init", item_of(size, 1))])).succeed();
    assert_eq!(store.upsert(&Kind::FEATURES, "by-upsert", &item_of(size, 1)).succeed(), Upsert::Applied);
    for key in ["by-init", "by-upsert"] {
        assert!(
            store.get(&Kind::FEATURES, key).succeed() == Some(item_of(size, 1)),
            "{key} of {size} bytes changed"
        );
    }
}

fn assert_too_large(result: Result<impl std::fmt::Debug, StoreError>, expected: &[(Kind, &str)]) {
    let error = result.expect_err("an item that is too large is an error");
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    let mut named: Vec<_> = error.items().iter().map(|(kind, key)| (kind.clone(), key.as_str())).collect();
    named.sort();
    assert_eq!(named, expected, "{error}");
}

/// An update that does not fit is an error that names the item, and the item stays as it was.
fn too_large_an_update_is_refused_and_the_old_item_kept(database: &Database<'_>) -> Result<(), Skip> {
    let size = database.fixture.too_large().ok_or(UNLIMITED)?;
    let store = database.open();
    store.init(&flags([("large", item("large", 1, "kept"))])).succeed();
    assert_too_large(store.upsert(&Kind::FEATURES, "large", &item_of(size, 2)), &[(Kind::FEATURES, "large")]);
    assert_eq!(store.get(&Kind::FEATURES, "large").succeed(), Some(item("large", 1, "kept")));
    Ok(())
}

/// An init stores what fits, names what does not, and keeps the old version of that.
fn too_large_an_item_does_not_spoil_an_init(database: &Database<'_>) -> Result<(), Skip> {
    let size = database.fixture.too_large().ok_or(UNLIMITED)?;
    let store = database.open();
    store.init(&flags([("large", item("large", 1, "kept")), ("gone", item("gone", 1, ""))])).succeed();

    let data = flags([
        ("before", item("before", 1, "")),
        ("large", item_of(size, 2)),
        ("after", item("after", 1, "")),
    ])
    .with(Kind::SEGMENTS, [("huge", item_of(size, 1))]);
    assert_too_large(store.init(&data), &[(Kind::FEATURES, "large"), (Kind::SEGMENTS, "huge")]);

    let all = store.get_all(&Kind::FEATURES).succeed().by_key;
    let mut keys: Vec<_> = all.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["after", "before", "large"]);
    assert_eq!(all["large"], item("large", 1, "kept"), "the version stored before is not a left-over");
    assert!(store.get_all(&Kind::SEGMENTS).succeed().by_key.is_empty());
    assert!(store.is_initialized().succeed());
    Ok(())
}
