//! The resources that the harness knows: the service, and each client in it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::sync::Notify;

use crate::commands::{self, Command};
use crate::config::Create;
use crate::tested::Tested;
use crate::variant::{CacheChoice, Variant};
use crate::{client, commands::Failure};

/// The optional parts of the SDK that are tested: those of the official Rust service, and what is ours.
const CAPABILITIES: &[&str] = &[
    "all-flags-client-side-only",
    "all-flags-details-only-for-tracked-flags",
    "all-flags-with-reasons",
    "anonymous-redaction",
    "client-prereq-events",
    "context-type",
    "event-gzip",
    "event-sampling",
    "http-proxy",
    "inline-context-all",
    "instance-id",
    "migrations",
    "omit-anonymous-contexts",
    "optional-event-gzip",
    "persistent-data-store-dynamodb",
    "persistent-data-store-redis",
    "secure-mode-hash",
    "server-side",
    "server-side-polling",
    "service-endpoints",
    "strongly-typed",
    "tags",
];

/// All clients of a run.
pub(crate) struct Service {
    variant: Variant,
    clients: Mutex<HashMap<u64, Arc<Tested>>>,
    count: AtomicU64,
    stop: Arc<Notify>,
}

impl Service {
    pub(crate) fn new(variant: Variant) -> Self {
        Self { variant, clients: Mutex::default(), count: AtomicU64::new(0), stop: Arc::default() }
    }

    /// Its HTTP interface, and what is ready once it has been told to stop.
    pub(crate) fn router(self) -> (Router, impl Future<Output = ()> + Send + 'static) {
        let stop = Arc::clone(&self.stop);
        let router = Router::new()
            .route("/", get(status).post(create).delete(stop_service))
            .route("/clients/{id}", axum::routing::post(command).delete(close))
            .with_state(Arc::new(self));
        (router, async move { stop.notified().await })
    }

    /// With the SDK's own cache there are no Big Segments. The SDK's sources ask for nothing compressed and stop for good
    /// at some errors, and the SDK tells nobody what changes.
    fn capabilities(&self) -> Vec<&'static str> {
        let more: &[&str] = match self.variant.cache {
            CacheChoice::Sdk | CacheChoice::Both => &[],
            CacheChoice::Ours => &["big-segments"],
            CacheChoice::DataSystem => &[
                "big-segments",
                "flag-change-listeners",
                "flag-value-change-listeners",
                "polling-gzip",
                "retry-conformance-fdv1-polling",
                "retry-conformance-fdv1-streaming",
            ],
        };
        [CAPABILITIES, more].concat()
    }

    fn client(&self, id: u64) -> Option<Arc<Tested>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
}

async fn status(State(service): State<Arc<Service>>) -> Response {
    let status = json!({
        "name": "flagstore",
        "clientVersion": launchdarkly_server_sdk::version_string(),
        "capabilities": service.capabilities(),
    });
    status.to_string().into_response()
}

async fn stop_service(State(service): State<Arc<Service>>) -> StatusCode {
    service.stop.notify_one();
    StatusCode::NO_CONTENT
}

async fn create(State(service): State<Arc<Service>>, body: Bytes) -> Result<Response, Failure> {
    let create: Create = commands::parse(&body)?;
    let client = client::start(service.variant, create.configuration).await.map_err(Failure::Sdk)?;
    let id = service.count.fetch_add(1, Ordering::Relaxed);
    service.clients.lock().unwrap_or_else(PoisonError::into_inner).insert(id, client);
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/clients/{id}"))]).into_response())
}

async fn command(
    State(service): State<Arc<Service>>,
    Path(id): Path<u64>,
    body: Bytes,
) -> Result<Response, Failure> {
    let command: Command = commands::parse(&body)?;
    let client = service.client(id).ok_or(Failure::NoSuchClient)?;
    let answer = commands::run(client, command).await?;
    Ok(answer
        .map_or_else(|| StatusCode::ACCEPTED.into_response(), |answer| answer.to_string().into_response()))
}

async fn close(State(service): State<Arc<Service>>, Path(id): Path<u64>) -> Result<StatusCode, Failure> {
    let client = service.clients.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    let client = client.ok_or(Failure::NoSuchClient)?;
    // It waits for its last events.
    tokio::task::spawn_blocking(move || client.close())
        .await
        .map_err(|error| Failure::Sdk(error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}
