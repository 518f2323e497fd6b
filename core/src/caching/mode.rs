use std::time::Duration;

/// Whether a [`CachingStoreWrapper`](crate::CachingStoreWrapper) caches, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheMode {
    /// Every read asks the database.
    Off,
    /// What is known counts for this long, and then the database is asked again.
    For(Duration),
    /// What is known counts until somebody writes through this wrapper. Others' writes are not seen. For the
    /// one process that feeds the database: it goes on without it, and brings it up to date afterwards.
    Forever,
}

/// What happens to an entry of [`CacheMode::For`] when its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StalePolicy {
    /// It no longer counts: who asks waits for the database, and gets its error.
    #[default]
    Evict,
    /// Who asks waits for the database, and gets the old value if that fails. While the database is known to
    /// be unavailable nobody waits.
    Refresh {
        /// How old a value may become, counted from when it was read or written. `None` is no limit.
        max_age: Option<Duration>,
    },
    /// Who asks gets the old value at once, and the database is asked in the background.
    RefreshAsync {
        /// As for [`Refresh`](Self::Refresh).
        max_age: Option<Duration>,
    },
}
