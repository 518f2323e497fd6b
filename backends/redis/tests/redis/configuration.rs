//! Every setting has its effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flagstore_core::{
    BigSegmentPatch, BigSegmentStore, BigSegmentUpdates, ErrorKind, FeatureStoreCore, PatchOutcome,
    UnixMillis,
};
use flagstore_redis::redis::{Client, ProtocolVersion};
use flagstore_redis::{Credentials, RedisStore, RedisStoreBuilder};

use crate::server::Server;
use crate::{Test, read, upsert, version};

pub(crate) const TESTS: &[Test] = &[
    ("configuration::wrong_value_names_its_field", wrong_values),
    ("configuration::url_says_everything", url),
    ("configuration::options_beat_the_url", options),
    ("configuration::unix_socket", unix_socket),
    ("configuration::credentials_are_asked_at_each_new_connection", credentials),
    ("configuration::failing_credentials_are_an_error", failing_credentials),
    ("configuration::protocols", protocols),
    ("configuration::client_is_taken_as_it_is", client),
    ("configuration::pool_size_is_the_number_of_connections", pool_size),
    ("configuration::user_of_the_readme_can_do_everything", minimal_user),
    ("configuration::capabilities_are_those_of_the_user", capabilities),
    ("configuration::display_shows_where_the_data_is", display),
];

/// Bug 32: each wrong value is refused by name, before anything is connected.
fn wrong_values() {
    let new = RedisStore::builder;
    let none: [&str; 0] = [];
    let wrong: Vec<(&str, RedisStoreBuilder)> = vec![
        ("url", new().url("")),
        ("url", new().url("localhost:6379")),
        ("url", new().url("http://localhost")),
        ("url", new().url("redis://localhost/flags")),
        ("url", new().url("redis://localhost?protocol=resp4")),
        ("url", new().url("redis://:pa/55@localhost")),
        ("host", new().host("")),
        ("port", new().port(0)),
        ("unix_socket", new().unix_socket("")),
        ("database", new().database(-1)),
        ("username", new().username("flags")),
        ("username", new().url("redis://pa55@localhost")),
        ("pool_size", new().pool_size(0)),
        ("timeout", new().timeout(Duration::ZERO)),
        ("timeout", new().timeout(Duration::MAX)),
        ("connect_timeout", new().connect_timeout(Duration::ZERO)),
        ("init_timeout", new().init_timeout(Duration::ZERO)),
        ("idle_timeout", new().idle_timeout(Duration::ZERO)),
        ("sentinel", new().sentinel("", ["redis://localhost"])),
        ("sentinel", new().sentinel("mymaster", none)),
        ("sentinel", new().sentinel("mymaster", ["localhost"])),
        ("cluster", new().cluster(none)),
        ("cluster", new().cluster(["localhost"])),
        ("cluster", new().cluster(["unix:///tmp/redis.sock"])),
        ("cluster", new().cluster(["redis://localhost"]).sentinel("mymaster", ["redis://localhost"])),
        ("database", new().cluster(["redis://localhost/1"])),
        // What would have no effect.
        ("url", new().url("redis://localhost?db=1")),
        ("url", new().url("redis://localhost?ssl=true")),
        ("url", new().url("redis://localhost?password=pa55")),
        ("url", new().url("redis://localhost?protocol=resp3&timeout=5")),
        ("url", new().url("redis://localhost#insecure")),
        ("url", new().url("unix:///run/redis.sock?database=1")),
        ("sentinel", new().sentinel("mymaster", ["redis://localhost?db=1"])),
        ("cluster", new().cluster(["redis://localhost?db=1"])),
        ("cluster", new().cluster(["redis://a", "redis://:pa55@b"])),
        ("url", new().cluster(["redis://localhost"]).url("redis://localhost")),
        ("client", new().cluster(["redis://localhost"]).client(Client::open("redis://localhost").unwrap())),
        ("host", new().cluster(["redis://localhost"]).host("localhost")),
        ("port", new().cluster(["redis://localhost"]).port(6379)),
        ("unix_socket", new().cluster(["redis://localhost"]).unix_socket("/run/redis.sock")),
        ("host", new().sentinel("mymaster", ["redis://localhost"]).host("localhost")),
        ("port", new().sentinel("mymaster", ["redis://localhost"]).port(6379)),
        ("unix_socket", new().sentinel("mymaster", ["redis://localhost"]).unix_socket("/run/redis.sock")),
        ("cluster", new().cluster(["redis://a", "redis://b?protocol=resp3"])),
        ("client_name", new().client_name("two words")),
        ("max_lifetime", new().max_lifetime(Duration::ZERO)),
        ("keepalive", new().keepalive(Duration::ZERO)),
        ("keepalive", new().keepalive(Duration::from_millis(999))),
        ("keepalive", new().keepalive(Duration::from_secs(10 * 60 * 60))),
    ];
    for (field, builder) in wrong {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().starts_with(&format!("redis: build: {field}: ")), "{field}: {error}");
        assert!(!error.to_string().contains("55"), "{error}");
    }
}

fn with_users() -> Server {
    let server = Server::with(&["--requirepass", "default-pa55"]);
    let url = format!("redis://:default-pa55@127.0.0.1:{}", server.port);
    let mut admin = Client::open(url).unwrap().get_connection().unwrap();
    crate::server::ask::<()>(&mut admin, &["ACL", "SETUSER", "flags", "on", ">p@55:/#", "~*", "+@all"]);
    server
}

/// Host, port, database, user and password, with what has to be encoded.
fn url() {
    let server = with_users();
    let url = format!("redis://flags:p%4055%3A%2F%23@127.0.0.1:{}/3?protocol=resp3", server.port);
    let store = RedisStore::builder().url(&url).build().unwrap();
    upsert(&store, 1).unwrap();
    let other = RedisStore::builder().url(url.replace("/3", "/4")).build().unwrap();
    assert_eq!((version(&store), version(&other)), (Some(1), None));
    let by_password = RedisStore::builder().url(format!("redis://:default-pa55@127.0.0.1:{}/3", server.port));
    assert_eq!(version(&by_password.build().unwrap()), Some(1));
}

/// Bugs 31 and 33: what is set by itself counts, whatever the URL says.
fn options() {
    let server = with_users();
    let wrong = RedisStore::builder().url("redis://nobody:wrong@127.0.0.2:1/9").port(server.port);
    let right = wrong.host("127.0.0.1").database(2).username("flags").password("p@55:/#");
    // The order does not matter.
    let store = right.clone().url("redis://nobody:wrong@127.0.0.2:1/9").build().unwrap();
    upsert(&store, 1).unwrap();
    assert_eq!(store.to_string(), format!("Redis(127.0.0.1:{}/2, launchdarkly)", server.port));
    let prefixed = right.clone().prefix("other").build().unwrap();
    assert_eq!((version(&store), version(&prefixed)), (Some(1), None));
    assert_eq!(read(&right.password("wrong").build().unwrap()).unwrap_err().kind(), ErrorKind::Unavailable);
}

fn unix_socket() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("redis.sock");
    let _server = Server::with(&["--unixsocket", path.to_str().unwrap()]);
    let store = RedisStore::builder().unix_socket(&path).database(1).build().unwrap();
    // It listens there a moment later than on its port.
    crate::eventually("the socket is there", || store.is_available());
    upsert(&store, 1).unwrap();
    let by_url = RedisStore::builder().url(format!("unix://{}?db=1", path.display())).build().unwrap();
    assert_eq!(version(&by_url), Some(1));
}

/// For tokens that expire: a new connection has the token of its time.
fn credentials() {
    let server = with_users();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let builder = server.builder().pool_size(1).credentials(move || {
        Ok(match counter.fetch_add(1, Ordering::Relaxed) {
            0 => Credentials::user("flags", "p@55:/#"),
            _ => Credentials::password("default-pa55"),
        })
    });
    let store = builder.build().unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 0, "nothing is connected yet");
    (1..5).for_each(|version| upsert(&store, version).unwrap());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let url = format!("redis://:default-pa55@127.0.0.1:{}", server.port);
    let mut admin = Client::open(url).unwrap().get_connection().unwrap();
    crate::server::ask::<()>(&mut admin, &["CLIENT", "KILL", "USER", "flags"]);
    assert_eq!(version(&store), Some(4));
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

/// One that fails, one that panics and one that hangs: the caller has an error within its deadline.
fn failing_credentials() {
    let server = Server::start();
    let builder = server.builder().timeout(Duration::from_millis(200));
    let failing = builder.clone().credentials(|| Err("no token".into())).build().unwrap();
    let error = read(&failing).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("no token"), "{error}");
    // Without the hook, which may take longer than the deadline to write down where it was.
    let panicking = || std::panic::resume_unwind(Box::new("as intended"));
    let panicking = builder.clone().credentials(panicking).build().unwrap();
    assert!(read(&panicking).unwrap_err().to_string().contains("as intended"));
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let hanging = builder.credentials(move || {
        let _ = held.lock().unwrap().recv();
        Err("it is over".into())
    });
    let hanging = hanging.build().unwrap();
    assert_eq!(read(&hanging).unwrap_err().kind(), ErrorKind::Unavailable);
    drop(hold);
}

fn protocols() {
    let server = Server::start();
    for (protocol, reported) in [(ProtocolVersion::RESP2, "resp=2"), (ProtocolVersion::RESP3, "resp=3")] {
        let store = server.builder().protocol(protocol).prefix(reported).build().unwrap();
        store.init(&crate::flags(1)).unwrap();
        upsert(&store, 2).unwrap();
        upsert(&store, 1).unwrap();
        assert_eq!(version(&store), Some(2));
        assert_eq!(store.get_all(&flagstore_core::Kind::FEATURES).unwrap().by_key.len(), 1);
        assert!(store.is_initialized().unwrap() && store.is_available());
        let clients: String = server.ask(&["CLIENT", "LIST"]);
        // Redis 7.0 does not show the protocol there, and knows no library names.
        assert!(clients.contains(reported) || !clients.contains("resp="), "{clients}");
    }
}

/// An injected client goes on working when the store is gone.
fn client() {
    let server = Server::start();
    let client = Client::open(server.url() + "/5").unwrap();
    let mut connection = client.get_connection().unwrap();
    let store = RedisStore::builder().client(client).build().unwrap();
    upsert(&store, 1).unwrap();
    drop(store);
    let stored: bool =
        crate::server::ask(&mut connection, &["HEXISTS", "launchdarkly:features", "dark-mode"]);
    assert!(stored);
}

/// Never more connections than that, however many threads.
fn pool_size() {
    let server = Server::start();
    let store = server.builder().pool_size(3).build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| (0..100).for_each(|_| assert_eq!(read(&store).unwrap(), None)));
        }
    });
    let statistics: String = server.ask(&["INFO", "stats"]);
    let received =
        statistics.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap();
    // Besides those of the store: the probe of the start, which is no client, and the one that asks.
    assert!(received.parse::<usize>().unwrap() <= 5, "{received}");
}

/// The rules are those that the README gives, for one prefix.
fn minimal_user() {
    let readme = include_str!("../../README.md");
    let rules = readme.lines().find(|line| line.starts_with("ACL SETUSER flags")).unwrap();
    let server = Server::start();
    server.ask::<()>(&rules.split(' ').collect::<Vec<_>>());
    let user =
        |prefix| server.builder().username("flags").password("password").prefix(prefix).build().unwrap();
    let store = user("production");
    for next in 1..4 {
        store.init(&crate::flags(next * 3)).unwrap();
        upsert(&store, next * 3 + 1).unwrap();
        upsert(&store, next * 3).unwrap();
        assert_eq!(version(&store), Some(next * 3 + 1));
        assert!(store.is_initialized().unwrap() && store.is_available());
    }
    let error = read(&user("staging")).unwrap_err();
    assert!(error.to_string().contains("NOPERM"), "{error}");
    let error = upsert(&user("staging"), 1).unwrap_err().to_string();
    assert!(error.contains("NOPERM") && !error.contains("watch"), "{error}");
    let allow = |more: &[&str]| server.ask::<()>(&[&["ACL", "SETUSER", "flags"], more].concat());
    allow(&["-eval", "-evalsha", "+watch", "+unwatch"]);
    upsert(&user("production"), 20).unwrap();
    allow(&["+select"]);
    let other = server.builder().database(1).username("flags").password("password").prefix("production");
    upsert(&other.build().unwrap(), 1).unwrap();
    allow(&["+get", "+sadd", "+srem"]);
    store.set_metadata(UnixMillis(1)).unwrap();
    let mut patch = BigSegmentPatch::new("segment.g1", "", "1");
    (patch.included.add, patch.excluded.remove) = (vec!["hash".to_owned()], vec!["hash".to_owned()]);
    assert_eq!(store.apply_patch(&patch).unwrap(), PatchOutcome::Applied);
    allow(&["+smembers"]);
    let membership = store.get_membership("hash").unwrap().unwrap();
    assert_eq!(membership.check_membership("segment.g1"), Some(true));
    server.ask::<()>(&["ACL", "SETUSER", "flags", "+client|tracking", "+hello"]);
    assert!(user("production").capabilities().unwrap().push);
}

/// What the server refuses can be asked for, and a server that is down is an error.
fn capabilities() {
    let mut server = Server::start();
    let users = [
        ("+@all", [true; 4]),
        ("-multi", [false, true, true, false]),
        ("-@scripting", [true, false, true, true]),
        ("-client|tracking", [true, true, false, true]),
    ];
    for (rule, expected) in users {
        crate::server::ask::<()>(
            &mut server.raw(),
            &["ACL", "SETUSER", "limited", "reset", "on", ">pa55", "~*", "+@all", rule],
        );
        let store = server.builder().username("limited").password("pa55").build().unwrap();
        let found = store.capabilities().unwrap();
        let found = [found.transactions, found.scripts, found.push, found.atomic_init];
        assert_eq!(found, expected, "{rule}");
    }
    // A source of credentials that does not answer any more holds up nobody.
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new((held, false));
    let store = server.builder().pool_size(1).credentials(move || {
        let mut held = held.lock().unwrap();
        if std::mem::replace(&mut held.1, true) {
            let _ = held.0.recv();
        }
        Ok(Credentials::user("limited", "pa55"))
    });
    let store = store.build().unwrap();
    assert_eq!(version(&store), None);
    assert_eq!(store.capabilities().unwrap_err().kind(), ErrorKind::Unavailable);
    drop(hold);
    let store = server.store();
    server.stop();
    assert_eq!(store.capabilities().unwrap_err().kind(), ErrorKind::Unavailable);
}

fn display() {
    let shown = |builder: RedisStoreBuilder| builder.build().unwrap().to_string();
    let new = RedisStore::builder;
    assert_eq!(shown(new()), "Redis(localhost:6379/0, launchdarkly)");
    assert_eq!(shown(new().unix_socket("/run/redis.sock").prefix("p")), "Redis(/run/redis.sock/0, p)");
    assert_eq!(
        shown(new().sentinel("mymaster", ["redis://a:1"])),
        "Redis(sentinel mymaster/0, launchdarkly)"
    );
    assert_eq!(
        shown(new().cluster(["redis://a:1", "redis://b:2"]).prefix("{p}")),
        "Redis(cluster a:1,b:2, {p})"
    );
}
