//! A cluster, as far as a store needs it: each command has one key, which is on one node.
//!
//! Not the clients of the redis crate, synchronous or not. Both send again what was lost on a connection that broke,
//! also a write that the server has executed (run with 1.8: an INCR of 0 whose answer was cut on its way came back as
//! 2, from either): an upsert would find itself and be stale. They do not tell what was sent, and neither waits for
//! MULTI before the rest of a transaction.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::{ConnectionAddr, ServerErrorKind, Value};

use crate::connect::Connector;
use crate::error::{Failure, Redirection};
use crate::pool::{Limits, Pool, random};
use crate::session::Session;

/// How often a call follows a node that names another, before it pauses. Once is usual while slots move.
const REDIRECTIONS: usize = 5;

/// How long what the nodes have said is relied on: they may all be replaced, one by one, while ours is the last.
const AGE: Duration = Duration::from_secs(5);

/// Before a command is sent again that a node could not execute yet.
const PAUSE: Duration = Duration::from_millis(40);

pub(crate) struct Cluster {
    pub(crate) connector: Arc<Connector>,
    /// Any of the nodes, to begin with.
    seeds: Vec<ConnectionAddr>,
    limits: Limits,
    pools: Mutex<HashMap<String, Arc<Pool>>>,
    known: Mutex<Known>,
}

/// What the nodes have said of each other.
#[derive(Default)]
struct Known {
    slots: Vec<Slots>,
    /// Masters and replicas, which all can be asked.
    nodes: Vec<ConnectionAddr>,
    /// From then on it is asked again; a node that says something else makes that now.
    ages: Option<Instant>,
}

struct Slots {
    first: u16,
    last: u16,
    master: ConnectionAddr,
}

impl Cluster {
    pub(crate) fn new(connector: Arc<Connector>, seeds: Vec<ConnectionAddr>, limits: Limits) -> Self {
        Self { connector, seeds, limits, pools: Mutex::default(), known: Mutex::default() }
    }

    pub(crate) fn run<T>(
        &self,
        key: &str,
        deadline: Instant,
        is_read: bool,
        work: &mut impl FnMut(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let slot = slot(key);
        let mut master = self.master_of(slot, deadline)?;
        let (mut is_asking, mut redirections) = (false, 0);
        loop {
            let result = self.pool(&master).run(deadline, is_read, &mut |session: &mut Session| {
                session.set_asking(is_asking);
                work(session)
            });
            let Err(failure) = result else { return result };
            // Refused with the address of the right node: nothing was done, so doing it there is no retry.
            if let Some((other, redirection)) = failure.redirection() {
                redirections += 1;
                // Two nodes that each take the other for the master agree soon.
                if redirections > REDIRECTIONS {
                    if !has_paused(deadline) {
                        return Err(failure);
                    }
                    redirections = 0;
                }
                is_asking = redirection == Redirection::Ask;
                if !is_asking {
                    self.known.lock().ages = None;
                }
                master = self.parse(other, &master)?;
                continue;
            }
            is_asking = false;
            // Others know who is to be asked instead, or will know soon.
            let is_early = failure.is_answer(ServerErrorKind::TryAgain)
                || failure.is_answer(ServerErrorKind::ClusterDown);
            let is_lost = failure.concerns_the_server() || failure.is_no_connection();
            if !is_early && !is_lost {
                if failure.is_closed_connection() {
                    self.known.lock().ages = None;
                }
                return Err(failure);
            }
            let is_found = self.ask_for_slots(Some((slot, &master)), deadline).is_ok();
            let other = self.known.lock().master_of(slot).filter(|other| is_found && *other != master);
            if is_early && has_paused(deadline) {
                redirections = 0;
            } else if is_early || other.is_none() {
                return Err(failure);
            }
            master = other.unwrap_or(master);
        }
    }

    /// The masters, in the order of their slots.
    pub(crate) fn masters(&self, deadline: Instant) -> Result<Vec<ConnectionAddr>, Failure> {
        self.ask_for_slots(None, deadline)?;
        let mut masters: Vec<ConnectionAddr> = Vec::new();
        for slots in self.known.lock().slots.iter() {
            if !masters.contains(&slots.master) {
                masters.push(slots.master.clone());
            }
        }
        Ok(masters)
    }

    fn master_of(&self, slot: u16, deadline: Instant) -> Result<ConnectionAddr, Failure> {
        let now = Instant::now();
        let known = {
            let mut known = self.known.lock();
            let master = known.master_of(slot);
            if let Some(master) = &master
                && known.ages.is_some_and(|ages| now < ages)
            {
                return Ok(master.clone());
            }
            // One asks, and the others go on with what is known.
            known.ages = Some(now + AGE);
            master
        };
        // Half of the time at most, since what is known may still be right.
        let sought = (slot, known.as_ref().unwrap_or(&self.seeds[0]));
        let asked = self.ask_for_slots(Some(sought).filter(|_| known.is_none()), now + (deadline - now) / 2);
        match (self.known.lock().master_of(slot).or(known), asked) {
            (Some(master), _) => Ok(master),
            (None, Err(failure)) => Err(failure),
            (None, Ok(())) => Err(Failure::NotConnected(format!("no node of the cluster has slot {slot}"))),
        }
    }

    /// Asks one node after another who has which slots, until one knows.
    fn ask_for_slots(
        &self,
        sought: Option<(u16, &ConnectionAddr)>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let mut nodes = self.known.lock().nodes.clone();
        nodes.extend(self.seeds.iter().filter(|seed| !nodes.contains(seed)).cloned().collect::<Vec<_>>());
        let mut failure =
            Failure::NotConnected("no node of the cluster knows who has which slots".to_owned());
        if let Some((_, suspect)) = sought
            && nodes.len() > 1
            && let Some(at) = nodes.iter().position(|node| node == suspect)
        {
            // It may be alone with what it knows.
            let suspect = nodes.remove(at);
            nodes.push(suspect);
        }
        for (n, node) in nodes.iter().enumerate() {
            // A part of the time, so that one that does not answer leaves some for the others.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(nodes.len() - n + 1).unwrap_or(u32::MAX);
            let mut question = redis::cmd("CLUSTER");
            question.arg("SLOTS");
            let mut ask = |session: &mut Session| session.query(&question);
            match self.pool(node).run(Instant::now() + share, true, &mut ask) {
                Ok(answer) => {
                    let (slots, nodes) = self.parse_slots(answer, node);
                    let is_sought = |slots: &Slots| sought.is_none_or(|(slot, _)| slots.has(slot));
                    if slots.iter().any(is_sought) {
                        self.learn(slots, nodes);
                        return Ok(());
                    }
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn learn(&self, slots: Vec<Slots>, nodes: Vec<ConnectionAddr>) {
        let shown: Vec<_> = nodes.iter().chain(&self.seeds).map(ToString::to_string).collect();
        self.pools.lock().retain(|node, _| shown.contains(node));
        *self.known.lock() = Known { slots, nodes, ages: Some(Instant::now() + AGE) };
    }

    /// Reads `[[first, last, [host, port, ...], replicas...], ...]`.
    fn parse_slots(
        &self,
        answer: Vec<Vec<Value>>,
        asked: &ConnectionAddr,
    ) -> (Vec<Slots>, Vec<ConnectionAddr>) {
        let (mut slots, mut all) = (Vec::new(), Vec::new());
        for entry in &answer {
            let [Value::Int(first), Value::Int(last), nodes @ ..] = entry.as_slice() else { continue };
            let mut nodes = nodes.iter().filter_map(|node| self.parse_node(node, asked)).peekable();
            let (Some(master), Ok(first), Ok(last)) =
                (nodes.peek().cloned(), u16::try_from(*first), u16::try_from(*last))
            else {
                continue;
            };
            slots.push(Slots { first, last, master });
            nodes.for_each(|node| {
                if !all.contains(&node) {
                    all.push(node);
                }
            });
        }
        (slots, all)
    }

    fn parse_node(&self, node: &Value, asked: &ConnectionAddr) -> Option<ConnectionAddr> {
        let Value::Array(node) = node else { return None };
        let host = match node.first()? {
            Value::BulkString(host) => str::from_utf8(host).ok()?,
            // It does not know its own name; we do.
            _ => "",
        };
        let Value::Int(port) = node.get(1)? else { return None };
        Some(self.named(host, u16::try_from(*port).ok()?, asked))
    }

    fn parse(&self, address: &str, named_by: &ConnectionAddr) -> Result<ConnectionAddr, Failure> {
        let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) =
            parts.ok_or_else(|| Failure::NotConnected(format!("a node of the cluster named {address}")))?;
        Ok(self.named(host, port, named_by))
    }

    fn named(&self, host: &str, port: u16, by: &ConnectionAddr) -> ConnectionAddr {
        let host = match by {
            ConnectionAddr::Tcp(own, _) | ConnectionAddr::TcpTls { host: own, .. } if host.is_empty() => own,
            _ => host,
        };
        self.connector.address(host, port)
    }

    fn pool(&self, address: &ConnectionAddr) -> Arc<Pool> {
        let shown = address.to_string();
        let mut pools = self.pools.lock();
        if let Some(pool) = pools.get(&shown) {
            return Arc::clone(pool);
        }
        let (connector, node) = (Arc::clone(&self.connector), address.clone());
        let connect = Arc::new(move || connector.connect_to(&node));
        let pool = Pool::new(shown.clone(), connect, self.limits);
        Arc::clone(pools.entry(shown).or_insert(Arc::new(pool)))
    }
}

impl Known {
    fn master_of(&self, slot: u16) -> Option<ConnectionAddr> {
        self.slots.iter().find(|slots| slots.has(slot)).map(|slots| slots.master.clone())
    }
}

impl Slots {
    fn has(&self, slot: u16) -> bool {
        (self.first..=self.last).contains(&slot)
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds: Vec<_> = self.seeds.iter().map(ToString::to_string).collect();
        write!(f, "cluster {}", seeds.join(","))
    }
}

/// The part of a key by which its slot is found, if it is not all of it: what is in the first braces.
pub(crate) fn hash_tag(key: &str) -> Option<&str> {
    let (_, behind) = key.split_once('{')?;
    behind.split_once('}').map(|(tag, _)| tag).filter(|tag| !tag.is_empty())
}

/// Waits a moment, unless the deadline comes first.
fn has_paused(deadline: Instant) -> bool {
    let is_time_left = Instant::now() + PAUSE < deadline;
    if is_time_left {
        std::thread::park_timeout(PAUSE.mul_f64(0.5 + random() / 2.0));
    }
    is_time_left
}

/// The slot of a key: CRC16 (XMODEM) modulo 16384.
fn slot(key: &str) -> u16 {
    let crc = hash_tag(key).unwrap_or(key).bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % 16384
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `CLUSTER KEYSLOT` of redis-server 7.0 says.
    #[test]
    fn slots_are_those_of_the_server() {
        assert_eq!(slot("123456789"), 12739);
        assert_eq!(slot("{user1000}.following"), slot("user1000"));
        assert_eq!(slot("foo{}{bar}"), 8363);
        assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
        assert_eq!(slot("{ld}:features"), slot("{ld}:$inited"));
    }
}
