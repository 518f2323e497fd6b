//! Through Sentinel, before, during and after a failover.

use std::time::{Duration, Instant};

use flagstore_core::{ChangeSource, ErrorKind, FeatureStoreCore};
use flagstore_redis::redis::Value;
use flagstore_redis::{RedisStore, RedisStoreBuilder};

use crate::server::{Server, free_port};
use crate::{Test, eventually, flags, read, upsert, version};

pub(crate) const TESTS: &[Test] = &[
    ("sentinel::finds_the_master", finds_the_master),
    ("sentinel::works_through_a_failover", failover),
    ("sentinel::works_through_the_death_of_the_master", death),
    ("sentinel::those_that_do_not_answer_are_passed_over", dead_sentinels),
    ("sentinel::unknown_master_is_an_error_that_names_it", unknown_master),
];

struct Watched {
    master: Server,
    replica: Server,
    sentinel: Server,
}

impl Watched {
    fn start() -> Self {
        let master = Server::start();
        let replica = Server::with(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
        let sentinel = Server::with(&["--sentinel"]);
        let set = |name: &str, value: &str| sentinel.ask::<()>(&["SENTINEL", "SET", "mymaster", name, value]);
        sentinel.ask::<()>(&["SENTINEL", "MONITOR", "mymaster", "127.0.0.1", &master.port.to_string(), "1"]);
        set("down-after-milliseconds", "300");
        set("failover-timeout", "3000");
        let watched = Self { master, replica, sentinel };
        eventually("the replica is ready for a failover", || {
            let replication: String = watched.replica.ask(&["INFO", "replication"]);
            let replicas: Vec<Vec<String>> = watched.sentinel.ask(&["SENTINEL", "REPLICAS", "mymaster"]);
            let is_seen = replicas.iter().flatten().any(|field| field == "ok");
            replication.contains("master_link_status:up") && is_seen
        });
        watched
    }

    fn builder(&self) -> RedisStoreBuilder {
        RedisStore::builder().sentinel("mymaster", [self.sentinel.url()])
    }
}

fn finds_the_master() {
    let watched = Watched::start();
    let store = watched.builder().database(0).prefix("p").build().unwrap();
    store.init(&flags(1)).unwrap();
    upsert(&store, 2).unwrap();
    assert_eq!(version(&store), Some(2));
    assert!(watched.master.ask::<bool>(&["EXISTS", "p:$inited"]));
}

/// The old master lives on as a replica: READONLY leads to the new one.
fn failover() {
    let watched = Watched::start();
    let store = watched.builder().build().unwrap();
    let (sender, changes) = std::sync::mpsc::channel();
    let _watch = store.changes().watch(Box::new(move |change| drop(sender.send(change))));
    changes.recv_timeout(crate::HANG / 2).unwrap();
    upsert(&store, 1).unwrap();
    watched.sentinel.ask::<()>(&["SENTINEL", "FAILOVER", "mymaster"]);
    let replica = watched.replica.port.to_string();
    let mut next = 1;
    eventually("writes go to the new master", || {
        next += 1;
        let role = watched.replica.try_ask::<Vec<Value>>(&["ROLE"]);
        upsert(&store, next).is_ok()
            && role.is_ok_and(|role| role[0] == Value::BulkString(b"master".to_vec()))
            && watched.replica.store().to_string().contains(&replica)
            && read(&watched.replica.store()).ok().flatten() == Some(next)
    });
    // And so does the push: at the latest when the old master has become a replica.
    eventually("the push has followed", || {
        next += 1;
        let before = std::iter::from_fn(|| changes.try_recv().ok()).count();
        upsert(&store, next).is_ok()
            && (before > 0 || changes.recv_timeout(Duration::from_millis(100)).is_ok())
    });
}

/// The master is killed: errors within their deadline until there is a new one, and then it works.
fn death() {
    let mut watched = Watched::start();
    let timeout = Duration::from_millis(300);
    let store = watched.builder().timeout(timeout).connect_timeout(timeout).build().unwrap();
    upsert(&store, 1).unwrap();
    watched.master.stop();
    let mut next = 1;
    eventually("there is a new master", || {
        next += 1;
        let started = Instant::now();
        let upserted = upsert(&store, next);
        assert!(started.elapsed() < timeout * 2, "took {:?}", started.elapsed());
        if let Err(error) = &upserted {
            assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
        }
        upserted.is_ok()
    });
    assert_eq!(version(&watched.replica.store()), Some(next));
}

/// The first is down, the second never answers.
fn dead_sentinels() {
    let watched = Watched::start();
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let down = format!("redis://127.0.0.1:{}", free_port());
    let mute = format!("redis://127.0.0.1:{}", mute.local_addr().unwrap().port());
    let store =
        RedisStore::builder().sentinel("mymaster", [down, mute, watched.sentinel.url()]).build().unwrap();
    upsert(&store, 1).unwrap();
    assert_eq!(version(&store), Some(1));
}

fn unknown_master() {
    let sentinel = Server::with(&["--sentinel"]);
    let store = RedisStore::builder().sentinel("nobody", [sentinel.url()]).build().unwrap();
    let error = read(&store).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("knows no master nobody"), "{error}");
}
