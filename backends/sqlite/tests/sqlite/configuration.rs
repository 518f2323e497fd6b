use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flagstore_core::{ErrorKind, FeatureStoreCore, Kind};
use flagstore_sqlite::SqliteStore;
use flagstore_sqlite::rusqlite;

use crate::{Folder, assert_kind, flag, flags, upsert, version};

/// Over before anything long has begun.
const AT_ONCE: Duration = Duration::from_nanos(1);

/// Stores of different prefixes on one file do not see each other's items and marks.
#[test]
fn prefix_separates_stores_on_one_file() {
    let folder = Folder::new();
    let one = folder.builder().prefix("one").build().unwrap();
    let two = folder.builder().prefix("two").build().unwrap();
    let none = folder.store();
    one.init(&flags(3, 1)).unwrap();
    upsert(&two, 7).unwrap();

    assert_eq!(one.get_all(&Kind::FEATURES).unwrap().by_key.len(), 3);
    assert_eq!((version(&one), version(&two), version(&none)), (None, Some(7), None));
    assert!(!two.is_initialized().unwrap() && !none.is_initialized().unwrap());
}

/// Prefixes, kinds and keys are values, not parts of statements.
#[test]
fn prefixes_kinds_and_keys_are_bound() {
    let folder = Folder::new();
    let odd = r#"'; DROP TABLE items; -- " % _ \ ?1 :a"#;
    let store = folder.builder().prefix(odd).build().unwrap();
    let kind = Kind::new(odd);
    let _ = store.upsert(&kind, odd, &flag(1)).unwrap();
    let _ = store.upsert(&kind, "'%'", &flag(2)).unwrap();

    assert_eq!(store.get(&kind, odd).unwrap(), Some(flag(1)));
    assert_eq!(store.get_all(&kind).unwrap().by_key.len(), 2);
}

/// `timeout` ends a long read, and is not what an init goes by.
#[test]
fn timeout_is_the_deadline_of_all_calls_but_init() {
    let folder = Folder::new();
    let store = folder.builder().timeout(AT_ONCE).build().unwrap();
    store.init(&flags(5000, 1)).unwrap();
    assert_kind(store.get_all(&Kind::FEATURES), ErrorKind::Timeout, "longer than the timeout");
    assert_eq!(folder.store().get_all(&Kind::FEATURES).unwrap().by_key.len(), 5000);
}

/// `init_timeout` ends a long init, which then has changed nothing, and is not what other calls go by.
#[test]
fn init_timeout_is_the_deadline_of_init() {
    let folder = Folder::new();
    let store = folder.builder().init_timeout(AT_ONCE).build().unwrap();
    assert_kind(store.init(&flags(5000, 1)), ErrorKind::Timeout, "init");
    assert!(store.get_all(&Kind::FEATURES).unwrap().by_key.is_empty());
    assert!(!store.is_initialized().unwrap());
}

/// `configure` runs once on each connection, those for reads included, before the store uses it.
#[test]
fn configure_runs_on_each_new_connection() {
    let folder = Folder::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let store = folder.builder().configure(move |connection| {
        counter.fetch_add(1, Ordering::Relaxed);
        // Takes effect only in a database without tables.
        connection.pragma_update(None, "page_size", 8192)
    });
    let store = store.build().unwrap();
    upsert(&store, 1).unwrap();
    assert_eq!(version(&store), Some(1));
    let before = calls.load(Ordering::Relaxed);
    assert!(before >= 2, "one connection writes, and one reads");
    for round in 2..5 {
        upsert(&store, round).unwrap();
        assert_eq!(version(&store), Some(round));
    }
    assert_eq!(calls.load(Ordering::Relaxed), before, "these are enough");
    let size: i64 = folder.other().pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    assert_eq!(size, 8192);
}

/// A `configure` that fails is a mistake in the configuration.
#[test]
fn configure_that_fails_is_named() {
    let store = SqliteStore::in_memory().configure(|connection| connection.execute_batch("no SQL"));
    assert_kind(store.build(), ErrorKind::Config, "build: configure: ");
    let store = SqliteStore::in_memory().configure(|_| Err(rusqlite::Error::InvalidQuery));
    assert_kind(store.build(), ErrorKind::Config, "build: configure: ");
}

/// What it says to SQLite may hold a key, and is not shown.
#[test]
fn configure_that_fails_shows_no_secret() {
    let wrong = "PRAGMA key = x'not-hexadecimal-s3cret' s3cret";
    let store = SqliteStore::in_memory().configure(move |connection| connection.execute_batch(wrong));
    let error = store.build().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
}

/// A store in memory does all that one in a file does, and shares nothing.
#[test]
fn in_memory_stores_are_separate() {
    let one = SqliteStore::in_memory().build().unwrap();
    let two = SqliteStore::in_memory().build().unwrap();
    one.init(&flags(10, 1)).unwrap();
    upsert(&one, 3).unwrap();
    assert_eq!((version(&one), version(&two)), (Some(3), None));
    assert!(one.is_available() && one.is_initialized().unwrap() && !two.is_initialized().unwrap());
}

/// A database in memory outlives errors after which a file would be opened again.
#[test]
fn in_memory_data_outlives_errors() {
    let store = SqliteStore::in_memory()
        .configure(|connection| {
            connection.execute_batch("PRAGMA page_size = 4096; PRAGMA max_page_count = 30")
        })
        .build()
        .unwrap();
    upsert(&store, 1).unwrap();
    assert_kind(store.init(&flags(1000, 2)), ErrorKind::Unavailable, "full");
    assert_eq!(version(&store), Some(1));
}

/// Whichever is linked, the one in the program or the system's. One that cannot be trusted is used only by who says so.
#[test]
fn the_library_is_checked_when_a_store_is_built() {
    let folder = Folder::new();
    match folder.builder().build() {
        Ok(_) => {
            let is_corrected =
                matches!(rusqlite::version_number(), 3_044_006..3_045_000 | 3_050_007..3_051_000);
            assert!(is_corrected || rusqlite::version_number() >= 3_051_003);
        }
        Err(error) if cfg!(feature = "bundled") => panic!("{error}"),
        Err(error) => {
            assert!(!folder.path().exists());
            assert_kind(Err::<(), _>(error), ErrorKind::Config, "libsqlite3: version 3.");
            SqliteStore::in_memory().build().unwrap();
        }
    }
    upsert(&folder.builder().accept_wal_reset_bug(true).build().unwrap(), 1).unwrap();
    assert_eq!(version(&folder.builder().read_only(true).build().unwrap()), Some(1));
}
