//! Through the SDK's own wrapper, which is what the SDK's data sources write to.

use std::sync::Arc;

use flagstore_core::{Item, Kind, MemoryStore};
use flagstore_launchdarkly::data_store;
use launchdarkly_server_sdk::{AllData, Flag, Segment};

use crate::support::{Store, TestStore, daemon, flag, put, segment, stored, stores, uncached};

/// A whole environment as LaunchDarkly sends it: without any `deleted`, and with a property that is unknown.
fn payload() -> AllData<Flag, Segment> {
    let flag = flag("dark-mode", 3, true).replace(r#","deleted":false"#, r#","new":1"#);
    let segment = segment("staff", 4, "user-1").replace(r#","deleted":false"#, "");
    let json = format!(r#"{{"flags":{{"dark-mode":{flag}}},"segments":{{"staff":{segment}}}}}"#);
    serde_json::from_str(&json).unwrap()
}

/// What LaunchDarkly sends at the start is what every other process then reads.
#[test]
fn init_fills_the_store() {
    for store in stores() {
        let sdk = daemon(&uncached(&store)).data_store_builder().build().unwrap();
        sdk.write().init(payload());
        assert!(store.is_initialized().unwrap(), "{store}");
        for (kind, key, version) in [(Kind::FEATURES, "dark-mode", 3), (Kind::SEGMENTS, "staff", 4)] {
            let item = store.get(&kind, key).unwrap().unwrap();
            assert_eq!((item.version(), item.is_deleted()), (version, false), "{store}");
            assert!(item.json().ends_with(r#","deleted":false}"#), "PHP requires it: {item:?} in {store}");
        }
        assert!(sdk.read().to_store().segment("staff").is_some(), "{store}");
        assert_eq!(sdk.read().all_flags()["dark-mode"].version, 3, "{store}");
    }
}

/// The SDK parses and writes anew, so what it does not know is lost: the docs warn of it.
#[test]
fn the_sdk_drops_the_properties_that_it_does_not_know() {
    for store in stores() {
        daemon(&uncached(&store)).data_store_builder().build().unwrap().write().init(payload());
        assert!(!stored(&store, &Kind::FEATURES, "dark-mode").contains("new"), "{store}");
    }
}

/// Updates of flags and segments and a deletion arrive in the database and come back.
#[test]
fn upserts_reach_the_store_and_come_back() {
    for store in stores() {
        let sdk = daemon(&uncached(&store)).data_store_builder().build().unwrap();
        let mut sdk = sdk.write();
        sdk.upsert("dark-mode", serde_json::from_str(&flag("dark-mode", 1, true)).unwrap()).unwrap();
        sdk.upsert("staff", serde_json::from_str(&segment("staff", 2, "user-1")).unwrap()).unwrap();
        assert_eq!(sdk.to_store().flag("dark-mode").unwrap().version, 1, "{store}");
        assert_eq!(sdk.to_store().segment("staff").unwrap().version, 2, "{store}");
        // A bare number is what the SDK reads as the version of a deleted flag.
        sdk.upsert("dark-mode", serde_json::from_str("5").unwrap()).unwrap();
        assert!(sdk.to_store().flag("dark-mode").is_none(), "{store}");
        let tombstone = store.get(&Kind::FEATURES, "dark-mode").unwrap().unwrap();
        assert_eq!(tombstone, Item::tombstone("dark-mode", 5).unwrap(), "{store}");
    }
}

/// Where another process was faster, the SDK's cache takes what that one wrote.
#[test]
fn after_a_stale_update_the_sdk_serves_what_is_stored() {
    for store in stores() {
        put(&store, &Kind::FEATURES, "dark-mode", &flag("dark-mode", 8, true));
        let sdk = daemon(&data_store(Arc::clone(&store))).data_store_builder().build().unwrap();
        let stale = serde_json::from_str(&flag("dark-mode", 7, false)).unwrap();
        sdk.write().upsert("dark-mode", stale).unwrap();
        assert_eq!(sdk.read().to_store().flag("dark-mode").unwrap().version, 8, "{store}");
        assert_eq!(stored(&store, &Kind::FEATURES, "dark-mode"), flag("dark-mode", 8, true), "{store}");
    }
}

/// One bad flag is missing from the map of all flags, and nothing else is.
#[test]
fn all_flags_survives_a_flag_that_does_not_parse() {
    for store in stores() {
        put(&store, &Kind::FEATURES, "good", &flag("good", 1, true));
        put(&store, &Kind::FEATURES, "wrong", r#"{"version":1}"#);
        let sdk = daemon(&uncached(&store)).data_store_builder().build().unwrap();
        assert_eq!(sdk.read().all_flags().into_keys().collect::<Vec<_>>(), ["good"], "{store}");
        assert!(sdk.read().to_store().flag("wrong").is_none(), "{store}");
    }
}

/// The cache never claims an item that the database refused: after a partial init the SDK reads.
#[test]
fn after_an_init_with_an_item_that_is_too_large_the_sdk_reads_the_store() {
    let memory = MemoryStore::new();
    let store: Store =
        Arc::new(TestStore { memory: memory.clone(), too_large: Some("dark-mode"), ..TestStore::default() });
    let before: Store = Arc::new(memory);
    put(&before, &Kind::FEATURES, "light-mode", &flag("light-mode", 1, true));
    let sdk = daemon(&data_store(store)).data_store_builder().build().unwrap();
    sdk.write().init(payload());
    assert!(sdk.read().to_store().flag("dark-mode").is_none(), "it is not in the database");
    assert!(sdk.read().to_store().segment("staff").is_some(), "the rest is");
}

/// With the database away every flag is unknown, and an update is refused with the reason.
#[test]
fn a_failing_store_does_not_break_the_sdk() {
    let store: Store = Arc::new(TestStore { down: Some("connection refused"), ..TestStore::default() });
    let sdk = daemon(&data_store(store)).data_store_builder().build().unwrap();
    let mut sdk = sdk.write();
    sdk.init(payload());
    assert!(sdk.all_flags().is_empty());
    assert!(sdk.to_store().flag("dark-mode").is_none() && sdk.to_store().segment("staff").is_none());
    let update = serde_json::from_str(&flag("dark-mode", 4, true)).unwrap();
    let error = sdk.upsert("dark-mode", update).unwrap_err().to_string();
    assert!(error.ends_with("test: upsert: connection refused"), "{error}");
}
