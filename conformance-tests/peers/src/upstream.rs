//! A stand-in for the LaunchDarkly service.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event as SentEvent, Sse};
use axum::routing::{get, post};
use axum::{Json, Router};
use flagstore_core::Kind;
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::broadcast;

/// What the stream says.
#[derive(Debug, Clone)]
pub enum Event {
    /// The whole environment: `{"flags":{..},"segments":{..}}`.
    Put(Value),
    /// An item and its key, which replaces an older one.
    Patch(Kind, String, Value),
    /// The key and the version of a deletion.
    Delete(Kind, String, u64),
}

impl Event {
    fn sent(&self) -> SentEvent {
        let (name, data) = match self {
            Self::Put(data) => ("put", json!({"path": "/", "data": data})),
            Self::Patch(kind, key, item) => ("patch", json!({"path": path(kind, key), "data": item})),
            Self::Delete(kind, key, version) => {
                ("delete", json!({"path": path(kind, key), "version": version}))
            }
        };
        SentEvent::default().event(name).data(data.to_string())
    }
}

fn path(kind: &Kind, key: &str) -> String {
    let kind = if *kind == Kind::FEATURES { "flags" } else { kind.as_str() };
    format!("/{kind}/{key}")
}

/// A server on a port of its own that says to every SDK, and every Relay, what it is told to say.
///
/// Whoever connects is first sent the last [`put`](Self::put): what came after it belongs to a test's story, which
/// goes on for those that listen and is not kept.
pub struct Upstream {
    service: Arc<Service>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("address", &self.address).finish_non_exhaustive()
    }
}

struct Service {
    /// What a new connection is told first.
    data: Mutex<Value>,
    events: broadcast::Sender<Event>,
    /// Of Big Segments.
    revisions: Mutex<Vec<Value>>,
    revised: broadcast::Sender<Value>,
}

impl Upstream {
    /// Serves this environment.
    #[must_use]
    pub fn start(data: &Value) -> Self {
        let service = Arc::new(Service {
            data: Mutex::new(data.clone()),
            events: broadcast::channel(10_000).0,
            revisions: Mutex::default(),
            revised: broadcast::channel(100).0,
        });
        let router = Router::new()
            .route("/all", get(all))
            .route("/sdk/latest-all", get(latest))
            .route("/big-segments", get(big_segments))
            .route("/sdk/big-segments/revisions", get(revisions))
            // Events of all sorts, which nobody here wants.
            .route("/{*path}", post(StatusCode::ACCEPTED))
            .with_state(Arc::clone(&service));
        Self::serve(service, router)
    }

    /// A service that is down.
    #[must_use]
    pub fn away() -> Self {
        let upstream = Service {
            data: Mutex::default(),
            events: broadcast::channel(1).0,
            revisions: Mutex::default(),
            revised: broadcast::channel(1).0,
        };
        Self::serve(Arc::new(upstream), Router::new().fallback(StatusCode::SERVICE_UNAVAILABLE))
    }

    fn serve(service: Arc<Service>, router: Router) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { service, address, runtime: Some(runtime) }
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Replaces the environment.
    pub fn put(&self, data: Value) {
        let mut kept = self.service.data.lock().unwrap();
        kept.clone_from(&data);
        let _ = self.service.events.send(Event::Put(data));
    }

    /// Changes one item, or tries to: its version may be an old one.
    pub fn patch(&self, kind: &Kind, item: Value) {
        let key = item["key"].as_str().unwrap().to_owned();
        let _ = self.service.events.send(Event::Patch(kind.clone(), key, item));
    }

    /// Deletes one item, or tries to.
    pub fn delete(&self, kind: &Kind, key: &str, version: u64) {
        let _ = self.service.events.send(Event::Delete(kind.clone(), key.to_owned(), version));
    }

    /// Changes the members of Big Segments, by one revision that follows the one before.
    pub fn revise(&self, revision: Value) {
        self.service.revisions.lock().unwrap().push(revision.clone());
        let _ = self.service.revised.send(json!([revision]));
    }

    /// What a client is told: the environment, and then all that changes.
    #[must_use]
    pub fn listen(&self) -> (Event, broadcast::Receiver<Event>) {
        self.service.listen()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Service {
    fn listen(&self) -> (Event, broadcast::Receiver<Event>) {
        // Under the lock that a put takes, so that none is missed between the two.
        let data = self.data.lock().unwrap();
        (Event::Put(data.clone()), self.events.subscribe())
    }
}

type Sent = Result<SentEvent, axum::Error>;

async fn all(State(service): State<Arc<Service>>) -> Sse<impl Stream<Item = Sent>> {
    let (first, events) = service.listen();
    Sse::new(stream::once(async move { Ok(first.sent()) }).chain(received(events, |event| event.sent())))
}

async fn latest(State(service): State<Arc<Service>>) -> Json<Value> {
    Json(service.data.lock().unwrap().clone())
}

async fn big_segments(State(service): State<Arc<Service>>) -> Sse<impl Stream<Item = Sent>> {
    let revised = service.revised.subscribe();
    Sse::new(received(revised, |revisions| SentEvent::default().event("patch").data(revisions.to_string())))
}

/// All that is received, until the sender is gone.
fn received<T: Clone + Send + 'static>(
    receiver: broadcast::Receiver<T>,
    sent: impl Fn(T) -> SentEvent,
) -> impl Stream<Item = Sent> {
    stream::unfold((receiver, sent), |(mut receiver, sent)| async {
        let next = receiver.recv().await.ok()?;
        Some((Ok(sent(next)), (receiver, sent)))
    })
}

#[derive(Deserialize)]
struct After {
    after: Option<String>,
}

/// Those that follow the revision that the client has, or all.
async fn revisions(State(service): State<Arc<Service>>, Query(query): Query<After>) -> Json<Vec<Value>> {
    let revisions = service.revisions.lock().unwrap();
    let known = query.after.and_then(|after| revisions.iter().position(|one| one["version"] == *after));
    Json(revisions[known.map_or(0, |last| last + 1)..].to_vec())
}
