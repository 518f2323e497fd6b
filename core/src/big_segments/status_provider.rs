use std::sync::Arc;

use super::monitor::Monitor;
use super::status::BigSegmentStoreStatus;
use crate::Subscription;

/// What a [`BigSegmentStoreWrapper`](crate::BigSegmentStoreWrapper) knows of its database, for whoever wants to
/// watch it.
///
/// A clone watches the same database. It may outlive the wrapper, whose end is then the end of the database
/// for it: unavailable.
#[derive(Debug, Clone)]
pub struct BigSegmentStoreStatusProvider(Arc<Monitor>);

impl BigSegmentStoreStatusProvider {
    pub(super) fn new(monitor: &Arc<Monitor>) -> Self {
        Self(Arc::clone(monitor))
    }

    /// For a program that has no Big Segment store: unavailable, for ever, so nobody who listens is told of anything.
    #[must_use]
    pub fn not_configured() -> Self {
        Self(Arc::new(Monitor::of_nothing()))
    }

    /// The status now. Before the first poll is back, waits for it.
    #[must_use]
    pub fn status(&self) -> BigSegmentStoreStatus {
        self.0.status()
    }

    /// Calls the listener with every change of the status, until the [`Subscription`] is dropped. The first poll
    /// is one if it finds the database stale or unavailable.
    ///
    /// Each listener is called in the order of the changes, on a thread of its own, as those of
    /// [`DataStoreStatusProvider::add_listener`](crate::DataStoreStatusProvider::add_listener) are.
    pub fn add_listener(
        &self,
        listener: impl Fn(BigSegmentStoreStatus) + Send + Sync + 'static,
    ) -> Subscription {
        self.0.listeners().add(listener)
    }

    /// Stops calling the listener: the same as dropping it.
    pub fn remove_listener(&self, subscription: Subscription) {
        drop(subscription);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BigSegmentStoreStatus;

    /// Where nothing is configured nothing is available, and nothing is waited for.
    #[test]
    fn without_a_store_the_status_is_unavailable() {
        let provider = BigSegmentStoreStatusProvider::not_configured();
        assert_eq!(provider.status(), BigSegmentStoreStatus { available: false, stale: false });
        provider.remove_listener(provider.add_listener(|status| panic!("told of {status:?}")));
    }
}
