//! Our sources of data, as the harness wants them.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use flagstore_launchdarkly::DataSystemBuilder;
use flagstore_launchdarkly::sources::{
    LaunchDarklyService, PollingDataSourceBuilder, StreamingDataSourceBuilder,
};
use launchdarkly_sdk_transport::HyperTransport;

use crate::client::urls;
use crate::config::Configuration;

/// Adds the source that is asked for, a stream where nothing is said of it. None if somebody else fills the database.
pub(crate) fn feed(
    system: DataSystemBuilder,
    configuration: &Configuration,
    transport: HyperTransport,
) -> DataSystemBuilder {
    let (streaming, polling) = (configuration.streaming.as_ref(), configuration.polling.as_ref());
    let urls = urls(configuration);
    let mut service = LaunchDarklyService::new(&configuration.credential)
        .streaming_url(urls.streaming)
        .polling_url(urls.polling)
        .header("x-launchdarkly-instance-id", instance_id())
        .transport(transport);
    if let Some(tags) = &configuration.tags {
        if let Some(id) = tags.application_id.as_ref().filter(|id| is_tag(id)) {
            service = service.application_id(id);
        }
        if let Some(version) = tags.application_version.as_ref().filter(|version| is_tag(version)) {
            service = service.application_version(version);
        }
    }
    match (streaming, polling) {
        (None, None) if configuration.persistent_data_store.is_some() => system,
        (None, Some(polling)) => {
            let mut builder = PollingDataSourceBuilder::new(service);
            if let Some(interval) = polling.poll_interval_ms {
                builder = builder.poll_interval_for_tests(Duration::from_millis(interval));
            }
            system.data_source(builder)
        }
        (streaming, _) => {
            let mut builder = StreamingDataSourceBuilder::new(service);
            if let Some(delay) = streaming.and_then(|streaming| streaming.initial_retry_delay_ms) {
                builder = builder.initial_reconnect_delay(Duration::from_millis(delay));
            }
            system.data_source(builder)
        }
    }
}

/// Our builder refuses what LaunchDarkly would; the harness wants it left out.
fn is_tag(value: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    (1..=64).contains(&value.len()) && value.chars().all(allowed)
}

/// A random UUID, as the SDK's own sources send it.
fn instance_id() -> String {
    let [a, b] = [0, 1].map(|part| RandomState::new().hash_one(part));
    let (first, second, third) = (a >> 32, a >> 16 & 0xffff, a & 0x0fff);
    format!("{first:08x}-{second:04x}-4{third:03x}-8{:03x}-{:012x}", b >> 52, b & 0xffff_ffff_ffff)
}
