use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::status::{DataSourceState, DataSourceStatus};
use super::status_board::StatusBoard;
use crate::Subscription;

/// What is known of how a data source does, for whoever wants to watch it.
///
/// A clone watches the same source, and may outlive it.
#[derive(Debug, Clone)]
pub struct DataSourceStatusProvider(Arc<StatusBoard>);

impl DataSourceStatusProvider {
    pub(super) fn new(board: &Arc<StatusBoard>) -> Self {
        Self(Arc::clone(board))
    }

    /// The status now.
    #[must_use]
    pub fn status(&self) -> DataSourceStatus {
        self.0.status()
    }

    /// When the source was last heard of: any event of a stream or its heartbeat, any answer to a poll. `None`
    /// before the first.
    ///
    /// A source that is [`VALID`](DataSourceState::Valid) and has not been heard of for longer than its
    /// heartbeats or polls are apart is about to be found dead.
    #[must_use]
    pub fn last_event(&self) -> Option<SystemTime> {
        self.0.last_event()
    }

    /// Waits until the source is in this state, for `timeout` at most. Whether it came to that. That the source
    /// is [`OFF`](DataSourceState::Off) ends the wait too, since nothing else can follow.
    ///
    /// It blocks its thread, so an async program calls it where that is allowed.
    #[must_use]
    pub fn wait_for(&self, state: DataSourceState, timeout: Duration) -> bool {
        self.0.wait_for(state, timeout)
    }

    /// Calls the listener with every change of the status, and with every error, until the [`Subscription`] is
    /// dropped: in order, on a thread of its own that lives only while there is something to deliver. So it may
    /// take its time, and call whatever it likes.
    pub fn add_listener(&self, listener: impl Fn(DataSourceStatus) + Send + Sync + 'static) -> Subscription {
        self.0.listeners().add(listener)
    }

    /// Stops calling the listener: the same as dropping it.
    pub fn remove_listener(&self, subscription: Subscription) {
        drop(subscription);
    }
}
