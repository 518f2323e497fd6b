use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

use flagstore_core::{AllData, FeatureStoreCore, Item, Items, Kind, StoreError, Upsert};
use redis::ServerErrorKind;

use crate::RedisStoreBuilder;
use crate::capabilities::Capabilities;
use crate::changes::RedisChanges;
use crate::codec::{ITEMS_PER_COMMAND, fields_of, hsets, item_of};
use crate::connections::{Connections, Pieces};
use crate::error::Failure;
use crate::schema::Keys;
use crate::upsert::Upserts;

/// Feature flags in Redis or Valkey, in the format of the Relay Proxy and every official SDK.
///
/// Made by [`RedisStore::builder`]. Connections are opened when they are first needed, and closed with the
/// store.
pub struct RedisStore {
    pub(crate) connections: Connections,
    pub(crate) keys: Keys,
    pub(crate) timeout: Duration,
    pub(crate) init_timeout: Duration,
    flags_mean_initialized: bool,
    upserts: Upserts,
}

impl RedisStore {
    /// Configures a store; without any setting it is that of every SDK, `launchdarkly` on `localhost:6379`.
    pub fn builder() -> RedisStoreBuilder {
        RedisStoreBuilder::default()
    }

    pub(crate) fn new(
        connections: Connections,
        keys: Keys,
        timeout: Duration,
        init_timeout: Duration,
        flags_mean_initialized: bool,
    ) -> Self {
        let upserts = Upserts::default();
        Self { connections, keys, timeout, init_timeout, flags_mean_initialized, upserts }
    }

    /// What tells a cache that somebody else has written, within milliseconds: for
    /// [`CachingStoreBuilder::changes`](flagstore_core::CachingStoreBuilder::changes).
    ///
    /// It has connections of its own, made with the settings of this store. It needs Redis 6 or newer.
    #[must_use]
    pub fn changes(&self) -> RedisChanges {
        RedisChanges::new(&self.connections, &self.keys)
    }

    /// Asks the server what it does for this store's user: transactions, scripts, push.
    ///
    /// # Errors
    ///
    /// Those of a read: a server that cannot be asked has neither granted nor refused anything.
    pub fn capabilities(&self) -> Result<Capabilities, StoreError> {
        Capabilities::ask(&self.connections, &self.keys, self.deadline())
    }

    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }
}

impl FeatureStoreCore for RedisStore {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        let deadline = Instant::now() + self.init_timeout;
        let initialized = if self.connections.are_together(self.keys.prefix()) {
            self.replace(all_data, deadline)
        } else {
            self.replace_in_order(all_data, deadline)
        };
        initialized.map_err(|failure| failure.during("init"))
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        let hash = self.keys.items(kind);
        let mut hget = redis::cmd("HGET");
        hget.arg(&hash).arg(key);
        let stored = self.connections.read(&hash, self.deadline(), |session| session.query(&hget));
        let item = stored.and_then(|stored: Option<Vec<u8>>| stored.map(item_of).transpose());
        item.map_err(|failure| failure.during("get").about([(kind.clone(), key.to_owned())]))
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        let hash = self.keys.items(kind);
        let mut hgetall = redis::cmd("HGETALL");
        hgetall.arg(&hash);
        let reply = self.connections.read(&hash, self.deadline(), |session| session.query(&hgetall));
        let fields = fields_of(reply.map_err(|failure| failure.during("get_all"))?);
        let mut items = Items::default();
        items.by_key.reserve(fields.len());
        for (key, stored) in fields {
            let key = String::from_utf8(key);
            match item_of(stored) {
                Ok(item) if key.is_ok() => drop(items.by_key.insert(key.unwrap_or_default(), item)),
                result => {
                    let failure = result.err().unwrap_or(Failure::NotText);
                    let key = key.unwrap_or_else(|key| String::from_utf8_lossy(key.as_bytes()).into_owned());
                    items.unreadable.push(failure.during("get_all").about([(kind.clone(), key)]));
                }
            }
        }
        Ok(items)
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        let hash = self.keys.items(kind);
        let upserted = self.upserts.upsert(&self.connections, self.deadline(), &hash, key, item);
        upserted.map_err(|failure| failure.during("upsert").about([(kind.clone(), key.to_owned())]))
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        let deadline = self.deadline();
        let exists = |key: &str| {
            let mut exists = redis::cmd("EXISTS");
            exists.arg(key);
            self.connections.read(key, deadline, |session| session.query::<bool>(&exists))
        };
        let initialized = exists(self.keys.inited()).and_then(|is_marked| {
            // Python before 9.15 wrote flags and no mark. A hash without fields does not exist.
            Ok(is_marked || self.flags_mean_initialized && exists(&self.keys.items(&Kind::FEATURES))?)
        });
        initialized.map_err(|failure| failure.during("is_initialized"))
    }

    fn is_available(&self) -> bool {
        // What the work needs, and not PING, which the user may not be allowed.
        let mut exists = redis::cmd("EXISTS");
        exists.arg(self.keys.inited());
        let asked = self
            .connections
            .read(self.keys.inited(), self.deadline(), |session| session.query::<bool>(&exists));
        // That the user may not do this either is an answer too.
        asked.is_ok() || asked.is_err_and(|failure| failure.is_answer(ServerErrorKind::NoPerm))
    }

    fn describe(&self) -> &'static str {
        "Redis"
    }
}

impl RedisStore {
    /// Replaces everything in one transaction, of which readers see nothing until it is complete.
    fn replace(&self, all_data: &AllData, deadline: Instant) -> Result<(), Failure> {
        let mut transaction = redis::pipe();
        for (kind, items) in all_data.kinds() {
            let hash = self.keys.items(kind);
            transaction.cmd("DEL").arg(&hash);
            for hset in hsets(&hash, items) {
                transaction.add_command(hset);
            }
        }
        transaction.cmd("SET").arg(self.keys.inited()).arg("");
        self.connections.write(self.keys.inited(), deadline, |session| session.execute(&mut transaction))
    }

    /// Replaces everything in an order in which no reader finds a flag before what it refers to: segments,
    /// flags behind their prerequisites, then the removals, then the mark.
    fn replace_in_order(&self, all_data: &AllData, deadline: Instant) -> Result<(), Failure> {
        let all_data = all_data.clone().in_dependency_order();
        let mut pieces = Pieces::new(&self.connections, deadline);
        for (kind, items) in all_data.kinds() {
            let hash = self.keys.items(kind);
            for hset in hsets(&hash, items) {
                pieces.write(&hash, |session| session.query::<()>(&hset))?;
            }
        }
        // Flags before the segments to which they refer.
        let kinds: Vec<_> = all_data.kinds().collect();
        for (kind, items) in kinds.into_iter().rev() {
            let hash = self.keys.items(kind);
            let kept: HashSet<&[u8]> = items.map(|(key, _)| key.as_bytes()).collect();
            let mut hkeys = redis::cmd("HKEYS");
            hkeys.arg(&hash);
            let mut others: Vec<Vec<u8>> = pieces.read(&hash, |session| session.query(&hkeys))?;
            others.retain(|key| !kept.contains(key.as_slice()));
            for others in others.chunks(ITEMS_PER_COMMAND) {
                let mut hdel = redis::cmd("HDEL");
                hdel.arg(&hash).arg(others);
                pieces.write(&hash, |session| session.query::<()>(&hdel))?;
            }
        }
        let mut mark = redis::cmd("SET");
        mark.arg(self.keys.inited()).arg("");
        pieces.write(self.keys.inited(), |session| session.query(&mark))
    }
}

impl fmt::Display for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({}, {})", self.connections, self.keys.prefix())
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
