//! A client as the harness wants it.

use std::time::Duration;

use flagstore_launchdarkly::BigSegmentsClient;
use launchdarkly_sdk_transport::HyperTransport;
use launchdarkly_server_sdk::{
    ApplicationInfo, Client, ConfigBuilder, EventProcessorBuilder, NullEventProcessorBuilder,
    PollingDataSourceBuilder, ServiceEndpointsBuilder, StreamingDataSourceBuilder,
};

use crate::big_segments;
use crate::config::{Configuration, Endpoints, Events, Polling, Streaming, Tags};
use crate::store::{self, Chosen};
use crate::tested::Tested;
use crate::variant::{CacheChoice, Variant};

/// Where nothing is meant to be reached: the harness gives every URL that a test needs.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Builds it, starts it, and waits for it as long as it is told to.
pub(crate) async fn start(variant: Variant, configuration: Configuration) -> Result<Tested, String> {
    let patience = configuration.start_wait_time_ms.filter(|wait| *wait > 0).unwrap_or(5_000);
    let may_fail = configuration.init_can_fail == Some(true);
    // Opening a database takes a while.
    let built = tokio::task::spawn_blocking(move || build(variant, configuration)).await;
    let client = built.map_err(|error| error.to_string())??;
    client.client().start_with_default_executor();
    let started = client.client().wait_for_initialization(Duration::from_millis(patience)).await;
    if started != Some(true) && !may_fail {
        return Err("the client has not started".to_owned());
    }
    Ok(client)
}

fn build(variant: Variant, configuration: Configuration) -> Result<Tested, String> {
    let transport = transport(&configuration)?;
    let mut config = ConfigBuilder::new(&configuration.credential)
        .application_info(application_info(configuration.tags))
        .service_endpoints(&endpoints(
            configuration.service_endpoints.unwrap_or_default(),
            configuration.streaming.as_ref(),
            configuration.polling.as_ref(),
            configuration.events.as_ref(),
        ));
    let asked = configuration.persistent_data_store;
    let only_reads = asked.is_some() && configuration.streaming.is_none() && configuration.polling.is_none();
    let chosen = store::choose(variant, asked.as_ref())?;
    config = match (configuration.streaming, configuration.polling) {
        _ if only_reads => config.daemon_mode(true),
        (None, Some(polling)) => config.data_source(&polling_source(&polling, transport.clone())),
        (streaming, _) => {
            config.data_source(&streaming_source(&streaming.unwrap_or_default(), transport.clone()))
        }
    };
    config = match configuration.events {
        Some(events) => config.event_processor(&event_processor(events, transport)),
        None => config.event_processor(&NullEventProcessorBuilder::new()),
    };
    if variant.cache == CacheChoice::Ours {
        let big_segments = configuration.big_segments.as_ref().map(big_segments::wrapper).transpose()?;
        let store = chosen.unwrap_or_else(Chosen::memory).cached()?;
        let client = BigSegmentsClient::build(config, store, big_segments.clone());
        return Ok(Tested::with_big_segments(client.map_err(|error| error.to_string())?, big_segments));
    }
    if let Some(chosen) = chosen {
        config = config.data_store(&chosen.data_store(variant.cache)?);
    }
    let config = config.build().map_err(|error| error.to_string())?;
    Ok(Tested::plain(Client::build(config).map_err(|error| error.to_string())?))
}

fn transport(configuration: &Configuration) -> Result<HyperTransport, String> {
    let mut builder = HyperTransport::builder();
    if let Some(url) = configuration.proxy.as_ref().and_then(|proxy| proxy.http_proxy.clone()) {
        builder = builder.proxy_url(url);
    }
    builder.build_http().map_err(|error| error.to_string())
}

fn application_info(tags: Option<Tags>) -> ApplicationInfo {
    let mut info = ApplicationInfo::new();
    let Some(tags) = tags else { return info };
    if let Some(id) = tags.application_id {
        info.application_identifier(id);
    }
    if let Some(version) = tags.application_version {
        info.application_version(version);
    }
    info
}

/// The URL of each service: its own, else that of all endpoints.
fn endpoints(
    all: Endpoints,
    streaming: Option<&Streaming>,
    polling: Option<&Polling>,
    events: Option<&Events>,
) -> ServiceEndpointsBuilder {
    let first = |own: Option<&String>, general: Option<String>| {
        let own = own.filter(|url| !url.is_empty()).cloned();
        own.or(general).unwrap_or_else(|| NOWHERE.to_owned())
    };
    let mut builder = ServiceEndpointsBuilder::new();
    builder
        .streaming_base_url(&first(streaming.and_then(|source| source.base_uri.as_ref()), all.streaming))
        .polling_base_url(&first(polling.and_then(|source| source.base_uri.as_ref()), all.polling))
        .events_base_url(&first(events.and_then(|events| events.base_uri.as_ref()), all.events));
    builder
}

fn streaming_source(
    streaming: &Streaming,
    transport: HyperTransport,
) -> StreamingDataSourceBuilder<HyperTransport> {
    let mut builder = StreamingDataSourceBuilder::new();
    builder.transport(transport);
    if let Some(delay) = streaming.initial_retry_delay_ms {
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

fn event_processor(events: Events, transport: HyperTransport) -> EventProcessorBuilder<HyperTransport> {
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
    if let Some(attributes) = events.global_private_attributes {
        builder.private_attributes(attributes);
    }
    builder
}
