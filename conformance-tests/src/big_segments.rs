//! What the Big Segments cases are about: a store, and ours or another wrapper above it.

use std::any::Any;
use std::fmt::{Debug, Display};
use std::sync::Arc;
use std::time::Duration;

use flagstore_core::{
    BigSegmentStore, BigSegmentStoreStatus, BigSegmentStoreWrapper, BigSegmentUpdates,
    BigSegmentsQueryResult, StoreError, UnixMillis,
};

/// How the Big Segments side of a backend plugs into the suite: a part of a [`Fixture`](crate::Fixture).
///
/// As there, `None` means that this fixture cannot do it at all, and a method that breaks panics.
pub trait BigSegmentsFixture {
    /// Opens a new handle on the database, as [`Fixture::open`](crate::Fixture::open) does.
    ///
    /// # Errors
    ///
    /// Whatever the store's builder returns. It fails the case.
    fn open(&self, prefix: &str) -> Result<Arc<dyn BigSegmentUpdates>, StoreError>;

    /// Stores the two lists of a context as the Relay Proxy does, and not by means of the store. An empty one is
    /// not stored.
    fn put_membership(&self, prefix: &str, context_hash: &str, included: &[&str], excluded: &[&str]);

    /// Stores the time of the last synchronisation, in the same way.
    fn put_metadata(&self, prefix: &str, synchronized_on: UnixMillis);

    /// Opens a store whose database cannot be reached.
    fn open_unreachable(&self) -> Option<Arc<dyn BigSegmentUpdates>> {
        None
    }

    /// Stores something for a context that is not two lists. `None` if that cannot be done.
    fn corrupt(&self, _prefix: &str, _context_hash: &str) -> Option<()> {
        None
    }

    /// Stores something that is not a time where that of the last synchronisation is. `None` if that cannot be done.
    fn corrupt_metadata(&self, _prefix: &str) -> Option<()> {
        None
    }

    /// Puts the wrapper that the cases of cache and status are about above a store. Ours, unless it is
    /// overridden.
    ///
    /// # Errors
    ///
    /// Whatever the wrapper's builder returns. It fails the case.
    fn wrap(
        &self,
        store: Arc<dyn BigSegmentStore>,
        settings: &BigSegmentsSettings,
    ) -> Result<Arc<dyn BigSegments>, StoreError> {
        Ok(Arc::new(settings.wrap(store)?))
    }
}

/// What a case listens with.
pub type BigSegmentsListener = Box<dyn Fn(BigSegmentStoreStatus) + Send + Sync>;

/// The methods of [`BigSegmentStoreWrapper`].
pub trait BigSegments: Debug + Display + Send + Sync {
    /// What is known of the context of this key.
    fn get_membership(&self, context_key: &str) -> BigSegmentsQueryResult;
    /// The database's status.
    fn status(&self) -> BigSegmentStoreStatus;
    /// Calls the listener with each change of the status until the guard is dropped.
    fn listen(&self, listener: BigSegmentsListener) -> Box<dyn Any + Send>;
    /// Forgets all contexts.
    fn clear_cache(&self);
    /// Turns the polling off or on.
    fn set_polling_active(&self, active: bool);
    /// Ends everything.
    fn stop(&self);
}

impl BigSegments for BigSegmentStoreWrapper {
    fn get_membership(&self, context_key: &str) -> BigSegmentsQueryResult {
        self.get_membership(context_key)
    }

    fn status(&self) -> BigSegmentStoreStatus {
        self.status_provider().status()
    }

    fn listen(&self, listener: BigSegmentsListener) -> Box<dyn Any + Send> {
        Box::new(self.status_provider().add_listener(listener))
    }

    fn clear_cache(&self) {
        self.clear_cache();
    }

    fn set_polling_active(&self, active: bool) {
        self.set_polling_active(active);
    }

    fn stop(&self) {
        self.stop();
    }
}

/// How a case wants its wrapper: the settings of
/// [`BigSegmentStoreBuilder`](flagstore_core::BigSegmentStoreBuilder).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BigSegmentsSettings {
    /// How many contexts are cached at most.
    pub context_cache_size: u64,
    /// For how long what is known of a context counts.
    pub context_cache_time: Duration,
    /// How often the database is asked for its status.
    pub status_poll_interval: Duration,
    /// After how long without an update the data is stale.
    pub stale_after: Duration,
}

impl BigSegmentsSettings {
    /// For so long that nothing happens by itself during a case.
    pub(crate) fn long() -> Self {
        let hour = Duration::from_secs(3600);
        Self {
            context_cache_size: 1_000,
            context_cache_time: hour,
            status_poll_interval: hour,
            stale_after: 2 * hour,
        }
    }

    /// Our own wrapper with these settings.
    ///
    /// # Errors
    ///
    /// Those of [`build`](flagstore_core::BigSegmentStoreBuilder::build).
    pub fn wrap(&self, store: Arc<dyn BigSegmentStore>) -> Result<BigSegmentStoreWrapper, StoreError> {
        BigSegmentStoreWrapper::builder(store)
            .context_cache_size(self.context_cache_size)
            .context_cache_time(self.context_cache_time)
            .status_poll_interval(self.status_poll_interval)
            .stale_after(self.stale_after)
            .build()
    }
}
