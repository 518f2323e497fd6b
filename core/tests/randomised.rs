//! Everything at once, at random: threads, inits, notices, outages, capacities, and the end of the cache.
//!
//! Each round has another cache. In the end, when the database is back, cache and database have to agree on every
//! key, and the status has to say so. `FLAGSTORE_SECONDS` is how long it runs (3 unless told otherwise), and
//! `FLAGSTORE_SEED` repeats the decisions of a run, though not how its threads happened to run.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use flagstore_core::{
    AllData, CacheMode, CachingStoreWrapper, ErrorKind, FeatureStore, FeatureStoreCore, Item, Items, Kind,
    MemoryStore, StalePolicy, StoreError, Upsert,
};

const KEYS: u64 = 6;
const THREADS: u64 = 4;
const STEPS: u64 = 150;
const PATIENCE: Duration = Duration::from_secs(30);

/// Splitmix64: decisions that can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// A database in memory, which may be away, lose its answers, or take its time.
#[derive(Debug, Default)]
struct Unreliable {
    memory: MemoryStore,
    /// 0: well, 1: away, 2: does what it is told and does not answer, 3: refuses writes.
    health: AtomicU32,
    calls: AtomicU64,
}

impl Unreliable {
    fn call<T>(
        &self,
        is_write: bool,
        call: impl FnOnce(&MemoryStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let failed = |kind| Err(StoreError::new(kind, "unreliable", "call", "as it happens"));
        let health = self.health.load(Ordering::SeqCst);
        if health == 1 || health == 3 && is_write {
            return failed(ErrorKind::Unavailable);
        }
        let result = call(&self.memory);
        // Some answers are old by the time they arrive.
        if self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(5) {
            thread::sleep(Duration::from_micros(50));
        }
        if health == 2 { failed(ErrorKind::Timeout) } else { result }
    }
}

impl FeatureStoreCore for Unreliable {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        self.call(true, |memory| memory.init(all_data))
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        self.call(false, |memory| memory.get(kind, key))
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        self.call(false, |memory| memory.get_all(kind))
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        self.call(true, |memory| memory.upsert(kind, key, item))
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        self.call(false, |memory| memory.is_initialized())
    }

    fn is_available(&self) -> bool {
        matches!(self.health.load(Ordering::SeqCst), 0 | 3)
    }

    fn describe(&self) -> &'static str {
        "unreliable"
    }
}

impl fmt::Display for Unreliable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unreliable")
    }
}

fn key(number: u64) -> String {
    format!("flag-{number}")
}

fn flag(version: u64) -> Item {
    Item::parse(format!(r#"{{"version":{version}}}"#)).unwrap()
}

/// What the threads of a round share.
struct Round<'a> {
    store: &'a CachingStoreWrapper,
    database: &'a Unreliable,
    next_version: AtomicU64,
    /// The highest version that anybody has tried to write, by key.
    tried: [AtomicU64; KEYS as usize],
    may_reset: bool,
}

/// What a thread does next.
fn step(random: &mut Random, round: &Round<'_>) {
    let Round { store, database, next_version, tried, may_reset } = round;
    let number = random.below(KEYS);
    let (key, version) = (key(number), next_version.fetch_add(1, Ordering::SeqCst));
    // Failures are what this is about, so they are none of the test.
    match random.below(if *may_reset { 24 } else { 20 }) {
        0..=5 => {
            tried[number as usize].fetch_max(version, Ordering::SeqCst);
            drop(store.upsert(&Kind::FEATURES, &key, &flag(version)));
        }
        6 => {
            tried[number as usize].fetch_max(version, Ordering::SeqCst);
            drop(store.delete(&Kind::FEATURES, &key, version));
        }
        7 => drop(store.upsert(&Kind::FEATURES, &key, &flag(version.saturating_sub(40)))),
        8..=14 => drop(store.get(&Kind::FEATURES, &key)),
        15..=17 => drop(store.all(&Kind::FEATURES)),
        18 => store.invalidate_kind(&Kind::FEATURES),
        19 => {
            let _ = database.memory.upsert(&Kind::FEATURES, &key, &flag(version));
            store.invalidate_all();
        }
        20 => store.invalidate(&Kind::FEATURES, &key),
        21 => drop(store.initialized()),
        _ => {
            let items = (0..KEYS).filter(|_| random.below(4) > 0).map(|n| (self::key(n), flag(version)));
            drop(store.init(&AllData::new().with(Kind::FEATURES, items.collect::<Vec<_>>())));
        }
    }
}

fn settings(random: &mut Random) -> (CacheMode, StalePolicy, Option<u64>) {
    let mode = match random.below(5) {
        0 => CacheMode::Off,
        1 => CacheMode::For(Duration::from_millis(2)),
        2 => CacheMode::For(Duration::from_secs(60)),
        _ => CacheMode::Forever,
    };
    if mode == CacheMode::Off {
        return (mode, StalePolicy::Evict, None);
    }
    let policy = match random.below(3) {
        0 => StalePolicy::Evict,
        1 => StalePolicy::Refresh { max_age: None },
        _ => StalePolicy::RefreshAsync { max_age: None },
    };
    (mode, policy, (random.below(4) == 0).then_some(2))
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::yield_now();
    }
}

fn round(seed: u64) {
    let mut random = Random(seed);
    let (mode, policy, capacity) = settings(&mut random);
    let database = Arc::new(Unreliable::default());
    let mut builder = CachingStoreWrapper::builder(Arc::clone(&database))
        .mode(mode)
        .stale_policy(policy)
        .poll_interval(Duration::from_millis(1));
    if let Some(capacity) = capacity {
        builder = builder.capacity(capacity);
    }
    let store = builder.build().unwrap();
    let may_reset = random.below(2) == 0;
    let shared = Round {
        store: &store,
        database: &database,
        next_version: AtomicU64::new(100),
        tried: Default::default(),
        may_reset,
    };
    let seeds: Vec<u64> = (0..THREADS).map(|_| random.below(u64::MAX)).collect();
    thread::scope(|scope| {
        let threads: Vec<_> = seeds
            .into_iter()
            .map(|seed| {
                let shared = &shared;
                scope.spawn(move || {
                    let mut random = Random(seed);
                    (0..STEPS).for_each(|_| step(&mut random, shared));
                })
            })
            .collect();
        while !threads.iter().all(|thread| thread.is_finished()) {
            database.health.store(random.below(6).min(3) as u32 % 4, Ordering::SeqCst);
            thread::sleep(Duration::from_micros(random.below(500)));
            database.health.store(0, Ordering::SeqCst);
            thread::sleep(Duration::from_micros(random.below(500)));
            if random.below(200) == 0 {
                store.disable_cache();
            }
        }
        database.health.store(0, Ordering::SeqCst);
    });
    let context =
        format!("FLAGSTORE_SEED={seed}, {mode:?}, {policy:?}, capacity {capacity:?}, inits {may_reset}");
    wait_until(&format!("the end of the outage: {context}"), || store.status_provider().status().available);
    if random.below(8) == 0 {
        store.disable_cache();
    }
    if !may_reset {
        // Whatever was answered, or not: what was written once is there, or something newer.
        for (number, tried) in (0..).zip(&shared.tried) {
            let stored =
                database.memory.get(&Kind::FEATURES, &key(number)).unwrap().map(|item| item.version());
            let tried = tried.load(Ordering::SeqCst);
            assert!(
                tried == 0 || stored >= Some(tried),
                "{context}: {number} is {stored:?}, and was to be {tried}"
            );
        }
    }
    if random.below(2) == 0 {
        store.invalidate_all();
    }
    let stored = || -> BTreeMap<String, u64> {
        let items = database.memory.get_all(&Kind::FEATURES).unwrap().by_key.into_iter();
        items.filter(|(_, item)| !item.is_deleted()).map(|(key, item)| (key, item.version())).collect()
    };
    let single = || -> BTreeMap<String, u64> {
        let read = |n| Some((key(n), store.get(&Kind::FEATURES, &key(n)).unwrap()?.version()));
        (0..KEYS).filter_map(read).collect()
    };
    let all = || -> BTreeMap<String, u64> {
        let all = store.all(&Kind::FEATURES).unwrap();
        all.iter().map(|(key, item)| (key.to_owned(), item.version())).collect()
    };
    wait_until(
        &format!("single items as they are stored: {context}\n{:?}\n{:?}", single(), stored()),
        || single() == stored(),
    );
    wait_until(&format!("all items as they are stored: {context}\n{:?}\n{:?}", all(), stored()), || {
        all() == stored()
    });
    // A read in the background may have failed after the others had ended.
    wait_until(&format!("the end of all outages: {context}"), || store.status_provider().status().available);
}

/// Whatever happened, in the end cache and database agree.
#[test]
fn cache_and_database_agree_in_the_end() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    if let Some(seed) = number("FLAGSTORE_SEED") {
        return round(seed);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut seeds = Random(u64::try_from(now.as_nanos()).unwrap_or_default());
    let (began, length) = (Instant::now(), Duration::from_secs(number("FLAGSTORE_SECONDS").unwrap_or(3)));
    while began.elapsed() < length {
        round(seeds.below(u64::MAX));
    }
}
