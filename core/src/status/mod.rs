//! Whether the database can be used, and who wants to know.

mod listeners;

use std::sync::Arc;

use parking_lot::Mutex;

use listeners::Listeners;
pub use listeners::StatusListener;

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
    sink: DataStoreUpdateSink,
    is_monitoring_enabled: bool,
}

impl DataStoreStatusProvider {
    pub(crate) fn new(sink: DataStoreUpdateSink, is_monitoring_enabled: bool) -> Self {
        Self { sink, is_monitoring_enabled }
    }

    /// The status now.
    #[must_use]
    pub fn status(&self) -> DataStoreStatus {
        self.sink.status()
    }

    /// Whether the status follows the database. If not, it is always the first one: available.
    #[must_use]
    pub fn is_monitoring_enabled(&self) -> bool {
        self.is_monitoring_enabled
    }

    /// Calls the listener with every change of the status, until the [`StatusListener`] is dropped.
    ///
    /// Each listener is called in the order of the changes, on a thread of its own that lives only while it
    /// has something to deliver. So a listener may take its time, call back into the store, and even panic:
    /// no store call waits for it, and no other listener.
    pub fn add_listener(&self, listener: impl Fn(DataStoreStatus) + Send + Sync + 'static) -> StatusListener {
        self.sink.0.listeners.add(listener)
    }

    /// Stops calling the listener: the same as dropping it.
    pub fn remove_listener(&self, listener: StatusListener) {
        drop(listener);
    }
}

/// Where a store reports the status of its database.
#[derive(Debug, Clone)]
pub struct DataStoreUpdateSink(Arc<Sink>);

#[derive(Debug)]
struct Sink {
    // Held while the listeners are told, which only queues the change, so that all see the same order.
    status: Mutex<DataStoreStatus>,
    listeners: Listeners,
}

impl DataStoreUpdateSink {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Sink { status: Mutex::new(DataStoreStatus::HEALTHY), listeners: Listeners::default() }))
    }

    /// The status that was reported last.
    #[must_use]
    pub fn status(&self) -> DataStoreStatus {
        *self.0.status.lock()
    }

    /// Reports a status. Listeners hear of it if it is a change.
    pub fn update_status(&self, status: DataStoreStatus) {
        let mut current = self.0.status.lock();
        if *current != status {
            *current = status;
            self.0.listeners.tell(status);
        }
    }

    /// How many listeners there are.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.0.listeners.count()
    }
}
