use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flagstore_core::{AllData, ErrorKind, FeatureStoreCore, Kind, StoreError};

use crate::case::{Case, Database, Skip, Succeed, flags, item};
use crate::log::logged_above_debug;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(healthy_database_is_available),
        Case::new(store_says_what_it_is),
        Case::new(unreachable_database_is_an_error_everywhere),
        Case::new(unreachable_database_is_not_available),
        Case::new(silent_database_is_an_error_within_the_deadline),
        Case::new(silent_database_is_not_available),
        Case::new(refused_init_changes_nothing),
        Case::new(refused_update_changes_nothing),
        Case::new(healthy_store_logs_nothing_above_debug),
        Case::new(unreachable_store_logs_nothing_above_debug),
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

type Call = fn(&dyn FeatureStoreCore) -> Result<(), StoreError>;

/// Every method that can fail.
const CALLS: [(&str, Call); 5] = [
    ("init", |store| store.init(&flags([("a", item("a", 1, ""))]))),
    ("get", |store| store.get(&Kind::FEATURES, "a").map(drop)),
    ("get_all", |store| store.get_all(&Kind::FEATURES).map(drop)),
    ("upsert", |store| store.upsert(&Kind::FEATURES, "a", &item("a", 1, "")).map(drop)),
    ("is_initialized", |store| store.is_initialized().map(drop)),
];

/// No method makes up an answer, and each error says where it is from and that waiting may help.
fn assert_waiting_may_help(operation: &str, result: Result<(), StoreError>) {
    let Err(error) = result else { panic!("{operation} succeeded without a database") };
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{operation}: {error}");
    assert_eq!(error.operation(), operation, "{error}");
}

/// What every method that can fail says of a database that cannot be reached.
fn unreachable_database_is_an_error_everywhere(database: &Database<'_>) -> Result<(), Skip> {
    let store = unreachable_store(database)?;
    for (operation, call) in CALLS {
        assert_waiting_may_help(operation, call(&*store));
    }
    Ok(())
}

/// A database that cannot be reached is not available.
fn unreachable_database_is_not_available(database: &Database<'_>) -> Result<(), Skip> {
    assert!(!unreachable_store(database)?.is_available());
    Ok(())
}

/// How much later than its deadline a call may end, on a machine that has other work.
const TOLERANCE: Duration = Duration::from_secs(2);

/// Calls a store whose database accepts everything and never answers, and checks that the call ends in time.
fn in_silence<T>(
    (store, deadline): &(Arc<dyn FeatureStoreCore>, Duration),
    operation: &str,
    call: impl FnOnce(&dyn FeatureStoreCore) -> T,
) -> T {
    let start = Instant::now();
    let result = call(&**store);
    let elapsed = start.elapsed();
    assert!(
        elapsed < *deadline + TOLERANCE,
        "{operation} took {elapsed:?}, and its deadline is {deadline:?}"
    );
    result
}

fn silent_store(database: &Database<'_>) -> Result<(Arc<dyn FeatureStoreCore>, Duration), Skip> {
    database.fixture.open_silent().ok_or(Skip("the fixture opens no store whose database is silent"))
}

/// A database that accepts what it is asked and stays silent holds nobody for longer than the deadline.
fn silent_database_is_an_error_within_the_deadline(database: &Database<'_>) -> Result<(), Skip> {
    let silent = silent_store(database)?;
    for (operation, call) in CALLS {
        assert_waiting_may_help(operation, in_silence(&silent, operation, call));
    }
    Ok(())
}

/// And it is not available, which is said in time too.
fn silent_database_is_not_available(database: &Database<'_>) -> Result<(), Skip> {
    let silent = silent_store(database)?;
    assert!(!in_silence(&silent, "is_available", |store| store.is_available()));
    Ok(())
}

fn refused_store(database: &Database<'_>, kind: &Kind) -> Result<Arc<dyn FeatureStoreCore>, Skip> {
    let refused = database.fixture.open_refused(&database.prefix, kind);
    refused.ok_or(Skip("the fixture opens no store that is refused anything"))
}

/// That the database refuses it, and no size or deadline is the reason.
fn assert_refused(result: Result<impl Debug, StoreError>) {
    let error = result.expect_err("the database refuses it");
    assert!(!matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::Timeout), "{:?}: {error}", error.kind());
}

/// Flags and segments of this version, all of them in either kind.
fn both_kinds(version: u64, key: &str) -> AllData {
    let items = || [("kept", item("kept", version, "")), (key, item(key, version, ""))];
    AllData::new().with(Kind::SEGMENTS, items()).with(Kind::FEATURES, items())
}

/// Where an init is atomic and the database refuses a part of it, nothing has changed: nothing was written, removed
/// or marked, whichever kind it is.
fn refused_init_changes_nothing(database: &Database<'_>) -> Result<(), Skip> {
    if !database.fixture.init_is_atomic() {
        return Err(Skip("inits of this database are not atomic"));
    }
    let store = database.open();
    let kinds = [Kind::FEATURES, Kind::SEGMENTS];
    for kind in &kinds {
        assert_refused(refused_store(database, kind)?.init(&both_kinds(2, "new")));
        for kind in &kinds {
            assert!(store.get_all(kind).succeed().by_key.is_empty(), "{kind} were written");
        }
        assert!(!store.is_initialized().succeed(), "a refused init has marked the store");
    }
    store.init(&both_kinds(1, "old")).succeed();
    for kind in &kinds {
        assert_refused(refused_store(database, kind)?.init(&both_kinds(2, "new")));
        for kind in &kinds {
            let stored = store.get_all(kind).succeed().by_key;
            let before = ["kept", "old"].map(|key| (key.to_owned(), item(key, 1, "")));
            assert_eq!(stored, before.into(), "{kind} have changed");
        }
    }
    Ok(())
}

/// An update that the database refuses has not happened.
fn refused_update_changes_nothing(database: &Database<'_>) -> Result<(), Skip> {
    let store = database.open();
    store.init(&both_kinds(1, "old")).succeed();
    let refused = refused_store(database, &Kind::FEATURES)?;
    assert_refused(refused.upsert(&Kind::FEATURES, "old", &item("old", 2, "")));
    assert_refused(refused.upsert(&Kind::FEATURES, "new", &item("new", 2, "")));
    assert_eq!(store.get(&Kind::FEATURES, "old").succeed(), Some(item("old", 1, "")));
    assert_eq!(store.get(&Kind::FEATURES, "new").succeed(), None);
    Ok(())
}

/// Whoever calls a store decides what is worth a line in the log.
fn healthy_store_logs_nothing_above_debug(database: &Database<'_>) {
    let logged = logged_above_debug(|| {
        let store = database.open();
        for (_, call) in CALLS {
            call(&*store).succeed();
        }
        // The same version once more, which is late.
        let _ = store.upsert(&Kind::FEATURES, "a", &item("a", 1, "")).succeed();
        assert!(store.is_available());
    });
    assert!(logged.is_empty(), "logged: {logged:#?}");
}

/// Also of its failures, however many there are.
fn unreachable_store_logs_nothing_above_debug(database: &Database<'_>) -> Result<(), Skip> {
    let store = unreachable_store(database)?;
    let logged = logged_above_debug(|| {
        for (operation, call) in CALLS {
            assert!(call(&*store).is_err(), "{operation} succeeded without a database");
        }
        assert!(!store.is_available());
    });
    assert!(logged.is_empty(), "logged: {logged:#?}");
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
            CALLS
                .iter()
                .filter_map(|(_, call)| call(&*store).err())
                .map(|error| format!("{error} {error:?}")),
        );
    }
    for text in shown {
        assert!(!secrets.iter().any(|secret| text.contains(secret.as_str())), "a secret is shown: {text}");
    }
    Ok(())
}
