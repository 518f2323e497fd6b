//! The nodes of a cluster change, and the store keeps up.

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use flagstore_core::{Change, ChangeSource, ChangeWatch, ErrorKind, FeatureStoreCore, Kind};
use flagstore_redis::RedisStore;

use crate::nodes::Cluster;
use crate::server::{Server, free_port};
use crate::{HANG, Test, eventually, flags, read, upsert, version};

pub(crate) const TESTS: &[Test] = &[
    ("topology::seeds_are_replaced_one_by_one", seeds_replaced),
    ("topology::first_seed_may_be_mute_or_black_holed_or_reset_or_gone", first_seed),
    ("topology::single_seed_that_stops_is_not_needed", single_seed),
    ("topology::single_seed_whose_slots_have_moved_is_not_needed", moved_seed),
    ("topology::node_that_has_left_is_let_go", left),
    ("topology::failover_is_followed", failover),
    ("topology::isolated_old_master_is_left", isolated),
    ("topology::init_waits_for_a_half_moved_slot", half_moved),
    ("topology::slots_move_under_load_and_no_call_fails", under_load),
    ("topology::push_follows_the_keys_to_a_new_master", push_follows),
    ("topology::push_follows_a_failover", push_after_failover),
];

const TIMEOUT: Duration = Duration::from_secs(1);

/// A call has its deadline, and what a busy machine takes besides.
fn in_time<T>(call: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = call();
    assert!(started.elapsed() < TIMEOUT * 3 / 2, "took {:?}", started.elapsed());
    result
}

/// Stores with and without a hash tag, which have written.
fn stores(seeds: &[String]) -> Vec<RedisStore> {
    let stores = ["{ld}", "{a}", "plain", "another"].map(|prefix| {
        let store = RedisStore::builder().cluster(seeds).prefix(prefix).timeout(TIMEOUT).build().unwrap();
        store.init(&flags(1)).unwrap();
        store
    });
    stores.into()
}

/// Goes on until each of them reads and writes again, and says how many calls failed meanwhile.
fn all_work_again(what: &str, stores: &[RedisStore], next: &mut u64) -> usize {
    let mut failed = 0;
    for store in stores {
        eventually("the store works", || {
            *next += 1;
            let written = in_time(|| upsert(store, *next));
            let found = in_time(|| read(store));
            failed += usize::from(written.is_err()) + usize::from(found.is_err());
            let is_there = found.is_ok_and(|found| found == Some(*next));
            written.is_ok() && is_there
        });
        store.init(&flags(*next)).unwrap();
        assert!(store.is_initialized().unwrap() && store.is_available());
    }
    println!("cluster, {what}: {failed} calls failed");
    failed
}

/// None of the seeds is there in the end: the nodes that were found know the others.
fn seeds_replaced() {
    let mut cluster = Cluster::start();
    let seeds: Vec<_> = cluster.nodes.iter().map(Server::url).collect();
    let (stores, mut next) = (stores(&seeds), 1);
    for master in 0..3 {
        let replica = cluster.add_replica_of(master);
        // For as long as the stores rely on what they know.
        let added = Instant::now();
        while added.elapsed() < Duration::from_secs(6) {
            assert!(stores.iter().all(|store| version(store).is_some()));
        }
        all_work_again("a replica is added", &stores, &mut next);
        cluster.replace(master, replica);
        all_work_again("and replaces a seed", &stores, &mut next);
    }
}

fn first_seed() {
    let cluster = Cluster::start();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = format!("redis://{}", mute.local_addr().unwrap());
    let reset = Server::with(&["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()]);
    let gone = format!("redis://127.0.0.1:{}", free_port());
    let (black_hole, _waiting) = black_hole();
    for (what, first) in [("mute", mute), ("black-holed", black_hole), ("reset", reset.url()), ("gone", gone)]
    {
        let seeds = [first, cluster.nodes[0].url(), cluster.nodes[1].url()];
        let (stores, mut next) = (stores(&seeds), 1);
        assert_eq!(all_work_again(&format!("the first seed is {what}"), &stores, &mut next), 0);
    }
}

/// A listener whose queue is full: it neither takes a connection nor refuses one.
fn black_hole() -> (String, (TcpListener, Vec<TcpStream>)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
    let waiting = std::iter::from_fn(connect).collect();
    (format!("redis://{address}"), (listener, waiting))
}

/// Its own keys are lost with it; all others are found.
fn single_seed() {
    let mut cluster = Cluster::start();
    let seed = cluster.nodes[0].url();
    let stores = stores(&[seed]);
    cluster.nodes[0].stop();
    let (mut others, mut next) = (0, 1);
    for (store, prefix) in stores.iter().zip(["{ld}", "{a}", "plain", "another"]) {
        let crc = |key: &str| cluster.nodes[1].ask::<usize>(&["CLUSTER", "KEYSLOT", key]);
        if crc(&format!("{prefix}:features")) < 16384 / 3 {
            continue;
        }
        others += 1;
        next += 1;
        in_time(|| upsert(store, next)).unwrap();
        assert_eq!(in_time(|| version(store)), Some(next));
    }
    assert!(others > 0);
}

/// The store has not heard that they have moved, and cannot hear it from the seed any more.
fn moved_seed() {
    let mut cluster = Cluster::start();
    let tags = ('a'..='z').map(|letter| format!("{{{letter}}}"));
    let tag = tags.into_iter().find(|tag| cluster.index_of(tag) == 0).unwrap();
    let seed = [cluster.nodes[0].url()];
    let store = RedisStore::builder().cluster(seed).prefix(&tag).timeout(TIMEOUT).build().unwrap();
    store.init(&flags(1)).unwrap();
    cluster.move_slot(cluster.slot(&tag), 0, 1, &[&format!("{tag}:features"), &format!("{tag}:$inited")]);
    let all_slots = format!(" 0-{}", 16384 / 3 - 1);
    eventually("the third node knows", || {
        !cluster.nodes[2].ask::<String>(&["CLUSTER", "NODES"]).contains(&all_slots)
    });
    cluster.nodes[0].stop();
    in_time(|| upsert(&store, 2)).unwrap();
    assert_eq!(in_time(|| version(&store)), Some(2));
    assert!(store.is_initialized().unwrap());
}

/// No connection to it stays.
fn left() {
    let mut cluster = Cluster::start();
    let (fourth, from) = (cluster.add(), cluster.index_of("{ld}"));
    let seed = [cluster.nodes[from].url()];
    let store = RedisStore::builder().cluster(seed).prefix("{ld}").client_name("flags").build().unwrap();
    store.init(&flags(1)).unwrap();
    let (slot, keys) = (cluster.slot("{ld}"), ["{ld}:features", "{ld}:$inited"]);
    cluster.move_slot(slot, from, fourth, &keys);
    upsert(&store, 2).unwrap();
    let is_connected = || cluster.nodes[fourth].ask::<String>(&["CLIENT", "LIST"]).contains("name=flags ");
    assert!(is_connected());
    cluster.move_slot(slot, fourth, from, &keys);
    let id = cluster.id(fourth);
    cluster.nodes[..3].iter().for_each(|node| node.ask(&["CLUSTER", "FORGET", &id]));
    eventually("it is let go", || version(&store) == Some(2) && !is_connected());
}

/// The cluster decides by itself, after its node timeout of 1 s.
fn failover() {
    let mut cluster = Cluster::start();
    for master in 0..3 {
        cluster.add_replica_of(master);
    }
    let only_seed = cluster.nodes[cluster.index_of("{ld}")].url();
    let (stores, mut next) = (stores(&[only_seed]), 1);
    all_work_again("before a failover", &stores, &mut next);
    let master = cluster.index_of("{ld}");
    cluster.nodes[master].stop();
    let started = Instant::now();
    all_work_again("the only seed is stopped, and fails over", &stores, &mut next);
    println!("cluster, fail-over: works again after {:?}", started.elapsed());
}

/// It says CLUSTERDOWN, while the others have a new master.
fn isolated() {
    let mut cluster = Cluster::with("yes");
    let master = cluster.index_of("{ld}");
    let replica = cluster.add_replica_of(master);
    let seed = cluster.nodes[master].url();
    let (stores, mut next) = (stores(&[seed]), 1);
    cluster.nodes[master].isolate();
    let old = cluster.nodes[master].raw();
    cluster.take_over(replica);
    drop(old);
    eventually("it knows that it is alone", || {
        cluster.nodes[master].ask::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:fail")
    });
    all_work_again("an isolated old master is the only seed", &stores, &mut next);
}

/// TRYAGAIN: some keys of the transaction are here, and some there.
fn half_moved() {
    let cluster = Cluster::start();
    let store = cluster.builder().prefix("{ld}").build().unwrap();
    store.init(&flags(1)).unwrap();
    let (slot, from) = (cluster.slot("{ld}"), cluster.index_of("{ld}"));
    let to = (from + 1) % 3;
    cluster.begin_move(slot, from, to, &["{ld}:features"]);
    assert_eq!(version(&store), Some(1));
    upsert(&store, 2).unwrap();
    std::thread::scope(|scope| {
        let init = scope.spawn(|| store.init(&flags(3)));
        // It has been refused by both.
        eventually("the init has been sent", || {
            let errors = |node: usize| cluster.nodes[node].ask::<String>(&["INFO", "errorstats"]);
            errors(to).contains("TRYAGAIN") || errors(from).contains("TRYAGAIN")
        });
        cluster.begin_move(slot, from, to, &["{ld}:$inited"]);
        cluster.end_move(slot, from, to);
        init.join().unwrap().unwrap();
    });
    assert_eq!(version(&store), Some(3));
    assert_eq!(upsert(&store, 4).map_err(|error| error.kind()), Ok::<(), ErrorKind>(()));
}

/// To and fro, key by key, while four threads read and write.
fn under_load() {
    let cluster = Cluster::start();
    let store = cluster.builder().prefix("{ld}").build().unwrap();
    store.init(&flags(1)).unwrap();
    let (slot, first) = (cluster.slot("{ld}"), cluster.index_of("{ld}"));
    let is_over = AtomicBool::new(false);
    let calls = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4_u64)
            .map(|caller| {
                let (store, is_over) = (&store, &is_over);
                scope.spawn(move || {
                    let mut calls = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        calls += 1;
                        upsert(store, calls * 4 + caller).unwrap();
                        assert!(version(store) >= Some(calls * 4 + caller));
                    }
                    calls * 2
                })
            })
            .collect();
        for round in 0..6 {
            let (from, to) = ((first + round) % 3, (first + round + 1) % 3);
            cluster.move_slot(slot, from, to, &["{ld}:features", "{ld}:$inited"]);
            cluster.wait_until_agreed();
        }
        is_over.store(true, Ordering::Relaxed);
        callers.into_iter().map(|caller| caller.join().unwrap()).sum::<u64>()
    });
    println!("cluster, a slot moved six times under load: 0 of {calls} calls failed");
}

/// A master that was not there when the watch began.
fn push_follows() {
    let mut cluster = Cluster::start();
    let (store, _watch, changes) = watched(&cluster);
    let (slot, from) = (cluster.slot("{ld}"), cluster.index_of("{ld}"));
    let to = cluster.add();
    cluster.move_slot(slot, from, to, &["{ld}:features", "{ld}:$inited"]);
    tells_of_changes(&store, &changes);
}

/// A replica that nobody listened to before it was the master.
fn push_after_failover() {
    let mut cluster = Cluster::start();
    let master = cluster.index_of("{ld}");
    let replica = cluster.add_replica_of(master);
    let (store, _watch, changes) = watched(&cluster);
    cluster.replace(master, replica);
    tells_of_changes(&store, &changes);
}

fn watched(cluster: &Cluster) -> (RedisStore, ChangeWatch, Receiver<Change>) {
    let store = cluster.builder().prefix("{ld}").build().unwrap();
    store.init(&flags(1)).unwrap();
    let (sender, changes) = std::sync::mpsc::channel();
    let watch = store.changes().watch(Box::new(move |change| drop(sender.send(change))));
    assert_eq!(changes.recv_timeout(HANG / 2), Ok(Change::Anything));
    (store, watch, changes)
}

/// Soon, and then of each.
fn tells_of_changes(store: &RedisStore, changes: &Receiver<Change>) {
    changes.try_iter().for_each(drop);
    let mut next = 1;
    eventually("the new master tells of changes", || {
        next += 1;
        upsert(store, next).is_ok()
            && changes.recv_timeout(Duration::from_millis(100)) == Ok(Change::Kind(Kind::FEATURES))
    });
    changes.try_iter().for_each(drop);
    upsert(store, next + 1).unwrap();
    assert_eq!(changes.recv_timeout(HANG / 2), Ok(Change::Kind(Kind::FEATURES)));
}
