//! What a cached flag takes. Alone in its program, because it counts what the whole process allocates.

use flagstore_core::{AllData, CachingStoreWrapper, FeatureStore, Item, Kind, MemoryStore};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// 10 000 flags of 1 KB that nobody has decoded take at most 1.35 times their JSON, with all their keys, both as single
/// items and as all items.
#[test]
fn a_cached_flag_takes_little_more_than_its_json() -> Result<(), Box<dyn std::error::Error>> {
    const FLAGS: usize = 10_000;
    let _profiler = dhat::Profiler::builder().testing().build();
    let text = format!(r#"{{"version":1,"salt":"{}"}}"#, "x".repeat(1_000 - 26));
    let json = FLAGS * text.len();
    let before = dhat::HeapStats::get().curr_bytes;
    let store = CachingStoreWrapper::builder(MemoryStore::new()).build()?;
    let items = (0..FLAGS).map(|n| (format!("flag-{n}"), Item::from_parts(1, false, text.as_str()).unwrap()));
    store.init(&AllData::new().with(Kind::FEATURES, items))?;
    // The database below is emptied again, so that only the cache is counted.
    store.core().init(&AllData::new().with(Kind::FEATURES, Vec::<(String, Item)>::new()))?;
    let taken = dhat::HeapStats::get().curr_bytes - before;
    assert_eq!(store.all(&Kind::FEATURES)?.len(), FLAGS);
    assert!(taken * 100 <= json * 135, "{:.2} times the JSON", taken as f64 / json as f64);
    Ok(())
}
