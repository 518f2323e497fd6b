//! What a stream takes from its bytes to the database, and what evaluations notice of it:
//! `cargo bench -p flagstore-launchdarkly --bench sources`.

use std::collections::BTreeMap;
use std::fmt;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flagstore_conformance::StandIn;
use flagstore_conformance::ratio::{Comparison, verdict};
use flagstore_core::{
    AllData, DataSourceState, FeatureStoreCore, Item, Items, Kind, MemoryStore, StoreError, Upsert,
};
use flagstore_launchdarkly::launchdarkly_sdk_transport::{
    ByteStream, HttpTransport, HyperTransport, Request, ResponseFuture,
};
use flagstore_launchdarkly::sources::{LaunchDarklyService, StreamingDataSourceBuilder};
use flagstore_launchdarkly::{DataSystem, Evaluator};
use flagstore_sqlite::SqliteStore;
use futures_util::StreamExt;
use launchdarkly_server_sdk as sdk;
use parking_lot::Mutex;
use serde_json::value::RawValue;

type Error = Box<dyn std::error::Error>;

const LONG: Duration = Duration::from_secs(60);
const FLAGS: usize = 10_000;
const BYTES: usize = 1_000;

fn main() -> Result<(), Error> {
    payload("SQLite", |folder| Ok(Arc::new(SqliteStore::builder(folder.join("flags.db")).build()?)))?;
    payload("memory", |_| Ok(Arc::new(MemoryStore::new())))?;
    patches()?;
    evaluations_during_inits()
}

/// From the first byte of a payload that is sent to the flags that can be read, and from its last byte that was
/// received, against parsing the same text with serde_json and writing what it holds to a store of the same kind.
fn payload(
    name: &str,
    open: impl Fn(&std::path::Path) -> Result<Arc<dyn FeatureStoreCore>, Error>,
) -> Result<(), Error> {
    const LIMIT: f64 = 1.5;
    let (ours, theirs) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (told, inits) = channel();
    let service = StandIn::start()?;
    let transport = Received::new()?;
    let system = system_by(transport.clone(), &service, Timed { inner: open(ours.path())?, told })?;
    inits.recv_timeout(LONG)?;
    let bare = open(theirs.path())?;
    // Both sides get every number once, so the versions of both go up alike.
    let event = |json: &str| -> Arc<[u8]> {
        format!("event: put\ndata: {{\"path\":\"/\",\"data\":{json}}}\n\n").into_bytes().into()
    };
    let payloads: Vec<_> = (0..12).map(|version| environment(version + 1)).collect();
    let events: Vec<_> = payloads.iter().map(|json| event(json)).collect();
    let mut since_received = Vec::new();
    let measured = Comparison::new("payload", LIMIT).rounds(11).measure(
        |n| parse_and_write(&payloads[n as usize], &*bare),
        |n| {
            service.send_raw(Arc::clone(&events[n as usize]));
            let is_done = inits.recv_timeout(LONG).is_ok();
            since_received.push(transport.since_last_byte());
            is_done
        },
    );
    since_received.sort();
    let received = since_received[since_received.len() / 2];
    println!(
        "payload of 10 000 flags, {name}   raw {:.1?}   received to readable {received:.1?}   {}",
        measured.raw,
        verdict("ratio", received.as_secs_f64() / measured.raw.as_secs_f64(), LIMIT),
    );
    // The socket, and what is done with the first bytes while the last ones are on their way.
    println!("  with its way through the socket {:.1?}   ratio {:.2}", measured.store, measured.ratio);
    system.close(LONG);
    Ok(())
}

/// Keeps the order of the keys, as the source does: SQLite takes keys in order faster than any other.
fn parse_and_write(json: &str, store: &dyn FeatureStoreCore) -> Result<(), Error> {
    let payload: BTreeMap<&str, BTreeMap<&str, &RawValue>> = serde_json::from_str(json)?;
    let items = payload["flags"].iter().map(|(key, raw)| Ok((*key, Item::parse(raw.get())?)));
    let items = items.collect::<Result<Vec<_>, Error>>()?;
    let none = Vec::<(&str, Item)>::new();
    Ok(store.init(&AllData::new().with(Kind::SEGMENTS, none).with(Kind::FEATURES, items))?)
}

/// From a patch that is sent to the call of a listener, over SQLite, while 10 000 evaluations a second go on.
fn patches() -> Result<(), Error> {
    const PATCHES: usize = 500;
    let folder = tempfile::tempdir()?;
    let service = StandIn::start()?;
    service.init(&AllData::from_json(&environment(1))?);
    let system = system(&service, SqliteStore::builder(folder.path().join("flags.db")).build()?)?;
    let (called, calls) = channel();
    let _listener = system.flag_tracker().add_listener(move |_| {
        let _ = called.send(Instant::now());
    });
    let evaluations = Evaluations::start(Evaluator::new(system.store().clone()), Some(10_000));
    let mut times = Vec::new();
    for n in 0..PATCHES {
        let item = Item::parse(flag(n, 2 + n as u64))?;
        let sent = Instant::now();
        service.upsert(&Kind::FEATURES, &key(n), &item);
        times.push(calls.recv_timeout(LONG)?.saturating_duration_since(sent));
    }
    let (count, longest, over) = evaluations.stop();
    times.sort();
    let (median, highest) = (times[PATCHES / 2], times[PATCHES * 99 / 100]);
    println!(
        "patch to listener, SQLite        median {median:?}   99% {highest:?}   longest {:?}   {}",
        times[PATCHES - 1],
        verdict("milliseconds at 99%", highest.as_secs_f64() * 1000.0, 5.0),
    );
    println!(
        "  meanwhile {:.0} evaluations a second, the longest {longest:?}",
        count as f64 / over.as_secs_f64()
    );
    system.close(LONG);
    Ok(())
}

/// The longest evaluation while all 10 000 flags are written again and again.
fn evaluations_during_inits() -> Result<(), Error> {
    const INITS: u64 = 10;
    let folder = tempfile::tempdir()?;
    let service = StandIn::start()?;
    let (told, inits) = channel();
    let sqlite: Arc<dyn FeatureStoreCore> =
        Arc::new(SqliteStore::builder(folder.path().join("f.db")).build()?);
    let system = system(&service, Timed { inner: sqlite, told })?;
    inits.recv_timeout(LONG)?;
    let evaluator = Evaluator::new(system.store().clone());
    let next = |version| -> Result<(), Error> {
        service.init(&AllData::from_json(&environment(version))?);
        Ok(inits.recv_timeout(LONG)?)
    };
    next(1)?;
    let evaluations = Evaluations::start(evaluator, None);
    for version in 2..2 + INITS {
        next(version)?;
    }
    let (count, longest, _) = evaluations.stop();
    println!("evaluations during inits, ours over SQLite        {count:>9}, the longest {longest:?}");
    system.close(LONG);

    let service = StandIn::start()?;
    service.init(&AllData::from_json(&environment(1))?);
    let (client, _runtime) = official(&service)?;
    let context = sdk::ContextBuilder::new("user").build()?;
    let seen = Arc::new(client);
    let evaluations = Evaluations::start(Arc::clone(&seen), None);
    for version in 2..2 + INITS {
        service.init(&AllData::from_json(&environment(version))?);
        // Each other version is true.
        while seen.bool_variation(&context, &key(0), version % 2 == 1) != (version % 2 == 0) {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let (count, longest, _) = evaluations.stop();
    println!("evaluations during inits, the bare SDK in memory  {count:>9}, the longest {longest:?}");
    seen.close();
    Ok(())
}

fn system(service: &StandIn, store: impl FeatureStoreCore) -> Result<DataSystem, Error> {
    system_by(HyperTransport::new()?, service, store)
}

fn system_by(
    transport: impl HttpTransport,
    service: &StandIn,
    store: impl FeatureStoreCore,
) -> Result<DataSystem, Error> {
    let service = LaunchDarklyService::new("sdk-key").relay_proxy(service.url()).transport(transport);
    let source = StreamingDataSourceBuilder::new(service);
    let system = DataSystem::builder(store).data_source(source).build()?;
    let status = system.data_source_status_provider().ok_or("no source")?;
    if status.wait_for(DataSourceState::Valid, LONG) { Ok(system) } else { Err("no data came".into()) }
}

fn official(service: &StandIn) -> Result<(sdk::Client, tokio::runtime::Runtime), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut endpoints = sdk::ServiceEndpointsBuilder::new();
    endpoints.relay_proxy(&service.url());
    let mut source = sdk::StreamingDataSourceBuilder::new();
    source.transport(HyperTransport::new()?);
    let config = sdk::ConfigBuilder::new("sdk-key")
        .service_endpoints(&endpoints)
        .data_source(&source)
        .event_processor(&sdk::NullEventProcessorBuilder::new());
    let client = sdk::Client::build(config.build()?)?;
    {
        let _inside = runtime.enter();
        client.start_with_default_executor();
    }
    runtime.block_on(client.wait_for_initialization(LONG));
    Ok((client, runtime))
}

/// Keys in the order of their numbers.
fn key(n: usize) -> String {
    format!("flag-{n:04}")
}

/// A flag of about a kilobyte, which is true in every other version.
fn flag(n: usize, version: u64) -> String {
    let start = format!(
        r#"{{"key":"{}","version":{version},"on":true,"variations":[true,false],"fallthrough":{{"variation":{}}},"offVariation":1,"targets":[],"rules":[],"prerequisites":[],"salt":""#,
        key(n),
        version % 2
    );
    let salt = "x".repeat(BYTES.saturating_sub(start.len() + 2));
    format!("{start}{salt}\"}}")
}

fn environment(version: u64) -> String {
    let flags: Vec<_> = (0..FLAGS).map(|n| format!("\"{}\":{}", key(n), flag(n, version))).collect();
    format!(r#"{{"flags":{{{}}},"segments":{{}}}}"#, flags.join(","))
}

/// What evaluates.
trait Evaluate: Send + Sync + 'static {
    fn evaluate(&self, context: &sdk::Context, key: &str) -> bool;
}

impl Evaluate for Evaluator {
    fn evaluate(&self, context: &sdk::Context, key: &str) -> bool {
        self.bool_variation(context, key, false)
    }
}

impl Evaluate for Arc<sdk::Client> {
    fn evaluate(&self, context: &sdk::Context, key: &str) -> bool {
        self.bool_variation(context, key, false)
    }
}

/// A thread that evaluates, and notes the longest time that one took.
struct Evaluations {
    is_over: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    longest: thread::JoinHandle<Duration>,
    since: Instant,
}

impl Evaluations {
    fn start(by: impl Evaluate, a_second: Option<u32>) -> Self {
        let (is_over, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (ends, counts, since) = (Arc::clone(&is_over), Arc::clone(&count), Instant::now());
        let longest = thread::spawn(move || {
            let keys: Vec<_> = (0..FLAGS).map(key).collect();
            let Ok(context) = sdk::ContextBuilder::new("user").build() else { return Duration::ZERO };
            let mut longest = Duration::ZERO;
            for n in 0_u32.. {
                if ends.load(Ordering::Relaxed) {
                    break;
                }
                if let Some(a_second) = a_second {
                    thread::sleep(
                        (since + n * (Duration::from_secs(1) / a_second))
                            .saturating_duration_since(Instant::now()),
                    );
                }
                let start = Instant::now();
                black_box(by.evaluate(&context, &keys[n as usize % FLAGS]));
                longest = longest.max(start.elapsed());
                counts.fetch_add(1, Ordering::Relaxed);
            }
            longest
        });
        Self { is_over, count, longest, since }
    }

    fn stop(self) -> (u64, Duration, Duration) {
        let over = self.since.elapsed();
        self.is_over.store(true, Ordering::Relaxed);
        let longest = self.longest.join().unwrap_or_default();
        (self.count.load(Ordering::Relaxed), longest, over)
    }
}

/// A client that knows when the last byte came.
#[derive(Clone)]
struct Received<T> {
    inner: T,
    last: Arc<Mutex<Instant>>,
}

impl Received<HyperTransport> {
    fn new() -> Result<Self, Error> {
        Ok(Self { inner: HyperTransport::new()?, last: Arc::new(Mutex::new(Instant::now())) })
    }
}

impl<T> Received<T> {
    fn since_last_byte(&self) -> Duration {
        self.last.lock().elapsed()
    }
}

impl<T: HttpTransport> HttpTransport for Received<T> {
    fn request(&self, request: Request<Option<Bytes>>) -> ResponseFuture {
        let (answer, last) = (self.inner.request(request), Arc::clone(&self.last));
        Box::pin(async move {
            Ok(answer
                .await?
                .map(|body| -> ByteStream { Box::pin(body.inspect(move |_| *last.lock() = Instant::now())) }))
        })
    }
}

/// A store that tells when an init has been done.
#[derive(Debug)]
struct Timed {
    inner: Arc<dyn FeatureStoreCore>,
    told: Sender<()>,
}

impl FeatureStoreCore for Timed {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        let done = self.inner.init(all_data);
        let _ = self.told.send(());
        done
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        self.inner.get(kind, key)
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        self.inner.get_all(kind)
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        self.inner.upsert(kind, key, item)
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        self.inner.is_initialized()
    }

    fn is_available(&self) -> bool {
        self.inner.is_available()
    }

    fn describe(&self) -> &'static str {
        self.inner.describe()
    }
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
