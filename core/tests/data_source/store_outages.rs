//! A store that goes away and comes back.

use std::sync::mpsc::channel;
use std::time::Duration;

use flagstore_core::DataSourceErrorKind::{NetworkError, StoreError as StoreFailed};
use flagstore_core::DataSourceState::{Initializing, Interrupted, Valid};
use flagstore_core::{
    CacheMode, CachingStoreWrapper, DataSourceErrorInfo, DataSourceUpdateSink, DataStoreStatus,
    DataStoreUpdateSink, Delivery, FeatureStoreCore, Kind,
};

use crate::support::{Database, LONG, cached, flag, flags, wait_until};

fn watched(store: &CachingStoreWrapper) -> DataSourceUpdateSink {
    DataSourceUpdateSink::builder(store.clone()).store_status(store.status_provider()).build()
}

fn forever(database: &Database) -> CachingStoreWrapper {
    cached(database).mode(CacheMode::Forever).build().unwrap()
}

/// Has the source bring data, and then an update that the database does not take.
fn fall_behind(database: &Database, sink: &DataSourceUpdateSink) {
    assert_eq!(sink.init(&flags([("a", flag(1))])), Delivery::Stored);
    sink.update_status(Valid, None);
    database.switch_off();
    assert_eq!(sink.upsert(&Kind::FEATURES, "a", &flag(2)), Delivery::Pending);
}

/// The database comes back, and the source is not valid by that.
fn come_back_alone(database: &Database, store: &CachingStoreWrapper, sink: &DataSourceUpdateSink) {
    let (tell, told) = channel();
    let _listener = store.status_provider().add_listener(move |status| tell.send(status).unwrap());
    database.switch_on();
    assert!(told.recv_timeout(LONG).unwrap().available);
    assert!(!sink.status_provider().wait_for(Valid, Duration::from_millis(20)));
}

/// A store that brings its database up to date by itself needs nothing from the source. The source is valid
/// again when that has happened, and not before.
#[test]
fn the_source_is_valid_again_when_the_store_has_everything() {
    let database = Database::default();
    let sink = watched(&forever(&database));
    fall_behind(&database, &sink);
    let status = sink.status_provider().status();
    assert_eq!((status.state, status.last_error.unwrap().kind), (Interrupted, StoreFailed));
    sink.update_status(Valid, None);
    assert_eq!(sink.status_provider().status().state, Interrupted, "the store does not have it yet");

    database.switch_on();
    assert!(sink.status_provider().wait_for(Valid, LONG));
    assert_eq!(database.memory.get(&Kind::FEATURES, "a").unwrap(), Some(flag(2)));
}

/// The same with the very first data.
#[test]
fn the_first_data_may_come_while_the_store_is_away() {
    let database = Database::default();
    let sink = watched(&forever(&database));
    database.switch_off();
    assert_eq!(sink.init(&flags([("a", flag(1))])), Delivery::Pending);
    sink.update_status(Valid, None);
    assert_eq!(sink.status_provider().status().state, Initializing);
    assert!(!sink.initialized(), "only the cache has it");
    database.switch_on();
    assert!(sink.status_provider().wait_for(Valid, LONG));
    assert!(database.memory.is_initialized().unwrap());
    assert!(sink.initialized());
    database.switch_off();
    assert_eq!(sink.upsert(&Kind::FEATURES, "a", &flag(2)), Delivery::Pending);
    assert!(sink.initialized(), "once and for all");
}

/// That the store is back says nothing of the source, which may have failed meanwhile.
#[test]
fn the_store_does_not_speak_for_the_source() {
    let database = Database::default();
    let store = forever(&database);
    let sink = watched(&store);
    fall_behind(&database, &sink);
    sink.update_status(Interrupted, Some(DataSourceErrorInfo::new(NetworkError, "broken pipe")));

    come_back_alone(&database, &store, &sink);
    sink.update_status(Valid, None);
    assert!(sink.status_provider().wait_for(Valid, LONG));
}

/// What was refused meanwhile is still missing when the store is back.
#[test]
fn a_refusal_outlasts_the_outage() {
    let database = Database::default();
    let store = forever(&database);
    let sink = watched(&store);
    fall_behind(&database, &sink);
    assert_eq!(sink.delete(&Kind::FEATURES, "b", u64::MAX), Delivery::Failed);

    come_back_alone(&database, &store, &sink);
    assert_eq!(sink.init(&flags([("a", flag(3))])), Delivery::Stored);
    sink.update_status(Valid, None);
    assert!(sink.status_provider().wait_for(Valid, LONG));
}

/// A store that has missed something says so, and the source, which has nothing to do with it, is asked to send
/// everything again: once.
#[test]
fn a_stale_store_has_the_source_send_everything_again() {
    let database = Database::default();
    let reported = DataStoreUpdateSink::new();
    let store = cached(&database).build().unwrap();
    let sink = DataSourceUpdateSink::builder(store).store_status(reported.status_provider()).build();
    let (source, running) = crate::running::recorded(sink);
    assert_eq!(running.sink().init(&flags([("a", flag(1))])), Delivery::Stored);

    reported.update_status(DataStoreStatus { available: false, stale: false });
    reported.update_status(DataStoreStatus { available: true, stale: false });
    reported.update_status(DataStoreStatus { available: false, stale: false });
    reported.update_status(DataStoreStatus { available: true, stale: true });
    wait_until("the refresh", || source.refreshes() == 1);
    running.stop();
    assert_eq!(source.refreshes(), 1);
}
