//! What the tests share: items, stores, and the ways into the SDK.

use std::fmt;
use std::sync::{Arc, Mutex};

use flagstore_core::{
    AllData, ErrorKind, FeatureStoreCore, Item, Items, Kind, MemoryStore, StoreError, Upsert,
};
use flagstore_launchdarkly::{FlagstoreFactory, data_store};
use flagstore_sqlite::SqliteStore;
use launchdarkly_server_sdk::{
    Client, Config, ConfigBuilder, Context, ContextBuilder, FlagValue, NullEventProcessorBuilder,
    PersistentDataStore, PersistentDataStoreBuilder, PersistentDataStoreFactory, Reason, SerializedItem,
};

pub(crate) type Store = Arc<dyn FeatureStoreCore>;

/// One store of each sort, all of them empty.
pub(crate) fn stores() -> Vec<Store> {
    vec![Arc::new(MemoryStore::new()), Arc::new(SqliteStore::in_memory().build().unwrap())]
}

/// A flag that gives everyone this value, which is the variation of the same number.
pub(crate) fn flag(key: &str, version: u64, value: bool) -> String {
    format!(
        r#"{{"key":"{key}","version":{version},"on":true,"prerequisites":[],"targets":[],"rules":[],"fallthrough":{{"variation":{}}},"offVariation":0,"variations":[false,true],"clientSide":false,"salt":"","deleted":false}}"#,
        u8::from(value)
    )
}

/// A segment of one user.
pub(crate) fn segment(key: &str, version: u64, included: &str) -> String {
    format!(
        r#"{{"key":"{key}","version":{version},"included":["{included}"],"excluded":[],"rules":[],"salt":"","deleted":false}}"#
    )
}

pub(crate) fn item(json: &str) -> Item {
    Item::parse(json).unwrap()
}

pub(crate) fn put(store: &Store, kind: &Kind, key: &str, json: &str) {
    assert_eq!(store.upsert(kind, key, &item(json)).unwrap(), Upsert::Applied, "{kind}/{key}");
}

/// The JSON that the database holds.
pub(crate) fn stored(store: &Store, kind: &Kind, key: &str) -> String {
    store.get(kind, key).unwrap().expect("nothing is stored").json().to_owned()
}

/// What the SDK hands over for a live item, or for a tombstone.
pub(crate) fn serialized(version: u64, deleted: bool, json: &str) -> SerializedItem {
    SerializedItem { version, deleted, serialized_item: json.to_owned() }
}

/// The parts of a descriptor, which has no `PartialEq` of its own.
pub(crate) fn parts(item: SerializedItem) -> (u64, bool, String) {
    (item.version, item.deleted, item.serialized_item)
}

/// The plug itself.
pub(crate) fn plug(store: &Store) -> Box<dyn PersistentDataStore> {
    FlagstoreFactory::new(Arc::clone(store)).create_persistent_data_store().unwrap()
}

/// The store for a client that caches nothing.
pub(crate) fn uncached(store: &Store) -> PersistentDataStoreBuilder {
    let mut builder = data_store(Arc::clone(store));
    builder.no_caching();
    builder
}

/// Daemon mode. Its `data_store_builder().build()` gives the SDK's own wrapper, whose type has no public name.
pub(crate) fn daemon(builder: &PersistentDataStoreBuilder) -> Config {
    ConfigBuilder::new("sdk-key")
        .daemon_mode(true)
        .event_processor(&NullEventProcessorBuilder::new())
        .data_store(builder)
        .build()
        .unwrap()
}

pub(crate) fn daemon_client(store: &Store) -> Client {
    Client::build(daemon(&uncached(store))).unwrap()
}

pub(crate) fn user() -> Context {
    ContextBuilder::new("user-1").build().unwrap()
}

/// The value and reason of a flag whose values are booleans.
pub(crate) fn evaluate(client: &Client, key: &str) -> (bool, Reason) {
    let detail = client.variation_detail(&user(), key, FlagValue::Bool(false));
    (detail.value.and_then(|value| value.as_bool()).unwrap(), detail.reason)
}

/// A store in memory that tells what it was told, and reports the failures it was made to have.
#[derive(Debug, Default)]
pub(crate) struct TestStore {
    pub(crate) memory: MemoryStore,
    /// What each call of `init` was given.
    pub(crate) inits: Mutex<Vec<AllData>>,
    /// Why nothing works.
    pub(crate) down: Option<&'static str>,
    /// The flag that is too large for it.
    pub(crate) too_large: Option<&'static str>,
    /// The key of something that is no item at all.
    pub(crate) unreadable: Option<&'static str>,
}

impl TestStore {
    fn check(&self, operation: &'static str) -> Result<(), StoreError> {
        match self.down {
            Some(reason) => Err(StoreError::new(ErrorKind::Unavailable, "test", operation, reason)),
            None => Ok(()),
        }
    }
}

impl FeatureStoreCore for TestStore {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        self.check("init")?;
        self.inits.lock().unwrap().push(all_data.clone());
        let fits = |key: &str| self.too_large != Some(key);
        let stored = all_data.kinds().fold(AllData::new(), |stored, (kind, items)| {
            let items = items.filter(|(key, _)| fits(key)).map(|(key, item)| (key, item.clone()));
            stored.with(kind.clone(), items)
        });
        self.memory.init(&stored)?;
        match self.too_large {
            Some(key) => Err(StoreError::new(ErrorKind::TooLarge, "test", "init", "too large")
                .about([(Kind::FEATURES, key.to_owned())])),
            None => Ok(()),
        }
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        self.check("get")?;
        self.memory.get(kind, key)
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        self.check("get_all")?;
        let mut items = self.memory.get_all(kind)?;
        items.unreadable.extend(self.unreadable.map(|key| {
            StoreError::new(ErrorKind::Corrupt, "test", "get_all", "not JSON")
                .about([(kind.clone(), key.to_owned())])
        }));
        Ok(items)
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        self.check("upsert")?;
        self.memory.upsert(kind, key, item)
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        self.check("is_initialized")?;
        self.memory.is_initialized()
    }

    fn is_available(&self) -> bool {
        self.down.is_none()
    }

    fn describe(&self) -> &'static str {
        "test"
    }
}

impl fmt::Display for TestStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Test")
    }
}
