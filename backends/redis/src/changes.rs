use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{Change, ChangeSource, ChangeWatch};
use redis::{ConnectionAddr, PushKind, Value};

use crate::cluster::Cluster;
use crate::connect::{Connector, caught};
use crate::connections::Connections;
use crate::error::Failure;
use crate::pool::random;
use crate::schema::Keys;
use crate::session::Session;
use crate::wire::{Link, Wire};

/// How long a connection is listened to before the thread looks whether the watch still lasts.
const LISTENS_FOR: Duration = Duration::from_millis(250);

/// After so much silence the server is asked whether it is still there. An answer may take as long again.
const SILENCE: Duration = Duration::from_secs(5);

/// How often a cluster is asked whether its masters are still the same.
const SAME_MASTERS: Duration = Duration::from_secs(1);

/// Between two attempts to connect, from the first on.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The same where the server has refused to tell: somebody may give the permission some day.
const REFUSED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5 * 60));

/// Learns from the server what others write, by `CLIENT TRACKING` in broadcast mode.
///
/// Made by [`RedisStore::changes`](crate::RedisStore::changes). A watch has a thread, and one with a connection for each server that has keys. Clones share what [`is_armed`](Self::is_armed) says.
#[derive(Clone)]
pub struct RedisChanges {
    source: Source,
    keys: Keys,
    is_armed: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Source {
    One(Arc<Connector>),
    Cluster(Arc<Cluster>),
}

impl RedisChanges {
    pub(crate) fn new(connections: &Connections, keys: &Keys) -> Self {
        let source = match connections {
            Connections::One { connector, .. } => Source::One(Arc::clone(connector)),
            Connections::Injected(pool) => Source::One(Arc::clone(&pool.connector)),
            Connections::Cluster(cluster) => Source::Cluster(Arc::clone(cluster)),
        };
        Self { source, keys: keys.clone(), is_armed: Arc::default() }
    }

    /// Whether the server tells of changes now. It is false while there is no watch or no connection, and stays
    /// so where the server refuses, of which the log has one warning.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.is_armed.load(Ordering::Relaxed)
    }

    /// Asks the server to tell, on a new connection for each server that has keys.
    pub(crate) fn track(&self) -> Result<Vec<(ConnectionAddr, Link)>, Failure> {
        let mut track = redis::cmd("CLIENT");
        track.arg("TRACKING").arg("ON").arg("BCAST").arg("PREFIX").arg(self.keys.beginning());
        let arm = |connector: &Connector, mut link: Link| {
            let mut session = Session::new(&mut link, Instant::now() + connector.timeout);
            // Only RESP3 has messages for it.
            session.query::<Value>(redis::cmd("HELLO").arg(3))?;
            session.query::<()>(&track)?;
            Ok::<_, Failure>(link)
        };
        match &self.source {
            Source::One(connector) => {
                Ok(vec![(connector.info.addr().clone(), arm(connector, connector.connect()?)?)])
            }
            Source::Cluster(cluster) => {
                let connector = &cluster.connector;
                let masters = cluster.masters(Instant::now() + connector.timeout)?.into_iter();
                masters
                    .map(|master| {
                        let link = connector.connect_to(&master)?;
                        Ok((master, arm(connector, link)?))
                    })
                    .collect()
            }
        }
    }
}

impl ChangeSource for RedisChanges {
    fn watch(&self, on_change: Box<dyn Fn(Change) + Send + Sync>) -> ChangeWatch {
        // Nothing is ever sent: that the guard's end is gone ends the thread, and wakes it from a pause.
        let (guard, end) = mpsc::channel::<()>();
        let changes = self.clone();
        let watch = move || Watch { changes, on_change }.run(&end);
        if let Err(error) = thread::Builder::new().name("flagstore-redis-changes".to_owned()).spawn(watch) {
            tracing::warn!("redis: no thread to watch for changes, so caches wait for their TTL: {error}");
        }
        ChangeWatch::new(guard)
    }
}

struct Watch {
    changes: RedisChanges,
    on_change: Box<dyn Fn(Change) + Send + Sync>,
}

impl Watch {
    fn run(&self, end: &Receiver<()>) {
        let mut pause = PAUSES.0;
        let mut has_warned = false;
        loop {
            let tracked = caught(|| self.changes.track());
            let limits = if matches!(tracked, Err(Failure::Answer(_))) { REFUSED } else { PAUSES };
            match tracked {
                Ok(servers) => {
                    (pause, has_warned) = (PAUSES.0, false);
                    self.changes.is_armed.store(true, Ordering::Relaxed);
                    // What happened before, nobody has told.
                    self.tell(Change::Anything);
                    let listened = self.listen(servers, end);
                    self.changes.is_armed.store(false, Ordering::Relaxed);
                    if let Err(failure) = listened {
                        tracing::debug!("redis: changes: {failure}");
                    }
                }
                Err(failure @ Failure::Answer(_)) if !has_warned => {
                    has_warned = true;
                    tracing::warn!(
                        "redis: the server does not tell of changes, so caches wait for their TTL: {failure}"
                    );
                }
                Err(failure) => tracing::debug!("redis: changes: {failure}"),
            }
            pause = pause.clamp(limits.0, limits.1);
            match end.recv_timeout(pause.mul_f64(0.5 + random() / 2.0)) {
                Err(RecvTimeoutError::Disconnected) => return,
                _ => pause *= 2,
            }
        }
    }

    /// Listens to all of them, until one fails, there are others, or the watch ends.
    fn listen(&self, mut servers: Vec<(ConnectionAddr, Link)>, end: &Receiver<()>) -> Result<(), Failure> {
        let is_over = AtomicBool::new(false);
        let masters: Vec<_> = servers.iter().map(|(address, _)| address.clone()).collect();
        thread::scope(|scope| {
            let listen = |link: &mut Link| {
                let result = self.listen_to(link, &is_over);
                is_over.store(true, Ordering::Relaxed);
                result
            };
            let listeners: Vec<_> =
                servers.iter_mut().map(|(_, link)| scope.spawn(move || listen(link))).collect();
            let mut asked = Instant::now();
            while !is_over.load(Ordering::Relaxed) {
                let mut ends = matches!(end.recv_timeout(LISTENS_FOR), Err(RecvTimeoutError::Disconnected));
                if let Source::Cluster(cluster) = &self.changes.source
                    && asked.elapsed() > SAME_MASTERS
                {
                    asked = Instant::now();
                    ends |= cluster.masters(asked + SAME_MASTERS).is_ok_and(|now| now != masters);
                }
                is_over.fetch_or(ends, Ordering::Relaxed);
            }
            listeners.into_iter().filter_map(|listener| listener.join().ok()).collect()
        })
    }

    fn listen_to(&self, server: &mut Link, is_over: &AtomicBool) -> Result<(), Failure> {
        let mut heard = Instant::now();
        let mut has_asked = false;
        while !is_over.load(Ordering::Relaxed) {
            match server.receive(Instant::now() + LISTENS_FOR) {
                Ok(Value::Push { kind: PushKind::Invalidate, data }) => self.report(&data),
                Ok(Value::ServerError(error)) if !has_asked => return Err(Failure::Answer(error.into())),
                // Any answer to the PING, which the user may not be allowed.
                Ok(_) => has_asked = false,
                Err(failure) if failure.is_closed_connection() || heard.elapsed() > SILENCE * 2 => {
                    return Err(failure);
                }
                Err(_) => {
                    if heard.elapsed() > SILENCE && !has_asked {
                        has_asked = true;
                        let ping = redis::cmd("PING").get_packed_command();
                        server.send(&ping, 1, Instant::now() + LISTENS_FOR)?;
                    }
                    continue;
                }
            }
            heard = Instant::now();
        }
        Ok(())
    }

    /// Reports the keys of one message, or after FLUSHALL and FLUSHDB the nil in their place.
    fn report(&self, data: &[Value]) {
        let Some(Value::Array(keys)) = data.first() else { return self.tell(Change::Anything) };
        let kinds = keys.iter().map(|key| match key {
            Value::BulkString(key) => self.changes.keys.kind_of(key),
            _ => None,
        });
        // The mark of an initialized store is no kind, and after an init comes with all kinds.
        match kinds.collect::<Option<Vec<_>>>() {
            Some(kinds) => kinds.into_iter().for_each(|kind| self.tell(Change::Kind(kind))),
            None => self.tell(Change::Anything),
        }
    }

    /// Whoever is told may panic, and is told of the next change all the same.
    fn tell(&self, change: Change) {
        if catch_unwind(AssertUnwindSafe(|| (self.on_change)(change))).is_err() {
            tracing::error!("redis: who is told of changes has panicked");
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
