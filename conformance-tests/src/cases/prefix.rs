use flagstore_core::{Kind, Upsert};

use crate::case::{Case, Database, Succeed, flags, item, tombstone};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(init_is_not_seen_by_another),
        Case::new(init_does_not_clear_another),
        Case::new(versions_of_another_do_not_count),
        Case::new(deletions_of_another_do_not_count),
        Case::new(one_may_begin_with_another),
    ]
}

/// Each prefix has its own data and its own mark.
fn init_is_not_seen_by_another(database: &Database<'_>) {
    let (one, other) = (database.open(), database.open_prefix(&format!("{}-other", database.prefix)));
    one.init(&flags([("a", item("a", 1, ""))])).succeed();
    assert!(!other.is_initialized().succeed());
    assert_eq!(other.get(&Kind::FEATURES, "a").succeed(), None);
    assert!(other.get_all(&Kind::FEATURES).succeed().by_key.is_empty());
}

/// An init replaces the data of its own prefix.
fn init_does_not_clear_another(database: &Database<'_>) {
    let (one, other) = (database.open(), database.open_prefix(&format!("{}-other", database.prefix)));
    one.init(&flags([("a", item("a", 1, "one"))])).succeed();
    other.init(&flags([("b", item("b", 1, "other"))])).succeed();
    assert_eq!(one.get(&Kind::FEATURES, "a").succeed(), Some(item("a", 1, "one")));
    assert_eq!(one.get(&Kind::FEATURES, "b").succeed(), None);
}

/// The higher version is written to the other prefix first, so a check in the wrong place would refuse ours.
fn versions_of_another_do_not_count(database: &Database<'_>) {
    let (one, other) = (database.open(), database.open_prefix(&format!("{}-other", database.prefix)));
    assert_eq!(other.upsert(&Kind::FEATURES, "a", &item("a", 9, "other")).succeed(), Upsert::Applied);
    assert_eq!(one.upsert(&Kind::FEATURES, "a", &item("a", 2, "one")).succeed(), Upsert::Applied);
    assert_eq!(one.get(&Kind::FEATURES, "a").succeed(), Some(item("a", 2, "one")));
    assert_eq!(other.get(&Kind::FEATURES, "a").succeed(), Some(item("a", 9, "other")));
}

/// The same for tombstones.
fn deletions_of_another_do_not_count(database: &Database<'_>) {
    let (one, other) = (database.open(), database.open_prefix(&format!("{}-other", database.prefix)));
    one.init(&flags([("a", item("a", 1, "one"))])).succeed();
    assert_eq!(other.upsert(&Kind::FEATURES, "a", &tombstone("a", 9)).succeed(), Upsert::Applied);
    assert_eq!(one.get(&Kind::FEATURES, "a").succeed(), Some(item("a", 1, "one")));
    assert_eq!(one.upsert(&Kind::FEATURES, "a", &item("a", 2, "two")).succeed(), Upsert::Applied);
}

/// `app1` never sees or clears `app10`, nor the other way round.
fn one_may_begin_with_another(database: &Database<'_>) {
    let short = database.open_prefix(&format!("{}1", database.prefix));
    let long = database.open_prefix(&format!("{}10", database.prefix));
    long.init(&flags([("a", item("a", 1, "long"))])).succeed();
    assert!(!short.is_initialized().succeed());
    short.init(&flags([("b", item("b", 1, "short"))])).succeed();
    assert_eq!(
        long.get_all(&Kind::FEATURES).succeed().by_key,
        [("a".to_owned(), item("a", 1, "long"))].into()
    );
    assert_eq!(
        short.get_all(&Kind::FEATURES).succeed().by_key,
        [("b".to_owned(), item("b", 1, "short"))].into()
    );
}
