//! A stream into SQLite whose file goes away and comes back.

use std::time::Duration;

use flagstore_conformance::StandIn;
use flagstore_core::{DataSourceState, FeatureStoreCore, Kind};
use flagstore_launchdarkly::DataSystem;
use flagstore_launchdarkly::sources::{LaunchDarklyService, StreamingDataSourceBuilder};
use flagstore_sqlite::SqliteStore;

use crate::stand_in::stand_in;
use crate::support::{LONG, flag, flags, wait_until};

/// What came while the database was locked by somebody is there afterwards, and the stream was never opened anew.
#[test]
fn what_comes_while_the_database_is_locked_is_stored_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.db");
    let service = stand_in();
    service.init(&flags([("a", 1)]));
    let store = SqliteStore::builder(&path).timeout(Duration::from_millis(200)).build().unwrap();
    let builder =
        StreamingDataSourceBuilder::new(LaunchDarklyService::new("sdk-key").relay_proxy(service.url()));
    let system = DataSystem::builder(store).data_source(builder).build().unwrap();
    let status = system.data_source_status_provider().unwrap();
    assert!(status.wait_for(DataSourceState::Valid, LONG));

    let locker = flagstore_sqlite::rusqlite::Connection::open(&path).unwrap();
    locker.execute_batch("BEGIN IMMEDIATE").unwrap();
    service.upsert(&Kind::FEATURES, "a", &flag("a", 2, false));
    assert!(status.wait_for(DataSourceState::Interrupted, LONG));
    let other = SqliteStore::builder(&path).build().unwrap();
    assert_eq!(other.get(&Kind::FEATURES, "a").unwrap().unwrap().version(), 1);
    locker.execute_batch("ROLLBACK").unwrap();
    assert!(status.wait_for(DataSourceState::Valid, LONG));
    wait_until("the change", || other.get(&Kind::FEATURES, "a").unwrap().unwrap().version() == 2);
    assert_eq!(service.requests().len(), 1);
    assert!(system.close(LONG));
}

/// A source whose service is not there leaves what the last run has stored.
#[test]
fn the_last_run_counts_while_the_service_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.db");
    let system = |url: String| {
        let builder = StreamingDataSourceBuilder::new(LaunchDarklyService::new("sdk-key").relay_proxy(url))
            .initial_reconnect_delay(Duration::from_millis(1));
        let store = SqliteStore::builder(&path).build().unwrap();
        DataSystem::builder(store).data_source(builder).build().unwrap()
    };
    let service = stand_in();
    service.init(&flags([("a", 1)]));
    let first = system(service.url());
    assert!(first.data_source_status_provider().unwrap().wait_for(DataSourceState::Valid, LONG));
    first.close(LONG);
    let (address, url) = (service.address(), service.url());
    drop(service);

    let second = system(url);
    assert!(second.wait_for_initialization(LONG));
    let status = second.data_source_status_provider().unwrap();
    wait_until("the error", || status.status().last_error.is_some());
    assert_eq!(status.status().state, DataSourceState::Initializing);
    let service = StandIn::start_at(address).unwrap();
    service.init(&flags([("a", 1), ("b", 1)]));
    assert!(status.wait_for(DataSourceState::Valid, LONG));
}
