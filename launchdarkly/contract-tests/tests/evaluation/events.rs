//! The events of the official client, as a service receives them.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use flagstore_conformance::Skip;
use flagstore_core::{BigSegmentStoreWrapper, CacheMode, UnixMillis};
use flagstore_launchdarkly::BigSegmentsClient;
use launchdarkly_sdk_transport::HyperTransport;
use launchdarkly_server_sdk::{ConfigBuilder, EventProcessorBuilder, ServiceEndpointsBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::environment::{BIG, MEMBER};
use crate::subject::{Database, user};

/// What takes events, until it is dropped.
struct Service {
    url: String,
    events: Arc<Mutex<Vec<Value>>>,
    _runtime: Runtime,
}

impl Service {
    fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let events: Arc<Mutex<Vec<Value>>> = Arc::default();
        let received = Arc::clone(&events);
        let receive = move |body: Bytes| {
            received.lock().unwrap().extend(serde_json::from_slice::<Vec<Value>>(&body).unwrap());
            async { StatusCode::ACCEPTED }
        };
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async { axum::serve(listener, Router::new().fallback(receive)).await });
        Self { url, events, _runtime: runtime }
    }
}

/// They say what the evaluations said: variation, value and reason, of the flag in detail and in the summary.
pub(crate) fn events_are_those_of_the_client(database: &Database<'_>) -> Result<(), Skip> {
    database.synchronize(UnixMillis::now());
    database.put("in", &[BIG], &[]);
    // All its features together have two providers, and the SDK's client wants to know which, also without TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    for mode in [CacheMode::Off, CacheMode::Forever] {
        let service = Service::start();
        let mut events = EventProcessorBuilder::new();
        events.transport(HyperTransport::builder().build_http().unwrap()).compress_events(false);
        let mut endpoints = ServiceEndpointsBuilder::new();
        endpoints
            .streaming_base_url(&service.url)
            .polling_base_url(&service.url)
            .events_base_url(&service.url);
        let config = ConfigBuilder::new("sdk-key")
            .daemon_mode(true)
            .service_endpoints(&endpoints)
            .event_processor(&events);
        let big_segments = BigSegmentStoreWrapper::builder(database.updates()).build().unwrap();
        let client = BigSegmentsClient::build(config, database.flags(mode), big_segments).unwrap();
        assert!(client.bool_variation_detail(&user("in"), MEMBER, false).detail.value.unwrap());
        assert!(!client.bool_variation(&user("nobody"), MEMBER, false));
        // It waits until they are delivered.
        client.client().close();
        let events = service.events.lock().unwrap();
        let evaluations: Vec<_> = events.iter().filter(|event| event["kind"] == "feature").collect();
        assert_eq!(evaluations.len(), 2, "{events:?}");
        for (event, (value, reason)) in evaluations
            .into_iter()
            .zip([(true, json!({"kind": "RULE_MATCH", "ruleIndex": 0})), (false, Value::Null)])
        {
            assert_eq!((&event["key"], &event["value"]), (&json!(MEMBER), &json!(value)), "{event}");
            assert_eq!(event["variation"], json!(u8::from(value)), "{event}");
            assert_eq!(event["reason"], reason, "{event}");
        }
        let summary = events.iter().find(|event| event["kind"] == "summary").expect("a summary");
        let mut counted: Vec<_> = summary["features"][MEMBER]["counters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|counter| (counter["value"].as_bool(), counter["count"].as_u64()))
            .collect();
        counted.sort_unstable();
        assert_eq!(counted, [(Some(false), Some(1)), (Some(true), Some(1))], "{summary}");
    }
    Ok(())
}
