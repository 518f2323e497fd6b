//! A cluster, as far as a store needs it: each command has one key, which is on one node.
//!
//! Not the cluster of the redis crate: its synchronous connection tries a command that failed several times,
//! with sleeps between, and so knows no deadline; and it connects to every node for each connection.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::{ConnectionAddr, Value};

use crate::connect::Connector;
use crate::error::{Failure, Redirection};
use crate::pool::Pool;
use crate::session::Session;

/// How often a call follows a node that names another. Once is usual while slots move.
const REDIRECTIONS: usize = 5;

pub(crate) struct Cluster {
    pub(crate) connector: Arc<Connector>,
    /// Any of the nodes, to begin with.
    seeds: Vec<ConnectionAddr>,
    pool_size: usize,
    idle_timeout: Duration,
    nodes: Mutex<HashMap<String, Arc<Pool>>>,
    /// Which node has which slots. Empty if that is to be asked.
    slots: Mutex<Arc<Vec<Slots>>>,
}

struct Slots {
    first: u16,
    last: u16,
    address: ConnectionAddr,
}

impl Cluster {
    pub(crate) fn new(
        connector: Arc<Connector>,
        seeds: Vec<ConnectionAddr>,
        pool_size: usize,
        idle_timeout: Duration,
    ) -> Self {
        Self { connector, seeds, pool_size, idle_timeout, nodes: Mutex::default(), slots: Mutex::default() }
    }

    pub(crate) fn run<T>(
        &self,
        key: &str,
        deadline: Instant,
        work: &mut impl FnMut(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let slot = slot(key);
        let mut address = self.owner(slot, deadline)?;
        let mut is_asking = false;
        for _ in 0..REDIRECTIONS {
            let result = self.pool(&address).run(deadline, |session| {
                session.is_asking = is_asking;
                work(session)
            });
            // Refused with the address of the right node: nothing was done, so doing it there is no retry.
            let Err(failure) = result else { return result };
            let Some((other, redirection)) = failure.redirection() else {
                // A node that is down or is no master any more is replaced by another soon.
                if !failure.spares_the_connection() {
                    self.forget_slots();
                }
                return Err(failure);
            };
            is_asking = redirection == Redirection::Ask;
            if redirection == Redirection::Moved {
                self.forget_slots();
            }
            address = self.parse(&other, &address)?;
        }
        Err(Failure::NotConnected("the nodes of the cluster disagree about who has the key".to_owned()))
    }

    /// The masters, in the order of their slots.
    pub(crate) fn masters(&self, deadline: Instant) -> Result<Vec<ConnectionAddr>, Failure> {
        let mut masters: Vec<ConnectionAddr> = Vec::new();
        for slots in self.ask_for_slots(deadline)?.iter() {
            if !masters.contains(&slots.address) {
                masters.push(slots.address.clone());
            }
        }
        Ok(masters)
    }

    fn owner(&self, slot: u16, deadline: Instant) -> Result<ConnectionAddr, Failure> {
        let known = Arc::clone(&self.slots.lock());
        let slots = if known.is_empty() { self.ask_for_slots(deadline)? } else { known };
        let owner = slots.iter().find(|slots| (slots.first..=slots.last).contains(&slot));
        owner.map(|slots| slots.address.clone()).ok_or_else(|| {
            self.forget_slots();
            Failure::NotConnected(format!("no node of the cluster has slot {slot}"))
        })
    }

    fn forget_slots(&self) {
        *self.slots.lock() = Arc::default();
    }

    /// Asks one node after another who has which slots.
    fn ask_for_slots(&self, deadline: Instant) -> Result<Arc<Vec<Slots>>, Failure> {
        let mut failure = Failure::NotConnected("the cluster has no nodes".to_owned());
        for (n, seed) in self.seeds.iter().enumerate() {
            // A part of the time, so that one that does not answer leaves some for the others.
            let left = deadline.saturating_duration_since(Instant::now());
            let rest = u32::try_from(self.seeds.len() - n + 1).unwrap_or(u32::MAX);
            let mut question = redis::cmd("CLUSTER");
            question.arg("SLOTS");
            match self.pool(seed).run(Instant::now() + left / rest, |session| session.query(&question)) {
                Ok(answer) => {
                    let slots = Arc::new(self.parse_slots(answer, seed));
                    *self.slots.lock() = Arc::clone(&slots);
                    return Ok(slots);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Reads `[[first, last, [host, port, ...], replicas...], ...]`.
    fn parse_slots(&self, answer: Vec<Vec<Value>>, asked: &ConnectionAddr) -> Vec<Slots> {
        let range = |entry: &Vec<Value>| {
            let [Value::Int(first), Value::Int(last), Value::Array(node), ..] = entry.as_slice() else {
                return None;
            };
            let host = match node.first()? {
                Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
                // It does not know its own name; we do.
                _ => String::new(),
            };
            let Value::Int(port) = node.get(1)? else { return None };
            Some(Slots {
                first: u16::try_from(*first).ok()?,
                last: u16::try_from(*last).ok()?,
                address: self.named(&host, u16::try_from(*port).ok()?, asked),
            })
        };
        answer.iter().filter_map(range).collect()
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
        let mut nodes = self.nodes.lock();
        if let Some(pool) = nodes.get(&shown) {
            return Arc::clone(pool);
        }
        let (connector, node) = (Arc::clone(&self.connector), address.clone());
        let connect = move || connector.connect_to(node.clone(), Instant::now() + connector.timeout);
        let pool = Pool::new(shown.clone(), Arc::new(connect), self.pool_size, self.idle_timeout);
        Arc::clone(nodes.entry(shown).or_insert(Arc::new(pool)))
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
