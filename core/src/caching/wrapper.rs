use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::load::Loads;
use super::mode::{CacheMode, StalePolicy};
use super::room::Place;
use super::statistics::{CacheStatistics, Counters};
use super::table::{Look, Table};
use super::workers::{Target, Work, Workers};
use crate::background::{Background, Next};
use crate::watched::WatchedStore;
use crate::{
    AllData, Change, ChangeWatch, DataStoreStatusProvider, ErrorKind, FeatureStore, FeatureStoreCore, Item,
    Kind, LiveItems, SharedChangeSource, StoreError, Upsert,
};

/// A [`FeatureStore`] over any [`FeatureStoreCore`]: with a cache, the database's status, and recovery from
/// its outages. A clone is another handle to the same.
///
/// # What is cached
///
/// Items, tombstones, keys without an item, all items of a kind, and that a store is not initialized; for as
/// long as [`CacheMode`] says. A hit takes no lock, parses nothing and allocates nothing (the first time that
/// another thread takes an item, it gets a reference count of its own). Any number of threads or tasks that miss the
/// same thing make one database call and share its answer, also if it is an error; errors are not cached.
///
/// # Versions only go up
///
/// A read that began before a write and ends after it never puts the older item into the cache, nor gives it
/// to anybody who asks after the write. That holds for any order of reads, updates, inits, invalidations and
/// [`disable_cache`](Self::disable_cache), and with a [capacity](crate::CachingStoreBuilder::capacity) too.
/// [`get`](FeatureStore::get), [`all`](FeatureStore::all) and async readers see one truth, and an init in one
/// step. Only an init, which ignores versions, can lower one. What another process does becomes visible when the
/// time of an entry is over, or when a [change source](crate::CachingStoreBuilder::changes) tells of it.
///
/// # Writes
///
/// Go to the database first. If it takes an update, so does the cache; if it has something newer, that is
/// cached. If it is [away](crate::ErrorKind::Unavailable) or [silent](crate::ErrorKind::Timeout), the write is
/// kept, in every mode, and written back by its version once the database is there again. [`CacheMode::For`] goes
/// on with what it had, and [`CacheMode::Forever`] with what was written, also after an init. The error is returned
/// in either case. What a database refuses for what it is, changes nothing.
///
/// No call waits for another: an update does not wait for an init, nor an init for an update. What overlapped
/// is asked for again.
///
/// # Status and recovery
///
/// The first call that fails with one of these two kinds turns the [status](Self::status_provider) to unavailable. From
/// then on a thread probes the database: whether it answers, and whether it takes what it has missed. Only that
/// thread turns the status around again, after everything that was kept is there. Pauses between probes double, from
/// the [poll interval](crate::CachingStoreBuilder::poll_interval) up to eight times that. While the database is healthy
/// there is no thread.
///
/// The status is then stale, which means that whoever feeds the store should send everything again, unless everything
/// is known here ([`CacheMode::Forever`], or [`refill`](crate::CachingStoreBuilder::refill), after an init). Then a database
/// that comes back without its data is filled again, too. Both are for the process that feeds the database.
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
pub struct CachingStoreWrapper(pub(super) Arc<Shared>);

/// What all handles and threads of one wrapper share. Threads hold it weakly.
pub(super) struct Shared {
    pub(super) core: Arc<WatchedStore>,
    pub(super) table: Arc<Table>,
    pub(super) counters: Arc<Counters>,
    pub(super) mode: CacheMode,
    pub(super) stale_policy: StalePolicy,
    pub(super) not_initialized_for: Duration,
    pub(super) loads: Loads,
    pub(super) workers: Workers<Self>,
    pub(super) changes: Option<SharedChangeSource>,
    /// What watches for a loss of data, and for the changes of others, if anything does.
    pub(super) loss_watch: OnceLock<Background>,
    pub(super) change_watch: OnceLock<ChangeWatch>,
}

impl CachingStoreWrapper {
    /// What `read` makes of the live item of that key, without a copy of the item.
    ///
    /// As [`get`](FeatureStore::get), and cheaper. `read` may call the store, since nothing is locked meanwhile. It may
    /// be called twice, if the first item turns out to be too old.
    ///
    /// # Errors
    ///
    /// Those of [`get`](FeatureStore::get).
    pub fn read<T>(
        &self,
        kind: &Kind,
        key: &str,
        mut read: impl FnMut(&Item) -> T,
    ) -> Result<Option<T>, StoreError> {
        let look = self.0.table.look(kind, key, |_, item| read(item));
        match self.0.answer(look, kind, Some(key)) {
            Answer::Known(value) => Ok(value),
            Answer::Ask(old) => match self.0.loads.load(&Place::new(kind, key)) {
                Ok(item) => Ok(item.filter(|item| !item.is_deleted()).as_ref().map(read)),
                Err(error) => old.ok_or(error),
            },
        }
    }

    /// The live item of that key as a `T`, decoded once for all who ask for it as long as it is cached.
    ///
    /// # Errors
    ///
    /// Those of [`get`](FeatureStore::get), and [`Corrupt`](ErrorKind::Corrupt) if the item does not describe a `T`.
    pub fn decoded<T>(&self, kind: &Kind, key: &str) -> Result<Option<Arc<T>>, StoreError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        match self.read(kind, key, Item::decode)?.transpose() {
            Ok(value) => Ok(value.flatten()),
            Err(error) => {
                let error = StoreError::new(ErrorKind::Corrupt, "cache", "decoded", error);
                Err(error.about([(kind.clone(), key.to_owned())]))
            }
        }
    }

    /// What [`get`](FeatureStore::get) would return, if nobody has to wait for that.
    #[must_use]
    pub fn get_cached(&self, kind: &Kind, key: &str) -> Option<Option<Item>> {
        match self.0.look(kind, key) {
            Answer::Known(item) => Some(item),
            Answer::Ask(_) => None,
        }
    }

    /// What [`all`](FeatureStore::all) would return, if nobody has to wait for that.
    #[must_use]
    pub fn all_cached(&self, kind: &Kind) -> Option<LiveItems> {
        match self.0.look_at_all(kind) {
            Answer::Known(items) => Some(items),
            Answer::Ask(_) => None,
        }
    }

    /// Puts in doubt what is known of this item: the next read asks the database.
    pub fn invalidate(&self, kind: &Kind, key: &str) {
        self.0.table.age(kind, key);
    }

    /// Puts in doubt everything that is known of this kind.
    pub fn invalidate_kind(&self, kind: &Kind) {
        self.0.table.age_kind(kind);
    }

    /// Puts in doubt everything that is known.
    pub fn invalidate_all(&self) {
        self.0.table.age_all();
    }

    /// Forgets everything that is cached, and caches nothing from now on. Safe while others read and write;
    /// a second time it does nothing.
    pub fn disable_cache(&self) {
        self.0.table.disable();
    }

    /// What the cache has done so far. `None` if there is no cache, or none any more.
    #[must_use]
    pub fn statistics(&self) -> Option<CacheStatistics> {
        let (entries, missing_entries) = self.0.table.counts();
        self.0.table.is_caching().then(|| self.0.counters.statistics(entries, missing_entries))
    }

    /// Whether the database is available, for whoever wants to know now or to be told.
    #[must_use]
    pub fn status_provider(&self) -> DataStoreStatusProvider {
        self.0.core.status().status_provider()
    }

    /// Where it learns of the [changes](crate::CachingStoreBuilder::changes) of others, if anywhere. Whoever else
    /// watches them there is told after the cache.
    #[must_use]
    pub fn changes(&self) -> Option<&SharedChangeSource> {
        self.0.changes.as_ref()
    }

    /// The store below.
    #[must_use]
    pub fn core(&self) -> &Arc<dyn FeatureStoreCore> {
        self.0.core.core()
    }
}

impl FeatureStore for CachingStoreWrapper {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        self.0.init(all_data)
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        match self.0.look(kind, key) {
            Answer::Known(item) => Ok(item),
            Answer::Ask(old) => match self.0.loads.load(&Place::new(kind, key)) {
                Ok(item) => Ok(item.filter(|item| !item.is_deleted())),
                Err(error) => old.ok_or(error),
            },
        }
    }

    fn all(&self, kind: &Kind) -> Result<LiveItems, StoreError> {
        match self.0.look_at_all(kind) {
            Answer::Known(items) => Ok(items),
            Answer::Ask(old) => self.0.loads.load(kind).or_else(|error| old.ok_or(error)),
        }
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        self.0.upsert(kind, key, item)
    }

    fn initialized(&self) -> bool {
        self.0.is_initialized()
    }
}

/// What a look at the table comes to, under the policy for what is old.
pub(super) enum Answer<T> {
    /// This is the answer.
    Known(T),
    /// The database has to be asked. If it fails, this will do.
    Ask(Option<T>),
}

impl Shared {
    pub(super) fn look(&self, kind: &Kind, key: &str) -> Answer<Option<Item>> {
        let look = self.table.look(kind, key, |known, item| known.own_copy(item).clone());
        self.answer(look, kind, Some(key))
    }

    pub(super) fn look_at_all(&self, kind: &Kind) -> Answer<LiveItems> {
        self.answer(self.table.look_at_all(kind), kind, None)
    }

    /// What was found, after the policy for what is old has had its say. Without a key it is about all items.
    fn answer<T>(&self, look: Look<T>, kind: &Kind, key: Option<&str>) -> Answer<T> {
        let (value, age) = match look {
            Look::Fresh(value) => {
                self.counters.hit();
                return Answer::Known(value);
            }
            Look::Unknown => {
                self.miss();
                return Answer::Ask(None);
            }
            Look::Stale(value, age) => (value, age),
        };
        let is_young = |max_age: Option<Duration>| max_age.is_none_or(|max_age| age <= max_age);
        // Whether it is back is for the monitor to find out, and not for those who want a flag.
        let is_available = self.core.is_known_to_be_available();
        let old_will_do = match self.stale_policy {
            StalePolicy::RefreshAsync { max_age } if is_young(max_age) => {
                self.counters.hit();
                if is_available {
                    self.refresh_soon(kind, key);
                }
                return Answer::Known(value);
            }
            StalePolicy::Refresh { max_age } => is_young(max_age),
            StalePolicy::Evict | StalePolicy::RefreshAsync { .. } => self.mode == CacheMode::Forever,
        };
        if old_will_do && !is_available {
            self.counters.hit();
            return Answer::Known(value);
        }
        self.miss();
        Answer::Ask(old_will_do.then_some(value))
    }

    fn miss(&self) {
        if self.table.is_caching() {
            self.counters.miss();
        }
    }

    /// Has it read anew, unless that is on its way.
    fn refresh_soon(&self, kind: &Kind, key: Option<&str>) {
        if self.table.ask_for(kind, key, true) {
            let target = match key {
                Some(key) => Target::One(Place::new(kind, key)),
                None => Target::All(kind.clone()),
            };
            self.workers.refresh(self, target);
        }
    }

    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        let since = self.table.begin_init();
        let result = catch_unwind(AssertUnwindSafe(|| self.core.init(all_data))).unwrap_or_else(|panic| {
            self.table.refused();
            resume_unwind(panic)
        });
        let is_safe = self.table.init_ended(all_data, &result, since);
        self.ended(result, is_safe)
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        let since = self.table.moment();
        let result = self.core.upsert(kind, key, item);
        let is_safe = self.table.upsert_ended(kind, key, item, &result, since);
        self.ended(result, is_safe)
    }

    /// What the caller of a write is told. What it has left to be written is reported, now that the table has it.
    fn ended<T>(&self, result: Result<T, StoreError>, is_safe: bool) -> Result<T, StoreError> {
        match result {
            Err(error) if error.is_away() => {
                // Once more, because a probe that came between knows nothing of it.
                self.core.report(&error);
                let is_shown = self.mode == CacheMode::Forever && self.table.is_caching();
                Err(if is_shown { error.kept() } else { error })
            }
            result => {
                if !is_safe {
                    self.core.report(&"what it acknowledged during a recovery may have been overwritten");
                }
                result
            }
        }
    }

    fn is_initialized(&self) -> bool {
        if self.table.is_initialized() {
            return true;
        }
        if self.table.is_known_not_to_be_initialized() {
            return false;
        }
        match self.core.is_initialized() {
            Ok(is_initialized) => {
                self.table.set_initialized(is_initialized, self.not_initialized_for);
                is_initialized
            }
            Err(error) => {
                tracing::debug!("taken as not initialized: {error}");
                false
            }
        }
    }

    /// A database that was initialized and is not any more has lost its data.
    pub(super) fn look_for_data_loss(&self) {
        // Before the database is asked: an init that ends in between is no loss.
        let was_initialized = self.table.is_initialized();
        if !self.core.is_known_to_be_available() {
            return;
        }
        match self.core.is_initialized() {
            Ok(true) => self.table.set_initialized(true, Duration::ZERO),
            Ok(false) if was_initialized => {
                if !self.table.keeps_everything() {
                    // Nobody here can fill it in again. Reported once, and not at every look.
                    self.table.set_initialized(false, self.not_initialized_for);
                }
                self.core.report(&"it has lost its data");
            }
            Ok(false) | Err(_) => {}
        }
    }

    /// What others have changed has to be asked for again.
    pub(super) fn has_changed(&self, change: &Change) {
        match change {
            Change::Kind(kind) => self.table.age_kind(kind),
            Change::Anything => self.table.age_all(),
        }
    }

    /// Looks for a loss of data each time this has passed.
    pub(super) fn loss_watch(this: &Arc<Self>, interval: Duration) -> Background {
        let this: Weak<Self> = Arc::downgrade(this);
        let is_first = std::sync::atomic::AtomicBool::new(true);
        Background::new("flagstore-loss-watch", move || {
            let Some(shared) = this.upgrade() else { return Next::Rest };
            if !is_first.swap(false, std::sync::atomic::Ordering::Relaxed) {
                shared.look_for_data_loss();
            }
            Next::After(interval)
        })
    }
}

impl Work for Shared {
    fn refresh(&self, target: Target) {
        // From now on others may ask again, whatever becomes of this attempt.
        match &target {
            Target::One(place) => self.table.ask_for(&place.kind, Some(&place.key), false),
            Target::All(kind) => self.table.ask_for(kind, None, false),
        };
        if self.core.is_known_to_be_available() {
            // The status has learned of a failure, and the old value goes on until it is too old.
            let _ = match &target {
                Target::One(place) => self.loads.load(place).map(drop),
                Target::All(kind) => self.loads.load(kind).map(drop),
            };
        }
    }
}

impl fmt::Display for CachingStoreWrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.mode {
            _ if !self.0.table.is_caching() => write!(f, "Uncached({})", self.0.core),
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
