//! Which threads a cache has, and when they end. Alone in its program, because it counts those of the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{
    AllData, CacheMode, CachingStoreBuilder, CachingStoreWrapper, ErrorKind, FeatureStore, FeatureStoreCore,
    Item, Items, Kind, MemoryStore, StalePolicy, StoreError, Upsert,
};

/// The names of our threads, as far as the system keeps them.
fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("flagstore-")).collect()
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}: {:?}", threads());
        thread::sleep(Duration::from_millis(1));
    }
}

/// A database in memory that may be away.
#[derive(Debug, Default)]
struct MayBeAway {
    memory: MemoryStore,
    is_away: Arc<AtomicBool>,
}

impl MayBeAway {
    fn memory(&self) -> Result<&MemoryStore, StoreError> {
        let is_away = self.is_away.load(Ordering::SeqCst);
        let away = || StoreError::new(ErrorKind::Unavailable, "memory", "call", "it is away");
        if is_away { Err(away()) } else { Ok(&self.memory) }
    }
}

impl FeatureStoreCore for MayBeAway {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        self.memory()?.init(all_data)
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        self.memory()?.get(kind, key)
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        self.memory()?.get_all(kind)
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        self.memory()?.upsert(kind, key, item)
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        self.memory()?.is_initialized()
    }

    fn is_available(&self) -> bool {
        self.memory().is_ok()
    }

    fn describe(&self) -> &'static str {
        "memory"
    }
}

impl fmt::Display for MayBeAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MayBeAway")
    }
}

/// A cache does without threads while its database is healthy. An outage has one, a refresh in the background some, and
/// each listener is told on one; whatever they are in the middle of, none is left once the cache is gone.
#[test]
fn there_are_none_while_all_is_well_and_none_afterwards() -> Result<(), Box<dyn std::error::Error>> {
    type Settings = fn(CachingStoreBuilder) -> CachingStoreBuilder;
    let every: [Settings; 4] = [
        |builder| builder.mode(CacheMode::Off),
        |builder| {
            let in_background = StalePolicy::RefreshAsync { max_age: None };
            builder.mode(CacheMode::For(Duration::from_millis(1))).stale_policy(in_background)
        },
        |builder| builder.mode(CacheMode::Forever).poll_interval(Duration::from_secs(3600)),
        |builder| builder.refill(true).detect_data_loss(Duration::from_secs(3600)),
    ];
    for (n, settings) in every.into_iter().enumerate() {
        let is_away = Arc::new(AtomicBool::new(false));
        let core = MayBeAway { memory: MemoryStore::new(), is_away: Arc::clone(&is_away) };
        let store = settings(CachingStoreWrapper::builder(core)).build()?;
        store.init(&AllData::from_json(r#"{"flags":{"a":{"version":1}}}"#)?)?;
        store.get(&Kind::FEATURES, "a")?;
        let watches = usize::from(n == 3);
        // A thread has its name a moment later.
        wait_for("the watch", || threads().len() == watches);

        let subscription = store.status_provider().add_listener(|_| ());
        wait_for("a refresh", || {
            n != 1 || { store.get(&Kind::FEATURES, "a").is_ok() && threads().len() > watches }
        });
        is_away.store(true, Ordering::SeqCst);
        assert!(store.upsert(&Kind::FEATURES, "a", &Item::tombstone("a", 2)?).is_err());
        wait_for("the monitor", || threads().iter().any(|name| name == "flagstore-monit"));
        drop((store, subscription));
        wait_for("the end of all threads", || threads().is_empty());
    }
    Ok(())
}
