//! Whether the database can be used, and who wants to know.

use std::sync::Arc;

use crate::listeners::{Observable, Subscription};

/// Whether the database can be used, and whether it may have missed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DataStoreStatus {
    /// Whether the database answers.
    pub available: bool,
    /// Whether it may hold old data after an outage, and whoever feeds it should send everything again.
    pub stale: bool,
}

impl DataStoreStatus {
    /// What a store begins with.
    pub(crate) const HEALTHY: Self = Self { available: true, stale: false };
    pub(crate) const UNAVAILABLE: Self = Self { available: false, stale: false };
}

/// What a store knows of its database's status, for whoever wants to watch it.
///
/// A clone watches the same store, and may outlive it.
#[derive(Debug, Clone)]
pub struct DataStoreStatusProvider {
    status: Arc<Observable<DataStoreStatus>>,
    is_monitoring_enabled: bool,
}

impl DataStoreStatusProvider {
    /// The status now.
    #[must_use]
    pub fn status(&self) -> DataStoreStatus {
        self.status.get()
    }

    /// Whether the status follows the database. If not, it is always the first one: available.
    #[must_use]
    pub fn is_monitoring_enabled(&self) -> bool {
        self.is_monitoring_enabled
    }

    /// Calls the listener with every change of the status, until the [`Subscription`] is dropped.
    ///
    /// Each listener is called in the order of the changes, on a thread of its own that lives only while it
    /// has something to deliver. So a listener may take its time, call back into the store, and even panic:
    /// no store call waits for it, and no other listener.
    pub fn add_listener(&self, listener: impl Fn(DataStoreStatus) + Send + Sync + 'static) -> Subscription {
        self.status.listeners().add(listener)
    }

    /// Stops calling the listener: the same as dropping it.
    pub fn remove_listener(&self, subscription: Subscription) {
        drop(subscription);
    }
}

/// Where a store reports the status of its database. A clone reports to the same listeners.
///
/// [`CachingStoreWrapper`](crate::CachingStoreWrapper) has one of its own. Whoever writes another
/// [`FeatureStore`](crate::FeatureStore) makes one, and hands out its [provider](Self::status_provider).
#[derive(Debug, Clone)]
pub struct DataStoreUpdateSink(Arc<Observable<DataStoreStatus>>);

impl DataStoreUpdateSink {
    /// One that begins with the status of a healthy store.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Observable::new(DataStoreStatus::HEALTHY)))
    }

    /// The status that was reported last.
    #[must_use]
    pub fn status(&self) -> DataStoreStatus {
        self.0.get()
    }

    /// Reports a status. Listeners hear of it if it is a change.
    pub fn update_status(&self, status: DataStoreStatus) {
        self.0.set(status);
    }

    /// What applications watch.
    #[must_use]
    pub fn status_provider(&self) -> DataStoreStatusProvider {
        DataStoreStatusProvider { status: Arc::clone(&self.0), is_monitoring_enabled: true }
    }

    /// How many listeners there are.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.0.listeners().count()
    }
}

impl Default for DataStoreUpdateSink {
    fn default() -> Self {
        Self::new()
    }
}
