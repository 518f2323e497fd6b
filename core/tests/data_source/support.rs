use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use flagstore_core::{
    AllData, CachingStoreBuilder, CachingStoreWrapper, DataSourceUpdateSink, Delivery, ErrorKind,
    FeatureStoreCore, FlagTracker, Item, Items, Kind, MemoryStore, StoreError, Upsert,
};

/// How long a test waits for what has to come.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A database that is switched off and on, and knows how often it was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Database {
    pub(crate) memory: MemoryStore,
    is_off: Arc<AtomicBool>,
    refuses: Arc<AtomicBool>,
    reads: Arc<AtomicUsize>,
}

impl Database {
    pub(crate) fn switch_off(&self) {
        self.is_off.store(true, Ordering::SeqCst);
    }

    pub(crate) fn switch_on(&self) {
        self.is_off.store(false, Ordering::SeqCst);
    }

    /// Finds every item too large from now on.
    pub(crate) fn refuse(&self) {
        self.refuses.store(true, Ordering::SeqCst);
    }

    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    fn check(&self, operation: &'static str) -> Result<(), StoreError> {
        if self.is_off.load(Ordering::SeqCst) {
            return Err(StoreError::new(ErrorKind::Unavailable, "database", operation, "switched off"));
        }
        Ok(())
    }
}

impl FeatureStoreCore for Database {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        self.check("init")?;
        self.memory.init(all_data)
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.check("get")?;
        self.memory.get(kind, key)
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.check("get_all")?;
        self.memory.get_all(kind)
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        self.check("upsert")?;
        if self.refuses.load(Ordering::SeqCst) {
            return Err(StoreError::new(ErrorKind::TooLarge, "database", "upsert", "too large"));
        }
        self.memory.upsert(kind, key, item)
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        self.check("is_initialized")?;
        self.memory.is_initialized()
    }

    fn is_available(&self) -> bool {
        self.check("is_available").is_ok()
    }

    fn describe(&self) -> &'static str {
        "database"
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Database")
    }
}

/// A cache above the database, which looks often whether that is back.
pub(crate) fn cached(database: &Database) -> CachingStoreBuilder {
    CachingStoreWrapper::builder(database.clone()).poll_interval(Duration::from_millis(5))
}

pub(crate) fn item(json: &str) -> Item {
    Item::parse(json).unwrap()
}

pub(crate) fn flag(version: u64) -> Item {
    item(&format!(r#"{{"version":{version}}}"#))
}

/// A flag that has others as prerequisites.
pub(crate) fn flag_requiring(version: u64, prerequisites: &[&str]) -> Item {
    let keys: Vec<_> =
        prerequisites.iter().map(|key| format!(r#"{{"key":"{key}","variation":0}}"#)).collect();
    item(&format!(r#"{{"version":{version},"prerequisites":[{}]}}"#, keys.join(",")))
}

/// A flag or a segment with a rule that asks for segments.
pub(crate) fn matching(version: u64, segments: &[&str]) -> Item {
    let keys: Vec<_> = segments.iter().map(|key| format!(r#""{key}""#)).collect();
    item(&format!(
        r#"{{"version":{version},"rules":[{{"clauses":[{{"op":"segmentMatch","values":[{}]}}]}}]}}"#,
        keys.join(",")
    ))
}

pub(crate) fn flags<const N: usize>(flags: [(&str, Item); N]) -> AllData {
    environment(flags, [])
}

pub(crate) fn environment<const N: usize, const M: usize>(
    flags: [(&str, Item); N],
    segments: [(&str, Item); M],
) -> AllData {
    AllData::new().with(Kind::SEGMENTS, segments).with(Kind::FEATURES, flags)
}

/// What a listener of a tracker is told.
pub(crate) struct Changes {
    told: Receiver<Arc<str>>,
    sentinels: AtomicUsize,
    _listener: flagstore_core::Subscription,
}

impl Changes {
    pub(crate) fn of(tracker: &FlagTracker) -> Self {
        let (tell, told) = channel();
        let listener = tracker.add_listener(move |change| drop(tell.send(change.key)));
        Self { told, sentinels: AtomicUsize::new(0), _listener: listener }
    }

    /// The next flags that are announced, sorted.
    pub(crate) fn next<const N: usize>(&self) -> [String; N] {
        let mut keys = [(); N].map(|()| self.told.recv_timeout(LONG).unwrap().to_string());
        keys.sort();
        keys
    }

    /// Checks that nothing else was announced: what comes next is what is done now.
    pub(crate) fn are_over(&self, sink: &DataSourceUpdateSink) {
        let sentinels = self.sentinels.fetch_add(1, Ordering::SeqCst);
        let key = format!("sentinel-{sentinels}");
        assert_eq!(sink.upsert(&Kind::FEATURES, &key, &flag(1)), Delivery::Stored);
        assert_eq!(self.next(), [key]);
    }
}

/// Waits until this is so.
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}
