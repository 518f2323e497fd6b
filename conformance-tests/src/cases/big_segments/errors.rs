use std::sync::Arc;

use flagstore_core::{
    BigSegmentPatch, BigSegmentStore, BigSegmentUpdates, ErrorKind, StoreError, UnixMillis,
};

use super::{fixture, known, open};
use crate::case::{Case, Database, Skip, Succeed};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(unreachable_database_is_an_error_everywhere),
        Case::new(unreadable_membership_is_an_error_that_spoils_no_other),
        Case::new(unreadable_time_is_an_error_that_spoils_no_membership),
        Case::new(secrets_are_never_shown),
        Case::new(stop_concerns_nobody_else),
    ]
}

fn unreachable_store(database: &Database<'_>) -> Result<Arc<dyn BigSegmentUpdates>, Skip> {
    fixture(database)?.open_unreachable().ok_or(Skip("the fixture opens no store that is unreachable"))
}

/// What every method that can fail says of a database that does not answer.
fn failures(store: &dyn BigSegmentUpdates) -> [(&'static str, Option<StoreError>); 5] {
    [
        ("get_metadata", store.get_metadata().err()),
        ("get_membership", store.get_membership("h").err()),
        ("get_version", store.get_version().err()),
        ("set_metadata", store.set_metadata(UnixMillis(1)).err()),
        ("apply_patch", store.apply_patch(&BigSegmentPatch::new("s.g1", "", "1")).err()),
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

/// It is no outage either.
fn unreadable_membership_is_an_error_that_spoils_no_other(database: &Database<'_>) -> Result<(), Skip> {
    let (store, fixture) = (open(database)?, fixture(database)?);
    fixture.put_membership(&database.prefix, "sound", &["s.g1"], &[]);
    fixture.put_metadata(&database.prefix, UnixMillis(5));
    fixture
        .corrupt(&database.prefix, "unreadable")
        .ok_or(Skip("the fixture stores nothing that is unreadable"))?;
    let error = match store.get_membership("unreadable") {
        Err(error) => error,
        Ok(membership) => panic!("read as {membership:?}"),
    };
    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Other), "{:?}: {error}", error.kind());
    assert_eq!(known(&*store, "sound", ["s.g1"]), [Some(true)]);
    assert_eq!(store.get_metadata().succeed(), Some(UnixMillis(5)));
    Ok(())
}

/// It is not 1970, and not that nobody ever synchronized (bug 45 of peers). A sound time is read again.
fn unreadable_time_is_an_error_that_spoils_no_membership(database: &Database<'_>) -> Result<(), Skip> {
    let (store, fixture) = (open(database)?, fixture(database)?);
    fixture.put_membership(&database.prefix, "h", &["s.g1"], &[]);
    fixture
        .corrupt_metadata(&database.prefix)
        .ok_or(Skip("the fixture stores no time that is unreadable"))?;
    let error = match store.get_metadata() {
        Err(error) => error,
        Ok(time) => panic!("read as {time:?}"),
    };
    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Other), "{:?}: {error}", error.kind());
    assert_eq!(known(&*store, "h", ["s.g1"]), [Some(true)]);
    fixture.put_metadata(&database.prefix, UnixMillis(5));
    assert_eq!(store.get_metadata().succeed(), Some(UnixMillis(5)));
    Ok(())
}

/// Neither Debug nor Display of a store, nor any error, shows a secret of the configuration.
fn secrets_are_never_shown(database: &Database<'_>) -> Result<(), Skip> {
    let secrets = database.fixture.secrets();
    if secrets.is_empty() {
        return Err(Skip("the fixture's configuration has no secrets"));
    }
    let (store, unreachable) = (open(database)?, unreachable_store(database)?);
    let mut shown = format!("{store:?} {store} {unreachable:?} {unreachable}");
    for error in failures(&*unreachable).into_iter().filter_map(|(_, error)| error) {
        shown += &format!(" {error} {error:?}");
    }
    assert!(!secrets.iter().any(|secret| shown.contains(secret.as_str())), "a secret is shown: {shown}");
    Ok(())
}

/// It may be called twice, and ends no other handle.
fn stop_concerns_nobody_else(database: &Database<'_>) -> Result<(), Skip> {
    let (one, other) = (open(database)?, open(database)?);
    fixture(database)?.put_membership(&database.prefix, "h", &["s.g1"], &[]);
    assert_eq!(known(&*one, "h", ["s.g1"]), [Some(true)]);
    one.stop();
    one.stop();
    assert_eq!(known(&*other, "h", ["s.g1"]), [Some(true)]);
    drop(one);
    assert_eq!(known(&*other, "h", ["s.g1"]), [Some(true)]);
    Ok(())
}
