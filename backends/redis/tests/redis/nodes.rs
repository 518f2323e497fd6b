//! A cluster of `redis-server` processes.

use std::net::TcpStream;

use flagstore_redis::redis::{Cmd, Value};
use flagstore_redis::{RedisStore, RedisStoreBuilder};

use crate::eventually;
use crate::server::{Server, free_port};

/// The first three are masters from the start.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::with("no")
    }

    /// Whether all slots must be served for any to be.
    pub(crate) fn with(full_coverage: &str) -> Self {
        let nodes: Vec<_> = (0..3).map(|_| node(full_coverage)).collect();
        for (n, node) in nodes.iter().enumerate() {
            let (first, last) = (n * 16384 / 3, (n + 1) * 16384 / 3 - 1);
            node.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            node.ask::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]);
        }
        let cluster = Self { nodes };
        (1..3).for_each(|n| cluster.meet(n));
        cluster.wait_until_well();
        cluster
    }

    /// One more, which has no slots yet.
    pub(crate) fn add(&mut self) -> usize {
        self.nodes.push(node("no"));
        let index = self.nodes.len() - 1;
        self.meet(index);
        self.wait_until_well();
        index
    }

    /// One more, which replicates this one.
    pub(crate) fn add_replica_of(&mut self, master: usize) -> usize {
        let index = self.add();
        let id = self.id(master);
        self.nodes[index].ask::<()>(&["CLUSTER", "REPLICATE", &id]);
        eventually("it replicates", || {
            self.nodes[index].ask::<String>(&["INFO", "replication"]).contains("master_link_status:up")
        });
        eventually("everybody knows", || {
            let knows = |node: &Server| {
                node.ask::<Vec<Vec<Value>>>(&["CLUSTER", "SLOTS"]).iter().any(|slots| slots.len() > 3)
            };
            self.running().all(knows)
        });
        index
    }

    fn meet(&self, index: usize) {
        let node = &self.nodes[index];
        let (_, bus): (String, String) = node.ask(&["CONFIG", "GET", "cluster-port"]);
        let first = self.running().next().unwrap();
        first.ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string(), &bus]);
    }

    fn running(&self) -> impl Iterator<Item = &Server> {
        self.nodes.iter().filter(|node| TcpStream::connect(("127.0.0.1", node.port)).is_ok())
    }

    fn wait_until_well(&self) {
        eventually("the nodes know each other", || {
            let count = self.running().count();
            self.running().all(|node| {
                let nodes: String = node.ask(&["CLUSTER", "NODES"]);
                let known = nodes
                    .lines()
                    .filter(|line| !line.contains("fail") && !line.contains("handshake"))
                    .count();
                // Without full coverage the state is ok before a node has heard who has the other slots.
                let info: String = node.ask(&["CLUSTER", "INFO"]);
                let has_all =
                    ["cluster_state:ok", "cluster_slots_ok:16384"].iter().all(|line| info.contains(line));
                known == count && has_all
            })
        });
    }

    /// Who has which slots since when. A node that has not heard of the last move can end the next one with the
    /// same epoch: then two masters name each other until that is settled, for longer than a call lasts.
    pub(crate) fn wait_until_agreed(&self) {
        let view = |node: &Server| {
            let nodes: String = node.ask(&["CLUSTER", "NODES"]);
            let mut view: Vec<_> = nodes
                .lines()
                .map(|line| {
                    let fields: Vec<_> = line.split(' ').map(str::to_owned).collect();
                    (fields[0].clone(), fields[6].clone(), fields[8..].to_vec())
                })
                .collect();
            view.sort();
            view
        };
        eventually("the nodes agree", || {
            let mut views = self.running().map(view);
            let first = views.next();
            views.all(|view| Some(view) == first)
        });
    }

    pub(crate) fn builder(&self) -> RedisStoreBuilder {
        RedisStore::builder().cluster(self.nodes.iter().map(Server::url))
    }

    pub(crate) fn id(&self, index: usize) -> String {
        self.nodes[index].ask(&["CLUSTER", "MYID"])
    }

    pub(crate) fn slot(&self, key: &str) -> usize {
        self.nodes[0].ask(&["CLUSTER", "KEYSLOT", key])
    }

    /// Of those at the start.
    pub(crate) fn index_of(&self, key: &str) -> usize {
        let slot = self.slot(key);
        (0..3).find(|n| slot < (n + 1) * 16384 / 3).unwrap()
    }

    pub(crate) fn owner(&self, key: &str) -> &Server {
        &self.nodes[self.index_of(key)]
    }

    /// These are all the keys in it.
    pub(crate) fn move_slot(&self, slot: usize, from: usize, to: usize, keys: &[&str]) {
        self.begin_move(slot, from, to, keys);
        self.end_move(slot, from, to);
    }

    /// Half-moved: these keys of the slot are there, and the others not yet.
    pub(crate) fn begin_move(&self, slot: usize, from: usize, to: usize, keys: &[&str]) {
        let slot = slot.to_string();
        self.nodes[to].ask::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)]);
        self.nodes[from].ask::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)]);
        for key in keys {
            let port = self.nodes[to].port.to_string();
            self.nodes[from].ask::<()>(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
        }
    }

    pub(crate) fn end_move(&self, slot: usize, from: usize, to: usize) {
        let id = self.id(to);
        for node in [to, from] {
            self.nodes[node].ask::<()>(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &id]);
        }
    }

    /// The replica takes over, and its master is gone.
    pub(crate) fn replace(&mut self, master: usize, replica: usize) {
        self.nodes[master].stop();
        self.take_over(replica);
    }

    pub(crate) fn take_over(&self, replica: usize) {
        let mut raw = self.nodes[replica].raw();
        Cmd::new().arg(&["CLUSTER", "FAILOVER", "TAKEOVER"]).exec(&mut raw).unwrap();
        eventually("it is the master", || {
            self.nodes[replica].ask::<String>(&["INFO", "replication"]).contains("role:master")
        });
    }
}

fn node(full_coverage: &str) -> Server {
    // The bus would be at the port plus 10 000, which another test may have.
    let bus = free_port().to_string();
    Server::with(&[
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus,
        "--cluster-node-timeout",
        "1000",
        // Else one that gives away its last slot becomes a replica of who has it.
        "--cluster-allow-replica-migration",
        "no",
        "--cluster-require-full-coverage",
        full_coverage,
    ])
}
