use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flagstore_core::{
    AllData, DataSourceErrorInfo, DataSourceFactory, DataSourceState, DataSourceUpdateSink, DecodeError,
    Delivery, Item, Kind, StoreError, UpdateProcessor,
};
use launchdarkly_server_sdk::{Flag, FlagBuilder, Segment};
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::clock::Clock;
use super::feed::Feed;
use super::segment_builder::SegmentBuilder;
use super::threaded::{Threaded, Work};
use super::version::with_version;
use crate::model::{FLAG, Model, SEGMENT};

/// Data that a test sets: a source for the tests of applications.
///
/// A clone is the same data. Every source that is made of it brings all data after its start, and then each change
/// before the method that makes it returns, unless its store does not take it. Versions count up by themselves,
/// from 1 for each key.
///
/// ```
/// use flagstore_core::{CachingStoreWrapper, DataSource, DataSourceUpdateSink, FeatureStore, Kind, MemoryStore};
/// use flagstore_launchdarkly::sources::TestData;
///
/// let store = CachingStoreWrapper::builder(MemoryStore::new()).build()?;
/// let test_data = TestData::new();
/// let source = DataSource::start(&test_data, DataSourceUpdateSink::builder(store.clone()).build())?;
///
/// test_data.update(test_data.flag("dark-mode").variation_for_all(true));
/// assert_eq!(store.get(&Kind::FEATURES, "dark-mode")?.map(|flag| flag.version()), Some(1));
///
/// test_data.update(test_data.flag("dark-mode").on(false));
/// assert_eq!(store.get(&Kind::FEATURES, "dark-mode")?.map(|flag| flag.version()), Some(2));
///
/// test_data.update_segment(test_data.segment("testers").include(["user-1"]));
/// assert_eq!(store.get(&Kind::SEGMENTS, "testers")?.map(|segment| segment.version()), Some(1));
/// # Ok::<(), flagstore_core::StoreError>(())
/// ```
#[derive(Clone, Default)]
pub struct TestData(Arc<Data>);

struct Data {
    state: Mutex<State>,
    /// Wakes those who wait until the sources have brought a change.
    brought: Condvar,
    /// Wakes the sources: how many changes there are.
    changes: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    flags: HashMap<String, FlagBuilder>,
    segments: HashMap<String, SegmentBuilder>,
    items: BTreeMap<(Kind, String), Item>,
    /// What has changed, one after the other.
    changes: Vec<(Kind, String)>,
    /// Those that work.
    sources: BTreeMap<u64, Working>,
    made: u64,
}

struct Working {
    sink: DataSourceUpdateSink,
    /// How many of the changes it has brought.
    brought: usize,
}

/// How long a change waits for the sources to bring it. Only a store that hangs takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause before what a store did not take is sent again.
const AFTER_A_FAILURE: Duration = Duration::from_secs(1);

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
        let builder = self.0.state.lock().flags.get(key).cloned();
        builder.unwrap_or_else(|| FlagBuilder::new(key))
    }

    /// Sets a flag as it was built.
    pub fn update(&self, flag: FlagBuilder) {
        self.0.state.lock().flags.insert(flag.key().to_owned(), flag.clone());
        self.set_value(Kind::FEATURES, flag.key().to_owned(), &flag.build());
    }

    /// The segment as it was built last, to change something about it; or a new one, which nobody is in.
    pub fn segment(&self, key: &str) -> SegmentBuilder {
        let builder = self.0.state.lock().segments.get(key).cloned();
        builder.unwrap_or_else(|| SegmentBuilder::new(key))
    }

    /// Sets a segment as it was built.
    pub fn update_segment(&self, segment: SegmentBuilder) {
        self.set_value(Kind::SEGMENTS, segment.key().to_owned(), &segment);
        self.0.state.lock().segments.insert(segment.key().to_owned(), segment);
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

    /// Has every source that works report this, as one that does not work would.
    pub fn update_status(&self, state: DataSourceState, error: Option<&DataSourceErrorInfo>) {
        let sinks: Vec<_> = self.0.state.lock().sources.values().map(|source| source.sink.clone()).collect();
        for sink in sinks {
            sink.update_status(state, error.cloned());
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
        let mut state = self.0.state.lock();
        let place = (kind, key);
        let version = state.items.get(&place).map_or(0, Item::version);
        let item = item(version + 1)?;
        state.items.insert(place.clone(), item);
        state.changes.push(place);
        let change = state.changes.len();
        self.0.changes.send_replace(change);
        let deadline = Instant::now() + PATIENCE;
        while state.sources.values().any(|source| source.brought < change) {
            if self.0.brought.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        Ok(())
    }
}

impl Default for Data {
    fn default() -> Self {
        Self { state: Mutex::default(), brought: Condvar::new(), changes: watch::Sender::new(0) }
    }
}

impl Data {
    /// With how many changes that is.
    fn all_data(&self) -> (AllData, usize) {
        let state = self.state.lock();
        let of = |kind: &Kind| {
            let items = state.items.iter().filter(|((of, _), _)| of == kind);
            items.map(|((_, key), item)| (key.clone(), item.clone())).collect::<Vec<_>>()
        };
        // Both kinds, also where there is nothing of one.
        let all_data = AllData::new()
            .with(Kind::SEGMENTS, of(&Kind::SEGMENTS))
            .with(Kind::FEATURES, of(&Kind::FEATURES));
        (all_data, state.changes.len())
    }

    /// What has changed after that many changes, as it is now.
    fn since(&self, changes: usize) -> Vec<(Kind, String, Item)> {
        let state = self.state.lock();
        let places = state.changes[changes..].iter();
        places
            .filter_map(|place| Some((place.0.clone(), place.1.clone(), state.items.get(place)?.clone())))
            .collect()
    }

    fn brought(&self, source: u64, changes: usize) {
        if let Some(source) = self.state.lock().sources.get_mut(&source) {
            source.brought = changes;
        }
        self.brought.notify_all();
    }
}

impl DataSourceFactory for TestData {
    fn create(&self, sink: DataSourceUpdateSink) -> Result<Arc<dyn UpdateProcessor>, StoreError> {
        let mut state = self.0.state.lock();
        state.made += 1;
        let feeding = Feeding { data: Arc::clone(&self.0), number: state.made, sink: sink.clone() };
        Ok(Arc::new(Threaded::new(feeding, Feed::new(sink, Clock::System))))
    }
}

impl fmt::Debug for TestData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        write!(f, "TestData({} items, {} sources)", state.items.len(), state.sources.len())
    }
}

/// A source for whose changes others wait while it works.
struct Feeding {
    data: Arc<Data>,
    number: u64,
    sink: DataSourceUpdateSink,
}

impl Work for Feeding {
    const THREAD: &'static str = "flagstore-test-data";

    fn begins(&self) {
        let working = Working { sink: self.sink.clone(), brought: 0 };
        self.data.state.lock().sources.insert(self.number, working);
    }

    fn ends(&self) {
        self.data.state.lock().sources.remove(&self.number);
        self.data.brought.notify_all();
    }

    async fn run(&self, feed: &Feed) -> Infallible {
        let mut news = self.data.changes.subscribe();
        loop {
            feed.take_refresh();
            let (all_data, changes) = self.data.all_data();
            feed.event_received();
            let delivery = feed.init(&all_data);
            self.data.brought(self.number, changes);
            if delivery == Delivery::Failed || self.follow(feed, &mut news, changes).await == Delivery::Failed
            {
                tokio::select! {
                    () = feed.clock.sleep(AFTER_A_FAILURE) => {}
                    _ = news.changed() => {}
                }
            }
        }
    }
}

impl Feeding {
    /// Brings each change, until one is not taken or everything is asked for again.
    async fn follow(&self, feed: &Feed, news: &mut watch::Receiver<usize>, mut changes: usize) -> Delivery {
        loop {
            tokio::select! {
                () = feed.refresh_asked() => return Delivery::Stored,
                // The sender is part of the data, so there is no error.
                _ = news.wait_for(|there_are| *there_are > changes) => {}
            }
            let mut delivery = Delivery::Stored;
            for (kind, key, item) in self.data.since(changes) {
                feed.event_received();
                changes += 1;
                delivery = feed.upsert(&kind, &key, &item);
                if delivery == Delivery::Failed {
                    break;
                }
            }
            self.data.brought(self.number, changes);
            if delivery == Delivery::Failed {
                return delivery;
            }
        }
    }
}

impl fmt::Debug for Feeding {
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
        assert!(status.wait_for(DataSourceState::Valid, Duration::from_secs(60)));
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
        source.start();
        data.update(data.flag("a"));
        assert_eq!(version(&store, &Kind::FEATURES, "a"), None);
        assert_eq!(format!("{data:?}"), "TestData(1 items, 0 sources)");
    }

    /// Whoever lets go of it need not stop it first.
    #[test]
    fn nobody_waits_for_a_dropped_source() {
        let data = TestData::new();
        drop(fed(&data));
        assert_eq!(format!("{data:?}"), "TestData(0 items, 0 sources)");
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
