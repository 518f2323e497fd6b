//! A client as the harness wants it.

use std::sync::Arc;
use std::time::Duration;

use flagstore_launchdarkly::BigSegmentsClient;
use launchdarkly_sdk_transport::HyperTransport;
use launchdarkly_server_sdk::{
    ApplicationInfo, Client, ConfigBuilder, EventProcessorBuilder, NullEventProcessorBuilder,
    PollingDataSourceBuilder, ServiceEndpointsBuilder, StreamingDataSourceBuilder,
};

use crate::big_segments;
use crate::config::{Configuration, Events, Polling, Streaming, Tags};
use crate::sources;
use crate::store::{self, Chosen};
use crate::tested::Tested;
use crate::variant::{CacheChoice, Variant};

/// Where nothing is meant to be reached: the harness gives every URL that a test needs.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Builds it, starts it, and waits for it as long as it is told to.
pub(crate) async fn start(variant: Variant, configuration: Configuration) -> Result<Arc<Tested>, String> {
    let patience = configuration.start_wait_time_ms.filter(|wait| *wait > 0).unwrap_or(5_000);
    let may_fail = configuration.init_can_fail == Some(true);
    // Opening a database takes a while.
    let built = tokio::task::spawn_blocking(move || build(variant, configuration)).await;
    let client = Arc::new(built.map_err(|error| error.to_string())??);
    if !Arc::clone(&client).start(Duration::from_millis(patience)).await && !may_fail {
        return Err("the client has not started".to_owned());
    }
    Ok(client)
}

fn build(variant: Variant, configuration: Configuration) -> Result<Tested, String> {
    let transport = transport(&configuration)?;
    let urls = urls(&configuration);
    let mut endpoints = ServiceEndpointsBuilder::new();
    endpoints
        .streaming_base_url(&urls.streaming)
        .polling_base_url(&urls.polling)
        .events_base_url(&urls.events);
    let mut config = ConfigBuilder::new(&configuration.credential)
        .application_info(application_info(configuration.tags.as_ref()))
        .service_endpoints(&endpoints);
    config = match &configuration.events {
        Some(events) => config.event_processor(&event_processor(events, transport.clone())),
        None => config.event_processor(&NullEventProcessorBuilder::new()),
    };
    let asked = configuration.persistent_data_store.as_ref();
    let chosen = store::choose(variant, asked)?;
    let big_segments = configuration.big_segments.as_ref().map(big_segments::wrapper).transpose()?;
    match variant.cache {
        CacheChoice::DataSystem => {
            let system = chosen.unwrap_or_else(Chosen::memory).data_system(asked.is_some());
            let mut system = sources::feed(system, &configuration, transport);
            if let Some(big_segments) = big_segments.clone() {
                system = system.big_segments(big_segments);
            }
            let system = system.build().map_err(|error| error.to_string())?;
            let client =
                BigSegmentsClient::build(config.daemon_mode(true), system.store().clone(), big_segments);
            Ok(Tested::of_data_system(client.map_err(|error| error.to_string())?, system))
        }
        CacheChoice::Ours => {
            let config = with_source(config, &configuration, transport);
            let store = chosen.unwrap_or_else(Chosen::memory).cached()?;
            let client = BigSegmentsClient::build(config, store, big_segments.clone());
            Ok(Tested::with_big_segments(client.map_err(|error| error.to_string())?, big_segments))
        }
        CacheChoice::Sdk | CacheChoice::Both => {
            let mut config = with_source(config, &configuration, transport);
            if let Some(chosen) = chosen {
                config = config.data_store(&chosen.data_store(variant.cache)?);
            }
            let config = config.build().map_err(|error| error.to_string())?;
            Ok(Tested::plain(Client::build(config).map_err(|error| error.to_string())?))
        }
    }
}

/// The SDK's own source. A store without one is read in daemon mode.
fn with_source(
    config: ConfigBuilder,
    configuration: &Configuration,
    transport: HyperTransport,
) -> ConfigBuilder {
    match (&configuration.streaming, &configuration.polling) {
        (None, None) if configuration.persistent_data_store.is_some() => config.daemon_mode(true),
        (None, Some(polling)) => config.data_source(&polling_source(polling, transport)),
        (streaming, _) => config.data_source(&streaming_source(streaming.as_ref(), transport)),
    }
}

fn transport(configuration: &Configuration) -> Result<HyperTransport, String> {
    let mut builder = HyperTransport::builder();
    if let Some(url) = configuration.proxy.as_ref().and_then(|proxy| proxy.http_proxy.clone()) {
        builder = builder.proxy_url(url);
    }
    builder.build_http().map_err(|error| error.to_string())
}

fn application_info(tags: Option<&Tags>) -> ApplicationInfo {
    let mut info = ApplicationInfo::new();
    let Some(tags) = tags else { return info };
    if let Some(id) = &tags.application_id {
        info.application_identifier(id);
    }
    if let Some(version) = &tags.application_version {
        info.application_version(version);
    }
    info
}

/// Where the services are.
pub(crate) struct Urls {
    pub(crate) streaming: String,
    pub(crate) polling: String,
    events: String,
}

/// The URL of each service: its own, else that of all endpoints.
pub(crate) fn urls(configuration: &Configuration) -> Urls {
    let all = configuration.service_endpoints.as_ref();
    let first = |own: Option<&String>, general: Option<&String>| {
        let own = own.filter(|url| !url.is_empty());
        own.or(general).cloned().unwrap_or_else(|| NOWHERE.to_owned())
    };
    let streaming = configuration.streaming.as_ref().and_then(|source| source.base_uri.as_ref());
    let polling = configuration.polling.as_ref().and_then(|source| source.base_uri.as_ref());
    let events = configuration.events.as_ref().and_then(|events| events.base_uri.as_ref());
    Urls {
        streaming: first(streaming, all.and_then(|all| all.streaming.as_ref())),
        polling: first(polling, all.and_then(|all| all.polling.as_ref())),
        events: first(events, all.and_then(|all| all.events.as_ref())),
    }
}

fn streaming_source(
    streaming: Option<&Streaming>,
    transport: HyperTransport,
) -> StreamingDataSourceBuilder<HyperTransport> {
    let mut builder = StreamingDataSourceBuilder::new();
    builder.transport(transport);
    if let Some(delay) = streaming.and_then(|streaming| streaming.initial_retry_delay_ms) {
        builder.initial_reconnect_delay(Duration::from_millis(delay));
    }
    builder
}

fn polling_source(polling: &Polling, transport: HyperTransport) -> PollingDataSourceBuilder {
    let mut builder = PollingDataSourceBuilder::new();
    builder.transport(transport);
    if let Some(interval) = polling.poll_interval_ms {
        builder.poll_interval(Duration::from_millis(interval));
    }
    builder
}

fn event_processor(events: &Events, transport: HyperTransport) -> EventProcessorBuilder<HyperTransport> {
    let mut builder = EventProcessorBuilder::new();
    builder
        .transport(transport)
        .all_attributes_private(events.all_attributes_private.unwrap_or(false))
        .omit_anonymous_contexts(events.omit_anonymous_contexts.unwrap_or(false))
        .compress_events(events.enable_gzip.unwrap_or(false));
    if let Some(capacity) = events.capacity.filter(|capacity| *capacity > 0) {
        builder.capacity(capacity);
    }
    if let Some(interval) = events.flush_interval_ms.filter(|interval| *interval > 0) {
        builder.flush_interval(Duration::from_millis(interval));
    }
    if let Some(attributes) = &events.global_private_attributes {
        builder.private_attributes(attributes.clone());
    }
    builder
}
