//! Where no thread can be started, whoever asks does the work himself: nothing stays old for ever, and no task hangs.
//!
//! Alone in its program, which starts itself again with so large a stack for each thread that none can be had.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

use std::env;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use flagstore_core::{
    AllData, CacheMode, CachingStoreWrapper, FeatureStore, FeatureStoreCore, Item, Kind, MemoryStore,
    StalePolicy,
};

const STACK: &str = "RUST_MIN_STACK";

fn flag(version: u64) -> Item {
    Item::parse(format!(r#"{{"version":{version}}}"#)).unwrap()
}

/// Has this test run in a process that cannot start a thread. True in that process.
fn is_without_threads(test: &str) -> bool {
    if env::var_os(STACK).is_some() {
        assert!(thread::Builder::new().spawn(|| ()).is_err(), "a thread could be started");
        return true;
    }
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env(STACK, (1_u64 << 60).to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&child.stderr)
    );
    false
}

/// The new flag comes with one of the next reads, although nobody can be asked to bring it.
#[test]
fn what_is_old_is_read_anew() {
    if !is_without_threads("what_is_old_is_read_anew") {
        return;
    }
    let database = Arc::new(MemoryStore::new());
    let store = CachingStoreWrapper::builder(Arc::clone(&database))
        .mode(CacheMode::Forever)
        .stale_policy(StalePolicy::RefreshAsync { max_age: None })
        .build()
        .unwrap();
    store.init(&AllData::new().with(Kind::FEATURES, [("a".to_owned(), flag(1))])).unwrap();
    let _ = database.upsert(&Kind::FEATURES, "a", &flag(2)).unwrap();
    store.invalidate_all();
    let version = || store.get(&Kind::FEATURES, "a").unwrap().map(|item| item.version());
    assert_eq!((version(), version()), (Some(1), Some(2)));
    store.invalidate_all();
    let all = || store.all(&Kind::FEATURES).unwrap().get("a").map(Item::version);
    let _ = database.upsert(&Kind::FEATURES, "a", &flag(3)).unwrap();
    assert_eq!((all(), all()), (Some(2), Some(3)));
}

/// A task that misses gets its answer.
#[cfg(feature = "tokio")]
#[test]
fn a_task_has_its_answer() {
    use std::time::Duration;

    use flagstore_core::AsyncFeatureStore;

    if !is_without_threads("a_task_has_its_answer") {
        return;
    }
    let database = Arc::new(MemoryStore::new());
    let _ = database.upsert(&Kind::FEATURES, "a", &flag(1)).unwrap();
    let store = CachingStoreWrapper::builder(database).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let item = runtime.block_on(async {
        let store = AsyncFeatureStore::new(store);
        tokio::time::timeout(Duration::from_secs(10), async { store.get(&Kind::FEATURES, "a").await }).await
    });
    assert_eq!(item.unwrap().unwrap().map(|item| item.version()), Some(1));
}
