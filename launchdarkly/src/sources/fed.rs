//! What the tests of sources have in common: a source between a stand-in of LaunchDarkly and a store.
#![cfg(feature = "service")]

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{
    AllData, CachingStoreWrapper, DataSourceErrorInfo, DataSourceErrorKind, DataSourceFactory,
    DataSourceState, DataSourceStatusProvider, DataSourceUpdateSink, FeatureStore, Item, Kind, MemoryStore,
    UpdateProcessor,
};

pub(super) const LONG: Duration = Duration::from_secs(60);

pub(super) struct Fed {
    pub(super) store: CachingStoreWrapper,
    pub(super) status: DataSourceStatusProvider,
    pub(super) source: Arc<dyn UpdateProcessor>,
}

impl Fed {
    /// Starts the source above an empty store in memory.
    pub(super) fn by(factory: &dyn DataSourceFactory) -> Self {
        let store = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
        let sink = DataSourceUpdateSink::builder(store.clone()).build();
        let status = sink.status_provider();
        let source = factory.create(sink).unwrap();
        source.start();
        Self { store, status, source }
    }

    pub(super) fn wait_for(&self, state: DataSourceState) {
        assert!(self.status.wait_for(state, LONG), "{:?}", self.status.status());
    }

    /// Waits for an error of this kind, whatever the state.
    pub(super) fn wait_for_error(&self, kind: DataSourceErrorKind) -> DataSourceErrorInfo {
        let error = || self.status.status().last_error.filter(|error| error.kind == kind);
        wait_until(&format!("an error {kind}"), || error().is_some());
        error().unwrap()
    }

    /// Puts something into the store that only an init takes away: the flag `mark`.
    pub(super) fn mark(&self) {
        let _ = self.store.upsert(&Kind::FEATURES, "mark", &flag("mark", 1)).unwrap();
    }

    /// Waits until the flag has this version; `None` if there is none.
    pub(super) fn wait_for_flag(&self, key: &str, version: Option<u64>) {
        wait_until(&format!("version {version:?} of {key}"), || self.version(key) == version);
    }

    pub(super) fn version(&self, key: &str) -> Option<u64> {
        self.store.get(&Kind::FEATURES, key).unwrap().map(|item| item.version())
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        self.source.stop();
    }
}

#[path = "../../tests/support/stand_in.rs"]
mod stand_in;
pub(super) use stand_in::stand_in;

pub(super) fn flag(key: &str, version: u64) -> Item {
    Item::parse(format!(r#"{{"key":"{key}", "version":{version},"on" : true}}"#)).unwrap()
}

pub(super) fn flags<'a>(flags: impl IntoIterator<Item = (&'a str, u64)>) -> AllData {
    let flags = flags.into_iter().map(|(key, version)| (key, flag(key, version)));
    AllData::new().with(Kind::SEGMENTS, Vec::<(&str, Item)>::new()).with(Kind::FEATURES, flags)
}

pub(super) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// How many threads of this process have a name that begins so.
#[cfg(target_os = "linux")]
pub(super) fn threads(name: &str) -> usize {
    // Linux keeps 15 bytes of a name.
    let name = &name[..name.len().min(15)];
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|thread| thread.starts_with(name)).count()
}
