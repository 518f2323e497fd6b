use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::{Mutex, RwLock};

use super::monitor::Monitor;
use crate::background::{Background, Next};
use crate::{
    BigSegmentMembership, BigSegmentStore, BigSegmentStoreStatus, BigSegmentStoreStatusProvider,
    BigSegmentsStatus, context_hash,
};

/// What evaluations ask for Big Segments: a cache above a [`BigSegmentStore`], which also watches how up to date
/// the data is.
///
/// - What the store says of a context is cached, also that it knows nothing of it; an error is not.
/// - Any number of threads that ask for one context at the same time make one query, and share its error.
/// - A thread of its own polls the store's metadata, and from that comes the [status](Self::status_provider).
///
/// A clone is another handle to the same cache.
///
/// ```
/// use flagstore_core::{BigSegmentStoreWrapper, BigSegmentsStatus, MemoryBigSegmentStore};
///
/// let big_segments = BigSegmentStoreWrapper::builder(MemoryBigSegmentStore::new()).build()?;
/// let result = big_segments.get_membership("user-key");
/// assert_eq!(result.membership.check_membership("beta-testers.g1"), None);
/// assert_eq!(result.status, BigSegmentsStatus::Stale, "nobody has ever fed this store");
/// # Ok::<(), flagstore_core::StoreError>(())
/// ```
#[derive(Clone)]
pub struct BigSegmentStoreWrapper(Arc<Shared>);

/// What is known of a context, and how far that can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BigSegmentsQueryResult {
    /// The segments that include or exclude the context. Empty if nothing is known.
    pub membership: BigSegmentMembership,
    /// How far that can be trusted. Never [`NotConfigured`](BigSegmentsStatus::NotConfigured): there is a store.
    pub status: BigSegmentsStatus,
}

/// As the builder's setters are named.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) context_cache_size: u64,
    pub(super) context_cache_time: Duration,
    pub(super) status_poll_interval: Duration,
    pub(super) stale_after: Duration,
}

type Memberships = Cache<String, BigSegmentMembership>;

struct Shared {
    settings: Settings,
    monitor: Arc<Monitor>,
    /// `None` while the polling is off.
    poller: Mutex<Option<Background>>,
    /// By context key. Clearing it puts another in its place: moka's own way would leave in the cache what a
    /// query brings that began before.
    memberships: RwLock<Memberships>,
    /// The store's own words, which it has no more once it is stopped.
    name: String,
}

impl BigSegmentStoreWrapper {
    pub(super) fn new(store: Arc<dyn BigSegmentStore>, settings: Settings) -> Self {
        let name = store.to_string();
        let monitor = Arc::new(Monitor::new(store, settings.stale_after));
        let memberships = RwLock::new(settings.cache());
        let poller = Mutex::default();
        let this = Self(Arc::new(Shared { settings, monitor, poller, memberships, name }));
        this.set_polling_active(true);
        this
    }

    /// What is known of the context of this key (not its hash).
    ///
    /// Asks the store if the cache does not know, and waits for it, within the store's own deadline. Never
    /// fails: the status says that the store has.
    #[must_use]
    pub fn get_membership(&self, context_key: &str) -> BigSegmentsQueryResult {
        let cached = self.0.memberships.read().get(context_key);
        let Some(membership) = cached.or_else(|| self.0.load(context_key)) else {
            let membership = BigSegmentMembership::default();
            return BigSegmentsQueryResult { membership, status: BigSegmentsStatus::StoreError };
        };
        let status = match self.0.monitor.status() {
            BigSegmentStoreStatus { available: false, .. } => BigSegmentsStatus::StoreError,
            BigSegmentStoreStatus { stale: true, .. } => BigSegmentsStatus::Stale,
            _ => BigSegmentsStatus::Healthy,
        };
        BigSegmentsQueryResult { membership, status }
    }

    /// What is known of the database, for whoever wants to watch it.
    #[must_use]
    pub fn status_provider(&self) -> BigSegmentStoreStatusProvider {
        BigSegmentStoreStatusProvider::new(&self.0.monitor)
    }

    /// Forgets what is known of all contexts, also what queries will bring that are under way.
    pub fn clear_cache(&self) {
        let old = std::mem::replace(&mut *self.0.memberships.write(), self.0.settings.cache());
        drop(old);
    }

    /// Turns the polling of the status off or on again. While it is off, the status stays as it is. On at first.
    pub fn set_polling_active(&self, active: bool) {
        let mut poller = self.0.poller.lock();
        if !self.0.monitor.set_watched(active) {
            *poller = None;
        } else if poller.is_none() {
            poller.insert(poll(&self.0.monitor, self.0.settings.status_poll_interval)).wake();
        }
    }

    /// Ends the polling, forgets everything, [stops](BigSegmentStore::stop) the store and lets go of it: its
    /// connections end if nobody else holds it. After that the status is unavailable, and every query has
    /// [`StoreError`](BigSegmentsStatus::StoreError). A second time it does nothing.
    pub fn stop(&self) {
        let store = self.0.monitor.end();
        self.set_polling_active(false);
        self.clear_cache();
        if let Some(store) = store {
            store.stop();
        }
    }
}

/// Polls the status at once, if that has not been done yet, and then at this interval.
fn poll(monitor: &Arc<Monitor>, interval: Duration) -> Background {
    let (monitor, is_first) = (Arc::downgrade(monitor), AtomicBool::new(true));
    Background::new("flagstore-big-segments", move || {
        let Some(monitor) = monitor.upgrade() else { return Next::Rest };
        if is_first.swap(false, Ordering::Relaxed) {
            monitor.status();
        } else {
            monitor.poll();
        }
        Next::After(interval)
    })
}

impl Shared {
    /// Asks the store, or waits for somebody who does.
    fn load(&self, context_key: &str) -> Option<BigSegmentMembership> {
        let memberships = self.memberships.read().clone();
        let asked = Cell::new(false);
        let loaded = memberships.try_get_with_by_ref(context_key, || {
            asked.set(true);
            let membership = self
                .monitor
                .query("get_membership", |store| store.get_membership(&context_hash(context_key)))?;
            Ok::<_, crate::StoreError>(membership.unwrap_or_default())
        });
        if asked.get() {
            // So that the one which makes room is exactly the one that was not asked for the longest: moka
            // would do it later, for several at once.
            memberships.run_pending_tasks();
        }
        loaded.ok()
    }
}

impl Settings {
    fn cache(&self) -> Memberships {
        Cache::builder()
            .eviction_policy(EvictionPolicy::lru())
            .max_capacity(self.context_cache_size)
            .time_to_live(self.context_cache_time)
            .build()
    }
}

/// A provider may outlive the wrapper, and the store must not.
impl Drop for Shared {
    fn drop(&mut self) {
        self.monitor.end();
    }
}

/// Such as `BigSegments(1000 contexts, 5s, Redis(localhost:6379/0, launchdarkly))`.
impl fmt::Display for BigSegmentStoreWrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { settings, name, .. } = &*self.0;
        let Settings { context_cache_size, context_cache_time, .. } = settings;
        write!(f, "BigSegments({context_cache_size} contexts, {context_cache_time:?}, {name})")
    }
}

impl fmt::Debug for BigSegmentStoreWrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
