//! The plug over a cache of ours.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flagstore_core::{CacheMode, CachingStoreWrapper, DataStoreStatus, FeatureStore, Item, Kind, Upsert};
use flagstore_launchdarkly::{FlagstoreFactory, cached_data_store, data_store};
use launchdarkly_server_sdk::{
    Client, DataKind, EvalError, PersistentDataStoreFactory, Reason, SerializedItem,
};

use crate::support::{Store, TestStore, daemon, evaluate, flag, item, put, stores};

fn cached(store: &Store) -> CachingStoreWrapper {
    CachingStoreWrapper::builder(Arc::clone(store)).poll_interval(Duration::from_millis(5)).build().unwrap()
}

/// A client in daemon mode whose only cache is ours.
fn client(store: &CachingStoreWrapper) -> Client {
    let mut builder = cached_data_store(store.clone());
    builder.no_caching();
    Client::build(daemon(&builder)).unwrap()
}

/// Evaluations come from the cache, and see what is written through it at once.
#[test]
fn a_client_evaluates_from_the_cache() {
    for store in stores() {
        put(&store, &Kind::FEATURES, "dark-mode", &flag("dark-mode", 1, true));
        let cached = cached(&store);
        let client = client(&cached);
        for _ in 0..3 {
            assert!(evaluate(&client, "dark-mode").0, "{store}");
        }
        let statistics = cached.statistics().unwrap();
        assert_eq!((statistics.loads, statistics.misses), (1, 1), "{store}");

        let off = item(&flag("dark-mode", 2, false));
        assert_eq!(cached.upsert(&Kind::FEATURES, "dark-mode", &off).unwrap(), Upsert::Applied);
        assert!(!evaluate(&client, "dark-mode").0, "{store}");
        assert_eq!(cached.delete(&Kind::FEATURES, "dark-mode", 3).unwrap(), Upsert::Applied);
        let expected = Reason::Error { error: EvalError::FlagNotFound };
        assert_eq!(evaluate(&client, "dark-mode").1, expected, "{store}");
        assert_eq!(cached.statistics().unwrap().loads, 1, "none of it asked the database: {store}");
    }
}

/// What the harness' case of a cached miss means, which looks for too short a time to see it: for the time of the cache
/// nobody asks for an unknown flag again, and then somebody does. The SDK's own cache asks each time.
#[test]
fn a_flag_that_is_unknown_is_asked_for_once_in_a_while() {
    const LONG: Duration = Duration::from_secs(3600);
    for store in stores() {
        let dark_mode = flag("dark-mode", 1, true);
        let cache = |time| {
            let builder = CachingStoreWrapper::builder(Arc::clone(&store)).mode(CacheMode::For(time));
            builder.build().unwrap()
        };
        let (lasting, brief) = (cache(LONG), cache(Duration::from_millis(20)));
        let ours = client(&lasting);
        let soon = client(&brief);
        let mut builder = data_store(Arc::clone(&store));
        builder.cache_time(LONG);
        let official = Client::build(daemon(&builder)).unwrap();
        for client in [&ours, &soon, &official] {
            assert!(!evaluate(client, "dark-mode").0, "{store}");
        }
        put(&store, &Kind::FEATURES, "dark-mode", &dark_mode);
        assert!(!evaluate(&ours, "dark-mode").0, "{store}");
        assert_eq!(lasting.statistics().unwrap().loads, 1, "{store}");
        assert!(evaluate(&official, "dark-mode").0, "the SDK's cache has learnt to keep a miss: {store}");
        let deadline = Instant::now() + Duration::from_secs(30);
        while !evaluate(&soon, "dark-mode").0 {
            assert!(Instant::now() < deadline, "{store}");
            std::thread::yield_now();
        }
    }
}

/// A flag that the SDK cannot parse spoils no other here either, and tombstones are gone.
#[test]
fn all_flags_are_those_that_parse() {
    for store in stores() {
        put(&store, &Kind::FEATURES, "good", &flag("good", 1, true));
        put(&store, &Kind::FEATURES, "wrong", r#"{"key":"wrong","version":1,"on":"yes"}"#);
        let _ = store.upsert(&Kind::FEATURES, "gone", &Item::tombstone("gone", 2).unwrap()).unwrap();
        let plug = FlagstoreFactory::cached(cached(&store)).create_persistent_data_store().unwrap();
        let keys: Vec<String> = plug.all_flags().unwrap().into_keys().collect();
        assert_eq!(keys, ["good"], "{store}");
    }
}

/// What the SDK cannot tell: that the database is down, while the client goes on from the cache.
#[test]
fn the_wrapper_tells_the_status_that_the_sdk_lacks() {
    let test = Arc::new(TestStore { down: Some("connection refused"), ..TestStore::default() });
    let cached = cached(&(Arc::<TestStore>::clone(&test) as Store));
    let client = client(&cached);
    assert!(cached.status_provider().status().available);
    assert!(!evaluate(&client, "dark-mode").0);
    assert_eq!(cached.status_provider().status(), DataStoreStatus { available: false, stale: false });
}

/// What a lasting cache takes although the database has not is done for the SDK, so that its own cache shows it too.
#[test]
fn what_a_lasting_cache_keeps_is_no_error_for_the_sdk() {
    let test: Store = Arc::new(TestStore { down: Some("connection refused"), ..TestStore::default() });
    for mode in [CacheMode::Forever, CacheMode::For(Duration::from_secs(60))] {
        let cached = CachingStoreWrapper::builder(Arc::clone(&test)).mode(mode).build().unwrap();
        let mut plug = FlagstoreFactory::cached(cached.clone()).create_persistent_data_store().unwrap();
        let json = flag("dark-mode", 2, true);
        let item = SerializedItem { version: 2, deleted: false, serialized_item: json };
        let upserted = plug.upsert(DataKind::Flag, "dark-mode", item).ok();
        let is_lasting = mode == CacheMode::Forever;
        assert_eq!(upserted, is_lasting.then_some(true), "{mode:?}");
        assert_eq!(
            cached.get_cached(&Kind::FEATURES, "dark-mode").flatten().is_some(),
            is_lasting,
            "{mode:?}"
        );
    }
}

/// From here on the SDK reads the database.
#[test]
fn the_cache_can_be_switched_off_under_a_client() {
    for store in stores() {
        put(&store, &Kind::FEATURES, "dark-mode", &flag("dark-mode", 1, true));
        let cached = cached(&store);
        let client = client(&cached);
        assert!(evaluate(&client, "dark-mode").0, "{store}");
        put(&store, &Kind::FEATURES, "dark-mode", &flag("dark-mode", 2, false));
        assert!(evaluate(&client, "dark-mode").0, "still cached: {store}");
        cached.disable_cache();
        assert!(!evaluate(&client, "dark-mode").0, "{store}");
        assert!(cached.statistics().is_none());
    }
}

/// A client that is dropped with its store inside a runtime takes the threads of the wrapper with it.
#[test]
fn an_outage_does_not_outlive_the_store() {
    let test: Store = Arc::new(TestStore { down: Some("connection refused"), ..TestStore::default() });
    let gone = Arc::downgrade(&test);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        let cached = cached(&test);
        drop(test);
        let client = client(&cached);
        assert!(!evaluate(&client, "dark-mode").0);
        drop((client, cached));
    });
    let deadline = Instant::now() + Duration::from_secs(30);
    while gone.strong_count() > 0 {
        assert!(Instant::now() < deadline, "a thread still holds the store");
        std::thread::yield_now();
    }
}
