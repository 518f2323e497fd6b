use std::time::Duration;

use flagstore_core::{CacheMode, DataSourceState, ErrorKind, FeatureStoreCore, MemoryStore};
use flagstore_launchdarkly::DataSystem;
use launchdarkly_server_sdk::{ConfigBuilder, NullEventProcessorBuilder};

use crate::database::Database;
use crate::support::{LONG, Manual, client, context, environment, flag, sqlite, wait_until};

/// Evaluation starts with the last known flags, while the source has brought nothing.
#[test]
fn what_the_database_has_counts_at_once() {
    let folder = tempfile::tempdir().unwrap();
    sqlite(folder.path()).init(&environment([("dark-mode", 1, true)])).unwrap();

    let system = DataSystem::builder(sqlite(folder.path())).data_source(Manual::default()).build().unwrap();
    assert!(system.wait_for_initialization(Duration::ZERO));
    assert!(client(&system).bool_variation(&context(), "dark-mode", false));
    let status = system.data_source_status_provider().unwrap().status();
    assert_eq!(status.state, DataSourceState::Initializing, "and the source says that it is not up to date");
}

/// What the source brings is what the client evaluates next: nothing in between remembers anything older.
#[test]
fn an_update_is_seen_by_the_next_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let source = Manual::default();
    let system = DataSystem::builder(sqlite(folder.path())).data_source(source.clone()).build().unwrap();
    let client = client(&system);
    assert!(!system.wait_for_initialization(Duration::from_millis(1)));
    assert!(!client.bool_variation(&context(), "dark-mode", false));

    source.put(&environment([("dark-mode", 1, true)]));
    assert!(system.wait_for_initialization(Duration::ZERO));
    assert!(client.bool_variation(&context(), "dark-mode", false));
    for version in 2..10 {
        source.patch("dark-mode", &flag("dark-mode", version, version % 2 == 0));
        assert_eq!(client.bool_variation(&context(), "dark-mode", false), version % 2 == 0);
    }
}

/// Whoever waits goes on when the source has brought data.
#[test]
fn the_wait_ends_with_the_data_of_the_source() {
    let source = Manual::default();
    let system = DataSystem::builder(MemoryStore::new()).data_source(source.clone()).build().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| system.wait_for_initialization(LONG));
        source.put(&environment([]));
        assert!(waiting.join().unwrap());
    });
}

/// Without a source, whoever feeds the database ends the wait, and an answer from before is not remembered.
#[test]
fn the_wait_ends_with_the_data_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let system = DataSystem::builder(sqlite(folder.path())).build().unwrap();
    assert!(!system.initialized());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| system.wait_for_initialization(LONG));
        sqlite(folder.path()).init(&environment([])).unwrap();
        assert!(waiting.join().unwrap());
    });
}

/// A wait has an end, also when the source has ended.
#[test]
fn the_wait_has_an_end() {
    let system = DataSystem::builder(MemoryStore::new()).data_source(Manual::default()).build().unwrap();
    assert!(!system.wait_for_initialization(Duration::from_millis(1)));
    assert!(system.close(LONG));
    assert!(!system.wait_for_initialization(Duration::from_millis(1)));
}

/// Whoever waits for others does not load the database with questions.
#[test]
fn the_wait_asks_the_database_rarely() {
    let database = Database::default();
    let system = DataSystem::builder(database.clone()).build().unwrap();
    let wait = Duration::from_millis(300);
    assert!(!system.wait_for_initialization(wait));
    // 5 ms after the first one, then 10, 20, 40, 80 and 160; and the cache asked once.
    let asked = database.asked();
    assert!((2..=8).contains(&asked), "asked {asked} times");
}

/// Of a database that does not answer only one answer is waited for.
#[test]
fn a_database_that_fails_is_asked_once() {
    let database = Database::default().switched_off();
    let system = DataSystem::builder(database.clone())
        .cache(|cache| cache.poll_interval(Duration::from_secs(3600)))
        .build()
        .unwrap();
    assert!(!system.wait_for_initialization(Duration::ZERO));
    assert_eq!(database.asked(), 1);
}

/// With a source the cache is kept up to date by that, so what somebody else writes is not asked for.
#[test]
fn with_a_source_the_cache_lasts() {
    let system = DataSystem::builder(MemoryStore::new()).data_source(Manual::default()).build().unwrap();
    assert_eq!(system.store().to_string(), "Cached(forever, Watched(Memory))");
    let system = DataSystem::builder(MemoryStore::new()).build().unwrap();
    assert_eq!(system.store().to_string(), "Cached(15s, Watched(Memory))");
    let system = DataSystem::builder(MemoryStore::new())
        .data_source(Manual::default())
        .cache(|cache| cache.mode(CacheMode::For(Duration::from_secs(5))))
        .build()
        .unwrap();
    assert_eq!(system.store().to_string(), "Cached(5s, Watched(Memory))");
}

/// What is wrong is named.
#[test]
fn a_wrong_setting_of_the_cache_is_named() {
    let builder = DataSystem::builder(MemoryStore::new()).cache(|cache| cache.poll_interval(Duration::ZERO));
    let error = builder.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("poll_interval"), "{error}");
}

/// What another process feeds is seen by a client that only reads.
#[test]
fn what_others_write_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let source = Manual::default();
    let writer = DataSystem::builder(sqlite(folder.path())).data_source(source.clone()).build().unwrap();
    let reader = crate::support::watching(folder.path()).build().unwrap();
    let client = client(&reader);
    source.put(&environment([("dark-mode", 1, false)]));
    assert!(reader.wait_for_initialization(LONG));
    wait_until("the first data", || {
        client.variation_detail(&context(), "dark-mode", true).value == Some(false.into())
    });
    source.patch("dark-mode", &flag("dark-mode", 2, true));
    wait_until("the update", || client.bool_variation(&context(), "dark-mode", false));
    assert!(writer.close(LONG));
}

/// The client for Big Segments reads from the same store.
#[test]
fn the_client_for_big_segments_reads_the_same() {
    let source = Manual::default();
    let system = DataSystem::builder(MemoryStore::new()).data_source(source.clone()).build().unwrap();
    let config = ConfigBuilder::new("sdk-key").event_processor(&NullEventProcessorBuilder::new());
    let client = system.big_segments_client(config).unwrap();
    source.put(&environment([("dark-mode", 1, true)]));
    assert!(client.bool_variation(&context(), "dark-mode", false));
    assert!(system.evaluator().bool_variation(&context(), "dark-mode", false));
}
