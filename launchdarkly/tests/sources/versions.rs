//! What the harness' cases of versions in the persistent store mean: there, none of them would see a store that gets it
//! wrong.

use std::sync::Arc;

use flagstore_conformance::StandIn;
use flagstore_core::{DataSourceState, FeatureStoreCore, Item, Kind, Upsert};
use flagstore_launchdarkly::sources::{LaunchDarklyService, StreamingDataSourceBuilder};
use flagstore_launchdarkly::{DataSystem, data_store};
use flagstore_sqlite::SqliteStore;

use crate::official::official_over;
use crate::stand_in::stand_in;
use crate::support::{LONG, flag, flags, wait_until};

type Store = Arc<dyn FeatureStoreCore>;

/// The official client's source, whose updates come through the plug.
#[test]
fn the_official_source_respects_the_versions_of_others() {
    let (service, store) = start();
    let mut plug = data_store(Arc::clone(&store));
    let (client, _runtime) = official_over(&service, Some(plug.no_caching()));
    respects_the_versions_of_others(&service, &store);
    client.close();
}

/// Our source, whose updates come through our cache, which lasts.
#[test]
fn our_source_respects_the_versions_of_others() {
    let (service, store) = start();
    let builder =
        StreamingDataSourceBuilder::new(LaunchDarklyService::new("sdk-key").relay_proxy(service.url()));
    let system = DataSystem::builder(Arc::clone(&store)).data_source(builder).build().unwrap();
    assert!(system.data_source_status_provider().unwrap().wait_for(DataSourceState::Valid, LONG));
    respects_the_versions_of_others(&service, &store);
    assert!(system.close(LONG));
}

fn start() -> (StandIn, Store) {
    let service = stand_in();
    service.init(&flags([("a", 1), ("untouched", 100)]));
    (service, Arc::new(SqliteStore::in_memory().build().unwrap()))
}

/// Another process has put version 100 into the database: older and equal ones change nothing, a newer one is stored,
/// and the same for deletions.
fn respects_the_versions_of_others(service: &StandIn, store: &Store) {
    let stored = |key: &str| store.get(&Kind::FEATURES, key).unwrap().expect("it is there");
    let theirs = flag("a", 100, false);
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &theirs).unwrap(), Upsert::Applied);
    let mut updates = 0;
    // Updates are stored in the order in which they come, so what was sent before this one has been dealt with.
    let mut sent = || {
        updates += 1;
        let marker = flag("marker", updates, true);
        service.upsert(&Kind::FEATURES, "marker", &marker);
        wait_until("the marker", || {
            let found = store.get(&Kind::FEATURES, "marker").unwrap();
            found.is_some_and(|found| found.version() == updates)
        });
    };
    for version in [2, 99, 100] {
        service.upsert(&Kind::FEATURES, "a", &flag("a", version, true));
        sent();
        assert_eq!(stored("a").json(), theirs.json(), "after an update to {version}");
        service.delete(&Kind::FEATURES, "a", version);
        sent();
        assert_eq!(stored("a").json(), theirs.json(), "after a deletion of {version}");
    }
    service.upsert(&Kind::FEATURES, "a", &flag("a", 200, true));
    sent();
    assert_eq!((stored("a").version(), value(&stored("a"))), (200, true));
    service.delete(&Kind::FEATURES, "a", 201);
    sent();
    assert_eq!((stored("a").version(), stored("a").is_deleted()), (201, true));
    assert_eq!((stored("untouched").version(), stored("untouched").is_deleted()), (100, false));
}

/// The only variation of the flag.
fn value(item: &Item) -> bool {
    let json: serde_json::Value = serde_json::from_str(item.json()).unwrap();
    json["variations"][0].as_bool().unwrap()
}
