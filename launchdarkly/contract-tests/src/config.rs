//! The configuration of a client, in the harness' words. What is null is as good as missing.

use std::collections::HashSet;

use launchdarkly_server_sdk::Reference;
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Create {
    pub(crate) configuration: Configuration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Configuration {
    pub(crate) credential: String,
    pub(crate) start_wait_time_ms: Option<u64>,
    pub(crate) init_can_fail: Option<bool>,
    pub(crate) service_endpoints: Option<Endpoints>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) streaming: Option<Streaming>,
    pub(crate) polling: Option<Polling>,
    pub(crate) events: Option<Events>,
    pub(crate) big_segments: Option<BigSegments>,
    pub(crate) tags: Option<Tags>,
    pub(crate) persistent_data_store: Option<PersistentDataStore>,
}

#[derive(Default, Deserialize)]
pub(crate) struct Endpoints {
    pub(crate) streaming: Option<String>,
    pub(crate) polling: Option<String>,
    pub(crate) events: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Proxy {
    pub(crate) http_proxy: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Streaming {
    pub(crate) base_uri: Option<String>,
    pub(crate) initial_retry_delay_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Polling {
    pub(crate) base_uri: Option<String>,
    pub(crate) poll_interval_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Events {
    pub(crate) base_uri: Option<String>,
    pub(crate) capacity: Option<usize>,
    pub(crate) all_attributes_private: Option<bool>,
    pub(crate) global_private_attributes: Option<HashSet<Reference>>,
    pub(crate) flush_interval_ms: Option<u64>,
    pub(crate) omit_anonymous_contexts: Option<bool>,
    pub(crate) enable_gzip: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BigSegments {
    pub(crate) callback_uri: String,
    pub(crate) user_cache_size: Option<u64>,
    pub(crate) user_cache_time_ms: Option<u64>,
    pub(crate) status_poll_interval_ms: Option<u64>,
    pub(crate) stale_after_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tags {
    pub(crate) application_id: Option<String>,
    pub(crate) application_version: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct PersistentDataStore {
    pub(crate) store: Store,
    pub(crate) cache: Cache,
}

#[derive(Deserialize)]
pub(crate) struct Store {
    pub(crate) r#type: String,
    pub(crate) prefix: Option<String>,
    pub(crate) dsn: String,
}

#[derive(Deserialize)]
pub(crate) struct Cache {
    pub(crate) mode: CacheMode,
    /// In seconds.
    pub(crate) ttl: Option<u64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CacheMode {
    Off,
    Ttl,
    Infinite,
}
