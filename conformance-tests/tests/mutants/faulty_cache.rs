use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flagstore_conformance::{CacheSettings, CachingStore, Case, Fixture, Listener, cases};
use flagstore_core::{
    AllData, CacheMode, CacheStatistics, CachingStoreWrapper, DataStoreStatus, ErrorKind, FeatureStore,
    FeatureStoreCore, Item, Items, Kind, LiveItems, MemoryStore, StalePolicy, StoreError, Upsert,
};

use crate::cache_fault::CacheFault;
use crate::faulty::FaultyFixture;
use crate::naive::NaiveCache;

const LONG: Duration = Duration::from_secs(3600);

/// Sound stores, and a cache with a fault above them.
pub(crate) struct FaultyCacheFixture {
    stores: FaultyFixture,
    fault: CacheFault,
}

impl FaultyCacheFixture {
    pub(crate) fn new(fault: CacheFault) -> Self {
        Self { stores: FaultyFixture::new(None), fault }
    }

    /// What becomes of the settings that a case asks for.
    fn settings(&self, settings: &CacheSettings) -> CacheSettings {
        let mut settings = settings.clone();
        let is_short = settings.mode == CacheMode::For(Duration::from_millis(20));
        match (self.fault, settings.mode) {
            (CacheFault::CachesNothing, _) => settings.mode = CacheMode::Off,
            (CacheFault::NothingExpires, CacheMode::For(_)) => settings.mode = CacheMode::Forever,
            (CacheFault::EverythingExpires, CacheMode::Forever) => {
                settings.mode = CacheMode::For(Duration::from_millis(1));
            }
            (CacheFault::CachesWithoutBeingAsked, CacheMode::Off) => settings.mode = CacheMode::For(LONG),
            (CacheFault::IgnoresTheStalePolicy, _) => settings.stale_policy = StalePolicy::Evict,
            (CacheFault::IgnoresMaxAge, mode) if mode != CacheMode::Off => {
                settings.stale_policy = StalePolicy::Refresh { max_age: None }
            }
            (CacheFault::RefreshesInTheForeground, _) if is_short => {
                settings.stale_policy = StalePolicy::Refresh { max_age: None };
            }
            (CacheFault::HasNoLimits, _) => {
                settings.capacity = None;
                settings.missing_capacity = 1_000_000;
            }
            (CacheFault::HasOneLimitForAll, mode) if mode != CacheMode::Off => settings.capacity = Some(50),
            (CacheFault::KeepsNoData, mode) => {
                settings.refill = false;
                if mode == CacheMode::Forever {
                    settings.mode = CacheMode::For(LONG);
                }
            }
            (CacheFault::NeverLooksForLoss, _) => settings.detect_data_loss = None,
            (CacheFault::NeverPolls, _) => settings.poll_interval = LONG,
            _ => {}
        }
        settings
    }
}

impl Fixture for FaultyCacheFixture {
    fn name(&self) -> &str {
        "faulty_cache"
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        self.stores.open(prefix)
    }

    fn init_is_atomic(&self) -> bool {
        true
    }

    fn too_large(&self) -> Option<usize> {
        self.stores.too_large()
    }

    fn cases(&self) -> Vec<Case> {
        cases::caching()
    }

    fn cache(
        &self,
        core: Arc<dyn FeatureStoreCore>,
        settings: &CacheSettings,
    ) -> Result<Arc<dyn CachingStore>, StoreError> {
        let fault = self.fault;
        if fault == CacheFault::IsNaive {
            return Ok(Arc::new(NaiveCache::new(core, settings)));
        }
        if fault == CacheFault::LeaksTheStore {
            std::mem::forget(Arc::clone(&core));
        }
        let below = Below { core: Arc::clone(&core), fault, has_panicked: AtomicBool::new(false) };
        let inner = self.settings(settings).wrap(Arc::new(below))?;
        Ok(Arc::new(FaultyCache { inner, core, fault, lock: Arc::default() }))
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(500)
    }
}

/// What a cache may do wrong when it calls its store.
struct Below {
    core: Arc<dyn FeatureStoreCore>,
    fault: CacheFault,
    has_panicked: AtomicBool,
}

impl Below {
    fn call<T>(
        &self,
        call: impl Fn(&dyn FeatureStoreCore) -> Result<T, StoreError>,
        instead: impl FnOnce() -> T,
    ) -> Result<T, StoreError> {
        if self.has_panicked.load(Ordering::SeqCst) {
            return Err(StoreError::new(ErrorKind::Unavailable, "faulty", "call", "broken by a panic"));
        }
        if self.fault == CacheFault::PollsWithEveryCall {
            self.core.is_available();
        }
        let result = match catch_unwind(AssertUnwindSafe(|| call(&*self.core))) {
            Ok(result) => result,
            Err(_) if self.fault == CacheFault::SwallowsPanics => return Ok(instead()),
            Err(panic) => {
                self.has_panicked.store(self.fault == CacheFault::BreaksWithAPanic, Ordering::SeqCst);
                resume_unwind(panic)
            }
        };
        let as_if = |error: StoreError, kind| StoreError::new(kind, "faulty", error.operation(), error);
        match (self.fault, result) {
            (CacheFault::SwallowsErrors, Err(_)) => Ok(instead()),
            (CacheFault::AsksTwice, Ok(_)) => call(&*self.core),
            (CacheFault::TakesEveryErrorForAnOutage, Err(error)) => Err(as_if(error, ErrorKind::Unavailable)),
            (CacheFault::TakesNoErrorForAnOutage, Err(error)) => Err(as_if(error, ErrorKind::Other)),
            (_, result) => result,
        }
    }
}

impl FeatureStoreCore for Below {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        if self.fault == CacheFault::InitsByUpserts {
            for (kind, items) in all_data.kinds() {
                for (key, item) in items {
                    let _ = self.core.upsert(kind, key, item)?;
                }
            }
            return self.core.init(&AllData::new());
        }
        self.call(|core| core.init(all_data), || ())
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        self.call(|core| core.get(kind, key), || None)
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        let mut items = self.call(|core| core.get_all(kind), Items::default)?;
        if self.fault == CacheFault::WritesWithoutVersions {
            // As if nobody else had written.
            items.by_key.clear();
        }
        Ok(items)
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        if self.fault == CacheFault::ReadsBeforeItWrites {
            let _ = self.core.get(kind, key)?;
        }
        if self.fault == CacheFault::WritesWithoutVersions {
            let mut items = self.core.get_all(kind)?.by_key;
            items.insert(key.to_owned(), item.clone());
            self.core.init(&AllData::new().with(kind.clone(), items))?;
            return Ok(Upsert::Applied);
        }
        self.call(|core| core.upsert(kind, key, item), || Upsert::Applied)
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        self.call(FeatureStoreCore::is_initialized, || false)
    }

    fn is_available(&self) -> bool {
        let is_available = self.call(|core| Ok(core.is_available()), || true).unwrap_or(false);
        is_available || self.fault == CacheFault::BelievesThatItIsAvailable
    }

    fn describe(&self) -> &'static str {
        self.core.describe()
    }
}

impl fmt::Display for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.fmt(f)
    }
}

impl fmt::Debug for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.fmt(f)
    }
}

/// Our cache, and what is wrong with what it tells the application.
struct FaultyCache {
    inner: CachingStoreWrapper,
    core: Arc<dyn FeatureStoreCore>,
    fault: CacheFault,
    lock: Arc<Mutex<()>>,
}

impl FaultyCache {
    fn has(&self, fault: CacheFault) -> bool {
        self.fault == fault
    }
}

impl FeatureStore for FaultyCache {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        let _lock = self.has(CacheFault::LocksOverCalls).then(|| self.lock.lock());
        if self.has(CacheFault::WritesPastTheCache) {
            self.core.init(all_data)
        } else {
            self.inner.init(all_data)
        }
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        let _lock = (self.has(CacheFault::LocksOverCalls) || self.has(CacheFault::TellsUnderALock))
            .then(|| self.lock.lock());
        match self.fault {
            CacheFault::TakesAllForEverything => Ok(self.inner.all(kind)?.get(key).cloned()),
            CacheFault::ShowsTombstones => match self.inner.get(kind, key)? {
                None => self.core.get(kind, key),
                item => Ok(item),
            },
            _ => self.inner.get(kind, key),
        }
    }

    fn all(&self, kind: &Kind) -> Result<LiveItems, StoreError> {
        let _lock = self.has(CacheFault::LocksOverCalls).then(|| self.lock.lock());
        self.inner.all(kind)
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        let _lock = self.has(CacheFault::LocksOverCalls).then(|| self.lock.lock());
        if self.has(CacheFault::WritesPastTheCache) {
            return self.core.upsert(kind, key, item);
        }
        if self.has(CacheFault::HidesWhatWasDeletedOnce)
            && let Some(tombstone) = self.core.get(kind, key)?.filter(Item::is_deleted)
        {
            return Ok(Upsert::Stale(tombstone));
        }
        let result = self.inner.upsert(kind, key, item);
        if self.has(CacheFault::WritesWhatItKnows) && result.is_err() {
            let known = AllData::new().with(kind.clone(), [(key, item.clone())]);
            drop(self.inner.init(&known));
        }
        result
    }

    fn delete(&self, kind: &Kind, key: &str, version: u64) -> Result<Upsert, StoreError> {
        let more = if self.has(CacheFault::DeletesWhateverTheVersion) { 100 } else { 0 };
        self.upsert(kind, key, &Item::tombstone(key, version + more).unwrap())
    }

    fn initialized(&self) -> bool {
        match self.fault {
            CacheFault::IsInitializedByAnything => true,
            CacheFault::IsNeverInitialized => false,
            CacheFault::AlwaysAsksWhetherItIsInitialized => self.core.is_initialized().unwrap_or(false),
            _ => self.inner.initialized(),
        }
    }
}

impl CachingStore for FaultyCache {
    fn invalidate(&self, kind: &Kind, key: &str) {
        match self.fault {
            CacheFault::ForgetsNothing => {}
            CacheFault::ForgetsEverything => self.inner.invalidate_all(),
            _ => self.inner.invalidate(kind, key),
        }
    }

    fn invalidate_kind(&self, kind: &Kind) {
        match self.fault {
            CacheFault::ForgetsNothing => {}
            CacheFault::ForgetsEverything => self.inner.invalidate_all(),
            _ => self.inner.invalidate_kind(kind),
        }
    }

    fn invalidate_all(&self) {
        if !self.has(CacheFault::ForgetsNothing) {
            self.inner.invalidate_all();
        }
    }

    fn disable_cache(&self) {
        if !self.has(CacheFault::StaysEnabled) {
            self.inner.disable_cache();
        }
    }

    fn statistics(&self) -> Option<CacheStatistics> {
        if self.has(CacheFault::CountsNothing) {
            return CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap().statistics();
        }
        self.inner.statistics()
    }

    fn status(&self) -> DataStoreStatus {
        let status = self.inner.status_provider().status();
        match self.fault {
            CacheFault::AlwaysSaysAvailable => DataStoreStatus { available: true, ..status },
            CacheFault::AsksForTheStatus => {
                DataStoreStatus { available: self.core.is_initialized().is_ok(), stale: false }
            }
            CacheFault::NeverSaysStale => DataStoreStatus { stale: false, ..status },
            _ => status,
        }
    }

    fn listen(&self, listener: Listener) -> Box<dyn Any + Send> {
        if self.has(CacheFault::TellsNewListenersTheOldStatus) {
            listener(self.inner.status_provider().status());
        }
        let (fault, lock) = (self.fault, Arc::clone(&self.lock));
        let guard = self.inner.status_provider().add_listener(move |status| {
            // Unwrapped, so that one that panics takes the others with it.
            let _lock = (fault == CacheFault::TellsUnderALock).then(|| lock.lock().unwrap());
            listener(status);
            if fault == CacheFault::TellsTwice {
                listener(status);
            }
        });
        if self.has(CacheFault::TellsTheDropped) {
            std::mem::forget(guard);
            return Box::new(());
        }
        Box::new(guard)
    }
}

impl fmt::Display for FaultyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for FaultyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
