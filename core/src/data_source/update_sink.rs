use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::error_info::{DataSourceErrorInfo, DataSourceErrorKind};
use super::status::DataSourceState;
use super::status_board::StatusBoard;
use super::status_provider::DataSourceStatusProvider;
use crate::background::{Background, Next};
use crate::{
    AllData, DataStoreStatus, DataStoreStatusProvider, ErrorKind, FeatureStore, FlagTracker, Item, Kind,
    StoreError, Subscription,
};

/// Where a data source brings what it has: it goes into a [`FeatureStore`], and the source's status is kept.
///
/// A clone leads to the same store. All methods may be called from any thread, inside and outside of an async
/// runtime, and wait for nothing but the store, which has a deadline of its own.
#[derive(Clone)]
pub struct DataSourceUpdateSink(Arc<Shared>);

/// What became of what a source brought, and so what the source does next.
// Exhaustive on purpose: a source has to have an answer to each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "what is not stored must be sent again"]
pub enum Delivery {
    /// The store has it, or something newer: go on, and report that you are
    /// [`VALID`](DataSourceState::Valid).
    ///
    /// Also where the store has refused an item for its size and taken all others. That is reported as an
    /// error, and to send it again would change nothing.
    Stored,
    /// The store has not taken it, and sees to it by itself: go on. Your
    /// [`refresh`](crate::UpdateProcessor::refresh) is called when that was not enough.
    Pending,
    /// The store has not taken it: send everything again, after a pause.
    Failed,
}

struct Shared {
    store: Arc<dyn FeatureStore>,
    store_status: Option<DataStoreStatusProvider>,
    tracker: Option<FlagTracker>,
    board: Arc<StatusBoard>,
    state: Mutex<State>,
    /// Calls the source's refresh, which no caller of ours has to wait for.
    refresher: Background,
    is_refresh_due: AtomicBool,
    refresh: OnceLock<Box<dyn Fn() + Send + Sync>>,
    store_listener: OnceLock<Subscription>,
}

/// What the status is made of.
struct State {
    /// As the source has reported it, or as what it brought shows.
    source: DataSourceState,
    /// Whether the store has not taken something, and nobody has said yet that it has since.
    is_store_behind: bool,
    /// Whether whole data is among that.
    is_init_pending: bool,
    is_initialized: bool,
}

impl DataSourceUpdateSink {
    /// Configures a sink that writes to this store.
    pub fn builder(store: impl FeatureStore) -> DataSourceUpdateSinkBuilder {
        DataSourceUpdateSinkBuilder {
            store: Arc::new(store),
            store_status: None,
            tracker: None,
            outage_logged_after: Duration::from_secs(60),
        }
    }

    /// Replaces all data.
    pub fn init(&self, all_data: &AllData) -> Delivery {
        let delivery = self.deliver(
            true,
            |store| store.init(all_data),
            |tracker| tracker.kinds_written(all_data.kinds().map(|(kind, _)| kind)),
        );
        if delivery == Delivery::Stored {
            self.0.state.lock().is_initialized = true;
        }
        delivery
    }

    /// Stores an item or a tombstone, unless the store has a version that is as high.
    pub fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Delivery {
        self.deliver(
            false,
            |store| store.upsert(kind, key, item).map(drop),
            |tracker| tracker.item_written(kind, key),
        )
    }

    /// Deletes an item, unless the store has a version that is as high.
    pub fn delete(&self, kind: &Kind, key: &str, version: u64) -> Delivery {
        self.deliver(
            false,
            |store| store.delete(kind, key, version).map(drop),
            |tracker| tracker.item_written(kind, key),
        )
    }

    /// Reports how the source does.
    ///
    /// - [`Interrupted`](DataSourceState::Interrupted) before the first [`Valid`](DataSourceState::Valid) stays
    ///   [`Initializing`](DataSourceState::Initializing).
    /// - While the store has not taken everything, `Valid` has to wait for that.
    /// - The same state again tells nobody, except with an error.
    /// - After [`Off`](DataSourceState::Off) nothing changes any more.
    pub fn update_status(&self, state: DataSourceState, error: Option<DataSourceErrorInfo>) {
        let mut own = self.0.state.lock();
        own.source = state;
        match (state, error) {
            (DataSourceState::Valid, None) if own.is_store_behind => {}
            (DataSourceState::Valid, Some(error)) if own.is_store_behind => self.0.board.report(error),
            (state, error) => self.0.board.update(state, error),
        }
    }

    /// Notes that the source was heard of: any event of a stream or its heartbeat, any answer to a poll, but
    /// not the headers of a stream.
    pub fn event_received(&self) {
        self.0.board.event_received();
    }

    /// How the source does, for whoever wants to watch it.
    #[must_use]
    pub fn status_provider(&self) -> DataSourceStatusProvider {
        DataSourceStatusProvider::new(&self.0.board)
    }

    /// Whether whole data was ever stored through this sink, also where the store has written it later by itself.
    #[must_use]
    pub fn initialized(&self) -> bool {
        self.0.state.lock().is_initialized
    }

    /// The store that it writes to.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn FeatureStore> {
        &self.0.store
    }

    /// Sets what is called when the store has been away and may have missed something: the source's
    /// [`refresh`](crate::UpdateProcessor::refresh). Only the first call counts.
    pub(super) fn on_refresh(&self, refresh: impl Fn() + Send + Sync + 'static) {
        // There is one source to a sink, and it is there from the beginning.
        let _ = self.0.refresh.set(Box::new(refresh));
    }

    fn deliver(
        &self,
        is_init: bool,
        write: impl FnOnce(&dyn FeatureStore) -> Result<(), StoreError>,
        tell: impl FnOnce(&FlagTracker),
    ) -> Delivery {
        if self.0.board.status().state == DataSourceState::Off {
            return Delivery::Failed;
        }
        let written = write(&*self.0.store);
        match (&self.0.tracker, &written) {
            (Some(tracker), Ok(())) => tell(tracker),
            // A cache may go on with what the database has not taken. That takes a call which may fail as well.
            (Some(tracker), Err(_)) => tracker.look(),
            (None, _) => {}
        }
        let Err(error) = written else { return Delivery::Stored };
        let info = DataSourceErrorInfo::new(DataSourceErrorKind::StoreError, error.to_string());
        match error.kind() {
            ErrorKind::TooLarge => {
                tracing::error!("{error}; what was stored before is still there");
                self.0.board.report(info);
                Delivery::Stored
            }
            ErrorKind::Unavailable | ErrorKind::Timeout if self.0.recovers() => {
                self.0.fall_behind(is_init, info);
                Delivery::Pending
            }
            _ => {
                tracing::warn!("the data source will send everything again: {error}");
                self.update_status(DataSourceState::Interrupted, Some(info));
                Delivery::Failed
            }
        }
    }
}

impl Shared {
    /// Whether the store brings itself up to date after an outage, or says that it cannot.
    fn recovers(&self) -> bool {
        self.store_status.as_ref().is_some_and(DataStoreStatusProvider::is_monitoring_enabled)
    }

    fn fall_behind(&self, is_init: bool, error: DataSourceErrorInfo) {
        {
            let mut state = self.state.lock();
            state.source = DataSourceState::Valid;
            state.is_store_behind = true;
            state.is_init_pending |= is_init;
            self.board.update(DataSourceState::Interrupted, Some(error));
        }
        // It may have recovered before anybody knew that it had to.
        if let Some(status) = self.store_status.as_ref().map(DataStoreStatusProvider::status) {
            self.follow_store(status);
        }
    }

    fn follow_store(&self, status: DataStoreStatus) {
        if !status.available {
            return;
        }
        {
            let mut state = self.state.lock();
            // This may come late, and not be so any more. Whoever falls behind now has to wait for the lock.
            let now = self.store_status.as_ref().map_or(status, DataStoreStatusProvider::status);
            if now.available && std::mem::replace(&mut state.is_store_behind, false) {
                let has_init = std::mem::replace(&mut state.is_init_pending, false);
                // If it is stale, the source sends everything again, and then says how that went.
                if !status.stale && !now.stale {
                    state.is_initialized |= has_init;
                    self.board.update(state.source, None);
                }
            }
        }
        if let Some(tracker) = &self.tracker {
            tracker.look();
        }
        if status.stale {
            self.is_refresh_due.store(true, Ordering::Release);
            self.refresher.wake();
        }
    }

    fn refresh(&self) -> Next {
        if self.is_refresh_due.swap(false, Ordering::AcqRel)
            && let Some(refresh) = self.refresh.get()
        {
            tracing::info!("the store may have missed something: the data source sends everything again");
            refresh();
        }
        Next::Rest
    }
}

/// Configures a [`DataSourceUpdateSink`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct DataSourceUpdateSinkBuilder {
    store: Arc<dyn FeatureStore>,
    store_status: Option<DataStoreStatusProvider>,
    tracker: Option<FlagTracker>,
    outage_logged_after: Duration,
}

impl DataSourceUpdateSinkBuilder {
    /// Sets where the store says how its database does. Such a store is expected to write what it could not, or
    /// to become stale, so the source does not have to send anything again before that. Defaults to nowhere.
    pub fn store_status(self, store_status: DataStoreStatusProvider) -> Self {
        Self { store_status: Some(store_status), ..self }
    }

    /// Sets who is to be told of what is written: a tracker of the same store. Defaults to nobody.
    pub fn flag_tracker(self, tracker: FlagTracker) -> Self {
        Self { tracker: Some(tracker), ..self }
    }

    /// Sets how long the source may fail before that is an error in the log: one line for each outage, with its
    /// errors counted. Defaults to a minute.
    pub fn outage_logged_after(self, outage_logged_after: Duration) -> Self {
        Self { outage_logged_after, ..self }
    }

    /// Makes the sink. The store is not asked for anything.
    #[must_use]
    pub fn build(self) -> DataSourceUpdateSink {
        let Self { store, store_status, tracker, outage_logged_after } = self;
        let shared = Arc::new_cyclic(|this: &Weak<Shared>| {
            let this = Weak::clone(this);
            Shared {
                store,
                store_status,
                tracker,
                board: StatusBoard::new(outage_logged_after),
                state: Mutex::new(State {
                    source: DataSourceState::Initializing,
                    is_store_behind: false,
                    is_init_pending: false,
                    is_initialized: false,
                }),
                refresher: Background::new("flagstore-refresh", move || {
                    this.upgrade().map_or(Next::Rest, |shared| shared.refresh())
                }),
                is_refresh_due: AtomicBool::new(false),
                refresh: OnceLock::new(),
                store_listener: OnceLock::new(),
            }
        });
        if let Some(store_status) = &shared.store_status {
            let this = Arc::downgrade(&shared);
            let listener = store_status.add_listener(move |status| {
                if let Some(shared) = this.upgrade() {
                    shared.follow_store(status);
                }
            });
            // Set here, and nowhere else.
            let _ = shared.store_listener.set(listener);
        }
        DataSourceUpdateSink(shared)
    }
}

/// Such as `DataSourceUpdateSink(Cached(15s, SQLite(flags.db)), VALID)`.
impl fmt::Debug for DataSourceUpdateSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataSourceUpdateSink({}, {})", self.0.store, self.0.board.status().state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CachingStoreWrapper, DataStoreUpdateSink, MemoryStore};

    /// What is told late was true once: the store may have gone away again since.
    #[test]
    fn old_news_of_the_store_do_not_count() {
        let store = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
        let reported = DataStoreUpdateSink::new();
        let sink = DataSourceUpdateSink::builder(store).store_status(reported.status_provider()).build();
        sink.update_status(DataSourceState::Valid, None);
        reported.update_status(DataStoreStatus::UNAVAILABLE);
        sink.0.fall_behind(false, DataSourceErrorInfo::new(DataSourceErrorKind::StoreError, "gone"));

        sink.0.follow_store(DataStoreStatus::HEALTHY);
        assert_eq!(sink.status_provider().status().state, DataSourceState::Interrupted);
        reported.update_status(DataStoreStatus::HEALTHY);
        assert!(sink.status_provider().wait_for(DataSourceState::Valid, Duration::from_secs(30)));
    }
}
