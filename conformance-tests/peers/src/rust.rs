//! Our stores, bare and under LaunchDarkly's Rust SDK.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use flagstore_core::{AllData, FeatureStoreCore, Item, Kind, StoreError};
use flagstore_launchdarkly::data_store;
use launchdarkly_sdk_transport::HyperTransport;
use launchdarkly_server_sdk::{
    Client, ConfigBuilder, Context, ContextBuilder, FlagDetailConfig, NullEventProcessorBuilder,
    ServiceEndpointsBuilder, StreamingDataSourceBuilder, version_string,
};
use launchdarkly_server_sdk_evaluation::{Flag, Segment, Store, evaluate};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::broadcast::error::TryRecvError;

use crate::database::Database;
use crate::peer::{Evaluated, Evaluation, Peer};
use crate::upstream::{Event, Upstream};
use crate::wait::wait_for;

/// Our store, called directly: the JSON is stored as LaunchDarkly sends it.
#[derive(Debug)]
pub struct Bare;

impl Peer for Bare {
    fn name(&self) -> &str {
        "ours, bare"
    }

    fn versions(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn evaluates_big_segments(&self) -> bool {
        false
    }

    fn follow(&self, upstream: &Upstream, database: &Database) -> Result<Box<dyn Any>, String> {
        let store = database.store();
        let (first, mut events) = upstream.listen();
        write(&*store, &first).map_err(|error| error.to_string())?;
        let guard = Guard(Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&guard.0);
        thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match events.try_recv() {
                    Ok(event) => write(&*store, &event).expect("a store writes what LaunchDarkly sends"),
                    Err(TryRecvError::Empty) => thread::sleep(Duration::from_millis(1)),
                    Err(TryRecvError::Closed) => return,
                    Err(TryRecvError::Lagged(_)) => panic!("the writer is too slow for its test"),
                }
            }
        });
        Ok(Box::new(guard))
    }

    fn evaluate(&self, database: &Database, flags: &[&str], user: &str) -> Result<Evaluated, String> {
        let data = Data(database.store());
        let context = context(user);
        let value = |flag: &Flag| {
            let value = evaluate(&data, flag, &context, None).value.cloned();
            serde_json::to_value(value).unwrap()
        };
        let result = |key: &&str| match data.flag(key) {
            Some(flag) => Evaluation { value: value(&flag), ..Evaluation::default() },
            None => Evaluation { error: Some("FLAG_NOT_FOUND".to_owned()), ..Evaluation::default() },
        };
        let results = flags.iter().map(|key| ((*key).to_owned(), result(key))).collect();
        let items = data.0.get_all(&Kind::FEATURES).map_err(|error| error.to_string())?;
        let mut all = BTreeMap::new();
        for (key, item) in items.by_key.iter().filter(|(_, item)| !item.is_deleted()) {
            let flag: Flag = serde_json::from_str(item.json()).map_err(|error| format!("{key}: {error}"))?;
            all.insert(key.clone(), value(&flag));
        }
        Ok(Evaluated { results, all })
    }
}

/// Ends the thread that writes.
struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn write(store: &dyn FeatureStoreCore, event: &Event) -> Result<(), StoreError> {
    match event {
        Event::Put(data) => {
            let all_data = AllData::from_json(&data.to_string()).expect("the test's data is right");
            store.init(&all_data.in_dependency_order())
        }
        Event::Patch(kind, key, item) => {
            let item = Item::parse(item.to_string()).expect("the test's data is right");
            store.upsert(kind, key, &item).map(drop)
        }
        Event::Delete(kind, key, version) => {
            let tombstone = Item::tombstone(key, *version).expect("the test's data is right");
            store.upsert(kind, key, &tombstone).map(drop)
        }
    }
}

/// What the evaluation looks up.
struct Data(Arc<dyn FeatureStoreCore>);

impl Data {
    fn get<T: serde::de::DeserializeOwned>(&self, kind: &Kind, key: &str) -> Option<T> {
        let item = self.0.get(kind, key).expect("the database answers")?;
        (!item.is_deleted())
            .then(|| serde_json::from_str(item.json()).expect("what is stored is of its kind"))
    }
}

impl Store for Data {
    fn flag(&self, key: &str) -> Option<Flag> {
        self.get(&Kind::FEATURES, key)
    }

    fn segment(&self, key: &str) -> Option<Segment> {
        self.get(&Kind::SEGMENTS, key)
    }
}

/// Our store as that of the official client, with no cache.
#[derive(Debug)]
pub struct UnderSdk;

impl UnderSdk {
    fn client(database: &Database, stream: Option<&str>) -> Result<Running, String> {
        let mut store = data_store(database.store());
        let mut config = ConfigBuilder::new("sdk-key")
            .data_store(store.no_caching())
            .event_processor(&NullEventProcessorBuilder::new());
        match stream {
            None => config = config.daemon_mode(true),
            Some(url) => {
                let transport = HyperTransport::new().map_err(|error| error.to_string())?;
                let mut endpoints = ServiceEndpointsBuilder::new();
                endpoints.streaming_base_url(url).polling_base_url(url).events_base_url(url);
                config = config
                    .service_endpoints(&endpoints)
                    .data_source(StreamingDataSourceBuilder::new().transport(transport));
            }
        }
        let config = config.build().map_err(|error| error.to_string())?;
        // The client's stream wants to be made within a runtime.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = {
            let _inside = runtime.enter();
            let client = Client::build(config).map_err(|error| error.to_string())?;
            client.start_with_default_executor();
            Running { client, runtime: Some(runtime) }
        };
        wait_for("the client's start", || client.client.initialized().then_some(()))?;
        Ok(client)
    }
}

impl Peer for UnderSdk {
    fn name(&self) -> &str {
        "ours, under the Rust SDK"
    }

    fn versions(&self) -> String {
        format!("SDK {}", version_string())
    }

    fn evaluates_big_segments(&self) -> bool {
        false
    }

    fn follow(&self, upstream: &Upstream, database: &Database) -> Result<Box<dyn Any>, String> {
        Ok(Box::new(Self::client(database, Some(&upstream.url()))?))
    }

    fn evaluate(&self, database: &Database, flags: &[&str], user: &str) -> Result<Evaluated, String> {
        let client = Self::client(database, None)?;
        let context = context(user);
        let result = |flag: &&str| {
            let detail = client.client.json_variation_detail(&context, flag, Value::Null);
            let reason = json!(detail.reason);
            Evaluation {
                value: detail.value.unwrap_or_default(),
                error: reason["errorKind"].as_str().map(str::to_owned),
                big_segments: None,
            }
        };
        let results = flags.iter().map(|flag| ((*flag).to_owned(), result(flag))).collect();
        let all = json!(client.client.all_flags_detail(&context, FlagDetailConfig::new()));
        let all = all.as_object().unwrap().iter().filter(|(key, _)| !key.starts_with('$'));
        Ok(Evaluated { results, all: all.map(|(key, value)| (key.clone(), value.clone())).collect() })
    }
}

/// A client that is told when it ends.
struct Running {
    client: Client,
    runtime: Option<Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.client.close();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The context of a user.
#[must_use]
pub fn context(user: &str) -> Context {
    ContextBuilder::new(user).build().unwrap()
}
