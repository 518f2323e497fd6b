//! What others write is reported within milliseconds, and the cache on top of it knows.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use flagstore_core::{
    AllData, CacheMode, CachingStoreWrapper, Change, ChangeSource, ChangeWatch, FeatureStore, Item, Kind,
};
use flagstore_redis::RedisStore;

use crate::server::Server;
use crate::{HANG, Test, eventually, flag, flags, upsert};

pub(crate) const TESTS: &[Test] = &[
    ("push::writes_of_others_are_reported_by_kind", by_kind),
    ("push::other_prefixes_are_not_reported", other_prefixes),
    ("push::init_and_flushall_are_anything", anything),
    ("push::after_a_restart_it_is_armed_again", restart),
    ("push::server_that_comes_later_is_found", later),
    ("push::connection_that_is_killed_is_made_again", killed),
    ("push::silence_does_not_end_it", silence),
    ("push::panic_of_who_is_told_does_not_end_it", panics),
    ("push::thread_and_connection_end_with_the_watch", ends),
    ("push::cache_sees_the_write_of_another", cache),
    ("push::server_that_refuses_is_asked_seldom_and_not_given_up", refused),
];

struct Watched {
    changes: Receiver<Change>,
    watch: ChangeWatch,
}

fn watch(store: &RedisStore) -> Watched {
    let (sender, changes) = mpsc::channel();
    let watch = store.changes().watch(Box::new(move |change| drop(sender.send(change))));
    Watched { changes, watch }
}

impl Watched {
    fn next(&self) -> Change {
        self.changes.recv_timeout(HANG / 2).expect("a change is reported")
    }

    /// Whatever is reported before it does not count.
    fn wait_for(&self, expected: &Change) {
        while self.next() != *expected {}
    }
}

fn item() -> Item {
    Item::parse(r#"{"key":"a","version":1}"#).unwrap()
}

fn by_kind() {
    let server = Server::start();
    let store = server.store();
    let watched = watch(&store);
    assert_eq!(watched.next(), Change::Anything, "what was before the watch, nobody knows");
    let mut version = 0;
    for kind in [Kind::FEATURES, Kind::SEGMENTS, Kind::new("mock1"), Kind::FEATURES] {
        version += 1;
        let json = format!(r#"{{"version":{version}}}"#);
        server.ask::<()>(&["HSET", &format!("launchdarkly:{kind}"), "a", &json]);
        assert_eq!(watched.next(), Change::Kind(kind));
    }
}

fn other_prefixes() {
    let server = Server::start();
    let watched = watch(&server.builder().prefix("a").build().unwrap());
    assert_eq!(watched.next(), Change::Anything);
    for key in ["b:features", "ab:features", "a", "launchdarkly:features", "a:features"] {
        server.ask::<()>(&["HSET", key, "a", item().json()]);
    }
    assert_eq!(watched.next(), Change::Kind(Kind::FEATURES));
    assert!(watched.changes.recv_timeout(Duration::from_millis(50)).is_err(), "and nothing else");
}

fn anything() {
    let server = Server::start();
    let watched = watch(&server.store());
    assert_eq!(watched.next(), Change::Anything);
    let store = server.store();
    flagstore_core::FeatureStoreCore::init(&store, &flags(1)).unwrap();
    watched.wait_for(&Change::Anything);
    server.ask::<()>(&["FLUSHALL"]);
    watched.wait_for(&Change::Anything);
    upsert(&store, 1).unwrap();
    watched.wait_for(&Change::Kind(Kind::FEATURES));
}

fn restart() {
    let mut server = Server::start();
    let watched = watch(&server.store());
    assert_eq!(watched.next(), Change::Anything);
    server.stop();
    server.start_again();
    assert_eq!(watched.next(), Change::Anything, "in between anything may have happened");
    upsert(&server.store(), 1).unwrap();
    assert_eq!(watched.next(), Change::Kind(Kind::FEATURES));
}

fn later() {
    let mut server = Server::stopped(&[]);
    let watched = watch(&server.store());
    server.start_again();
    assert_eq!(watched.next(), Change::Anything);
    upsert(&server.store(), 1).unwrap();
    assert_eq!(watched.next(), Change::Kind(Kind::FEATURES));
}

fn killed() {
    let server = Server::start();
    let watched = watch(&server.store());
    assert_eq!(watched.next(), Change::Anything);
    server.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert_eq!(watched.next(), Change::Anything);
    upsert(&server.store(), 1).unwrap();
    assert_eq!(watched.next(), Change::Kind(Kind::FEATURES));
}

/// Longer than the silence after which it asks whether the server is still there, which must not be taken for
/// an outage.
fn silence() {
    let server = Server::start();
    server.ask::<()>(&["ACL", "SETUSER", "quiet", "on", ">pa55", "~*", "+@all", "-ping"]);
    let watched = watch(&server.store());
    let quiet = watch(&server.builder().username("quiet").password("pa55").build().unwrap());
    assert_eq!((watched.next(), quiet.next()), (Change::Anything, Change::Anything));
    assert!(watched.changes.recv_timeout(Duration::from_secs(11)).is_err(), "nothing has happened");
    assert!(quiet.changes.try_recv().is_err(), "and a user that may not ask is none the worse");
    let pings: String = server.ask(&["INFO", "commandstats"]);
    assert!(pings.contains("cmdstat_ping:"), "it has asked: {pings}");
    upsert(&server.store(), 1).unwrap();
    assert_eq!(watched.next(), Change::Kind(Kind::FEATURES));
}

/// Nor what he is told next.
fn panics() {
    let server = Server::start();
    let store = server.store();
    let (sender, changes) = mpsc::channel();
    let _watch = store.changes().watch(Box::new(move |change| {
        sender.send(change).unwrap();
        panic!("at each change");
    }));
    assert_eq!(changes.recv_timeout(HANG / 2), Ok(Change::Anything));
    for version in 1..3 {
        upsert(&store, version).unwrap();
        assert_eq!(changes.recv_timeout(HANG / 2), Ok(Change::Kind(Kind::FEATURES)));
    }
}

fn ends() {
    let server = Server::start();
    let store = server.store();
    let watched = watch(&store);
    assert_eq!(watched.next(), Change::Anything);
    let tracking = || server.ask::<String>(&["INFO", "clients"]).contains("tracking_clients:1");
    assert!(tracking());
    drop(store);
    assert!(tracking(), "it does not need the store");
    drop(watched.watch);
    eventually("the connection is closed", || !tracking());
    eventually("and the closure is gone", || {
        watched.changes.try_recv() == Err(mpsc::TryRecvError::Disconnected)
    });
}

/// With a cache that keeps everything forever, only the push can have brought it.
fn cache() {
    let server = Server::start();
    let writer = server.store();
    flagstore_core::FeatureStoreCore::init(&writer, &flags(1)).unwrap();
    let store = server.store();
    let changes = store.changes();
    let cached =
        CachingStoreWrapper::builder(store).mode(CacheMode::Forever).changes(changes).build().unwrap();
    let version = || cached.get(&Kind::FEATURES, "dark-mode").unwrap().map(|item| item.version());
    assert_eq!(version(), Some(1));
    for next in 2..20 {
        upsert(&writer, next).unwrap();
        eventually("the write is seen", || version() == Some(next));
    }
    let other = AllData::new().with(Kind::FEATURES, [("other", flag(1))]);
    flagstore_core::FeatureStoreCore::init(&writer, &other).unwrap();
    eventually("the init is seen", || version().is_none());
}

/// As on services that know no tracking, or for a user that may not: it can be seen, and is no storm.
fn refused() {
    let server = Server::start();
    server.ask::<()>(&["ACL", "SETUSER", "limited", "on", ">pa55", "~*", "+@all", "-client|tracking"]);
    let store = server.builder().username("limited").password("pa55").build().unwrap();
    let changes = store.changes();
    let (sender, reported) = mpsc::channel();
    let watch = changes.watch(Box::new(move |change| drop(sender.send(change))));
    let mut admin = server.raw();
    let mut refusals = || {
        let statistics: String = crate::server::ask(&mut admin, &["INFO", "commandstats"]);
        let line = statistics.lines().find(|line| line.starts_with("cmdstat_client|tracking:"));
        let count =
            line.and_then(|line| line.split("rejected_calls=").nth(1)?.split(',').next()?.parse().ok());
        count.unwrap_or(0)
    };
    eventually("it is refused", || refusals() > 0);
    // Twice a second would be five more.
    std::thread::sleep(Duration::from_millis(2500));
    let count: u32 = refusals();
    assert!(count <= 4, "{count}");
    assert!(!changes.is_armed() && reported.try_recv().is_err());
    server.ask::<()>(&["ACL", "SETUSER", "limited", "+@all"]);
    eventually("it is armed when that is allowed", || changes.is_armed());
    assert_eq!(reported.recv_timeout(HANG / 2), Ok(Change::Anything));
    drop(watch);
    eventually("it is not armed without a watch", || !changes.is_armed());
}
