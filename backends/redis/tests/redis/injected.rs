//! A pool of the program's own, here of r2d2, that the store shares with others.

use std::time::Duration;

use flagstore_core::{ErrorKind, FeatureStoreCore, Kind};
use flagstore_redis::redis::{self, Client};
use flagstore_redis::{RedisStore, RedisStoreBuilder};
use r2d2::Pool;

use crate::server::{Server, ask};
use crate::{HANG, Test, flags, read, upsert, version};

pub(crate) const TESTS: &[Test] = &[
    ("injected::store_takes_out_one_connection_for_a_call", for_a_call),
    ("injected::pool_is_left_open", left_open),
    ("injected::connection_that_is_out_of_step_is_not_left_to_others", out_of_step),
    ("injected::pool_without_a_free_connection_is_an_error", used_up),
    ("injected::restart_costs_reads_nothing_and_writes_one_call", restart),
    ("injected::push_has_a_connection_of_its_own", push),
    ("injected::options_of_a_connection_are_refused", options),
];

/// With one place, so that whatever is not given back is missing.
fn pool(server: &Server) -> (Client, Pool<Client>) {
    let client = Client::open(server.url()).unwrap();
    let pool = Pool::builder().max_size(1).test_on_check_out(false).build(client.clone()).unwrap();
    (client, pool)
}

fn builder((client, pool): (Client, Pool<Client>)) -> RedisStoreBuilder {
    RedisStore::builder().pool(client, move |timeout| pool.get_timeout(timeout))
}

/// Every operation, from many threads, on the only connection there is.
fn for_a_call() {
    let server = Server::start();
    let (client, pool) = pool(&server);
    let store = builder((client, pool.clone())).timeout(HANG).build().unwrap();
    store.init(&flags(1)).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (store, pool) = (&store, &pool);
            scope.spawn(move || {
                for version in 2..20 {
                    upsert(store, version * 8 + writer).unwrap();
                    assert!(read(store).unwrap() >= Some(version * 8 + writer));
                    assert_eq!(ask::<String>(&mut pool.get().unwrap(), &["PING"]), "PONG");
                }
            });
        }
    });
    assert_eq!(version(&store), Some(19 * 8 + 7));
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 1);
    assert!(store.is_initialized().unwrap() && store.is_available());
    let received: String = server.ask(&["INFO", "stats"]);
    assert!(
        received.contains("total_connections_received:3"),
        "the pool's, a probe's and this one's: {received}"
    );
}

fn left_open() {
    let server = Server::start();
    let (client, pool) = pool(&server);
    let before: i64 = ask(&mut pool.get().unwrap(), &["CLIENT", "ID"]);
    let store = builder((client, pool.clone())).build().unwrap();
    upsert(&store, 1).unwrap();
    drop(store);
    assert_eq!(ask::<i64>(&mut pool.get().unwrap(), &["CLIENT", "ID"]), before, "it is the same connection");
}

/// A reply that comes too late is nobody else's, and neither is the rest of a command.
fn out_of_step() {
    let server = Server::start();
    let (client, pool) = pool(&server);
    let store = builder((client, pool.clone())).timeout(Duration::from_millis(200)).build().unwrap();
    upsert(&store, 1).unwrap();
    let before: i64 = ask(&mut pool.get().unwrap(), &["CLIENT", "ID"]);
    server.signal("STOP");
    assert_eq!(upsert(&store, 2).unwrap_err().kind(), ErrorKind::Timeout);
    server.signal("CONT");
    let mut connection = pool.get().unwrap();
    assert_eq!(ask::<String>(&mut connection, &["ECHO", "mine"]), "mine");
    assert_eq!(
        ask::<i64>(&mut connection, &["CLIENT", "ID"]),
        before,
        "a stalled moment costs no connection"
    );
    drop(connection);
    upsert(&store, 3).unwrap();
    assert_eq!(version(&store), Some(3));
}

fn used_up() {
    let server = Server::start();
    let (client, pool) = pool(&server);
    let store = builder((client, pool.clone())).timeout(Duration::from_millis(100)).build().unwrap();
    let taken = pool.get().unwrap();
    let error = read(&store).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("the pool: timed out"), "{error}");
    drop(taken);
    assert_eq!(read(&store).unwrap(), None);
}

/// All of the pool's connections are dead then.
fn restart() {
    let mut server = Server::start();
    let client = Client::open(server.url()).unwrap();
    let pool = Pool::builder().max_size(8).test_on_check_out(false).build(client.clone()).unwrap();
    let store = builder((client, pool.clone())).build().unwrap();
    let mut restart = || {
        // So that each of them has been used.
        let all: Vec<_> = (0..8).map(|_| pool.get().unwrap()).collect();
        drop(all);
        server.stop();
        server.start_again();
    };
    restart();
    (0..16).for_each(|_| assert_eq!(read(&store).unwrap(), None));
    restart();
    let failed = (1..=16).filter(|version| upsert(&store, *version).is_err()).count();
    assert!(failed <= 1, "{failed} updates failed");
    assert_eq!(version(&store), Some(16));
}

/// The watch does not take the pool's only connection.
fn push() {
    use flagstore_core::{Change, ChangeSource};

    let server = Server::start();
    let store = builder(pool(&server)).build().unwrap();
    let (sender, changes) = std::sync::mpsc::channel();
    let _watch = store.changes().watch(Box::new(move |change| drop(sender.send(change))));
    assert_eq!(changes.recv_timeout(HANG / 2), Ok(Change::Anything));
    upsert(&store, 1).unwrap();
    assert_eq!(changes.recv_timeout(HANG / 2), Ok(Change::Kind(Kind::FEATURES)));
}

/// They would have no effect, so the first of them is named.
fn options() {
    let server = Server::start();
    let new = || builder(pool(&server));
    for (field, builder) in [
        ("host", new().host("localhost")),
        ("port", new().port(1)),
        ("unix_socket", new().unix_socket("/run/redis.sock")),
        ("database", new().database(1)),
        ("password", new().password("pa55")),
        ("username", new().username("flags").password("pa55")),
        ("credentials", new().credentials(|| Err("none".into()))),
        ("protocol", new().protocol(redis::ProtocolVersion::RESP3)),
        ("sentinel", new().sentinel("mymaster", ["redis://localhost"])),
        ("cluster", new().cluster(["redis://localhost"])),
        ("pool_size", new().pool_size(4)),
        ("connect_timeout", new().connect_timeout(HANG)),
        ("idle_timeout", new().idle_timeout(HANG)),
        ("max_lifetime", new().max_lifetime(HANG)),
        ("keepalive", new().keepalive(HANG)),
        ("client_name", new().client_name("flags")),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(&format!("build: {field}: ")), "{error}");
    }
}
