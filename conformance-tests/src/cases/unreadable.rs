use flagstore_core::{ErrorKind, Kind, StoreError, Upsert};

use crate::case::{Case, Database, Skip, Succeed, flags, item};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(item_is_an_error_that_names_it),
        Case::new(item_spoils_no_other),
        Case::new(item_can_be_overwritten),
        Case::new(item_is_replaced_by_an_init),
    ]
}

/// Stores an item that can be read, and something under `bad` that is none.
fn corrupted(database: &Database<'_>) -> Result<(), Skip> {
    let store = database.open();
    store.init(&flags([("good", item("good", 1, "")), ("bad", item("bad", 5, ""))])).succeed();
    let corrupted = database.fixture.corrupt(&database.prefix, &Kind::FEATURES, "bad");
    corrupted.ok_or(Skip("the fixture cannot store what is not an item"))
}

fn assert_names_it(error: &StoreError) {
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(error.items(), [(Kind::FEATURES, "bad".to_owned())], "{error}");
    assert!(error.to_string().contains("features/bad"), "{error}");
}

/// What cannot be read is an error of that item, and neither missing nor live.
fn item_is_an_error_that_names_it(database: &Database<'_>) -> Result<(), Skip> {
    corrupted(database)?;
    assert_names_it(&database.open().get(&Kind::FEATURES, "bad").expect_err("it is not an item"));
    Ok(())
}

/// Among all items it is left out and reported, and the others are there.
fn item_spoils_no_other(database: &Database<'_>) -> Result<(), Skip> {
    corrupted(database)?;
    let store = database.open();
    let all = store.get_all(&Kind::FEATURES).succeed();
    assert_eq!(all.by_key, [("good".to_owned(), item("good", 1, ""))].into());
    assert_eq!(all.unreadable.len(), 1, "{:?}", all.unreadable);
    assert_names_it(&all.unreadable[0]);
    assert_eq!(store.get(&Kind::FEATURES, "good").succeed(), Some(item("good", 1, "")));
    assert!(store.is_available(), "the database works");
    Ok(())
}

/// Any update mends it, for nobody can say what its version is.
fn item_can_be_overwritten(database: &Database<'_>) -> Result<(), Skip> {
    corrupted(database)?;
    let store = database.open();
    let mended = item("bad", 2, "mended");
    assert_eq!(store.upsert(&Kind::FEATURES, "bad", &mended).succeed(), Upsert::Applied);
    assert_eq!(store.get(&Kind::FEATURES, "bad").succeed(), Some(mended));
    Ok(())
}

/// And so does an init.
fn item_is_replaced_by_an_init(database: &Database<'_>) -> Result<(), Skip> {
    corrupted(database)?;
    let store = database.open();
    store.init(&flags([("good", item("good", 1, ""))])).succeed();
    assert_eq!(store.get(&Kind::FEATURES, "bad").succeed(), None);
    assert!(store.get_all(&Kind::FEATURES).succeed().unreadable.is_empty());
    Ok(())
}
