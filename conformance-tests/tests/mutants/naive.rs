use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use flagstore_conformance::{CacheSettings, CachingStore, Listener};
use flagstore_core::{
    AllData, CacheMode, CacheStatistics, CachingStoreWrapper, DataStoreStatus, FeatureStore,
    FeatureStoreCore, Item, Kind, LiveItems, MemoryStore, StoreError, Upsert,
};
use moka::sync::Cache;

/// What suggests itself: moka's `try_get_with` to read and `insert` to write. A read that began before a write
/// ends after it, and overwrites it.
pub(crate) struct NaiveCache {
    core: Arc<dyn FeatureStoreCore>,
    mode: CacheMode,
    one: Cache<(Kind, Arc<str>), Option<Item>>,
    all: Cache<Kind, LiveItems>,
    misses: AtomicU64,
    is_disabled: AtomicBool,
}

impl NaiveCache {
    pub(crate) fn new(core: Arc<dyn FeatureStoreCore>, settings: &CacheSettings) -> Self {
        Self {
            core,
            mode: settings.mode,
            one: Cache::new(10_000),
            all: Cache::builder().support_invalidation_closures().build(),
            misses: AtomicU64::new(0),
            is_disabled: AtomicBool::new(false),
        }
    }

    fn put(&self, kind: &Kind, key: &str, item: Option<Item>) {
        if !self.is_disabled.load(Ordering::SeqCst) {
            self.one.insert((kind.clone(), key.into()), item);
        }
    }

    fn load(&self, kind: &Kind, key: &str) -> Result<Option<Item>, Arc<StoreError>> {
        self.misses.fetch_add(1, Ordering::SeqCst);
        let ask = || self.core.get(kind, key);
        if self.is_disabled.load(Ordering::SeqCst) {
            return ask().map_err(Arc::new);
        }
        self.one.try_get_with((kind.clone(), key.into()), ask)
    }

    fn load_all(&self, kind: &Kind) -> Result<LiveItems, StoreError> {
        let live = self.core.get_all(kind)?.by_key;
        for (key, item) in &live {
            self.put(kind, key, Some(item.clone()));
        }
        Ok(live.into_iter().collect())
    }
}

impl FeatureStore for NaiveCache {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        let result = self.core.init(all_data);
        if result.is_ok() || self.mode == CacheMode::Forever {
            self.invalidate_all();
            for (kind, items) in all_data.kinds() {
                items.for_each(|(key, item)| self.put(kind, key, Some(item.clone())));
            }
        }
        result
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        let item = self.load(kind, key).map_err(Arc::unwrap_or_clone)?;
        Ok(item.filter(|item| !item.is_deleted()))
    }

    fn all(&self, kind: &Kind) -> Result<LiveItems, StoreError> {
        self.misses.fetch_add(1, Ordering::SeqCst);
        if self.is_disabled.load(Ordering::SeqCst) {
            return self.load_all(kind);
        }
        self.all.try_get_with(kind.clone(), || self.load_all(kind)).map_err(Arc::unwrap_or_clone)
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        let result = self.core.upsert(kind, key, item);
        match &result {
            Ok(Upsert::Applied) => self.put(kind, key, Some(item.clone())),
            Ok(Upsert::Stale(current)) => self.put(kind, key, Some(current.clone())),
            Err(_) if self.mode == CacheMode::Forever => self.put(kind, key, Some(item.clone())),
            Err(_) => {}
        }
        self.all.invalidate(kind);
        result
    }

    fn initialized(&self) -> bool {
        self.core.is_initialized().unwrap_or(false)
    }
}

impl CachingStore for NaiveCache {
    fn invalidate(&self, kind: &Kind, key: &str) {
        self.one.invalidate(&(kind.clone(), key.into()));
        self.all.invalidate(kind);
    }

    fn invalidate_kind(&self, _kind: &Kind) {
        self.invalidate_all();
    }

    fn invalidate_all(&self) {
        self.one.invalidate_all();
        self.all.invalidate_all();
    }

    fn disable_cache(&self) {
        self.is_disabled.store(true, Ordering::SeqCst);
        self.invalidate_all();
    }

    fn statistics(&self) -> Option<CacheStatistics> {
        let statistics = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap().statistics();
        statistics.map(|mut statistics| {
            statistics.misses = self.misses.load(Ordering::SeqCst);
            statistics
        })
    }

    fn status(&self) -> DataStoreStatus {
        DataStoreStatus { available: true, stale: false }
    }

    fn listen(&self, _listener: Listener) -> Box<dyn Any + Send> {
        Box::new(())
    }
}

impl fmt::Display for NaiveCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Naive({})", self.core)
    }
}

impl fmt::Debug for NaiveCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
