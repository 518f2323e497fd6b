//! A cache above a store, with its status and recovery.

mod builder;
mod cache;
mod entries;
mod flight;
mod kept;
mod recovery;
mod refresh;
mod shared;
mod statistics;

use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use builder::{CacheMode, CachingStoreBuilder, StalePolicy};
use cache::Found;
use kept::ByKey;
use shared::Shared;
pub use statistics::CacheStatistics;

use crate::{
    AllData, DataStoreStatusProvider, FeatureStore, FeatureStoreCore, Item, Kind, LiveItems, StoreError,
    Upsert,
};

/// A [`FeatureStore`] over any [`FeatureStoreCore`]: with a cache, the database's status, and recovery from
/// its outages. A clone is another handle to the same.
///
/// # What is cached
///
/// Items, tombstones, keys without an item, all items of a kind, and that a store is not initialized; for as
/// long as [`CacheMode`] says. A hit costs a look-up: it takes no lock that a database call holds and parses
/// nothing, and where there is an item it allocates nothing. Any number of threads that miss the same thing make one database call and share
/// its answer, also if it is an error; errors are not cached.
///
/// # Cost
///
/// Measured with 10 000 flags of 1 KB on two cores: 1.25 times their JSON in memory, before any is decoded. A
/// hit takes less than half as long as one of bare moka, and all items take no longer than one. Two threads get
/// 1.9 times as much done as one with [`read`](Self::read), whichever flags they read, and with
/// [`get`](FeatureStore::get) while they read different flags; where they take the same flags at the same time,
/// counting the references to each costs them most of that (1.1 times). The benchmark is in
/// `flagstore-launchdarkly`.
///
/// # Versions only go up
///
/// A read that began before a write and ends after it never puts the older item into the cache, nor gives it
/// to anybody who asks after the write. That holds for any order of reads, updates, inits, invalidations and
/// [`disable_cache`](Self::disable_cache). Only an init, which ignores versions, can lower one; and what
/// another process does becomes visible when an entry's time is over.
///
/// # Writes
///
/// Go to the database first. If it takes an update, so does the cache; if it has something newer, that is
/// cached. If it fails, [`CacheMode::For`] leaves the cache as it is, and [`CacheMode::Forever`] takes the
/// update and the init all the same, goes on with them, and counts as initialized; the error is returned in
/// either case.
///
/// Updates run at once. An init waits for those that are under way, and those that come wait for it, because
/// it ignores versions, and the cache has to take both in the order of the database.
///
/// # Status and recovery
///
/// The first call that fails with [`Unavailable`](crate::ErrorKind::Unavailable) or
/// [`Timeout`](crate::ErrorKind::Timeout)
/// turns the [status](Self::status_provider) to
/// unavailable. From then on a thread asks the database whether it is back, and
/// only that thread turns the status around again. Where the data is kept ([`CacheMode::Forever`], or
/// [`refill`](CachingStoreBuilder::refill)) it first brings the database up to date, and tries again until that
/// has succeeded. While the database is healthy there is no thread.
///
/// ```
/// use flagstore_core::{AllData, CachingStoreWrapper, FeatureStore, Kind, MemoryStore};
///
/// let store = CachingStoreWrapper::builder(MemoryStore::new()).build()?;
/// store.init(&AllData::from_json(r#"{"flags":{"dark-mode":{"version":1}}}"#)?)?;
/// assert!(store.get(&Kind::FEATURES, "dark-mode")?.is_some());
/// assert_eq!(store.statistics().map(|statistics| statistics.hits), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct CachingStoreWrapper(Arc<Shared>);

impl CachingStoreWrapper {
    /// Configures a wrapper of this store.
    pub fn builder(core: impl FeatureStoreCore) -> CachingStoreBuilder {
        CachingStoreBuilder::new(Arc::new(core))
    }

    /// What `read` makes of the live item of that key, without a copy of the item.
    ///
    /// As [`get`](FeatureStore::get), and cheaper where several threads read the same item: not even its
    /// reference count is touched. `read` must not wait for anything, nor call the store. It may be called
    /// twice, if the first item turns out to be too old.
    ///
    /// # Errors
    ///
    /// Those of [`get`](FeatureStore::get).
    pub fn read<T>(
        &self,
        kind: &Kind,
        key: &str,
        read: impl Fn(&Item) -> T,
    ) -> Result<Option<T>, StoreError> {
        let shared = &self.0;
        let found = if shared.is_caching() { shared.cache.peek(kind, key, &read) } else { Found::Unknown };
        shared.answer(
            found,
            || Ok(shared.load(kind, key)?.as_ref().map(&read)),
            || shared.refresh(kind, Some(key)),
        )
    }

    /// What [`get`](FeatureStore::get) would return, if that needs no database call.
    #[must_use]
    pub fn get_cached(&self, kind: &Kind, key: &str) -> Option<Option<Item>> {
        self.0.cached(|cache| cache.peek(kind, key, Item::clone))
    }

    /// What [`all`](FeatureStore::all) would return, if that needs no database call.
    #[must_use]
    pub fn all_cached(&self, kind: &Kind) -> Option<LiveItems> {
        self.0.cached(|cache| cache.peek_all(kind))
    }

    /// Forgets what is cached of this item, so that the next read asks the database.
    pub fn invalidate(&self, kind: &Kind, key: &str) {
        self.0.cache.invalidate(kind, key);
    }

    /// Forgets everything that is cached of this kind.
    pub fn invalidate_kind(&self, kind: &Kind) {
        self.0.cache.invalidate_kind(kind);
    }

    /// Forgets everything that is cached.
    pub fn invalidate_all(&self) {
        self.0.cache.invalidate_all();
    }

    /// Forgets everything that is cached, and caches nothing from now on. Safe while others read and write;
    /// a second time it does nothing.
    pub fn disable_cache(&self) {
        self.0.is_caching.store(false, Ordering::Release);
        self.0.cache.disable();
    }

    /// What the cache has done so far. `None` if there is no cache, or none any more.
    #[must_use]
    pub fn statistics(&self) -> Option<CacheStatistics> {
        self.0.is_caching().then(|| self.0.cache.statistics())
    }

    /// Whether the database is available, for whoever wants to know now or to be told.
    #[must_use]
    pub fn status_provider(&self) -> DataStoreStatusProvider {
        self.0.status.status_provider()
    }

    /// The store below.
    #[must_use]
    pub fn core(&self) -> &Arc<dyn FeatureStoreCore> {
        &self.0.core
    }
}

impl FeatureStore for CachingStoreWrapper {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        self.0.initialize(all_data)
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        self.read(kind, key, Item::clone)
    }

    fn all(&self, kind: &Kind) -> Result<LiveItems, StoreError> {
        let shared = &self.0;
        let found = if shared.is_caching() { shared.cache.peek_all(kind) } else { Found::Unknown };
        shared.answer(found, || shared.load_all(kind), || shared.refresh(kind, None))
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        self.0.write(kind, key, item)
    }

    fn initialized(&self) -> bool {
        self.0.is_initialized()
    }
}

impl fmt::Display for CachingStoreWrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.mode {
            _ if !self.0.is_caching() => write!(f, "Uncached({})", self.0.core),
            CacheMode::For(time_to_live) => write!(f, "Cached({time_to_live:?}, {})", self.0.core),
            CacheMode::Off | CacheMode::Forever => write!(f, "Cached(forever, {})", self.0.core),
        }
    }
}

impl fmt::Debug for CachingStoreWrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Of two the one with the higher version; the second if they are equal.
fn newer(one: Option<Item>, other: Option<Item>) -> Option<Item> {
    match (one, other) {
        (Some(one), Some(other)) if one.version() > other.version() => Some(one),
        (one, other) => other.or(one),
    }
}

/// Puts an item in place of one that is not newer.
fn put_newer(items: &mut ByKey, key: Arc<str>, item: Item) {
    match items.entry(key) {
        Entry::Occupied(mut known) if known.get().version() <= item.version() => drop(known.insert(item)),
        Entry::Occupied(_) => {}
        Entry::Vacant(free) => drop(free.insert(item)),
    }
}
