use std::pin::pin;

use flagstore_core::{
    AllData, DataSourceErrorInfo, DataSourceState, DataSourceUpdateSink, Delivery, Item, Kind,
};
use tokio::sync::Notify;

use super::clock::Clock;

/// What a source feeds, and what it is asked for from there.
#[derive(Debug)]
pub(crate) struct Feed {
    sink: DataSourceUpdateSink,
    pub(crate) clock: Clock,
    /// Holds one request until somebody takes it.
    refresh: Notify,
}

impl Feed {
    pub(crate) fn new(sink: DataSourceUpdateSink, clock: Clock) -> Self {
        Self { sink, clock, refresh: Notify::new() }
    }

    /// Brings the whole data. What is not refused makes the source valid.
    pub(crate) fn init(&self, all_data: &AllData) -> Delivery {
        let delivery = self.sink.init(all_data);
        if delivery != Delivery::Failed {
            self.works();
        }
        delivery
    }

    pub(crate) fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Delivery {
        self.sink.upsert(kind, key, item)
    }

    pub(crate) fn delete(&self, kind: &Kind, key: &str, version: u64) -> Delivery {
        self.sink.delete(kind, key, version)
    }

    /// The source was heard of.
    pub(crate) fn event_received(&self) {
        self.sink.event_received();
    }

    pub(crate) fn works(&self) {
        self.sink.update_status(DataSourceState::Valid, None);
    }

    pub(crate) fn fails(&self, error: DataSourceErrorInfo) {
        self.sink.update_status(DataSourceState::Interrupted, Some(error));
    }

    pub(crate) fn is_initialized(&self) -> bool {
        self.sink.initialized()
    }

    /// Asks for the whole data again.
    pub(crate) fn ask_for_refresh(&self) {
        self.refresh.notify_one();
    }

    /// Waits until the whole data is asked for again.
    pub(crate) async fn refresh_asked(&self) {
        self.refresh.notified().await;
    }

    /// Whether the whole data was asked for again. It counts as sent then.
    pub(crate) fn take_refresh(&self) -> bool {
        pin!(self.refresh.notified()).enable()
    }
}
