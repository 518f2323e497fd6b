use std::sync::Arc;

use super::monitor::Monitor;
use super::status::BigSegmentStoreStatus;

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

    /// The status now. Before the first poll is back, waits for it.
    #[must_use]
    pub fn status(&self) -> BigSegmentStoreStatus {
        self.0.status()
    }
}
