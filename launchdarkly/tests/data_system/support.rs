use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flagstore_core::{
    AllData, BackgroundOperation, DataSourceFactory, DataSourceState, DataSourceUpdateSink, Delivery, Item,
    Kind, StoreError, UpdateProcessor,
};
use flagstore_launchdarkly::{DataSystem, DataSystemBuilder};
use flagstore_sqlite::SqliteStore;
use launchdarkly_server_sdk::{Client, ConfigBuilder, Context, ContextBuilder, NullEventProcessorBuilder};
use parking_lot::Mutex;

/// How long a test waits for what has to come.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A source that brings what the test says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manual {
    sink: Arc<Mutex<Option<DataSourceUpdateSink>>>,
    is_alive: Arc<AtomicBool>,
    is_initialized: Arc<AtomicBool>,
}

impl Manual {
    pub(crate) fn put(&self, all_data: &AllData) {
        let sink = self.sink.lock().clone().unwrap();
        assert_eq!(sink.init(all_data), Delivery::Stored);
        self.is_initialized.store(true, Ordering::Release);
        sink.update_status(DataSourceState::Valid, None);
    }

    pub(crate) fn patch(&self, key: &str, item: &Item) {
        let sink = self.sink.lock().clone().unwrap();
        assert_eq!(sink.upsert(&Kind::FEATURES, key, item), Delivery::Stored);
    }
}

impl DataSourceFactory for Manual {
    fn create(&self, sink: DataSourceUpdateSink) -> Result<Arc<dyn UpdateProcessor>, StoreError> {
        *self.sink.lock() = Some(sink);
        Ok(Arc::new(self.clone()))
    }
}

impl BackgroundOperation for Manual {
    fn start(&self) {
        self.is_alive.store(true, Ordering::Release);
    }

    fn stop(&self) {
        self.is_alive.store(false, Ordering::Release);
        self.sink.lock().take();
    }

    fn is_alive(&self) -> bool {
        self.is_alive.load(Ordering::Acquire)
    }
}

impl UpdateProcessor for Manual {
    fn initialized(&self) -> bool {
        self.is_initialized.load(Ordering::Acquire)
    }

    fn refresh(&self) {}
}

pub(crate) fn sqlite(folder: &Path) -> SqliteStore {
    SqliteStore::builder(folder.join("flags.db")).build().unwrap()
}

/// A data system that watches what others write to its file.
pub(crate) fn watching(folder: &Path) -> DataSystemBuilder {
    let store = sqlite(folder);
    let changes = store.changes(Duration::from_millis(5));
    DataSystem::builder(store).changes(changes)
}

pub(crate) fn client(system: &DataSystem) -> Client {
    let config = ConfigBuilder::new("sdk-key").event_processor(&NullEventProcessorBuilder::new());
    Client::build(system.configure(config).build().unwrap()).unwrap()
}

pub(crate) fn context() -> Context {
    ContextBuilder::new("user-1").build().unwrap()
}

/// A flag that everybody gets this value of.
pub(crate) fn flag(key: &str, version: u64, value: bool) -> Item {
    let variation = u8::from(value);
    Item::parse(format!(
        r#"{{"key":"{key}","version":{version},"on":true,"variations":[false,true],"fallthrough":{{"variation":{variation}}},
            "targets":[],"rules":[],"prerequisites":[],"salt":"","clientSide":false}}"#
    ))
    .unwrap()
}

pub(crate) fn environment<const N: usize>(flags: [(&str, u64, bool); N]) -> AllData {
    AllData::new()
        .with(Kind::SEGMENTS, Vec::<(String, Item)>::new())
        .with(Kind::FEATURES, flags.map(|(key, version, value)| (key, flag(key, version, value))))
}

/// Waits until this is so.
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}
