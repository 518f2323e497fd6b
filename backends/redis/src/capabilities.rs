use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use flagstore_core::StoreError;

use crate::changes::RedisChanges;
use crate::connect::caught;
use crate::connections::Connections;
use crate::error::Failure;
use crate::schema::Keys;
use crate::session::Session;

/// What the server does for this store's user, of what not every service, version or user has.
///
/// Asked by [`RedisStore::capabilities`](crate::RedisStore::capabilities).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// MULTI. Without it `init` is an error, unless it is one of a cluster without a hash tag.
    pub transactions: bool,
    /// EVAL. Without it upserts use WATCH, which needs transactions, and take turns.
    pub scripts: bool,
    /// `CLIENT TRACKING` in broadcast mode. Without it [`changes`](crate::RedisStore::changes) reports nothing.
    pub push: bool,
    /// Whether readers see the old data or the new during an `init`: with transactions, and all keys on one node.
    pub atomic_init: bool,
}

impl Capabilities {
    pub(crate) fn ask(connections: &Connections, keys: &Keys, deadline: Instant) -> Result<Self, StoreError> {
        let key = keys.inited();
        let ask = |work: fn(&mut Session, &str) -> Result<(), Failure>| {
            grants(connections.read(key, deadline, |session| work(session, key)))
        };
        let transactions = ask(|session, key| {
            let mut nothing = redis::pipe();
            session.execute(nothing.cmd("EXISTS").arg(key))
        })?;
        let scripts = ask(|session, key| {
            session.query(redis::cmd("EVAL").arg("return redis.call('EXISTS', KEYS[1])").arg(1).arg(key))
        })?;
        let push = grants(track(RedisChanges::new(connections, keys), connections, deadline))?;
        let atomic_init = transactions && connections.are_together(keys.prefix());
        Ok(Self { transactions, scripts, push, atomic_init })
    }
}

/// Has the server asked on connections of their own, which are made on another thread: nobody knows how long that takes.
fn track(changes: RedisChanges, connections: &Connections, deadline: Instant) -> Result<(), Failure> {
    let (tell, told) = mpsc::channel();
    let track = move || drop(tell.send(caught(|| changes.track().map(drop))));
    if let Err(error) = thread::Builder::new().name("flagstore-redis-connect".to_owned()).spawn(track) {
        return Err(Failure::NotConnected(format!("no thread for it: {error}")));
    }
    told.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        .unwrap_or_else(|_| Err(Failure::StillConnecting(connections.to_string())))
}

/// An answer is a yes or a no, unless it is one to everything just now; anything else is neither.
fn grants(asked: Result<(), Failure>) -> Result<bool, StoreError> {
    match asked {
        Ok(()) => Ok(true),
        Err(failure) if failure.is_refusal() => Ok(false),
        Err(failure) => Err(failure.during("capabilities")),
    }
}
