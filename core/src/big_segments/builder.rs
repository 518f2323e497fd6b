use std::sync::Arc;
use std::time::Duration;

use super::wrapper::Settings;
use crate::{BigSegmentStore, BigSegmentStoreWrapper, StoreError};

/// Configures a [`BigSegmentStoreWrapper`].
///
/// ```
/// use std::time::Duration;
/// use flagstore_core::{BigSegmentStoreWrapper, MemoryBigSegmentStore};
///
/// let big_segments = BigSegmentStoreWrapper::builder(MemoryBigSegmentStore::new())
///     .context_cache_size(10_000)
///     .context_cache_time(Duration::from_secs(30))
///     .stale_after(Duration::from_secs(300))
///     .build()?;
/// # Ok::<(), flagstore_core::StoreError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct BigSegmentStoreBuilder {
    store: Arc<dyn BigSegmentStore>,
    settings: Settings,
}

impl BigSegmentStoreWrapper {
    /// Configures a wrapper above this store.
    pub fn builder(store: impl BigSegmentStore) -> BigSegmentStoreBuilder {
        let settings = Settings {
            context_cache_size: 1_000,
            context_cache_time: Duration::from_secs(5),
            status_poll_interval: Duration::from_secs(5),
            stale_after: Duration::from_secs(120),
        };
        BigSegmentStoreBuilder { store: Arc::new(store), settings }
    }
}

impl BigSegmentStoreBuilder {
    /// Sets how many contexts are cached at most; the one that was not asked for the longest makes room.
    /// Defaults to 1000.
    pub fn context_cache_size(mut self, context_cache_size: u64) -> Self {
        self.settings.context_cache_size = context_cache_size;
        self
    }

    /// Sets for how long what is known of a context counts, and also that nothing is known. Defaults to 5
    /// seconds.
    pub fn context_cache_time(mut self, context_cache_time: Duration) -> Self {
        self.settings.context_cache_time = context_cache_time;
        self
    }

    /// Sets how often the database is asked whether its data is up to date. One that is longer than
    /// [`stale_after`](Self::stale_after) is taken for that. Defaults to 5 seconds.
    pub fn status_poll_interval(mut self, status_poll_interval: Duration) -> Self {
        self.settings.status_poll_interval = status_poll_interval;
        self
    }

    /// Sets after how long without an update the data counts as stale. Defaults to 2 minutes.
    pub fn stale_after(mut self, stale_after: Duration) -> Self {
        self.settings.stale_after = stale_after;
        self
    }

    /// Makes the wrapper, and starts the thread that asks for the status, at once for the first time. It does
    /// not wait for the answer.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) names a duration or size of zero, or a duration above a year.
    pub fn build(self) -> Result<BigSegmentStoreWrapper, StoreError> {
        let Self { store, mut settings } = self;
        for (field, duration) in [
            ("context_cache_time", settings.context_cache_time),
            ("status_poll_interval", settings.status_poll_interval),
            ("stale_after", settings.stale_after),
        ] {
            if duration.is_zero() || duration > LONGEST {
                let reason = "must be longer than zero, and a year at most";
                return Err(StoreError::config("big_segments", field, reason));
            }
        }
        if settings.context_cache_size == 0 {
            return Err(StoreError::config("big_segments", "context_cache_size", "must be at least 1"));
        }
        settings.status_poll_interval = settings.status_poll_interval.min(settings.stale_after);
        Ok(BigSegmentStoreWrapper::new(store, settings))
    }
}

/// Keeps sums of times in range.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, MemoryBigSegmentStore};

    fn builder() -> BigSegmentStoreBuilder {
        BigSegmentStoreWrapper::builder(MemoryBigSegmentStore::new())
    }

    /// The defaults are those of every official SDK.
    #[test]
    fn the_defaults_are_pinned() {
        let Settings { context_cache_size, context_cache_time, status_poll_interval, stale_after } =
            builder().settings;
        assert_eq!(context_cache_size, 1_000);
        let seconds = [context_cache_time, status_poll_interval, stale_after].map(|time| time.as_secs());
        assert_eq!(seconds, [5, 5, 120]);
    }

    /// A value out of range is refused by name.
    #[test]
    fn a_wrong_value_names_its_field() {
        let wrong = [
            ("context_cache_size", builder().context_cache_size(0)),
            ("context_cache_time", builder().context_cache_time(Duration::ZERO)),
            ("context_cache_time", builder().context_cache_time(Duration::MAX)),
            ("status_poll_interval", builder().status_poll_interval(Duration::ZERO)),
            ("stale_after", builder().stale_after(Duration::ZERO)),
        ];
        for (field, builder) in wrong {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().starts_with(&format!("big_segments: build: {field}: ")), "{error}");
        }
    }
}
