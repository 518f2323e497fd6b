//! What a source brings, as Python's `test_data_sink` and Go's `data_source_update_sink_impl_test` have it.

use flagstore_core::DataSourceErrorKind::StoreError as StoreFailed;
use flagstore_core::DataSourceState::{Initializing, Interrupted, Off, Valid};
use flagstore_core::{DataSourceUpdateSink, Delivery, FeatureStore, FeatureStoreCore, Kind};

use crate::support::{Database, cached, environment, flag, flags};

/// A sink whose store says nothing of how its database does.
fn unwatched(database: &Database) -> DataSourceUpdateSink {
    DataSourceUpdateSink::builder(cached(database).build().unwrap()).build()
}

/// Whole data replaces what was there, and the store counts as initialized.
#[test]
fn init_replaces_everything() {
    let database = Database::default();
    let sink = unwatched(&database);
    assert_eq!(sink.init(&environment([("old", flag(1))], [("segment", flag(1))])), Delivery::Stored);
    assert_eq!(sink.init(&flags([("new", flag(1))])), Delivery::Stored);
    assert!(sink.store().initialized());
    assert_eq!(sink.store().get(&Kind::FEATURES, "old").unwrap(), None);
    assert_eq!(sink.store().get(&Kind::SEGMENTS, "segment").unwrap(), None);
    assert_eq!(database.memory.get(&Kind::FEATURES, "new").unwrap(), Some(flag(1)));
}

/// An update counts if its version is higher, and an older one is no error.
#[test]
fn upsert_and_delete_respect_versions() {
    let database = Database::default();
    let sink = unwatched(&database);
    for (version, stored) in [(2, 2), (1, 2), (2, 2), (3, 3)] {
        assert_eq!(sink.upsert(&Kind::FEATURES, "a", &flag(version)), Delivery::Stored);
        assert_eq!(sink.store().get(&Kind::FEATURES, "a").unwrap(), Some(flag(stored)));
    }
    assert_eq!(sink.delete(&Kind::FEATURES, "a", 3), Delivery::Stored);
    assert!(sink.store().get(&Kind::FEATURES, "a").unwrap().is_some(), "the same version is too old");
    assert_eq!(sink.delete(&Kind::FEATURES, "a", 4), Delivery::Stored);
    assert_eq!(sink.store().get(&Kind::FEATURES, "a").unwrap(), None);
    let tombstone = database.memory.get(&Kind::FEATURES, "a").unwrap().unwrap();
    assert_eq!((tombstone.version(), tombstone.is_deleted()), (4, true));
}

/// Where nobody says how the database does, the source has to send everything again.
#[test]
fn a_failed_write_is_a_store_error_and_has_to_be_repeated() {
    let database = Database::default();
    let sink = unwatched(&database);
    database.switch_off();
    assert_eq!(sink.init(&flags([("a", flag(1))])), Delivery::Failed);
    let status = sink.status_provider().status();
    assert_eq!((status.state, status.last_error.unwrap().kind), (Initializing, StoreFailed));

    database.switch_on();
    assert_eq!(sink.init(&flags([("a", flag(1))])), Delivery::Stored);
    sink.update_status(Valid, None);
    database.switch_off();
    assert_eq!(sink.upsert(&Kind::FEATURES, "a", &flag(2)), Delivery::Failed);
    let status = sink.status_provider().status();
    assert_eq!(status.state, Interrupted);
    assert!(status.last_error.unwrap().message.contains("switched off"));
}

/// To send it again would change nothing, so the source goes on. It shows as an error all the same.
#[test]
fn what_is_too_large_is_reported_and_holds_up_nothing() {
    let database = Database::default();
    let sink = unwatched(&database);
    sink.update_status(Valid, None);
    database.refuse();
    assert_eq!(sink.upsert(&Kind::FEATURES, "a", &flag(1)), Delivery::Stored);
    let status = sink.status_provider().status();
    assert_eq!((status.state, status.last_error.unwrap().kind), (Valid, StoreFailed));
}

/// A version that no item can have is refused, and nothing is written.
#[test]
fn a_version_above_all_versions_is_refused() {
    let database = Database::default();
    let sink = unwatched(&database);
    assert_eq!(sink.delete(&Kind::FEATURES, "a", u64::MAX), Delivery::Failed);
    assert_eq!(database.memory.get(&Kind::FEATURES, "a").unwrap(), None);
}

/// A source that has not ended yet when it was stopped does no harm.
#[test]
fn nothing_is_stored_after_the_end() {
    let database = Database::default();
    let sink = unwatched(&database);
    sink.update_status(Off, None);
    assert_eq!(sink.init(&flags([("a", flag(1))])), Delivery::Failed);
    assert_eq!(sink.upsert(&Kind::FEATURES, "a", &flag(1)), Delivery::Failed);
    assert!(!database.memory.is_initialized().unwrap());
    assert_eq!(database.memory.get(&Kind::FEATURES, "a").unwrap(), None);
}
