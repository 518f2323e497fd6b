use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flagstore_core::{
    AllData, BackgroundOperation, DataSourceErrorInfo, DataSourceFactory, DataSourceState,
    DataSourceUpdateSink, DecodeError, Delivery, Item, Kind, StoreError, UpdateProcessor,
};
use launchdarkly_server_sdk::{Flag, FlagBuilder, Segment};
use parking_lot::Mutex;

use super::version::with_version;
use crate::model::{FLAG, Model, SEGMENT};

/// Data that a test sets: a source for the tests of applications.
///
/// A clone is the same data. Every source that is made of it gets all data at its start and each change from then
/// on, before the method that makes the change returns. Versions count up by themselves, from 1 for each key.
///
/// ```
/// use flagstore_core::{DataSourceFactory, DataSourceUpdateSink, FeatureStore, Kind};
/// use flagstore_core::{CachingStoreWrapper, MemoryStore};
/// use flagstore_launchdarkly::sources::TestData;
///
/// let test_data = TestData::new();
/// test_data.update(test_data.flag("dark-mode").variation_for_all(true));
///
/// let store = CachingStoreWrapper::builder(MemoryStore::new()).build()?;
/// let source = test_data.create(DataSourceUpdateSink::builder(store.clone()).build())?;
/// source.start();
/// assert!(source.initialized());
/// assert_eq!(store.get(&Kind::FEATURES, "dark-mode")?.map(|flag| flag.version()), Some(1));
///
/// test_data.update(test_data.flag("dark-mode").on(false));
/// assert_eq!(store.get(&Kind::FEATURES, "dark-mode")?.map(|flag| flag.version()), Some(2));
/// # Ok::<(), flagstore_core::StoreError>(())
/// ```
#[derive(Clone, Default)]
pub struct TestData(Arc<Data>);

#[derive(Default)]
struct Data {
    state: Mutex<State>,
    /// Held while the sources are given something, so that they get it in the order in which it was set. Nothing
    /// that a store calls comes back here.
    delivery: Mutex<()>,
}

#[derive(Default)]
struct State {
    builders: HashMap<String, FlagBuilder>,
    items: BTreeMap<(Kind, String), Item>,
    sources: Vec<Arc<Source>>,
}

impl TestData {
    /// No flags and no segments.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The flag as it was built last, to change something about it; or a new one, which is on and true for
    /// everybody.
    #[must_use]
    pub fn flag(&self, key: &str) -> FlagBuilder {
        let builder = self.0.state.lock().builders.get(key).cloned();
        builder.unwrap_or_else(|| FlagBuilder::new(key))
    }

    /// Sets a flag as it was built.
    pub fn update(&self, flag: FlagBuilder) {
        self.0.state.lock().builders.insert(flag.key().to_owned(), flag.clone());
        self.set_value(Kind::FEATURES, flag.key().to_owned(), &flag.build());
    }

    /// Sets a flag that the builder cannot build. Its version is not looked at.
    pub fn use_preconfigured_flag(&self, flag: &Flag) {
        self.set_value(Kind::FEATURES, flag.key.clone(), flag);
    }

    /// Sets a segment. Its version is not looked at.
    pub fn use_preconfigured_segment(&self, segment: &Segment) {
        self.set_value(Kind::SEGMENTS, segment.key.clone(), segment);
    }

    /// Sets a flag or a segment to any JSON, of which every byte but the version is kept.
    ///
    /// # Errors
    ///
    /// When that is not a JSON object, or has two versions.
    pub fn set_json(&self, kind: &Kind, key: &str, json: &str) -> Result<(), DecodeError> {
        self.set(kind.clone(), key.to_owned(), |version| Item::parse(with_version(json, version)?))
    }

    /// Deletes a flag or a segment, also one that there never was.
    pub fn delete(&self, kind: &Kind, key: &str) {
        let tombstone = self.set(kind.clone(), key.to_owned(), |version| Item::tombstone(key, version));
        // Its version counts from 1, so it takes long to come to one that no item can have.
        debug_assert!(tombstone.is_ok());
    }

    /// Has every source report this, as one that does not work.
    pub fn update_status(&self, state: DataSourceState, error: Option<&DataSourceErrorInfo>) {
        for source in self.0.sources() {
            source.sink.update_status(state, error.cloned());
        }
    }

    fn set_value(&self, kind: Kind, key: String, value: &impl serde::Serialize) {
        let model: &Model = if kind == Kind::FEATURES { &FLAG } else { &SEGMENT };
        let json = serde_json::to_string(value).unwrap_or_default();
        // The SDK writes some things that others cannot read.
        let json = model.repair(&json).unwrap_or(json);
        let set = self.set(kind, key, |version| Item::parse(with_version(&json, version)?));
        // A value of the model is an object with one version.
        debug_assert!(set.is_ok());
    }

    fn set(
        &self,
        kind: Kind,
        key: String,
        item: impl FnOnce(u64) -> Result<Item, DecodeError>,
    ) -> Result<(), DecodeError> {
        let _in_order = self.0.delivery.lock();
        let place = (kind, key);
        let item = {
            let mut state = self.0.state.lock();
            let version = state.items.get(&place).map_or(0, Item::version);
            let item = item(version + 1)?;
            state.items.insert(place.clone(), item.clone());
            item
        };
        for source in self.0.sources() {
            source.upsert(&self.0, &place.0, &place.1, &item);
        }
        Ok(())
    }
}

impl Data {
    fn sources(&self) -> Vec<Arc<Source>> {
        self.state.lock().sources.clone()
    }

    fn all_data(&self) -> AllData {
        let state = self.state.lock();
        let of = |kind: &Kind| {
            let items = state.items.iter().filter(|((of, _), _)| of == kind);
            items.map(|((_, key), item)| (key.clone(), item.clone())).collect::<Vec<_>>()
        };
        // Both kinds, also where there is nothing of one.
        AllData::new().with(Kind::SEGMENTS, of(&Kind::SEGMENTS)).with(Kind::FEATURES, of(&Kind::FEATURES))
    }
}

impl DataSourceFactory for TestData {
    fn create(&self, sink: DataSourceUpdateSink) -> Result<Arc<dyn UpdateProcessor>, StoreError> {
        let source =
            Source { sink, is_initialized: AtomicBool::new(false), is_behind: AtomicBool::new(false) };
        let has_begun = AtomicBool::new(false);
        Ok(Arc::new(TestDataSource { data: Arc::clone(&self.0), source: Arc::new(source), has_begun }))
    }
}

impl fmt::Debug for TestData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        write!(f, "TestData({} items, {} sources)", state.items.len(), state.sources.len())
    }
}

/// One of those that feed from the data.
#[derive(Debug)]
struct Source {
    sink: DataSourceUpdateSink,
    is_initialized: AtomicBool,
    /// Whether the store has not taken something.
    is_behind: AtomicBool,
}

impl Source {
    fn init(&self, data: &Data) {
        self.note(self.sink.init(&data.all_data()));
    }

    fn upsert(&self, data: &Data, kind: &Kind, key: &str, item: &Item) {
        if self.is_behind.load(Ordering::Acquire) {
            self.init(data);
        } else if self.sink.upsert(kind, key, item) == Delivery::Failed {
            self.is_behind.store(true, Ordering::Release);
        }
    }

    fn note(&self, delivery: Delivery) {
        self.is_behind.store(delivery == Delivery::Failed, Ordering::Release);
        if delivery == Delivery::Stored {
            self.is_initialized.store(true, Ordering::Release);
        }
        if delivery != Delivery::Failed {
            self.sink.update_status(DataSourceState::Valid, None);
        }
    }
}

struct TestDataSource {
    data: Arc<Data>,
    source: Arc<Source>,
    has_begun: AtomicBool,
}

impl BackgroundOperation for TestDataSource {
    fn start(&self) {
        if self.has_begun.swap(true, Ordering::AcqRel) {
            return;
        }
        let _in_order = self.data.delivery.lock();
        self.data.state.lock().sources.push(Arc::clone(&self.source));
        self.source.init(&self.data);
    }

    fn stop(&self) {
        self.has_begun.store(true, Ordering::Release);
        self.data.state.lock().sources.retain(|source| !Arc::ptr_eq(source, &self.source));
    }

    fn is_alive(&self) -> bool {
        self.data.state.lock().sources.iter().any(|source| Arc::ptr_eq(source, &self.source))
    }
}

impl UpdateProcessor for TestDataSource {
    fn initialized(&self) -> bool {
        self.source.is_initialized.load(Ordering::Acquire)
    }

    fn refresh(&self) {
        let _in_order = self.data.delivery.lock();
        self.source.init(&self.data);
    }
}

impl Drop for TestDataSource {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for TestDataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestData")
    }
}

#[cfg(test)]
mod tests {
    use flagstore_core::{
        CachingStoreWrapper, DataSourceErrorKind, DataSourceStatusProvider, FeatureStore, MemoryStore,
    };

    use super::*;

    type Fed = (Arc<dyn UpdateProcessor>, CachingStoreWrapper, DataSourceStatusProvider);

    fn fed(data: &TestData) -> Fed {
        let store = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
        let sink = DataSourceUpdateSink::builder(store.clone()).build();
        let status = sink.status_provider();
        let source = data.create(sink).unwrap();
        source.start();
        (source, store, status)
    }

    fn version(store: &CachingStoreWrapper, kind: &Kind, key: &str) -> Option<u64> {
        store.get(kind, key).unwrap().map(|item| item.version())
    }

    /// All of it at the start, and then each change, to every source.
    #[test]
    fn every_source_has_all_data_and_each_change() {
        let data = TestData::new();
        data.update(data.flag("a").variation_for_all(true));
        let (one, first, status) = fed(&data);
        assert!(one.initialized() && one.is_alive());
        assert_eq!(status.status().state, DataSourceState::Valid);
        data.set_json(&Kind::SEGMENTS, "s", r#"{"key":"s", "unbounded":true}"#).unwrap();
        let (_two, second, _) = fed(&data);
        data.update(data.flag("a").variation_for_all(false));
        for store in [&first, &second] {
            assert_eq!(version(store, &Kind::FEATURES, "a"), Some(2));
            let segment = store.get(&Kind::SEGMENTS, "s").unwrap().unwrap();
            assert_eq!(segment.json(), r#"{"version":1,"key":"s", "unbounded":true}"#);
        }
    }

    /// A deleted flag can come back.
    #[test]
    fn versions_count_on_after_a_deletion() {
        let data = TestData::new();
        let (_source, store, _) = fed(&data);
        data.update(data.flag("a"));
        data.delete(&Kind::FEATURES, "a");
        assert_eq!(version(&store, &Kind::FEATURES, "a"), None);
        data.update(data.flag("a"));
        assert_eq!(version(&store, &Kind::FEATURES, "a"), Some(3));
    }

    /// What the official model makes of them, with a version of ours.
    #[test]
    fn flags_and_segments_of_the_sdk_are_taken() {
        let data = TestData::new();
        let (_source, store, _) = fed(&data);
        let mut segment = Segment::default();
        segment.key = "s".to_owned();
        segment.version = 77;
        data.use_preconfigured_segment(&segment);
        data.use_preconfigured_flag(&FlagBuilder::new("f").build());
        assert_eq!(version(&store, &Kind::SEGMENTS, "s"), Some(1));
        assert_eq!(version(&store, &Kind::FEATURES, "f"), Some(1));
        let segment = store.get(&Kind::SEGMENTS, "s").unwrap().unwrap();
        assert!(!segment.json().contains("null"), "{}", segment.json());
    }

    /// It takes no part in what is set afterwards.
    #[test]
    fn a_stopped_source_gets_nothing_more() {
        let data = TestData::new();
        let (source, store, _) = fed(&data);
        source.stop();
        assert!(!source.is_alive());
        source.start();
        data.update(data.flag("a"));
        assert_eq!(version(&store, &Kind::FEATURES, "a"), None);
        assert_eq!(format!("{data:?}"), "TestData(1 items, 0 sources)");
    }

    /// As an application's test of how it shows an outage needs it.
    #[test]
    fn a_test_can_interrupt_the_source() {
        let data = TestData::new();
        let (_source, _store, status) = fed(&data);
        let error = DataSourceErrorInfo::new(DataSourceErrorKind::NetworkError, "gone");
        data.update_status(DataSourceState::Interrupted, Some(&error));
        assert_eq!(status.status().state, DataSourceState::Interrupted);
        assert_eq!(status.status().last_error, Some(error));
    }
}
