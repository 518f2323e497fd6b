use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flagstore_core::{AllData, CacheMode, CachingStoreWrapper, ChangeSource, FeatureStore, Kind};
use flagstore_sqlite::SqliteStore;

use crate::{Folder, delete, eventually, flag, upsert, version};

const INTERVAL: Duration = Duration::from_millis(2);

fn cached(store: SqliteStore) -> CachingStoreWrapper {
    let changes = store.changes(INTERVAL);
    CachingStoreWrapper::builder(store).mode(CacheMode::Forever).changes(changes).build().unwrap()
}

fn cached_version(store: &CachingStoreWrapper) -> Option<u64> {
    store.get(&Kind::FEATURES, "dark-mode").unwrap().map(|item| item.version())
}

/// What another process writes is seen soon, by a cache that would never look by itself.
#[test]
fn writes_of_others_reach_the_cache() {
    let folder = Folder::new();
    let cached = cached(folder.store());
    let other = folder.store();
    for version in 1..=5 {
        upsert(&other, version).unwrap();
        eventually(|| cached_version(&cached) == Some(version));
    }
}

/// A file that was deleted and filled anew is another database, and is watched as before.
#[test]
fn the_watch_goes_on_with_a_file_that_is_created_anew() {
    let folder = Folder::new();
    let cached = cached(folder.store());
    upsert(&folder.store(), 1).unwrap();
    eventually(|| cached_version(&cached) == Some(1));

    delete(&folder.path());
    let other = folder.store();
    upsert(&other, 7).unwrap();
    eventually(|| {
        cached.get(&Kind::FEATURES, "dark-mode").is_ok_and(|item| item.is_some_and(|i| i.version() == 7))
    });
    upsert(&other, 8).unwrap();
    eventually(|| cached_version(&cached) == Some(8));
}

/// A watch sees first that the file is gone. The next call says so all the same, and nothing that is cached passes for
/// deleted: the cache fills the file that is there then.
#[cfg(unix)]
#[test]
fn what_the_watch_finds_lost_is_lost_for_all() {
    let folder = Folder::new();
    let store = folder.store();
    let changes = store.changes(INTERVAL);
    let cached = CachingStoreWrapper::builder(store)
        .mode(CacheMode::Forever)
        .poll_interval(INTERVAL)
        .changes(changes)
        .build()
        .unwrap();
    cached.init(&AllData::new().with(Kind::FEATURES, [("dark-mode", flag(1))])).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let _listener = cached.status_provider().add_listener(move |status| tell.send(status).unwrap());
    delete(&folder.path());
    eventually(|| {
        assert_eq!(cached_version(&cached), Some(1));
        told.try_recv().is_ok_and(|status| !status.available)
    });
    assert!(told.recv_timeout(Duration::from_secs(30)).unwrap().available);
    assert_eq!(version(&folder.store()), Some(1));
}

/// Each change of others is reported, and after the end of the watch nothing at all.
#[test]
fn a_watch_reports_changes_only_and_ends_with_its_guard() {
    let folder = Folder::new();
    let (store, other) = (folder.store(), folder.store());
    let reports = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reports);
    let watch = store.changes(INTERVAL).watch(Box::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    }));
    eventually(|| reports.load(Ordering::SeqCst) == 1);
    for version in 1..=3 {
        let before = reports.load(Ordering::SeqCst);
        upsert(&other, version).unwrap();
        eventually(|| reports.load(Ordering::SeqCst) > before);
    }
    drop(watch);
    // The thread drops what it was given to call.
    eventually(|| Arc::strong_count(&reports) == 1);
}

/// A database in memory has nobody else who writes.
#[test]
fn in_memory_there_is_nothing_to_watch() {
    let cached = cached(SqliteStore::in_memory().build().unwrap());
    let _ = cached.upsert(&Kind::FEATURES, "dark-mode", &flag(1)).unwrap();
    assert_eq!(cached_version(&cached), Some(1));
}
