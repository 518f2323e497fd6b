use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::builder::{CacheMode, StalePolicy};
use super::cache::{Before, Cache, Found};
use super::recovery::Monitor;
use super::refresh::Refresher;
use crate::{
    AllData, Change, ChangeSource, ChangeWatch, DataStoreUpdateSink, ErrorKind, FeatureStoreCore, Item, Kind,
    LiveItems,
};
use crate::{StoreError, Upsert};

/// What all handles and threads of one wrapper share. Threads hold it weakly.
pub(super) struct Shared {
    pub(super) this: Weak<Self>,
    pub(super) core: Arc<dyn FeatureStoreCore>,
    pub(super) mode: CacheMode,
    pub(super) stale_policy: StalePolicy,
    pub(super) cache: Cache,
    pub(super) is_caching: AtomicBool,
    pub(super) initialized: Initialized,
    pub(super) not_initialized_for: Duration,
    /// How many inits have ended. An init holds it alone and updates share it, from the database to the cache:
    /// of two that overlap nobody could say which came last, and the cache might take them in another order.
    pub(super) inits: RwLock<u64>,
    pub(super) status: DataStoreUpdateSink,
    pub(super) monitor: Monitor,
    pub(super) refresher: Refresher,
    pub(super) watch: OnceLock<ChangeWatch>,
}

/// Yes is remembered, no for a while.
#[derive(Default)]
pub(super) struct Initialized {
    yes: AtomicBool,
    no_until: Mutex<Option<Instant>>,
}

impl Initialized {
    pub(super) fn is_set(&self) -> bool {
        self.yes.load(Ordering::Acquire)
    }

    pub(super) fn set(&self) {
        self.yes.store(true, Ordering::Release);
    }

    pub(super) fn unset(&self) {
        self.yes.store(false, Ordering::Release);
    }

    fn is_known_not_to_be(&self) -> bool {
        self.no_until.lock().is_some_and(|until| Instant::now() < until)
    }

    fn is_not_for(&self, duration: Duration) {
        *self.no_until.lock() = Some(Instant::now() + duration);
    }
}

impl Shared {
    /// Forgets from now on what others change.
    pub(super) fn watch(&self, changes: &dyn ChangeSource) {
        let this = Weak::clone(&self.this);
        let watch = changes.watch(Box::new(move |change| {
            if let Some(shared) = this.upgrade() {
                shared.forget(&change);
            }
        }));
        // Called once, by the builder, so there is no other watch to replace.
        let _ = self.watch.set(watch);
    }

    fn forget(&self, change: &Change) {
        match change {
            Change::Kind(kind) => self.cache.invalidate_kind(kind),
            Change::Anything => self.cache.invalidate_all(),
        }
    }

    pub(super) fn is_caching(&self) -> bool {
        self.is_caching.load(Ordering::Acquire)
    }

    /// What is found in the cache and fresh.
    pub(super) fn cached<T>(&self, find: impl FnOnce(&Cache) -> Found<T>) -> Option<T> {
        let found = if self.is_caching() { find(&self.cache) } else { Found::Unknown };
        match found {
            Found::Fresh(value) => {
                self.cache.counters.hit();
                Some(value)
            }
            Found::Stale(..) | Found::Unknown => None,
        }
    }

    /// What was found, if it still counts, or else what `load` brings.
    pub(super) fn answer<T>(
        &self,
        found: Found<T>,
        load: impl FnOnce() -> Result<T, StoreError>,
        refresh: impl FnOnce(),
    ) -> Result<T, StoreError> {
        let (value, late) = match found {
            Found::Fresh(value) => {
                self.cache.counters.hit();
                return Ok(value);
            }
            Found::Unknown => {
                self.cache.counters.miss();
                return load();
            }
            Found::Stale(value, late) => (value, late),
        };
        match self.stale_policy {
            StalePolicy::RefreshAsync { max_age } if self.is_within(max_age, late) => {
                self.cache.counters.hit();
                refresh();
                Ok(value)
            }
            StalePolicy::Refresh { max_age } if self.is_within(max_age, late) => {
                // Whether it is back is for the monitor to find out, and not for those who want a flag.
                if !self.status.status().available {
                    self.cache.counters.hit();
                    return Ok(value);
                }
                self.cache.counters.miss();
                load().or(Ok(value))
            }
            _ => {
                self.cache.counters.miss();
                load()
            }
        }
    }

    fn is_within(&self, max_age: Option<Duration>, late: Duration) -> bool {
        max_age.is_none_or(|max_age| match self.mode {
            CacheMode::For(time_to_live) => time_to_live + late <= max_age,
            CacheMode::Off | CacheMode::Forever => true,
        })
    }

    pub(super) fn load(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        let ask = || self.observed(self.core.get(kind, key));
        if self.is_caching() {
            return self.cache.load(kind, key, ask);
        }
        Ok(ask()?.filter(|item| !item.is_deleted()))
    }

    pub(super) fn load_all(&self, kind: &Kind) -> Result<LiveItems, StoreError> {
        let ask = || {
            let items = self.observed(self.core.get_all(kind))?;
            for error in &items.unreadable {
                tracing::warn!("left out: {error}");
            }
            Ok(items)
        };
        if self.is_caching() {
            return self.cache.load_all(kind, ask);
        }
        let live = ask()?.by_key.into_iter().filter(|(_, item)| !item.is_deleted());
        Ok(live.collect())
    }

    /// The result of a call, after the status has learned of it.
    pub(super) fn observed<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result
            && matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
        {
            self.report_outage();
        }
        result
    }

    pub(super) fn initialize(&self, all_data: &AllData) -> Result<(), StoreError> {
        let mut inits = self.inits.write();
        let before = self.cache.before_a_write();
        let result = self.core.init(all_data);
        let is_taken = self.put_init(all_data, &result, before);
        if !is_taken {
            self.cache.put_unwritten_init(all_data);
        }
        *inits += 1;
        drop(inits);
        if is_taken || self.outlasts_the_database() {
            self.initialized.set();
        }
        // Last, so that a recovery either knows of what has failed, or begins after it.
        self.observed(result)
    }

    pub(super) fn write(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        let inits = self.inits.read();
        let before = self.cache.before_a_write();
        let result = self.core.upsert(kind, key, item);
        match &result {
            Ok(Upsert::Applied) => self.cache.put_written(kind, key, item, before),
            Ok(Upsert::Stale(current)) => self.cache.put_written(kind, key, current, before),
            Err(_) => self.cache.put_unwritten(kind, key, item),
        }
        drop(inits);
        self.observed(result)
    }

    /// Caches what the database has taken of an init. False if that is nothing.
    pub(super) fn put_init(
        &self,
        all_data: &AllData,
        result: &Result<(), StoreError>,
        before: Before,
    ) -> bool {
        let too_large = match result {
            Ok(()) => &[],
            Err(error) if error.kind() == ErrorKind::TooLarge => error.items(),
            Err(_) => return false,
        };
        // All others were stored. Of these the database has what it had before.
        let unknown = if self.outlasts_the_database() { &[] } else { too_large };
        self.cache.put_init(all_data, unknown, before);
        true
    }

    /// Whether the cache goes on with what the database has not taken.
    fn outlasts_the_database(&self) -> bool {
        self.mode == CacheMode::Forever && self.is_caching()
    }

    pub(super) fn is_initialized(&self) -> bool {
        if self.initialized.is_set() {
            return true;
        }
        if self.is_caching() && self.initialized.is_known_not_to_be() {
            return false;
        }
        match self.observed(self.core.is_initialized()) {
            Ok(true) => {
                self.initialized.set();
                true
            }
            Ok(false) => {
                self.initialized.is_not_for(self.not_initialized_for);
                false
            }
            Err(error) => {
                tracing::debug!("taken as not initialized: {error}");
                false
            }
        }
    }
}
