use std::sync::mpsc::channel;
use std::time::Duration;

use flagstore_core::{FeatureStore, FeatureStoreCore, Kind, MemoryStore};
use flagstore_launchdarkly::DataSystem;
use launchdarkly_server_sdk::FlagValue;

use crate::support::{LONG, Manual, context, environment, flag, sqlite, watching};

/// What the source brings is announced.
#[test]
fn changes_by_the_source_are_announced() {
    let source = Manual::default();
    let system = DataSystem::builder(MemoryStore::new()).data_source(source.clone()).build().unwrap();
    source.put(&environment([("a", 1, true), ("b", 1, true)]));
    let (tell, told) = channel();
    let _listener = system.flag_tracker().add_listener(move |change| drop(tell.send(change.key)));
    source.patch("b", &flag("b", 2, false));
    assert_eq!(&*told.recv_timeout(LONG).unwrap(), "b");
}

/// So is what another process writes, to one that only reads: each flag that differs, when it can be read.
#[test]
fn changes_by_another_process_are_announced() {
    let folder = tempfile::tempdir().unwrap();
    let other = sqlite(folder.path());
    other.init(&environment([("a", 1, true), ("b", 1, true)])).unwrap();
    let system = watching(folder.path()).build().unwrap();
    let (tell, told) = channel();
    let store = system.store().clone();
    let _listener = system.flag_tracker().add_listener(move |change| {
        let item = store.get(&Kind::FEATURES, &change.key).unwrap();
        drop(tell.send((change.key, item.map(|item| item.version()))));
    });
    for version in 2..5 {
        other.upsert(&Kind::FEATURES, "b", &flag("b", version, true)).map(drop).unwrap();
        let (key, seen) = told.recv_timeout(LONG).unwrap();
        assert_eq!((&*key, seen), ("b", Some(version)));
    }
    other.init(&environment([("b", 4, true)])).unwrap();
    let (key, seen) = told.recv_timeout(LONG).unwrap();
    assert_eq!((&*key, seen), ("a", None));
}

/// Changes that are set for the cache are those of the whole system.
#[test]
fn changes_of_the_cache_are_announced_too() {
    let folder = tempfile::tempdir().unwrap();
    let other = sqlite(folder.path());
    other.init(&environment([("a", 1, true)])).unwrap();
    let changes = sqlite(folder.path()).changes(Duration::from_millis(5));
    let system = DataSystem::builder(sqlite(folder.path()))
        .cache(move |cache| cache.changes(changes))
        .build()
        .unwrap();
    let (tell, told) = channel();
    let _listener = system.flag_tracker().add_listener(move |change| drop(tell.send(change.key)));
    other.upsert(&Kind::FEATURES, "a", &flag("a", 2, true)).map(drop).unwrap();
    assert_eq!(&*told.recv_timeout(LONG).unwrap(), "a");
}

/// A listener to a value is told of another value for its context, and of nothing else.
#[test]
fn a_value_is_told_when_it_differs() {
    let source = Manual::default();
    let system = DataSystem::builder(MemoryStore::new()).data_source(source.clone()).build().unwrap();
    source.put(&environment([]));
    let (tell, told) = channel();
    let _listener = system.add_flag_value_change_listener("dark-mode", context(), false, move |change| {
        drop(tell.send((change.old_value, change.new_value)));
    });
    source.patch("dark-mode", &flag("dark-mode", 1, false));
    source.patch("other", &flag("other", 1, true));
    source.patch("dark-mode", &flag("dark-mode", 2, true));
    assert_eq!(told.recv_timeout(LONG), Ok((FlagValue::Bool(false), FlagValue::Bool(true))));
    source.patch("dark-mode", &flag("dark-mode", 3, false));
    assert_eq!(told.recv_timeout(LONG), Ok((FlagValue::Bool(true), FlagValue::Bool(false))));
}
