//! What those who look at an item in its place can rely on: what was decoded of it, and that nothing is locked.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

use std::sync::Arc;
use std::time::Duration;

use flagstore_core::{
    AllData, CacheMode, CachingStoreWrapper, FeatureStore, FeatureStoreCore, Item, Kind, MemoryStore, Upsert,
};
use serde_json::Value;

fn flags(json: &str) -> AllData {
    AllData::new().with(Kind::FEATURES, [("dark-mode", Item::parse(json).unwrap())])
}

/// Each read asks the database again, which makes an item of its own each time.
#[test]
fn the_same_item_again_is_not_decoded_again() {
    let database = Arc::new(MemoryStore::new());
    let mode = CacheMode::For(Duration::from_nanos(1));
    let store = CachingStoreWrapper::builder(Arc::clone(&database)).mode(mode).build().unwrap();
    let decoded = |item: Option<&Item>| item.unwrap().decode::<Value>().unwrap().unwrap();
    let one = || decoded(store.get(&Kind::FEATURES, "dark-mode").unwrap().as_ref());
    let of_all = || decoded(store.all(&Kind::FEATURES).unwrap().get("dark-mode"));

    database.init(&flags(r#"{"version":1}"#)).unwrap();
    let first = one();
    for again in [&one as &dyn Fn() -> Arc<Value>, &of_all, &one] {
        database.init(&flags(r#"{"version":1}"#)).unwrap();
        assert!(Arc::ptr_eq(&first, &again()));
    }
    database.init(&flags(r#"{"version":1,"on":true}"#)).unwrap();
    assert_eq!(one()["on"], true);
    assert_eq!(of_all()["on"], true);
}

/// Whoever reads an item may read and write others meanwhile, and the item itself, whether it has expired or not.
#[test]
fn a_reader_may_call_the_store() {
    for mode in [CacheMode::Forever, CacheMode::For(Duration::from_nanos(1))] {
        let store = CachingStoreWrapper::builder(MemoryStore::new()).mode(mode).build().unwrap();
        store.init(&flags(r#"{"version":1}"#)).unwrap();
        let mut version = 1;
        let read = store.read(&Kind::FEATURES, "dark-mode", |item| {
            version += 1;
            let newer = Item::parse(format!(r#"{{"version":{version}}}"#)).unwrap();
            for key in ["dark-mode", "another"] {
                assert_eq!(store.upsert(&Kind::FEATURES, key, &newer).unwrap(), Upsert::Applied);
                assert_eq!(store.get(&Kind::FEATURES, key).unwrap(), Some(newer.clone()));
            }
            item.version()
        });
        // The one that had expired was read as well.
        assert_eq!(read.unwrap(), Some(version - 1), "{mode:?}");
    }
}
