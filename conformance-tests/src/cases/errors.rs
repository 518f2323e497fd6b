use std::sync::Arc;

use flagstore_core::{ErrorKind, FeatureStoreCore, Kind, StoreError};

use crate::case::{Case, Database, Skip, Succeed, flags, item};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(healthy_database_is_available),
        Case::new(store_says_what_it_is),
        Case::new(unreachable_database_is_an_error_everywhere),
        Case::new(unreachable_database_is_not_available),
        Case::new(secrets_are_never_shown),
    ]
}

/// A database that works is available, before and after an init.
fn healthy_database_is_available(database: &Database<'_>) {
    let store = database.open();
    assert!(store.is_available(), "before an init");
    store.init(&flags([("a", item("a", 1, ""))])).succeed();
    assert!(store.is_available(), "after one");
}

/// LaunchDarkly's diagnostics want the kind of database, and logs the store.
fn store_says_what_it_is(database: &Database<'_>) {
    let store = database.open();
    assert!(!store.describe().is_empty());
    assert!(!store.to_string().is_empty());
}

fn unreachable_store(database: &Database<'_>) -> Result<Arc<dyn FeatureStoreCore>, Skip> {
    database.fixture.open_unreachable().ok_or(Skip("the fixture opens no store that is unreachable"))
}

/// What every method that can fail says of a database that does not answer.
fn failures(store: &dyn FeatureStoreCore) -> [(&'static str, Option<StoreError>); 5] {
    [
        ("init", store.init(&flags([("a", item("a", 1, ""))])).err()),
        ("get", store.get(&Kind::FEATURES, "a").err()),
        ("get_all", store.get_all(&Kind::FEATURES).err()),
        ("upsert", store.upsert(&Kind::FEATURES, "a", &item("a", 1, "")).err()),
        ("is_initialized", store.is_initialized().err()),
    ]
}

/// No method makes up an answer, and each error says where it is from and that waiting may help.
fn unreachable_database_is_an_error_everywhere(database: &Database<'_>) -> Result<(), Skip> {
    for (operation, error) in failures(&*unreachable_store(database)?) {
        let error = error.unwrap_or_else(|| panic!("{operation} succeeded without a database"));
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{operation}: {error}");
        assert_eq!(error.operation(), operation, "{error}");
    }
    Ok(())
}

/// A database that does not answer is not available.
fn unreachable_database_is_not_available(database: &Database<'_>) -> Result<(), Skip> {
    assert!(!unreachable_store(database)?.is_available());
    Ok(())
}

/// Neither Debug nor Display of a store, nor any error, shows a secret of the configuration.
fn secrets_are_never_shown(database: &Database<'_>) -> Result<(), Skip> {
    let secrets = database.fixture.secrets();
    if secrets.is_empty() {
        return Err(Skip("the fixture's configuration has no secrets"));
    }
    let store = database.open();
    let mut shown = vec![format!("{store:?} {store} {}", store.describe())];
    if let Some(store) = database.fixture.open_unreachable() {
        shown.push(format!("{store:?} {store}"));
        shown.extend(
            failures(&*store)
                .into_iter()
                .filter_map(|(_, error)| error.map(|error| format!("{error} {error:?}"))),
        );
    }
    for text in shown {
        assert!(!secrets.iter().any(|secret| text.contains(secret.as_str())), "a secret is shown: {text}");
    }
    Ok(())
}
