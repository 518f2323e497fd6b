use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::load::Loads;
use super::mode::{CacheMode, StalePolicy};
use super::recovery::recover;
use super::statistics::Counters;
use super::table::{Rules, Table};
use super::workers::Workers;
use super::wrapper::{CachingStoreWrapper, Shared};
use crate::watched::WatchedStore;
use crate::{ChangeSource, FeatureStoreCore, SharedChangeSource, StoreError};

/// Configures a [`CachingStoreWrapper`].
///
/// ```
/// use std::time::Duration;
/// use flagstore_core::{CacheMode, CachingStoreWrapper, MemoryStore, StalePolicy};
///
/// let store = CachingStoreWrapper::builder(MemoryStore::new())
///     .mode(CacheMode::For(Duration::from_secs(5)))
///     .stale_policy(StalePolicy::Refresh { max_age: Some(Duration::from_secs(3600)) })
///     .refill(true)
///     .build()?;
/// # Ok::<(), flagstore_core::StoreError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct CachingStoreBuilder {
    core: Arc<dyn FeatureStoreCore>,
    mode: CacheMode,
    stale_policy: StalePolicy,
    capacity: Option<u64>,
    missing_capacity: u64,
    poll_interval: Duration,
    refill: bool,
    detect_data_loss: Option<Duration>,
    changes: Option<SharedChangeSource>,
}

/// For how long "not initialized" counts where nothing else has an end.
const DEFAULT_TIME_TO_LIVE: Duration = Duration::from_secs(15);

impl CachingStoreWrapper {
    /// Configures a wrapper of this store.
    pub fn builder(core: impl FeatureStoreCore) -> CachingStoreBuilder {
        CachingStoreBuilder {
            core: Arc::new(core),
            mode: CacheMode::For(DEFAULT_TIME_TO_LIVE),
            stale_policy: StalePolicy::default(),
            capacity: None,
            missing_capacity: 10_000,
            poll_interval: Duration::from_millis(500),
            refill: false,
            detect_data_loss: None,
            changes: None,
        }
    }
}

impl CachingStoreBuilder {
    /// Sets whether to cache, and for how long. Defaults to [`CacheMode::For`] 15 seconds.
    pub fn mode(self, mode: CacheMode) -> Self {
        Self { mode, ..self }
    }

    /// Sets what happens to an entry when its time is over. It means nothing to the other modes. Defaults to
    /// [`StalePolicy::Evict`].
    pub fn stale_policy(self, stale_policy: StalePolicy) -> Self {
        Self { stale_policy, ..self }
    }

    /// Sets how many items are cached at most; those that are used least make room. A read then costs what one
    /// of moka costs, which is several times as much, and [`all`](crate::FeatureStore::all) is not limited.
    /// Defaults to no limit: the database has only so many items.
    pub fn capacity(self, capacity: u64) -> Self {
        Self { capacity: Some(capacity), ..self }
    }

    /// Sets for how many keys without an item it is cached that there is none. They never push out items.
    /// Defaults to 10 000.
    pub fn missing_capacity(self, missing_capacity: u64) -> Self {
        Self { missing_capacity, ..self }
    }

    /// Sets how often an unavailable database is asked whether it is back. Defaults to 500 milliseconds.
    pub fn poll_interval(self, poll_interval: Duration) -> Self {
        Self { poll_interval, ..self }
    }

    /// Sets whether the data of the last init, with all updates since, is kept to bring the database up to
    /// date after an outage. That includes what the database has not taken, which reads do not show until it
    /// has. [`CacheMode::Forever`] does so in any case. The data is shared with the cache and costs little more
    /// than its keys. Defaults to no: after an outage the status is stale, and whoever feeds
    /// the store has to send everything again.
    pub fn refill(self, refill: bool) -> Self {
        Self { refill, ..self }
    }

    /// Sets how often to look whether a database that was initialized still is: a Redis that was restarted
    /// without its data or a file that was deleted answers as if nothing was wrong. It costs a thread, and a
    /// call of `is_initialized` each time. Lost data shows as an outage, and is filled in again where the data
    /// is kept. Defaults to never.
    pub fn detect_data_loss(self, interval: Duration) -> Self {
        Self { detect_data_loss: Some(interval), ..self }
    }

    /// Sets where to learn of what others write, so that it is seen soon and not only when an entry is too old.
    /// Defaults to nowhere.
    pub fn changes(self, changes: impl ChangeSource) -> Self {
        Self { changes: Some(SharedChangeSource::new(changes)), ..self }
    }

    /// Makes the wrapper. The database is not asked for anything.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) names a duration or capacity of zero.
    pub fn build(self) -> Result<CachingStoreWrapper, StoreError> {
        let Self {
            core,
            mode,
            stale_policy,
            capacity,
            missing_capacity,
            poll_interval,
            refill,
            detect_data_loss,
            changes,
        } = self;
        let time_to_live = match mode {
            CacheMode::For(time_to_live) => Some(time_to_live),
            CacheMode::Off | CacheMode::Forever => None,
        };
        let max_age = match stale_policy {
            StalePolicy::Evict => None,
            StalePolicy::Refresh { max_age } | StalePolicy::RefreshAsync { max_age } => max_age,
        };
        let is_wrong = |duration: Option<Duration>| duration.is_some_and(|it| it.is_zero() || it > LONGEST);
        let is_too_short = max_age.zip(time_to_live).is_some_and(|(max_age, time)| max_age < time);
        let is_off = mode == CacheMode::Off;
        let refused = [
            ("mode", is_wrong(time_to_live), OUT_OF_RANGE),
            ("stale_policy", is_wrong(max_age), OUT_OF_RANGE),
            ("poll_interval", is_wrong(Some(poll_interval)), OUT_OF_RANGE),
            ("detect_data_loss", is_wrong(detect_data_loss), OUT_OF_RANGE),
            ("capacity", capacity == Some(0), NO_ROOM),
            ("missing_capacity", missing_capacity == 0, NO_ROOM),
            ("stale_policy", is_off && stale_policy != StalePolicy::Evict, NOTHING_CACHED),
            ("capacity", is_off && capacity.is_some(), NOTHING_CACHED),
            ("refill", is_off && refill, NOTHING_CACHED),
            ("changes", is_off && changes.is_some(), NOTHING_CACHED),
            ("stale_policy", is_too_short, NOTHING_STALE),
        ];
        if let Some((field, _, reason)) = refused.into_iter().find(|(_, is_refused, _)| *is_refused) {
            return Err(StoreError::config("cache", field, reason));
        }
        let counters = Arc::new(Counters::default());
        let is_lasting = mode == CacheMode::Forever;
        let keeps_everything = refill || is_lasting;
        let rules = Rules { time_to_live, is_lasting, keeps_everything, capacity, missing_capacity };
        let table = Arc::new(Table::new(rules, !is_off, &counters));
        let known = Arc::clone(&table);
        let core = WatchedStore::new(core, poll_interval, move |core| recover(&known, core));
        let shared = Arc::new_cyclic(|this: &Weak<Shared>| Shared {
            loads: Loads::new(&core, &table, &counters),
            core,
            table,
            counters,
            mode,
            stale_policy,
            not_initialized_for: time_to_live.unwrap_or(DEFAULT_TIME_TO_LIVE),
            workers: Workers::new(this),
            loss_watch: OnceLock::new(),
            changes,
            change_watch: OnceLock::new(),
        });
        // Both are set once, here.
        if let Some(interval) = detect_data_loss {
            shared.loss_watch.get_or_init(|| Shared::loss_watch(&shared, interval)).wake();
        }
        if let Some(changes) = &shared.changes {
            let this = Arc::downgrade(&shared);
            let on_change =
                move |change| this.upgrade().into_iter().for_each(|shared| shared.has_changed(&change));
            shared.change_watch.get_or_init(|| changes.watch(Box::new(on_change)));
        }
        Ok(CachingStoreWrapper(shared))
    }
}

const OUT_OF_RANGE: &str = "must be longer than zero, and a year at most";
const NO_ROOM: &str = "must be at least 1";
const NOTHING_CACHED: &str = "means nothing where the mode is off: nothing is cached";
const NOTHING_STALE: &str =
    "max_age must not be shorter than the time to live, before which nothing is stale";

/// Keeps sums of times in range.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);
