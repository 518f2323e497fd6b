//! What our cache costs and saves: `cargo bench -p flagstore-launchdarkly`.
//!
//! Beside bare moka, beside the SDK's own cache, and under whole evaluations.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set itself up may as well panic")]

use std::collections::HashMap;
use std::fmt;
use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use flagstore_conformance::ratio::{Comparison, verdict};
use flagstore_core::{
    AllData, CacheMode, CachingStoreWrapper, FeatureStore, FeatureStoreCore, Item, Items, Kind, StoreError,
    Upsert,
};
use flagstore_launchdarkly::{cached_data_store, data_store};
use flagstore_sqlite::SqliteStore;
use launchdarkly_server_sdk::{
    Client, ConfigBuilder, ContextBuilder, DataKind, Flag, NullEventProcessorBuilder, PersistentDataStore,
    PersistentDataStoreBuilder, PersistentDataStoreFactory, PersistentStoreError, SerializedItem,
};
use moka::sync::Cache;

type Error = Box<dyn std::error::Error>;

const FLAGS: usize = 10_000;
const SMALL: usize = 500;
const KILOBYTE: usize = 1_000;
const LARGE: usize = 10_000;

fn main() -> Result<(), Error> {
    // First, while the process has used no memory that it could use again.
    memory_per_flag()?;
    a_million_unknown_keys()?;

    let keys: Vec<String> = (0..FLAGS).map(|n| format!("flag-{n}")).collect();
    let store = CachingStoreWrapper::builder(Nothing).mode(CacheMode::Forever).build()?;
    let all_data =
        AllData::new().with(Kind::FEATURES, keys.iter().map(|key| (key.as_str(), flag(key, KILOBYTE))));
    store.init(&all_data)?;
    beside_moka(&store, &keys);
    beside_a_map(&store, &all_data);
    two_threads(&store, &keys);
    beside_the_sdk()?;
    repairs()?;
    evaluations()?;
    age_of_what_is_seen()
}

/// A hit, beside one of bare moka with the same keys and as many entries.
fn beside_moka(store: &CachingStoreWrapper, keys: &[String]) {
    let moka = moka(keys);
    let key = |n: u64| &keys[n as usize * 7919 % keys.len()];
    // Long rounds, so that the one does not find what the other has left in the processor's caches.
    let compare = |name, limit| Comparison::new(name, limit).rounds(20).repeat(20_000);
    compare("get, cached / moka get", 0.5)
        .measure(|n| moka.get(key(n)), |n| store.get(&Kind::FEATURES, key(n)).expect("get"))
        .print();
    compare("read, cached / moka get", 0.5)
        .measure(|n| moka.get(key(n)), |n| store.read(&Kind::FEATURES, key(n), Item::version).expect("read"))
        .print();
    compare("all 10 000, cached / get, cached", 1.0)
        .measure(
            |n| store.get(&Kind::FEATURES, key(n)).expect("get"),
            |_| store.all(&Kind::FEATURES).expect("all"),
        )
        .print();
}

/// What an init adds to building the map that it cannot do without.
fn beside_a_map(store: &CachingStoreWrapper, all_data: &AllData) {
    Comparison::new("init of 10 000 flags / a HashMap of them", 1.5)
        .measure(
            |_| {
                let items = all_data.items(&Kind::FEATURES);
                items.map(|(key, item)| (key.to_owned(), item.clone())).collect::<HashMap<String, Item>>()
            },
            |_| store.init(all_data).expect("init"),
        )
        .print();
}

fn moka(keys: &[String]) -> Cache<String, Arc<Item>> {
    let cache = Cache::builder().build();
    keys.iter().for_each(|key| cache.insert(key.clone(), Arc::new(flag(key, KILOBYTE))));
    cache
}

/// How much more two threads get done than one.
fn two_threads(store: &CachingStoreWrapper, keys: &[String]) {
    let moka = moka(keys);
    let (even, odd): (Vec<&String>, Vec<&String>) =
        keys.iter().partition(|key| key.ends_with(['0', '2', '4', '6', '8']));
    let all: Vec<&String> = keys.iter().collect();
    let line = |what: &str, first: &[&String], second: &[&String], call: &(dyn Fn(&str) + Sync)| {
        let gains = (0..15).map(|_| throughput(&[first, second], call) / throughput(&[first], call));
        let mut gains: Vec<f64> = gains.collect();
        gains.sort_by(f64::total_cmp);
        println!("two threads, {what:<38} {:.2} times the throughput of one", gains[gains.len() / 2]);
    };
    line("read, the same flags (at least 1.80):", &all, &all, &|key| {
        black_box(store.read(&Kind::FEATURES, key, Item::version).expect("read"));
    });
    line("get, each its own flags:", &even, &odd, &|key| {
        black_box(store.get(&Kind::FEATURES, key).expect("get"));
    });
    line("get, the same flags (at least 1.50):", &all, &all, &|key| {
        black_box(store.get(&Kind::FEATURES, key).expect("get"));
    });
    line("bare moka get, the same flags:", &all, &all, &|key| {
        black_box(moka.get(key));
    });
    let map: HashMap<&str, Arc<Item>> =
        keys.iter().map(|key| (key.as_str(), Arc::new(flag(key, SMALL)))).collect();
    line("clone from a HashMap, the same flags:", &all, &all, &|key| {
        black_box(map.get(key).map(Arc::clone));
    });
}

/// Calls per second of as many threads as there are lists of keys.
fn throughput(lists: &[&[&String]], call: &(dyn Fn(&str) + Sync)) -> f64 {
    const CALLS: usize = 200_000;
    let began = Instant::now();
    thread::scope(|scope| {
        for (n, keys) in lists.iter().enumerate() {
            scope.spawn(move || (0..CALLS).for_each(|i| call(keys[(i * 7919 + n * 4001) % keys.len()])));
        }
    });
    (CALLS * lists.len()) as f64 / began.elapsed().as_secs_f64()
}

/// Until the caller has the flag that it evaluates: a copy from the SDK's cache, a shared one from ours.
fn beside_the_sdk() -> Result<(), Error> {
    let database = Arc::new(SqliteStore::in_memory().build()?);
    let ours = CachingStoreWrapper::builder(Arc::clone(&database)).mode(CacheMode::Forever).build()?;
    let mut builder = data_store(Arc::clone(&database));
    builder.cache_forever();
    let config = ConfigBuilder::new("sdk-key")
        .data_store(&builder)
        .daemon_mode(true)
        .event_processor(&NullEventProcessorBuilder::new())
        .build()?;
    let sdk = config.data_store_builder().build()?;
    for (key, size, limit) in [("half-kb", SMALL, 1.0 / 1.5), ("ten-kb", LARGE, 1.0 / 5.0)] {
        database.upsert(&Kind::FEATURES, key, &flag(key, size)).map(drop)?;
        Comparison::new(format!("decoded flag, {key}: ours / SDK's"), limit)
            .rounds(200)
            .repeat(500)
            .measure(
                |_| sdk.read().to_store().flag(key).expect("flag"),
                |_| {
                    let flag = ours.read(&Kind::FEATURES, key, |item| item.decode::<Flag>());
                    flag.expect("read").expect("flag").expect("decode").expect("live")
                },
            )
            .print();
        let decoded = time(|| ours.decoded::<Flag>(&Kind::FEATURES, key).expect("decoded"));
        println!("{}", verdict(&format!("decoded flag, {key}, ns"), decoded.as_nanos() as f64, 60.0));
    }
    Ok(())
}

/// What the plug's look at each text costs a whole evaluation without the SDK's cache: beside a plug that hands out
/// what is stored as it is.
fn repairs() -> Result<(), Error> {
    let database = Arc::new(SqliteStore::in_memory().build()?);
    for (key, size) in [("half-kb", SMALL), ("ten-kb", LARGE)] {
        let right = flag(key, size);
        database.upsert(&Kind::FEATURES, key, &right).map(drop)?;
        let wrong = right.json().replace(r#""version":1,"#, r#""version":1.0,"#);
        database.upsert(&Kind::FEATURES, &format!("wrong-{key}"), &Item::parse(wrong)?).map(drop)?;
    }
    let context = ContextBuilder::new("user-1").build()?;
    for (name, store) in [
        ("no cache", CachingStoreWrapper::builder(Arc::clone(&database)).mode(CacheMode::Off).build()?),
        ("our cache", CachingStoreWrapper::builder(Arc::clone(&database)).mode(CacheMode::Forever).build()?),
    ] {
        let mut as_it_is = PersistentDataStoreBuilder::new(Arc::new(AsItIs(store.clone())));
        let as_it_is = client(as_it_is.no_caching())?;
        let plug = client(cached_data_store(store).no_caching())?;
        for (key, repaired) in [("half-kb", "half-kb"), ("ten-kb", "ten-kb"), ("half-kb", "wrong-half-kb")] {
            assert!(plug.bool_variation(&context, repaired, false), "{repaired} is not read");
            Comparison::new(format!("evaluation of {repaired}, {name}: plug / text as it is"), 1.05)
                .rounds(400)
                .repeat(200)
                .measure(
                    |_| as_it_is.bool_variation(&context, key, false),
                    |_| plug.bool_variation(&context, repaired, false),
                )
                .print();
        }
    }
    Ok(())
}

/// The least that a plug can do.
#[derive(Clone)]
struct AsItIs(CachingStoreWrapper);

impl PersistentDataStoreFactory for AsItIs {
    fn create_persistent_data_store(&self) -> Result<Box<dyn PersistentDataStore>, std::io::Error> {
        Ok(Box::new(self.clone()))
    }
}

type FromSdk<T> = Result<T, PersistentStoreError>;

impl PersistentDataStore for AsItIs {
    fn init(&mut self, _: launchdarkly_server_sdk::AllData<SerializedItem, SerializedItem>) -> FromSdk<()> {
        Ok(())
    }

    fn flag(&self, key: &str) -> FromSdk<Option<SerializedItem>> {
        let item =
            self.0.get(&Kind::FEATURES, key).map_err(|error| PersistentStoreError::new(error.to_string()))?;
        Ok(item.map(|item| SerializedItem {
            version: item.version(),
            deleted: item.is_deleted(),
            serialized_item: item.json().to_owned(),
        }))
    }

    fn segment(&self, _: &str) -> FromSdk<Option<SerializedItem>> {
        Ok(None)
    }

    fn all_flags(&self) -> FromSdk<HashMap<String, SerializedItem>> {
        Ok(HashMap::new())
    }

    fn upsert(&mut self, _: DataKind, _: &str, _: SerializedItem) -> FromSdk<bool> {
        Ok(false)
    }

    fn is_initialized(&self) -> bool {
        true
    }
}

/// A whole evaluation by the official client on a SQLite file, with either cache, both, and none.
fn evaluations() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let database = Arc::new(SqliteStore::builder(folder.path().join("flags.db")).build()?);
    for (key, size) in [("half-kb", SMALL), ("ten-kb", LARGE)] {
        database.upsert(&Kind::FEATURES, key, &flag(key, size)).map(drop)?;
    }
    let wrapper = || CachingStoreWrapper::builder(Arc::clone(&database)).build();
    let uncached = |mut builder: PersistentDataStoreBuilder| {
        builder.no_caching();
        builder
    };
    let clients = [
        ("no cache", client(&uncached(data_store(Arc::clone(&database))))?),
        ("ours", client(&uncached(cached_data_store(wrapper()?)))?),
        ("the SDK's", client(&data_store(Arc::clone(&database)))?),
        ("both", client(&cached_data_store(wrapper()?))?),
    ];
    let context = ContextBuilder::new("user-1").build()?;
    for key in ["half-kb", "ten-kb", "unknown"] {
        for (name, client) in &clients {
            let time = time(|| client.bool_variation(&context, key, false));
            println!("evaluation of {key:<8} cache: {name:<10} {time:>10.1?}");
        }
    }
    Ok(())
}

fn client(builder: &PersistentDataStoreBuilder) -> Result<Client, Error> {
    let config = ConfigBuilder::new("sdk-key")
        .data_store(builder)
        .daemon_mode(true)
        .event_processor(&NullEventProcessorBuilder::new())
        .build()?;
    Ok(Client::build(config)?)
}

/// The median time of a call.
fn time<T>(mut call: impl FnMut() -> T) -> Duration {
    const CALLS: u32 = 200;
    let mut round = || {
        let began = Instant::now();
        (0..CALLS).for_each(|_| drop(black_box(call())));
        began.elapsed() / CALLS
    };
    let mut rounds: Vec<Duration> = (0..50).map(|_| round()).collect();
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}

/// For how long a client with both caches serves what another process has replaced, when both keep it for as long: the
/// longest of some changes.
///
/// With one client both caches are filled by the same read, and expire together. Whoever else reads through our wrapper
/// fills it at another moment: then the SDK may take what is about to expire, and keep it for as long again.
fn age_of_what_is_seen() -> Result<(), Error> {
    const TIME: Duration = Duration::from_millis(200);
    let database = Arc::new(SqliteStore::in_memory().build()?);
    let context = ContextBuilder::new("user-1").build()?;
    for (readers, has_other) in [("one client", false), ("one client and another reader", true)] {
        let wrapper =
            CachingStoreWrapper::builder(Arc::clone(&database)).mode(CacheMode::For(TIME)).build()?;
        let client = client(cached_data_store(wrapper.clone()).cache_time(TIME))?;
        let mut longest = Duration::ZERO;
        for round in 0..40_u32 {
            let key = format!("age-{round}-{has_other}");
            let old = flag(&key, SMALL);
            let new = Item::from_parts(2, false, old.json().replacen("\"on\":true", "\"on\":false", 1))?;
            database.upsert(&Kind::FEATURES, &key, &old).map(drop)?;
            if has_other {
                wrapper.get(&Kind::FEATURES, &key).map(drop)?;
            } else {
                client.bool_variation(&context, &key, false);
            }
            database.upsert(&Kind::FEATURES, &key, &new).map(drop)?;
            let changed = Instant::now();
            // At different moments of the time for which the wrapper keeps it.
            thread::sleep(TIME * (round % 20) / 20);
            let old_value = true;
            while client.bool_variation(&context, &key, false) == old_value {
                thread::sleep(Duration::from_millis(1));
            }
            longest = longest.max(changed.elapsed());
        }
        println!(
            "both caches for {TIME:?}, {readers}: a change is seen after {longest:?} at most, {:.2} times",
            longest.as_secs_f64() / TIME.as_secs_f64()
        );
    }
    Ok(())
}

/// What the process grows by for 10 000 cached flags that nobody has decoded, over their JSON.
fn memory_per_flag() -> Result<(), Error> {
    let before = resident();
    let store = CachingStoreWrapper::builder(Nothing).build()?;
    let all_data = AllData::new().with(
        Kind::FEATURES,
        (0..FLAGS).map(|n| (format!("flag-{n}"), flag(&format!("flag-{n}"), KILOBYTE))),
    );
    store.init(&all_data)?;
    drop(all_data);
    let json: usize =
        store.all(&Kind::FEATURES)?.iter().map(|(_, item)| item).map(|item| item.json().len()).sum();
    let grown = before.zip(resident()).map(|(before, after)| (after - before) as f64 / json as f64);
    // With what the allocator keeps. The limit of 1.35 is that of the heap: core/tests/memory.rs.
    println!(
        "memory per cached flag / JSON {} ({} bytes of JSON each)",
        grown.map_or("?".to_owned(), |grown| format!("{grown:.2}")),
        json / FLAGS
    );
    black_box(store);
    Ok(())
}

/// What the process grows by while somebody asks for a million keys that do not exist.
fn a_million_unknown_keys() -> Result<(), Error> {
    let store = CachingStoreWrapper::builder(Nothing).mode(CacheMode::Forever).build()?;
    store.init(&AllData::new().with(Kind::FEATURES, [("live", flag("live", KILOBYTE))]))?;
    let before = resident();
    for n in 0..1_000_000 {
        assert!(store.get(&Kind::FEATURES, &format!("unknown-{n}"))?.is_none());
    }
    assert!(store.get(&Kind::FEATURES, "live")?.is_some());
    let statistics = store.statistics().ok_or("a cache has statistics")?;
    let grown = before.zip(resident()).map(|(before, after)| after.saturating_sub(before) / 1024);
    println!(
        "a million unknown keys: {} of them cached, {} flags still cached, {} KB more memory",
        statistics.missing_entries,
        statistics.entries,
        grown.map_or("?".to_owned(), |grown| grown.to_string())
    );
    Ok(())
}

/// The process's memory, on Linux.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// A flag of about that size, most of it a list of users.
fn flag(key: &str, size: usize) -> Item {
    const FIXED: usize = 330;
    let users: Vec<String> =
        (0..size.saturating_sub(FIXED) / 17).map(|n| format!(r#""user-key-{n:05}""#)).collect();
    let json = format!(
        r#"{{"key":"{key}","version":1,"on":true,"prerequisites":[],"targets":[{{"values":[{}],"variation":1}}],"contextTargets":[],"rules":[],"fallthrough":{{"variation":0}},"offVariation":1,"variations":[true,false],"clientSideAvailability":{{"usingMobileKey":true,"usingEnvironmentId":false}},"salt":"0123456789abcdef","trackEvents":false,"deleted":false}}"#,
        users.join(",")
    );
    Item::from_parts(1, false, json).expect("a version that items can have")
}

/// A database that takes everything and has nothing, so that only the cache is measured.
#[derive(Debug)]
struct Nothing;

impl FeatureStoreCore for Nothing {
    fn init(&self, _: &AllData) -> Result<(), StoreError> {
        Ok(())
    }

    fn get(&self, _: &Kind, _: &str) -> Result<Option<Item>, StoreError> {
        Ok(None)
    }

    fn get_all(&self, _: &Kind) -> Result<Items, StoreError> {
        Ok(Items::default())
    }

    fn upsert(&self, _: &Kind, _: &str, _: &Item) -> Result<Upsert, StoreError> {
        Ok(Upsert::Applied)
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn is_available(&self) -> bool {
        true
    }

    fn describe(&self) -> &'static str {
        "nothing"
    }
}

impl fmt::Display for Nothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nothing")
    }
}
