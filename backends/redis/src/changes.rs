use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{Change, ChangeSource, ChangeWatch};
use redis::{Connection, PushKind, RedisError, Value};

use crate::cluster::Cluster;
use crate::connect::Connector;
use crate::connections::Connections;
use crate::error::Failure;
use crate::injected::InjectedPool;
use crate::schema::Keys;

/// How long a connection is listened to before the thread looks whether the watch still lasts.
const LISTENS_FOR: Duration = Duration::from_millis(250);

/// After so much silence the server is asked whether it is still there. An answer may take as long again.
const SILENCE: Duration = Duration::from_secs(5);

/// The longest time between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Learns from the server what others write, by `CLIENT TRACKING` in broadcast mode.
///
/// Made by [`RedisStore::changes`](crate::RedisStore::changes). A watch is one thread with a connection of its
/// own, or one for each master of a cluster.
pub struct RedisChanges {
    source: Source,
    keys: Keys,
}

#[derive(Clone)]
enum Source {
    One(Arc<Connector>),
    Cluster(Arc<Cluster>),
}

impl RedisChanges {
    pub(crate) fn new(connections: &Connections, keys: &Keys) -> Self {
        let source = match connections {
            Connections::One { connector, .. } | Connections::Injected(InjectedPool { connector, .. }) => {
                Source::One(Arc::clone(connector))
            }
            Connections::Cluster(cluster) => Source::Cluster(Arc::clone(cluster)),
        };
        Self { source, keys: keys.clone() }
    }
}

impl ChangeSource for RedisChanges {
    fn watch(&self, on_change: Box<dyn Fn(Change) + Send + Sync>) -> ChangeWatch {
        // Nothing is ever sent: that the guard's end is gone ends the thread, and wakes it from a pause.
        let (guard, end) = mpsc::channel::<()>();
        let (source, keys) = (self.source.clone(), self.keys.clone());
        let watch = move || Watch { source, keys, on_change }.run(&end);
        if let Err(error) = thread::Builder::new().name("flagstore-redis-changes".to_owned()).spawn(watch) {
            tracing::warn!("redis: no thread to watch for changes, so caches wait for their TTL: {error}");
        }
        ChangeWatch::new(guard)
    }
}

struct Watch {
    source: Source,
    keys: Keys,
    on_change: Box<dyn Fn(Change) + Send + Sync>,
}

impl Watch {
    fn run(&self, end: &Receiver<()>) {
        let mut pause = Duration::from_millis(50);
        loop {
            match self.track() {
                Ok(servers) => {
                    // What happened before, nobody has told.
                    (self.on_change)(Change::Anything);
                    pause = Duration::from_millis(50);
                    if let Err(error) = self.listen(servers, end) {
                        tracing::debug!("redis: changes: {error}");
                    }
                }
                Err(failure) => tracing::debug!("redis: changes: {failure}"),
            }
            match end.recv_timeout(pause) {
                Err(RecvTimeoutError::Disconnected) => return,
                _ => pause = LONGEST_PAUSE.min(pause * 2),
            }
        }
    }

    /// A connection to each server that has keys, which tells what becomes of those with the prefix.
    fn track(&self) -> Result<Vec<Connection>, Failure> {
        let mut track = redis::cmd("CLIENT");
        track.arg("TRACKING").arg("ON").arg("BCAST").arg("PREFIX").arg(self.keys.beginning());
        let servers = match &self.source {
            Source::One(connector) => vec![connector.with_resp3().connect()?],
            Source::Cluster(cluster) => {
                let connector = cluster.connector.with_resp3();
                let deadline = || Instant::now() + connector.timeout;
                let masters = cluster.masters(deadline())?.into_iter();
                masters.map(|master| connector.connect_to(master, deadline())).collect::<Result<_, _>>()?
            }
        };
        let mut tracked = Vec::with_capacity(servers.len());
        for mut server in servers {
            track.query::<()>(&mut server)?;
            server.set_read_timeout(Some(LISTENS_FOR))?;
            tracked.push(server);
        }
        Ok(tracked)
    }

    /// Listens to all of them, until one fails or the watch ends.
    fn listen(&self, mut servers: Vec<Connection>, end: &Receiver<()>) -> Result<(), RedisError> {
        let has_ended = || end.try_recv() == Err(TryRecvError::Disconnected);
        if let [server] = servers.as_mut_slice() {
            return self.listen_to(server, &has_ended);
        }
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let listen = |server: &mut Connection| {
                let result = self.listen_to(server, &|| is_over.load(Ordering::Relaxed));
                is_over.store(true, Ordering::Relaxed);
                result
            };
            let listeners: Vec<_> =
                servers.iter_mut().map(|server| scope.spawn(move || listen(server))).collect();
            while !is_over.load(Ordering::Relaxed) {
                let has_ended = matches!(end.recv_timeout(LISTENS_FOR), Err(RecvTimeoutError::Disconnected));
                is_over.fetch_or(has_ended, Ordering::Relaxed);
            }
            // A panic is that of `on_change`, and ends the watch as it would with one server.
            listeners.into_iter().filter_map(|listener| listener.join().ok()).collect()
        })
    }

    fn listen_to(&self, server: &mut Connection, is_over: &dyn Fn() -> bool) -> Result<(), RedisError> {
        let mut heard = Instant::now();
        // For each time that it has waited in vain, the driver drops an answer that it takes for a late one.
        let mut dropped = 0;
        while !is_over() {
            match server.recv_response() {
                Ok(Value::Push { kind: PushKind::Invalidate, data }) => {
                    heard = Instant::now();
                    self.report(&data);
                }
                Ok(Value::ServerError(error)) => return Err(error.into()),
                Ok(_) => heard = Instant::now(),
                Err(error) if !error.is_timeout() || heard.elapsed() > SILENCE * 2 => return Err(error),
                Err(_) => dropped += 1,
            }
            if heard.elapsed() > SILENCE {
                let pings = redis::cmd("PING").get_packed_command().repeat(dropped + 1);
                server.send_packed_command(&pings)?;
                dropped = 0;
            }
        }
        Ok(())
    }

    /// Reports the keys of one message, or after FLUSHALL and FLUSHDB the nil in their place.
    fn report(&self, data: &[Value]) {
        let Some(Value::Array(keys)) = data.first() else { return (self.on_change)(Change::Anything) };
        let kinds = keys.iter().map(|key| match key {
            Value::BulkString(key) => self.keys.kind_of(key),
            _ => None,
        });
        // The mark of an initialized store is no kind, and after an init comes with all kinds.
        match kinds.collect::<Option<Vec<_>>>() {
            Some(kinds) => kinds.into_iter().for_each(|kind| (self.on_change)(Change::Kind(kind))),
            None => (self.on_change)(Change::Anything),
        }
    }
}

impl fmt::Debug for RedisChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::One(connector) => write!(f, "RedisChanges({connector}, {})", self.keys.prefix()),
            Source::Cluster(cluster) => write!(f, "RedisChanges({cluster}, {})", self.keys.prefix()),
        }
    }
}
