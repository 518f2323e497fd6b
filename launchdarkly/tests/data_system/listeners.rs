use std::sync::mpsc::channel;

use flagstore_core::{FeatureStore, FeatureStoreCore, Kind, MemoryStore};
use flagstore_launchdarkly::DataSystem;

use crate::support::{LONG, Manual, environment, flag, sqlite, watching};

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
