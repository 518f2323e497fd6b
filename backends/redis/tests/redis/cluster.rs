//! A cluster of three masters.

use flagstore_core::{AllData, Change, ChangeSource, FeatureStoreCore, Item, Kind, Upsert};

use crate::nodes::Cluster;
use crate::{HANG, Test, eventually, flag, flags, upsert, version};

pub(crate) const TESTS: &[Test] = &[
    ("cluster::keys_of_any_node_are_found", any_node),
    ("cluster::hash_tag_makes_init_one_transaction", hash_tag),
    ("cluster::without_a_hash_tag_init_keeps_the_order", ordered),
    ("cluster::slots_that_move_are_followed", moved),
    ("cluster::node_that_is_down_is_an_error_for_its_keys", down),
    ("cluster::changes_on_every_node_are_reported", push),
    ("cluster::single_store_says_that_it_is_a_cluster", single),
];

/// Prefixes that lie on different nodes, and all operations on each.
fn any_node() {
    let cluster = Cluster::start();
    for prefix in ["", "a", "b", "c", "d", "{a}", "{b}", "{c}"] {
        let store = cluster.builder().prefix(prefix).build().unwrap();
        assert!(!store.is_initialized().unwrap());
        assert_eq!(version(&store), None);
        store.init(&flags(1)).unwrap();
        assert!(store.is_initialized().unwrap() && store.is_available());
        upsert(&store, 3).unwrap();
        assert_eq!(store.upsert(&Kind::FEATURES, "dark-mode", &flag(2)).unwrap(), Upsert::Stale(flag(3)));
        assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 1);
        assert_eq!(version(&cluster.builder().prefix(prefix).build().unwrap()), Some(3));
    }
}

fn data(flags: &[&str], segments: &[&str]) -> AllData {
    let item =
        |key: &&str| ((*key).to_owned(), Item::parse(format!(r#"{{"key":"{key}","version":1}}"#)).unwrap());
    AllData::new()
        .with(Kind::FEATURES, flags.iter().map(item))
        .with(Kind::SEGMENTS, segments.iter().map(item))
}

fn hash_tag() {
    let cluster = Cluster::start();
    let store = cluster.builder().prefix("{ld}").build().unwrap();
    store.init(&data(&["a", "b"], &["s"])).unwrap();
    let statistics: String = cluster.owner("{ld}").ask(&["INFO", "commandstats"]);
    assert!(statistics.contains("cmdstat_exec:calls=1,"), "{statistics}");
    store.init(&data(&["b"], &[])).unwrap();
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 1);
    assert!(store.get_all(&Kind::SEGMENTS).unwrap().by_key.is_empty());
}

/// What was there and is not given goes away, and what is given is there.
fn ordered() {
    let cluster = Cluster::start();
    let store = cluster.builder().prefix("untagged").build().unwrap();
    store.init(&data(&["a", "b"], &["s", "t"])).unwrap();
    store.init(&data(&["b", "c"], &["t"])).unwrap();
    let keys = |kind| {
        let mut keys: Vec<_> = store.get_all(&kind).unwrap().by_key.into_keys().collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(Kind::FEATURES), ["b", "c"]);
    assert_eq!(keys(Kind::SEGMENTS), ["t"]);
    for node in &cluster.nodes {
        let statistics: String = node.ask(&["INFO", "commandstats"]);
        assert!(!statistics.contains("cmdstat_exec"), "{statistics}");
    }
}

/// The slots go to another node, while a store knows the old one.
fn moved() {
    let cluster = Cluster::start();
    let store = cluster.builder().prefix("{ld}").build().unwrap();
    store.init(&flags(1)).unwrap();
    let (slot, from) = (cluster.slot("{ld}"), cluster.index_of("{ld}"));
    let to = (from + 1) % 3;
    cluster.begin_move(slot, from, to, &["{ld}:features"]);
    // On the way: the old node says ASK.
    assert_eq!(version(&store), Some(1));
    upsert(&store, 2).unwrap();
    cluster.begin_move(slot, from, to, &["{ld}:$inited"]);
    cluster.end_move(slot, from, to);
    // Arrived: it says MOVED.
    assert_eq!(version(&store), Some(2));
    upsert(&store, 3).unwrap();
    store.init(&flags(4)).unwrap();
    assert_eq!(version(&store), Some(4));
    assert_eq!(cluster.nodes[to].ask::<String>(&["HGET", "{ld}:features", "dark-mode"]), flag(4).json());
}

fn down() {
    let mut cluster = Cluster::start();
    let store = cluster.builder().prefix("{ld}").build().unwrap();
    upsert(&store, 1).unwrap();
    let port = cluster.owner("{ld}").port;
    let node = cluster.nodes.iter_mut().find(|node| node.port == port).unwrap();
    node.stop();
    assert!(upsert(&store, 2).is_err() && !store.is_available());
    node.start_again();
    eventually("the node is back", || upsert(&store, 3).is_ok());
}

fn push() {
    let cluster = Cluster::start();
    let store = cluster.builder().prefix("untagged").build().unwrap();
    let (sender, changes) = std::sync::mpsc::channel();
    let watch = store.changes().watch(Box::new(move |change| drop(sender.send(change))));
    let next = || changes.recv_timeout(HANG / 2).unwrap();
    assert_eq!(next(), Change::Anything);
    for n in 0..12 {
        let kind = Kind::new(format!("kind-{n}"));
        assert_eq!(store.upsert(&kind, "a", &flag(1)).unwrap(), Upsert::Applied);
        assert_eq!(next(), Change::Kind(kind));
    }
    drop(watch);
    eventually("the threads end", || changes.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected));
}

fn single() {
    let cluster = Cluster::start();
    let mut errors = Vec::new();
    // On a busy machine a node may take the others for lost again, for a moment.
    eventually("the cluster is up", || {
        let failed = cluster.nodes.iter().filter_map(|node| upsert(&node.store(), 1).err());
        errors = failed.map(|error| error.to_string()).collect();
        !errors.iter().any(|error| error.contains("CLUSTERDOWN"))
    });
    assert_eq!(errors.len(), 2);
    assert!(errors.iter().all(|error| error.contains("this is a cluster")), "{errors:?}");
}
