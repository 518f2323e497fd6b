//! What a cache hit must not cost. Alone in its program, because it counts what the whole process allocates.

use flagstore_core::{AllData, CachingStoreWrapper, FeatureStore, Item, Kind, MemoryStore};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// A read that the cache answers allocates nothing: not for an item, for one that is decoded already, nor for
/// all items.
#[test]
fn a_hit_allocates_nothing() -> Result<(), Box<dyn std::error::Error>> {
    let _profiler = dhat::Profiler::builder().testing().build();
    let store = CachingStoreWrapper::builder(MemoryStore::new()).build()?;
    store
        .init(&AllData::from_json(r#"{"flags":{"dark-mode":{"key":"dark-mode","version":1,"on":true}}}"#)?)?;
    let decode = |item: &Item| item.decode::<serde_json::Value>().is_ok_and(|value| value.is_some());
    let hits = || -> Result<(), flagstore_core::StoreError> {
        for _ in 0..1_000 {
            assert!(store.get(&Kind::FEATURES, "dark-mode")?.is_some());
            assert_eq!(store.read(&Kind::FEATURES, "dark-mode", decode)?, Some(true));
            assert_eq!(store.all(&Kind::FEATURES)?.len(), 1);
        }
        Ok(())
    };
    // The first round decodes, and makes this thread's counter.
    hits()?;
    let before = dhat::HeapStats::get().total_blocks;
    hits()?;
    assert_eq!(dhat::HeapStats::get().total_blocks - before, 0);
    assert_eq!(store.statistics().map(|statistics| statistics.misses), Some(0));
    Ok(())
}
