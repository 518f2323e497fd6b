//! What the data system takes: `cargo bench -p flagstore-launchdarkly --bench data_system`.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use flagstore_conformance::StandIn;
use flagstore_core::{
    AllData, CachingStoreWrapper, DataSourceUpdateSink, Delivery, FeatureStore, FeatureStoreCore,
    FlagTracker, Item, Kind, MemoryStore,
};
use flagstore_launchdarkly::DataSystem;
use flagstore_launchdarkly::launchdarkly_sdk_transport::HyperTransport;
use flagstore_launchdarkly::sources::{LaunchDarklyService, StreamingDataSourceBuilder};
use flagstore_redis::RedisStore;
use flagstore_sqlite::SqliteStore;
use launchdarkly_server_sdk::{
    Client, ConfigBuilder, Context, ContextBuilder, NullEventProcessorBuilder, ServiceEndpointsBuilder,
};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const FLAGS: usize = 10_000;
const SEGMENTS: usize = 500;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let all = payload(FLAGS);
    println!("{FLAGS} flags of 1 KB and {SEGMENTS} segments: {} KB\n", all.len() / 1000);
    cold_start(&all)?;
    track(&all)?;
    // Whoever learns that something was written, and not what, reads everything again.
    for flags in [FLAGS / 10, FLAGS] {
        watch(flags)?;
    }
    Ok(())
}

/// From nothing to the first right evaluation, while LaunchDarkly cannot be reached.
fn cold_start(payload: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    sqlite(folder.path())?.init(&AllData::from_json(payload)?)?;
    // A port that nobody listens on, because nobody holds it any more.
    let unreachable = StandIn::start()?.url();

    let begin = Instant::now();
    let source = StreamingDataSourceBuilder::new(LaunchDarklyService::new("key").relay_proxy(&unreachable));
    let system = DataSystem::builder(sqlite(folder.path())?).data_source(source).build()?;
    let client = Client::build(system.configure(config()).build()?)?;
    let value = client.bool_variation(&context()?, "flag-7", false);
    println!("cold start, LaunchDarkly unreachable: {value} after {:.1?}", begin.elapsed());

    let runtime = tokio::runtime::Runtime::new()?;
    let begin = Instant::now();
    let official = runtime.block_on(async { official(&unreachable) })?;
    runtime.block_on(official.wait_for_initialization(Duration::from_secs(2)));
    let value = official.bool_variation(&context()?, "flag-7", false);
    println!("    the official client alone: {value} after {:.1?}\n", begin.elapsed());
    Ok(())
}

/// What it takes to say what a patch has changed.
fn track(payload: &str) -> Result<()> {
    let store = CachingStoreWrapper::builder(MemoryStore::new()).build()?;
    store.init(&AllData::from_json(payload)?)?;
    let tracker = FlagTracker::builder(store.clone()).build();
    let sink = DataSourceUpdateSink::builder(store).flag_tracker(tracker.clone()).build();
    let mut version = 1;
    let mut patch = |kind: &Kind, key: &str, json: &dyn Fn(u64) -> String| -> Result<Vec<Duration>> {
        (0..200)
            .map(|_| {
                version += 1;
                let item = Item::parse(json(version))?;
                let begin = Instant::now();
                assert_eq!(sink.upsert(kind, key, &item), Delivery::Stored);
                Ok(begin.elapsed())
            })
            .collect()
    };
    let alone = patch(&Kind::FEATURES, "flag-7", &|version| flag(7, version))?;
    let begin = Instant::now();
    let _listener = tracker.add_listener(|change| drop(black_box(change)));
    println!("the first listener: {:.1?}, once", begin.elapsed());
    let of_flag = patch(&Kind::FEATURES, "flag-7", &|version| flag(7, version))?;
    let of_segment = patch(&Kind::SEGMENTS, "segment-7", &|version| segment(7, version))?;
    println!("a patch of a flag, nobody listening: {}", shown(alone));
    println!("    with its changes tracked: {}", shown(of_flag));
    println!("    of a segment that {} flags use: {}\n", FLAGS / SEGMENTS, shown(of_segment));
    Ok(())
}

/// From a write by somebody else to a listener's call in a process that only reads.
fn watch(flags: usize) -> Result<()> {
    let all_data = AllData::from_json(&payload(flags))?;
    let folder = tempfile::tempdir()?;
    let writer = sqlite(folder.path())?;
    writer.init(&all_data)?;
    let store = sqlite(folder.path())?;
    let changes = store.changes(Duration::from_millis(5));
    let system = DataSystem::builder(store).changes(changes).build()?;
    println!("a write by another store to a listener's call, {flags} flags");
    println!("    on SQLite: {}", told_of(&system, &writer)?);

    let Ok(url) = std::env::var("FLAGSTORE_REDIS_URL") else {
        println!("    on Redis: not measured, FLAGSTORE_REDIS_URL is not set\n");
        return Ok(());
    };
    let prefix = format!("data-system-bench-{}", std::process::id());
    let redis = || RedisStore::builder().url(&url).prefix(&prefix).build();
    let writer = redis()?;
    writer.init(&all_data)?;
    let store = redis()?;
    let changes = store.changes();
    let system = DataSystem::builder(store).changes(changes.clone()).build()?;
    while !changes.is_armed() {
        thread::sleep(Duration::from_millis(1));
    }
    println!("    on Redis: {}\n", told_of(&system, &writer)?);
    let mut connection = flagstore_redis::redis::Client::open(url)?.get_connection()?;
    let keys = ["features", "segments", "$inited"].map(|name| format!("{prefix}:{name}"));
    flagstore_redis::redis::cmd("DEL").arg(&keys).exec(&mut connection)?;
    Ok(())
}

fn told_of(system: &DataSystem, writer: &dyn FeatureStoreCore) -> Result<String> {
    let (tell, told) = channel();
    let _listener = system.flag_tracker().add_listener(move |change| drop(tell.send(change)));
    let mut times = Vec::new();
    for version in 2..52 {
        let item = Item::parse(flag(7, version))?;
        let begin = Instant::now();
        drop(writer.upsert(&Kind::FEATURES, "flag-7", &item)?);
        told.recv_timeout(PATIENCE)?;
        times.push(begin.elapsed());
    }
    Ok(shown(times))
}

fn official(url: &str) -> Result<Client> {
    let mut source = launchdarkly_server_sdk::StreamingDataSourceBuilder::new();
    source.transport(HyperTransport::new()?);
    let config =
        config().data_source(&source).service_endpoints(ServiceEndpointsBuilder::new().relay_proxy(url));
    let client = Client::build(config.build()?)?;
    client.start_with_default_executor();
    Ok(client)
}

fn config() -> ConfigBuilder {
    ConfigBuilder::new("key").event_processor(&NullEventProcessorBuilder::new())
}

fn context() -> Result<Context> {
    Ok(ContextBuilder::new("user-1").build()?)
}

fn sqlite(folder: &Path) -> Result<Arc<SqliteStore>> {
    Ok(Arc::new(SqliteStore::builder(folder.join("flags.db")).build()?))
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort();
    format!("half within {:.2?}, all within {:.2?}", times[times.len() / 2], times[times.len() - 1])
}

fn payload(flags: usize) -> String {
    let flags: Vec<_> = (0..flags).map(|n| format!(r#""flag-{n}":{}"#, flag(n, 1))).collect();
    let segments: Vec<_> = (0..SEGMENTS).map(|n| format!(r#""segment-{n}":{}"#, segment(n, 1))).collect();
    format!(r#"{{"flags":{{{}}},"segments":{{{}}}}}"#, flags.join(","), segments.join(","))
}

/// A flag of 1 KB that is on for everybody, in whose rules a segment is.
fn flag(n: usize, version: u64) -> String {
    let segment = n % SEGMENTS;
    let start = format!(
        r#"{{"key":"flag-{n}","version":{version},"on":true,"variations":[false,true],"fallthrough":{{"variation":1}},
            "targets":[],"rules":[{{"id":"r","variation":1,"trackEvents":false,"clauses":[{{"contextKind":"user",
            "attribute":"","op":"segmentMatch","values":["segment-{segment}"],"negate":false}}]}}],
            "prerequisites":[],"clientSide":false,"salt":""#
    );
    format!(r#"{start}{}"}}"#, "x".repeat(998_usize.saturating_sub(start.len())))
}

fn segment(n: usize, version: u64) -> String {
    format!(
        r#"{{"key":"segment-{n}","version":{version},"included":["a","b"],"excluded":[],"rules":[],"salt":"x"}}"#
    )
}
