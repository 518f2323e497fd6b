//! The connections under load, refused, idle, stalled, and after a burst.

use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{ErrorKind, FeatureStoreCore};
use flagstore_redis::redis::{Client, Connection};

use crate::server::{Server, ask};
use crate::{Test, eventually, flags, read, upsert, version};

pub(crate) const TESTS: &[Test] = &[
    ("pool::idle_connection_that_was_closed_fails_no_call", closed_while_idle),
    ("pool::connections_that_are_killed_under_load_fail_no_read", killed_under_load),
    ("pool::user_without_ping_is_available", without_ping),
    ("pool::refused_connection_says_why", refused),
    ("pool::refusals_harm_no_healthy_connection", refusals_beside_healthy),
    ("pool::server_that_denies_is_quoted", denied),
    ("pool::every_thread_gets_its_share", shares),
    ("pool::stalled_second_costs_no_connection", stalled),
    ("pool::burst_shrinks_again", burst),
    ("pool::connections_end_with_their_lifetime", lifetime),
    ("pool::connections_have_a_name", name),
];

fn received(admin: &mut Connection) -> u64 {
    let statistics: String = ask(admin, &["INFO", "stats"]);
    let line = statistics.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    line.unwrap().parse().unwrap()
}

fn connected(admin: &mut Connection) -> usize {
    ask::<String>(admin, &["CLIENT", "LIST"]).lines().count() - 1
}

/// By the server's `timeout`, by CLIENT KILL and by a restart: reads and writes go on.
fn closed_while_idle() {
    let mut server = Server::start();
    let store = server.store();
    let mut longest = Duration::ZERO;
    for version in 1..20 {
        upsert(&store, version).unwrap();
        server.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        let started = Instant::now();
        if version % 2 == 0 {
            upsert(&store, version + 1).unwrap();
        } else {
            assert_eq!(crate::version(&store), Some(version));
        }
        longest = longest.max(started.elapsed());
    }
    server.ask::<()>(&["CONFIG", "SET", "timeout", "1"]);
    let mut admin = server.raw();
    eventually("the server has closed it", || connected(&mut admin) == 0);
    let before = version(&store);
    upsert(&store, 30).unwrap();
    server.stop();
    server.start_again();
    let started = Instant::now();
    store.init(&flags(1)).unwrap();
    longest = longest.max(started.elapsed());
    println!("the longest call on a connection that was closed while idle: {longest:?}");
    assert_eq!((before, version(&store)), (Some(19), Some(1)));
}

/// Whenever they are killed, a read is asked once more.
fn killed_under_load() {
    let server = Server::start();
    let store = server.store();
    store.init(&flags(1)).unwrap();
    let (is_over, failed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let reads: [AtomicUsize; 8] = Default::default();
    thread::scope(|scope| {
        for reads in &reads {
            let (store, is_over, failed) = (&store, &is_over, &failed);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    if let Err(error) = read(store) {
                        println!("{error}");
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut admin = server.raw();
        for _ in 0..20 {
            ask::<()>(&mut admin, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            // What is killed twice has failed twice, and is an error.
            let before = reads.each_ref().map(|reads| reads.load(Ordering::Relaxed));
            let goes_on = |(reads, before): (&AtomicUsize, usize)| reads.load(Ordering::Relaxed) > before + 2;
            eventually("all have gone on", || reads.iter().zip(before).all(goes_on));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(failed.into_inner(), 0);
}

/// What the user may not do is an answer too.
fn without_ping() {
    let server = Server::start();
    server.store().init(&flags(1)).unwrap();
    for rules in [&["+@read"][..], &["+hget", "+hgetall"]] {
        server.ask::<()>(&[&["ACL", "SETUSER", "reader", "on", ">pa55", "~*", "-@all"], rules].concat());
        let store = server.builder().username("reader").password("pa55").build().unwrap();
        assert!(store.is_available(), "{rules:?}");
        assert_eq!(version(&store), Some(1));
    }
    let mut admin = server.raw();
    ask::<()>(&mut admin, &["ACL", "SETUSER", "default", "-ping"]);
    let store = server.store();
    assert!(store.is_available());
    assert_eq!(version(&store), Some(1));
}

/// With and without a password the server's own words arrive, and a write has not happened.
fn refused() {
    for password in [None, Some("pa55")] {
        let arguments = ["--maxclients", "2", "--requirepass", "pa55"];
        let server = Server::with(if password.is_some() { &arguments } else { &arguments[..2] });
        let builder = server.builder().timeout(Duration::from_millis(300));
        let builder = if let Some(password) = password { builder.password(password) } else { builder };
        let secret = password.map(|password| format!(":{password}@")).unwrap_or_default();
        let client = Client::open(format!("redis://{secret}127.0.0.1:{}", server.port)).unwrap();
        let mut admin = client.get_connection().unwrap();
        let first = builder.clone().build().unwrap();
        eventually("the first has the only place", || first.is_available());
        let second = builder.build().unwrap();
        for error in [read(&second).unwrap_err(), upsert(&second, 1).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("max number of clients"), "{error}");
        }
        assert_eq!(version(&first), None);
        // Callers in a loop are no storm of connections.
        let mut rejected = || {
            let statistics: String = ask(&mut admin, &["INFO", "stats"]);
            let line = statistics.lines().find_map(|line| line.strip_prefix("rejected_connections:"));
            line.unwrap().parse::<u64>().unwrap()
        };
        let (started, before) = (Instant::now(), rejected());
        while started.elapsed() < Duration::from_secs(1) {
            read(&second).unwrap_err();
        }
        let attempts = rejected() - before;
        assert!((5..60).contains(&attempts), "{attempts}");
        drop(first);
        eventually("there is room", || read(&second).is_ok());
    }
}

/// Sixteen threads, of whose connections the server takes four: they wait for those.
fn refusals_beside_healthy() {
    let server = Server::with(&["--maxclients", "5"]);
    let mut admin = server.raw();
    let store = server.builder().timeout(Duration::from_secs(5)).build().unwrap();
    let (good, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (started, before) = (Instant::now(), received(&mut admin));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while started.elapsed() < Duration::from_secs(2) {
                    let calls = if read(&store).is_ok() { &good } else { &failed };
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let (good, failed) = (good.into_inner(), failed.into_inner());
    let attempts = received(&mut admin) - before;
    println!(
        "beside four healthy connections: {good} good calls, {failed} failed, {attempts} connections in 2 s"
    );
    assert_eq!(failed, 0);
    assert!(good > 1000 && attempts < 100, "{good} {attempts}");
}

/// As Redis in protected mode does, which a client on the same machine does not see.
fn denied() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut client in listener.incoming().take(2).flatten() {
            let _ = client.write_all(b"-DENIED Redis is running in protected mode\r\n");
        }
    });
    let store = flagstore_redis::RedisStore::builder().url(url).build().unwrap();
    let error = read(&store).unwrap_err();
    assert!(error.to_string().contains("DENIED Redis is running in protected mode"), "{error}");
}

/// Thirty-two threads on sixteen connections, and eight on one: none is passed over for long.
/// That the oldest is next is shown where the queue is (`pool.rs`).
fn shares() {
    let server = Server::start();
    for (threads, size, calls) in [(32, 16, 1000), (8, 1, 300)] {
        let store = server.builder().pool_size(size).timeout(crate::HANG).build().unwrap();
        let longest = thread::scope(|scope| {
            let callers: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let call = |_| {
                            let started = Instant::now();
                            read(&store).unwrap();
                            started.elapsed()
                        };
                        (0..calls).map(call).max().unwrap()
                    })
                })
                .collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).max().unwrap()
        });
        println!(
            "{threads} threads on {size} connections: the longest of {} calls took {longest:?}",
            threads * calls
        );
        assert!(longest < Duration::from_secs(1), "{longest:?}");
    }
}

/// The server stops for 1.2 s under sixteen threads: each has one failed call, and no connection is made anew.
fn stalled() {
    let server = Server::start();
    let store = server.store();
    let mut admin = server.raw();
    let (is_over, failed) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    failed.fetch_add(usize::from(read(&store).is_err()), Ordering::Relaxed);
                }
            });
        }
        eventually("all are connected", || connected(&mut admin) == 16);
        let before = received(&mut admin);
        server.signal("STOP");
        thread::sleep(Duration::from_millis(1200));
        server.signal("CONT");
        assert!(!ask::<String>(&mut admin, &["PING"]).is_empty());
        for _ in 0..20 {
            ask::<()>(&mut admin, &["PING"]);
            thread::park_timeout(Duration::from_millis(10));
        }
        is_over.store(true, Ordering::Relaxed);
        let reopened = received(&mut admin) - before;
        println!(
            "a stalled second: {} failed calls, {reopened} new connections",
            failed.load(Ordering::Relaxed)
        );
        assert_eq!(reopened, 0);
    });
    assert!(failed.into_inner() <= 16);
}

/// One caller after a burst of sixteen keeps one connection.
fn burst() {
    let server = Server::start();
    let store = server.builder().idle_timeout(Duration::from_millis(100)).build().unwrap();
    let mut admin = server.raw();
    server.signal("STOP");
    thread::scope(|scope| {
        (0..16).for_each(|_| drop(scope.spawn(|| drop(read(&store)))));
        thread::park_timeout(Duration::from_millis(50));
        server.signal("CONT");
    });
    eventually("what is not needed is closed", || read(&store).is_ok() && connected(&mut admin) == 1);
}

fn lifetime() {
    let server = Server::start();
    let store = server.builder().max_lifetime(Duration::from_millis(50)).build().unwrap();
    let mut admin = server.raw();
    let before = received(&mut admin);
    eventually("there were several", || read(&store).is_ok() && received(&mut admin) >= before + 3);
    assert_eq!(connected(&mut admin), 1);
}

fn name() {
    let server = Server::start();
    let store = server.builder().client_name("flags-of-checkout").build().unwrap();
    read(&store).unwrap();
    assert!(server.ask::<String>(&["CLIENT", "LIST"]).contains("name=flags-of-checkout"));
}
