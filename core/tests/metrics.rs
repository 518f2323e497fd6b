//! The statistics, as the `metrics` facade shows them.

use std::collections::HashMap;

use flagstore_core::{CachingStoreWrapper, FeatureStore, Item, Kind, MemoryStore};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

/// Whatever the statistics count, the recorder that was installed when the cache was made is told too.
#[test]
fn a_recorder_is_told_what_the_statistics_count() -> Result<(), Box<dyn std::error::Error>> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let store =
        metrics::with_local_recorder(&recorder, || CachingStoreWrapper::builder(MemoryStore::new()).build())?;
    let _ = store.upsert(&Kind::FEATURES, "a", &Item::parse(r#"{"version":1}"#)?)?;
    assert!(store.get(&Kind::FEATURES, "a")?.is_some());
    assert!(store.get(&Kind::FEATURES, "missing")?.is_none());

    let recorded = snapshotter.snapshot().into_vec().into_iter();
    let counters: HashMap<String, u64> = recorded
        .filter_map(|(key, _, _, value)| match value {
            DebugValue::Counter(count) => Some((key.key().name().to_owned(), count)),
            DebugValue::Gauge(_) | DebugValue::Histogram(_) => None,
        })
        .collect();
    let statistics = store.statistics().ok_or("a cache has statistics")?;
    assert_eq!((statistics.hits, statistics.misses, statistics.loads), (1, 1, 1));
    for (name, count) in [
        ("flagstore_cache_hits_total", statistics.hits),
        ("flagstore_cache_misses_total", statistics.misses),
        ("flagstore_cache_loads_total", statistics.loads),
        ("flagstore_cache_failed_loads_total", statistics.failed_loads),
        ("flagstore_cache_evictions_total", statistics.evictions),
    ] {
        assert_eq!(counters.get(name).copied().unwrap_or(0), count, "{name}");
    }
    Ok(())
}
