//! The server is down, slow, restarted, replaced or emptied.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{ErrorKind, FeatureStoreCore, Kind, StoreError};
use flagstore_redis::RedisStore;

use crate::proxy::Proxy;
use crate::server::{Server, free_port};
use crate::{Test, eventually, flag, flags, read, upsert, version};

pub(crate) const TESTS: &[Test] = &[
    ("resilience::server_that_is_down_at_the_start_is_found_when_it_is_up", down_at_the_start),
    ("resilience::restart_costs_no_failed_call", restart),
    ("resilience::password_is_changed_and_restored", password_changed),
    ("resilience::flushall_is_no_error", flushall),
    ("resilience::server_that_never_answers_is_a_timeout", mute_server),
    ("resilience::server_that_stops_answering_is_a_timeout", stopped_server),
    ("resilience::reply_that_is_cut_is_an_error_and_no_answer", cut_replies),
    ("resilience::lost_answer_to_a_write_says_that_it_may_have_happened", lost_answer),
    ("resilience::waiters_do_not_queue_for_attempts_to_connect", waiters),
    ("resilience::pool_that_is_used_up_is_an_error_at_the_deadline", used_up),
    ("resilience::read_only_replica_is_an_error_that_says_so", replica),
    ("resilience::failed_transaction_is_never_a_success", failed_transaction),
    ("resilience::idle_connection_is_not_used_for_long", idle_connections),
    ("resilience::threads_end_with_the_store", threads_end),
];

const TIMEOUT: Duration = Duration::from_millis(300);

/// The deadline and what a busy machine may take besides. A call that waits for two deadlines is over it.
const LIMIT: Duration = Duration::from_millis(550);

fn in_time<T>(call: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = call();
    let took = started.elapsed();
    assert!(took < LIMIT, "took {took:?} of {TIMEOUT:?}");
    result
}

/// Every method, each within its deadline; none of them succeeds.
fn all_fail(store: &RedisStore) -> Vec<StoreError> {
    assert!(!in_time(|| store.is_available()));
    vec![
        in_time(|| store.init(&flags(1))).unwrap_err(),
        in_time(|| store.get(&Kind::FEATURES, "dark-mode")).unwrap_err(),
        in_time(|| store.get_all(&Kind::FEATURES)).unwrap_err(),
        in_time(|| upsert(store, 1)).unwrap_err(),
        in_time(|| store.is_initialized()).unwrap_err(),
    ]
}

fn quick(port: u16) -> RedisStore {
    let builder = RedisStore::builder().url(format!("redis://127.0.0.1:{port}"));
    builder.timeout(TIMEOUT).connect_timeout(TIMEOUT).init_timeout(TIMEOUT).build().unwrap()
}

/// A store can be made before its server (bugs 18 and 37), and works as soon as that is up.
fn down_at_the_start() {
    let mut server = Server::stopped(&[]);
    let store = server.store();
    assert_eq!(read(&store).unwrap_err().kind(), ErrorKind::Unavailable);
    server.start_again();
    assert_eq!(read(&store).unwrap(), None, "at once");
    upsert(&store, 1).unwrap();
    assert_eq!(version(&store), Some(1));
}

/// However many connections are stale, a call looks before it uses one.
fn restart() {
    let mut server = Server::start();
    let store = server.store();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| assert_eq!(read(&store).unwrap(), None)));
        }
    });
    upsert(&store, 1).unwrap();
    server.stop();
    server.start_again();
    for _ in 0..20 {
        assert_eq!(read(&store).unwrap(), None, "the server has lost its data");
    }
    upsert(&store, 2).unwrap();
}

/// New connections fail while the password is wrong, and work when it is right again.
fn password_changed() {
    let server = Server::with(&["--requirepass", "first"]);
    let store = server.builder().password("first").idle_timeout(Duration::from_millis(1)).build().unwrap();
    upsert(&store, 1).unwrap();
    let mut admin = redis_with(&server, "first");
    crate::server::ask::<()>(&mut admin, &["CONFIG", "SET", "requirepass", "second"]);
    eventually("the connection is too old", || read(&store).is_err());
    let error = read(&store).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("check the user and the password"), "{error}");
    crate::server::ask::<()>(&mut admin, &["CONFIG", "SET", "requirepass", "first"]);
    assert_eq!(read(&store).unwrap(), Some(1), "at once");
}

fn redis_with(server: &Server, password: &str) -> flagstore_redis::redis::Connection {
    let url = format!("redis://:{password}@127.0.0.1:{}", server.port);
    flagstore_redis::redis::Client::open(url).unwrap().get_connection().unwrap()
}

/// The data is gone and nothing else.
fn flushall() {
    let server = Server::start();
    let store = server.store();
    store.init(&flags(5)).unwrap();
    server.ask::<()>(&["FLUSHALL"]);
    assert_eq!(version(&store), None);
    assert!(!store.is_initialized().unwrap());
    upsert(&store, 1).unwrap();
    store.init(&flags(2)).unwrap();
    assert_eq!(version(&store), Some(2));
}

/// A server that accepts connections and never says anything.
fn mute_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = quick(listener.local_addr().unwrap().port());
    for error in all_fail(&store) {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "nothing was sent: {error}");
    }
}

/// A server that worked, and stops in the middle of everything; and then goes on.
fn stopped_server() {
    let server = Server::start();
    let store = quick(server.port);
    upsert(&store, 1).unwrap();
    server.signal("STOP");
    let error = in_time(|| upsert(&store, 2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    all_fail(&store);
    server.signal("CONT");
    eventually("it answers again", || read(&store).is_ok());
    // So that MULTI is known to be taken: else it goes alone, and the rest is never sent.
    upsert(&store, 1).unwrap();
    server.signal("STOP");
    // Of several commands none is answered: the deadline is that of all together.
    let error = in_time(|| store.init(&flags(2))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    server.signal("CONT");
    eventually("it answers again", || read(&store).is_ok());
    assert!(matches!(version(&store), Some(1 | 2)), "the writes may have happened");
    upsert(&store, 3).unwrap();
    assert_eq!(version(&store), Some(3));
}

/// Wherever a reply is cut, the call fails, and the next one has the right answer.
fn cut_replies() {
    let server = Server::start();
    let proxy = Proxy::before(server.port);
    let store = quick(proxy.port);
    store.init(&flags(7)).unwrap();
    for bytes in 0..60 {
        assert_eq!(version(&store), Some(7));
        proxy.replies.cut_after(bytes);
        match in_time(|| store.get_all(&Kind::FEATURES)) {
            Ok(items) => assert_eq!(items.by_key["dark-mode"], flag(7)),
            // It was sent, or asked once more, for which there was no connection.
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable), "{error}");
            }
        }
        proxy.replies.cut_after(usize::MAX);
        eventually("it works again", || store.is_available());
    }
}

/// The server has written, and its answer is cut: only `Timeout` says that the write may have happened.
fn lost_answer() {
    let server = Server::start();
    let proxy = Proxy::before(server.port);
    let store = quick(proxy.port);
    // The second one, which replaces something, makes the server know the script.
    (0..2).for_each(|version| upsert(&store, version).unwrap());
    proxy.replies.cut_after(0);
    assert_eq!(upsert(&store, 2).unwrap_err().kind(), ErrorKind::Timeout);
    proxy.replies.cut_after(usize::MAX);
    assert_eq!(version(&store), Some(2));
    // On a connection that is known to take transactions: else MULTI alone is sent, and nothing is stored.
    store.init(&flags(2)).unwrap();
    proxy.replies.cut_after(0);
    assert_eq!(store.init(&flags(3)).unwrap_err().kind(), ErrorKind::Timeout);
    proxy.replies.cut_after(usize::MAX);
    assert_eq!(version(&store), Some(3));
}

/// Many threads, one place and a server that does not answer: all of them know within one deadline.
fn waiters() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for port in [listener.local_addr().unwrap().port(), free_port()] {
        let builder = RedisStore::builder().host("127.0.0.1").port(port).pool_size(1);
        // No deadline of their own that would end the wait.
        let store = builder.connect_timeout(TIMEOUT).timeout(Duration::from_secs(30)).build().unwrap();
        thread::scope(|scope| {
            for _ in 0..24 {
                scope.spawn(|| in_time(|| read(&store)).unwrap_err());
            }
        });
    }
}

/// With all connections in use, one more call ends at its own deadline.
fn used_up() {
    let server = Server::start();
    let builder = server.builder().pool_size(2).timeout(Duration::from_secs(20));
    let busy = Arc::new(builder.timeout(TIMEOUT).init_timeout(Duration::from_secs(20)).build().unwrap());
    upsert(&busy, 1).unwrap();
    server.signal("STOP");
    let inits: Vec<_> = (0..2)
        .map(|_| {
            let busy = Arc::clone(&busy);
            thread::spawn(move || busy.init(&flags(2)))
        })
        .collect();
    // The first one to have no connection says so.
    eventually("both connections are in use", || {
        let error = in_time(|| read(&busy)).unwrap_err();
        error.to_string().contains("no connection")
    });
    server.signal("CONT");
    for init in inits {
        init.join().unwrap().unwrap();
    }
    assert_eq!(version(&busy), Some(2));
}

/// A write to a replica is refused with advice, and reads go on.
fn replica() {
    let master = Server::start();
    let replica = Server::with(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let store = replica.store();
    upsert(&master.store(), 1).unwrap();
    eventually("it is replicated", || read(&store).ok().flatten() == Some(1));
    for error in [upsert(&store, 2).unwrap_err(), store.init(&flags(2)).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    let error = upsert(&store, 2).unwrap_err();
    assert!(error.to_string().contains("connect to the master"), "{error}");
    assert_eq!(version(&store), Some(1));
}

/// Without memory a transaction fails as a whole, and says so.
fn failed_transaction() {
    let server = Server::start();
    let store = server.store();
    store.init(&flags(1)).unwrap();
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(store.init(&flags(2)).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(upsert(&store, 3).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(version(&store), Some(1), "nothing has changed");
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    store.init(&flags(2)).unwrap();
    assert_eq!(version(&store), Some(2));
}

/// What a server or firewall has closed in the meantime is not tried.
fn idle_connections() {
    let server = Server::start();
    let store = server.builder().idle_timeout(Duration::from_millis(20)).build().unwrap();
    upsert(&store, 1).unwrap();
    let used = Instant::now();
    server.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    eventually("it is too old", || used.elapsed() > Duration::from_millis(20));
    assert_eq!(read(&store).unwrap(), Some(1));
}

/// No thread of a store is left behind when the store is gone, even if its server never answered.
fn threads_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = quick(listener.local_addr().unwrap().port());
    read(&store).unwrap_err();
    drop(store);
    let connections = || {
        listener.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| listener.accept().ok()).map(|(stream, _)| stream).collect::<Vec<_>>()
    };
    for mut stream in connections() {
        stream.set_read_timeout(Some(crate::HANG / 2)).unwrap();
        let mut sink = Vec::new();
        stream.read_to_end(&mut sink).expect("the store has closed its connections");
    }
}
