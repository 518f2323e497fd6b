//! Our data system: our source fills our store, and the official client evaluates from it, with Big Segments.

use std::any::Any;

use flagstore_core::{BigSegmentStoreWrapper, CacheMode, CachingStoreWrapper};
use flagstore_launchdarkly::sources::{LaunchDarklyService, StreamingDataSourceBuilder};
use flagstore_launchdarkly::{BigSegmentsClient, DataSystem};
use launchdarkly_sdk_transport::HyperTransport;
use launchdarkly_server_sdk::{ConfigBuilder, FlagDetailConfig, NullEventProcessorBuilder};
use serde_json::{Value, json};

use crate::database::Database;
use crate::peer::{Evaluated, Evaluation, Peer};
use crate::rust::context;
use crate::upstream::Upstream;

/// What a program with our sources is.
#[derive(Debug)]
pub struct WithSources;

impl Peer for WithSources {
    fn name(&self) -> &str {
        "ours, with our sources"
    }

    fn versions(&self) -> String {
        format!("{}, SDK {}", env!("CARGO_PKG_VERSION"), launchdarkly_server_sdk::version_string())
    }

    fn evaluates_big_segments(&self) -> bool {
        true
    }

    fn follow(&self, upstream: &Upstream, database: &Database) -> Result<Box<dyn Any>, String> {
        let transport = HyperTransport::new().map_err(|error| error.to_string())?;
        let service = LaunchDarklyService::new("sdk-key").relay_proxy(upstream.url()).transport(transport);
        let system = DataSystem::builder(database.store())
            .data_source(StreamingDataSourceBuilder::new(service))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Box::new(system))
    }

    fn evaluate(&self, database: &Database, flags: &[&str], user: &str) -> Result<Evaluated, String> {
        let store = CachingStoreWrapper::builder(database.store()).mode(CacheMode::Off).build();
        let big_segments = BigSegmentStoreWrapper::builder(database.big_segments()).build();
        let (store, big_segments) =
            store.and_then(|store| Ok((store, big_segments?))).map_err(|error| error.to_string())?;
        let config = ConfigBuilder::new("sdk-key")
            .daemon_mode(true)
            .event_processor(&NullEventProcessorBuilder::new());
        let client =
            BigSegmentsClient::build(config, store, big_segments).map_err(|error| error.to_string())?;
        let context = context(user);
        let result = |flag: &&str| {
            let evaluation = client.json_variation_detail(&context, flag, Value::Null);
            let reason = json!(evaluation.detail.reason);
            Evaluation {
                value: evaluation.detail.value.unwrap_or_default(),
                error: reason["errorKind"].as_str().map(str::to_owned),
                big_segments: evaluation.big_segments_status.map(|status| status.as_str().to_owned()),
            }
        };
        let results = flags.iter().map(|flag| ((*flag).to_owned(), result(flag))).collect();
        let all = json!(client.all_flags_detail(&context, FlagDetailConfig::new()).0);
        let all = all.as_object().unwrap().iter().filter(|(key, _)| !key.starts_with('$'));
        let all = all.map(|(key, value)| (key.clone(), value.clone())).collect();
        client.client().close();
        Ok(Evaluated { results, all })
    }
}
