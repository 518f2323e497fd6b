use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flagstore_core::{
    BigSegmentStoreWrapper, CacheMode, CachingStoreBuilder, CachingStoreWrapper, ChangeSource, DataSource,
    DataSourceFactory, DataSourceUpdateSink, FeatureStoreCore, FlagTracker, SharedChangeSource, StoreError,
};

use crate::data_system::DataSystem;
use crate::evaluation::Evaluator;

/// Configures a [`DataSystem`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct DataSystemBuilder {
    core: Arc<dyn FeatureStoreCore>,
    cache: Option<ConfigureCache>,
    source: Option<Box<dyn DataSourceFactory>>,
    changes: Option<SharedChangeSource>,
    big_segments: Option<BigSegmentStoreWrapper>,
    outage_logged_after: Duration,
}

type ConfigureCache = Box<dyn FnOnce(CachingStoreBuilder) -> CachingStoreBuilder + Send>;

impl DataSystem {
    /// Configures a data system on this database.
    pub fn builder(core: impl FeatureStoreCore) -> DataSystemBuilder {
        DataSystemBuilder {
            core: Arc::new(core),
            cache: None,
            source: None,
            changes: None,
            big_segments: None,
            outage_logged_after: Duration::from_secs(60),
        }
    }
}

impl DataSystemBuilder {
    /// Sets what feeds the database. Defaults to nothing: somebody else does.
    pub fn data_source(self, source: impl DataSourceFactory) -> Self {
        Self { source: Some(Box::new(source)), ..self }
    }

    /// Sets where to learn of what others write to the database, so that it is seen soon and announced. Defaults to
    /// nowhere: it is seen when what is cached is too old, and announced never.
    pub fn changes(self, changes: impl ChangeSource) -> Self {
        Self { changes: Some(SharedChangeSource::new(changes)), ..self }
    }

    /// Configures the cache. Defaults to [`CacheMode::Forever`] with a source, which then keeps it up to date, and
    /// to [15 seconds](CacheMode::For) without. [Changes](CachingStoreBuilder::changes) that are set for the cache
    /// are those of the whole system, in place of [these](Self::changes).
    pub fn cache(
        self,
        configure: impl FnOnce(CachingStoreBuilder) -> CachingStoreBuilder + Send + 'static,
    ) -> Self {
        Self { cache: Some(Box::new(configure)), ..self }
    }

    /// Sets where to ask who is in a Big Segment. It is stopped when the system is closed. Defaults to nowhere.
    pub fn big_segments(self, big_segments: BigSegmentStoreWrapper) -> Self {
        Self { big_segments: Some(big_segments), ..self }
    }

    /// Sets how long the source may fail before that is an error in the log. Defaults to a minute.
    pub fn outage_logged_after(self, outage_logged_after: Duration) -> Self {
        Self { outage_logged_after, ..self }
    }

    /// Makes the data system, and starts the source. Waits for nothing.
    ///
    /// # Errors
    ///
    /// [`Config`](flagstore_core::ErrorKind::Config) names the field of the cache or the source that is wrong.
    pub fn build(self) -> Result<DataSystem, StoreError> {
        let Self { core, cache, source, changes, big_segments, outage_logged_after } = self;
        let mut builder = CachingStoreWrapper::builder(core);
        if source.is_some() {
            builder = builder.mode(CacheMode::Forever);
        }
        if let Some(changes) = changes {
            builder = builder.changes(changes);
        }
        if let Some(configure) = cache {
            builder = configure(builder);
        }
        let store = builder.build()?;
        let mut tracker = FlagTracker::builder(store.clone()).store_status(store.status_provider());
        // The cache watches first: when the tracker looks, what is cached must be known to be old.
        if let Some(changes) = store.changes() {
            tracker = tracker.changes(changes.clone());
        }
        let tracker = tracker.build();
        let start = |source: Box<dyn DataSourceFactory>| {
            let sink = DataSourceUpdateSink::builder(store.clone())
                .store_status(store.status_provider())
                .flag_tracker(tracker.clone())
                .outage_logged_after(outage_logged_after)
                .build();
            DataSource::start(&*source, sink)
        };
        let source = source.map(start).transpose()?;
        let mut evaluator = Evaluator::new(store.clone());
        if let Some(big_segments) = &big_segments {
            evaluator = evaluator.with_big_segments(big_segments.clone());
        }
        Ok(DataSystem { store, source, big_segments, tracker, evaluator })
    }
}

impl fmt::Debug for DataSystemBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataSystemBuilder")
            .field("core", &self.core)
            .field("source", &self.source)
            .field("changes", &self.changes)
            .field("big_segments", &self.big_segments)
            .field("outage_logged_after", &self.outage_logged_after)
            .finish_non_exhaustive()
    }
}
