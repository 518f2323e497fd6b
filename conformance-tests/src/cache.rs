//! The cache that the caching cases are about: ours, unless a fixture brings another.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flagstore_core::{
    CacheMode, CacheStatistics, CachingStoreWrapper, DataStoreStatus, FeatureStore, FeatureStoreCore, Kind,
    StalePolicy, StoreError,
};

/// What a case listens with.
pub type Listener = Box<dyn Fn(DataStoreStatus) + Send + Sync>;

/// What the caching cases need beside a [`FeatureStore`]: the methods of [`CachingStoreWrapper`].
pub trait CachingStore: FeatureStore {
    /// Forgets what is cached of this item.
    fn invalidate(&self, kind: &Kind, key: &str);
    /// Forgets what is cached of this kind.
    fn invalidate_kind(&self, kind: &Kind);
    /// Forgets everything.
    fn invalidate_all(&self);
    /// Forgets everything, for good.
    fn disable_cache(&self);
    /// What the cache has done, unless there is none.
    fn statistics(&self) -> Option<CacheStatistics>;
    /// The database's status.
    fn status(&self) -> DataStoreStatus;
    /// Calls the listener with each change of the status until the guard is dropped.
    fn listen(&self, listener: Listener) -> Box<dyn Any + Send>;
}

impl CachingStore for CachingStoreWrapper {
    fn invalidate(&self, kind: &Kind, key: &str) {
        self.invalidate(kind, key);
    }

    fn invalidate_kind(&self, kind: &Kind) {
        self.invalidate_kind(kind);
    }

    fn invalidate_all(&self) {
        self.invalidate_all();
    }

    fn disable_cache(&self) {
        self.disable_cache();
    }

    fn statistics(&self) -> Option<CacheStatistics> {
        self.statistics()
    }

    fn status(&self) -> DataStoreStatus {
        self.status_provider().status()
    }

    fn listen(&self, listener: Listener) -> Box<dyn Any + Send> {
        Box::new(self.status_provider().add_listener(listener))
    }
}

/// How a case wants its cache: the settings of [`CachingStoreBuilder`](flagstore_core::CachingStoreBuilder).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CacheSettings {
    /// Whether to cache, and for how long.
    pub mode: CacheMode,
    /// What happens to an entry when its time is over.
    pub stale_policy: StalePolicy,
    /// How many items are cached at most.
    pub capacity: Option<u64>,
    /// For how many keys without an item it is cached that there is none.
    pub missing_capacity: u64,
    /// How often an unavailable database is asked whether it is back.
    pub poll_interval: Duration,
    /// Whether the data is kept to bring the database up to date after an outage.
    pub refill: bool,
    /// How often to look whether the database has lost its data.
    pub detect_data_loss: Option<Duration>,
}

impl CacheSettings {
    /// A mode, and what suits a test: the database is asked every few milliseconds whether it is back.
    pub(crate) fn new(mode: CacheMode) -> Self {
        Self {
            mode,
            stale_policy: StalePolicy::Evict,
            capacity: None,
            missing_capacity: 1_000,
            poll_interval: Duration::from_millis(5),
            refill: false,
            detect_data_loss: None,
        }
    }

    /// Our own cache with these settings.
    ///
    /// # Errors
    ///
    /// Those of [`build`](flagstore_core::CachingStoreBuilder::build).
    pub fn wrap(&self, core: Arc<dyn FeatureStoreCore>) -> Result<CachingStoreWrapper, StoreError> {
        let Self { mode, stale_policy, capacity, missing_capacity, poll_interval, refill, detect_data_loss } =
            *self;
        let mut builder = CachingStoreWrapper::builder(core)
            .mode(mode)
            .stale_policy(stale_policy)
            .missing_capacity(missing_capacity)
            .poll_interval(poll_interval)
            .refill(refill);
        if let Some(capacity) = capacity {
            builder = builder.capacity(capacity);
        }
        if let Some(interval) = detect_data_loss {
            builder = builder.detect_data_loss(interval);
        }
        builder.build()
    }
}

impl fmt::Display for CacheSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.mode)
    }
}
