use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{
    BigSegmentStoreWrapper, CachingStoreWrapper, DataSource, DataSourceStatusProvider,
    DataStoreStatusProvider, FeatureStore, FlagTracker, FlagValueChange, Subscription,
};
use launchdarkly_server_sdk::{BuildError, ConfigBuilder, Context, FlagValue};

use crate::evaluation::{BigSegmentsClient, Evaluator};
use crate::factory::cached_data_store;

/// All that brings flags to the official client: a database, the cache above it, the source that feeds it, the
/// Big Segments beside it, and those who are told of what changes.
///
/// The client runs in daemon mode on the store, and the source fills that. So evaluation starts at once with what
/// the database already has, also while LaunchDarkly is down; items are kept byte for byte; no evaluation waits for
/// a write; and what the source and the database do can be watched.
///
/// Without a [source](crate::DataSystemBuilder::data_source) somebody else feeds the database, such as a Relay Proxy
/// or another process with this. With [changes](crate::DataSystemBuilder::changes) what they write is seen soon, and
/// announced.
///
/// It lives as long as the client. Dropping it ends the source; what the database has by then goes on to count.
///
/// ```
/// use std::time::Duration;
/// use flagstore_core::MemoryStore;
/// use flagstore_launchdarkly::DataSystem;
/// use launchdarkly_server_sdk::{Client, ConfigBuilder, NullEventProcessorBuilder};
///
/// let system = DataSystem::builder(MemoryStore::new()).build()?;
/// let config = ConfigBuilder::new("sdk-key").event_processor(&NullEventProcessorBuilder::new());
/// let client = Client::build(system.configure(config).build()?)?;
/// assert!(client.initialized(), "a client in daemon mode always is");
/// assert!(!system.wait_for_initialization(Duration::ZERO), "and nobody feeds this database");
///
/// client.close();
/// system.close(Duration::from_secs(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the source ends when this is dropped"]
pub struct DataSystem {
    pub(crate) store: CachingStoreWrapper,
    pub(crate) source: Option<DataSource>,
    pub(crate) big_segments: Option<BigSegmentStoreWrapper>,
    pub(crate) tracker: FlagTracker,
    pub(crate) evaluator: Evaluator,
}

/// How long to wait before it is looked again whether the source has brought anything.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// The same for the database, which somebody else may have filled. It is asked more and more rarely, up to this.
const ASK_AGAIN: Duration = Duration::from_millis(500);

impl DataSystem {
    /// Makes the client read from here: in daemon mode, and without the SDK's own cache, which would keep what has
    /// changed. Everything else is as it was configured, the events too.
    #[must_use]
    pub fn configure(&self, config: ConfigBuilder) -> ConfigBuilder {
        config.daemon_mode(true).data_store(cached_data_store(self.store.clone()).no_caching())
    }

    /// The official client for flags that depend on Big Segments, configured as [`configure`](Self::configure) does.
    ///
    /// # Errors
    ///
    /// Those of [`BigSegmentsClient::build`].
    pub fn big_segments_client(&self, config: ConfigBuilder) -> Result<BigSegmentsClient, BuildError> {
        BigSegmentsClient::build(config.daemon_mode(true), self.store.clone(), self.big_segments.clone())
    }

    /// Evaluates the same flags without a client, and without events.
    #[must_use]
    pub fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// Whether there is data: that the source has brought, or that somebody has put into the database at any time.
    ///
    /// It asks the database if neither the source nor the cache knows, which takes the time of a call.
    #[must_use]
    pub fn initialized(&self) -> bool {
        self.has_source_data() || self.has_store_data()
    }

    fn has_source_data(&self) -> bool {
        self.source.as_ref().is_some_and(DataSource::initialized)
    }

    fn has_store_data(&self) -> bool {
        let is_available = || self.store.status_provider().status().available;
        // The cache remembers for a while that there was nothing.
        self.store.initialized() || is_available() && self.store.core().is_initialized().unwrap_or(false)
    }

    /// Waits until there is data, for `timeout` at most. Whether there is.
    ///
    /// It returns at once if the database has any, however old: whether it is up to date is for the
    /// [source's status](Self::data_source_status_provider) to say. What somebody else puts into the database
    /// meanwhile is seen half a second later at the latest. It blocks its thread, so an async program calls it where
    /// that is allowed. A call of the database that is under way when the time is over is waited for: that has a
    /// deadline of its own.
    pub fn wait_for_initialization(&self, timeout: Duration) -> bool {
        let begun = Instant::now();
        let (mut pause, mut ask_at) = (LOOK_AGAIN, Duration::ZERO);
        loop {
            if self.has_source_data() {
                return true;
            }
            if begun.elapsed() >= ask_at {
                if self.has_store_data() {
                    return true;
                }
                ask_at = begun.elapsed() + pause;
                pause = (pause * 2).min(ASK_AGAIN);
            }
            match timeout.saturating_sub(begun.elapsed()) {
                Duration::ZERO => return false,
                left => thread::sleep(left.min(LOOK_AGAIN)),
            }
        }
    }

    /// How the source does. `None` without a source.
    #[must_use]
    pub fn data_source_status_provider(&self) -> Option<DataSourceStatusProvider> {
        self.source.as_ref().map(|source| source.sink().status_provider())
    }

    /// Whether the database is available.
    #[must_use]
    pub fn data_store_status_provider(&self) -> DataStoreStatusProvider {
        self.store.status_provider()
    }

    /// Tells of changes of flags: by the source, and by others, if there are
    /// [changes](crate::DataSystemBuilder::changes) to learn of that from.
    #[must_use]
    pub fn flag_tracker(&self) -> &FlagTracker {
        &self.tracker
    }

    /// Calls the listener when the value of a flag for this context has changed, until the [`Subscription`] is
    /// dropped. A flag that is not there has the default.
    ///
    /// The flag is evaluated by the [evaluator](Self::evaluator), once at first, and then after each of its changes:
    /// its own, and those of what it depends on. Changes of Big Segments are none of them.
    pub fn add_flag_value_change_listener(
        &self,
        flag_key: &str,
        context: Context,
        default: impl Into<FlagValue>,
        listener: impl Fn(FlagValueChange<FlagValue>) + Send + Sync + 'static,
    ) -> Subscription {
        let (evaluator, default) = (self.evaluator.clone(), default.into());
        let key = flag_key.to_owned();
        let evaluate = move || evaluator.variation(&context, &key, default.clone());
        self.tracker.add_flag_value_change_listener(flag_key, evaluate, listener)
    }

    /// The store with its cache, for code that reads flags by itself.
    #[must_use]
    pub fn store(&self) -> &CachingStoreWrapper {
        &self.store
    }

    /// What evaluations ask for Big Segments. `None` if there are none.
    #[must_use]
    pub fn big_segments(&self) -> Option<&BigSegmentStoreWrapper> {
        self.big_segments.as_ref()
    }

    /// Ends the source, the watch of changes and the Big Segments, and waits until the source has let go of its
    /// threads and connections, for `timeout` at most. Whether it has. A second time there is nothing left to end.
    ///
    /// The client goes on with what is in the store. To have its events delivered, close it first.
    pub fn close(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        if let Some(changes) = self.store.changes() {
            changes.end();
        }
        if let Some(big_segments) = &self.big_segments {
            big_segments.stop();
        }
        let Some(source) = &self.source else { return true };
        source.stop();
        while source.is_alive() {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl Drop for DataSystem {
    fn drop(&mut self) {
        self.close(Duration::ZERO);
    }
}

impl fmt::Debug for DataSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataSystem")
            .field("store", &self.store)
            .field("source", &self.source)
            .field("big_segments", &self.big_segments)
            .field("changes", &self.store.changes())
            .field("tracker", &self.tracker)
            .finish_non_exhaustive()
    }
}
