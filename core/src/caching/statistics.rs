use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use crate::stripe::{STRIPES, stripe};

/// What a cache has done since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStatistics {
    /// Reads that were answered from the cache, also with "there is none".
    pub hits: u64,
    /// Reads that were not.
    pub misses: u64,
    /// Database reads that were made for misses and succeeded. Fewer than misses where several waited for one.
    pub loads: u64,
    /// Database reads that were made for misses and failed.
    pub failed_loads: u64,
    /// How long all these database reads took together.
    pub total_load_time: Duration,
    /// Entries that had to make room because of a limit.
    pub evictions: u64,
    /// Items and tombstones that are cached now.
    pub entries: u64,
    /// Keys without an item that are cached now.
    pub missing_entries: u64,
}

/// Counts without making threads wait for each other.
#[derive(Default)]
pub(super) struct Counters {
    // Threads count in cache lines of their own: a shared one would cost more than the hit.
    hits: [CachePadded<AtomicU64>; STRIPES],
    misses: AtomicU64,
    loads: AtomicU64,
    failed_loads: AtomicU64,
    load_nanoseconds: AtomicU64,
    evictions: AtomicU64,
    #[cfg(feature = "metrics")]
    metrics: metrics_counters::Metrics,
}

impl Counters {
    pub(super) fn hit(&self) {
        self.hits[stripe()].fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.metrics.hits.increment(1);
    }

    pub(super) fn miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.metrics.misses.increment(1);
    }

    pub(super) fn eviction(&self) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.metrics.evictions.increment(1);
    }

    pub(super) fn load(&self, began: Instant, succeeded: bool) {
        let took = began.elapsed();
        let counter = if succeeded { &self.loads } else { &self.failed_loads };
        counter.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.load_nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        {
            let counter = if succeeded { &self.metrics.loads } else { &self.metrics.failed_loads };
            counter.increment(1);
            self.metrics.load_time.record(took.as_secs_f64());
        }
    }

    pub(super) fn statistics(&self, entries: u64, missing_entries: u64) -> CacheStatistics {
        CacheStatistics {
            hits: self.hits.iter().map(|hits| hits.load(Ordering::Relaxed)).sum(),
            misses: self.misses.load(Ordering::Relaxed),
            loads: self.loads.load(Ordering::Relaxed),
            failed_loads: self.failed_loads.load(Ordering::Relaxed),
            total_load_time: Duration::from_nanos(self.load_nanoseconds.load(Ordering::Relaxed)),
            evictions: self.evictions.load(Ordering::Relaxed),
            entries,
            missing_entries,
        }
    }
}

/// The same through the `metrics` facade, to whichever recorder is installed when the cache is made.
#[cfg(feature = "metrics")]
mod metrics_counters {
    use metrics::{Counter, Histogram, counter, histogram};

    pub(super) struct Metrics {
        pub(super) hits: Counter,
        pub(super) misses: Counter,
        pub(super) loads: Counter,
        pub(super) failed_loads: Counter,
        pub(super) load_time: Histogram,
        pub(super) evictions: Counter,
    }

    impl Default for Metrics {
        fn default() -> Self {
            Self {
                hits: counter!("flagstore_cache_hits_total"),
                misses: counter!("flagstore_cache_misses_total"),
                loads: counter!("flagstore_cache_loads_total"),
                failed_loads: counter!("flagstore_cache_failed_loads_total"),
                load_time: histogram!("flagstore_cache_load_seconds"),
                evictions: counter!("flagstore_cache_evictions_total"),
            }
        }
    }
}
