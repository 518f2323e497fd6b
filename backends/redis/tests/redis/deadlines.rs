//! A call ends at its deadline, whatever dribbles in, and says truly whether it may have happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{AllData, ErrorKind, FeatureStoreCore, Item, Kind, StoreError};
use flagstore_redis::{Credentials, RedisStore};

use crate::proxy::Proxy;
use crate::server::Server;
use crate::{Test, eventually, flag, read, upsert, version};

pub(crate) const TESTS: &[Test] = &[
    ("deadlines::reply_that_dribbles_is_cut_off", dribbling_reply),
    ("deadlines::request_that_is_taken_slowly_is_cut_off", slow_uplink),
    ("deadlines::what_was_sent_and_not_answered_is_a_timeout", sent_and_unanswered),
    ("deadlines::late_reply_is_read_before_the_next_one", late_reply),
    ("deadlines::slow_credentials_have_a_clock_of_their_own", slow_credentials),
    ("deadlines::credentials_are_asked_once_for_all_who_wait", shared_credentials),
];

const TIMEOUT: Duration = Duration::from_millis(300);

fn builder(proxy: &Proxy) -> flagstore_redis::RedisStoreBuilder {
    let builder = RedisStore::builder().url(proxy.url()).timeout(TIMEOUT);
    builder.connect_timeout(TIMEOUT).init_timeout(TIMEOUT)
}

fn large(version: u64, size: usize) -> Item {
    let text = "x".repeat(size);
    Item::parse(format!(r#"{{"key":"large","text":"{text}","version":{version}}}"#)).unwrap()
}

fn timed<T>(call: impl FnOnce() -> T) -> (Duration, T) {
    let started = Instant::now();
    let result = call();
    (started.elapsed(), result)
}

/// What took 226 s, when each byte had a timeout of its own.
fn dribbling_reply() {
    let server = Server::start();
    let data = (0..200).map(|n| (format!("flag-{n}"), large(1, 2000)));
    server.store().init(&AllData::new().with(Kind::FEATURES, data)).unwrap();
    let proxy = Proxy::before(server.port);
    let store = builder(&proxy).build().unwrap();
    assert!(store.is_available());
    let mut longest = Duration::ZERO;
    for (bytes, milliseconds) in [(1, 20), (4096, 20)] {
        proxy.replies.slow_down(bytes, milliseconds);
        for _ in 0..3 {
            if bytes == 1 {
                let (took, flag) = timed(|| store.get(&Kind::FEATURES, "flag-7"));
                longest = longest.max(took);
                flag.unwrap_err();
            }
            let (took, flags) = timed(|| store.get_all(&Kind::FEATURES));
            longest = longest.max(took);
            flags.unwrap_err();
        }
    }
    println!("the longest call behind a dribbling proxy, with a timeout of {TIMEOUT:?}: {longest:?}");
    assert!(longest < TIMEOUT * 3 / 2, "{longest:?}");
    proxy.replies.open_up();
    eventually("it works again", || store.get(&Kind::FEATURES, "flag-7").is_ok());
}

/// 12 MB, which took 22 s where each partial write began a new timeout.
fn slow_uplink() {
    let server = Server::start();
    let proxy = Proxy::before(server.port);
    let store = builder(&proxy).build().unwrap();
    assert!(store.is_available());
    proxy.requests.slow_down(4096, 5);
    let data = (0..120).map(|n| (format!("flag-{n}"), large(1, 100_000)));
    let data = AllData::new().with(Kind::FEATURES, data);
    // The first finds out with MULTI alone whether the server takes transactions.
    let calls = [(); 2].map(|()| timed(|| store.init(&data).unwrap_err().kind()));
    let (longest, kinds) =
        (calls.map(|(took, _)| took).into_iter().max().unwrap(), calls.map(|(_, kind)| kind));
    println!("the longest init of 12 MB on a slow uplink, with a timeout of {TIMEOUT:?}: {longest:?}");
    assert!(longest < TIMEOUT * 3 / 2, "{longest:?}");
    assert!(kinds.contains(&ErrorKind::Timeout), "{kinds:?}");
    assert!(!server.store().is_initialized().unwrap());
}

/// Replies that come just too late: each write was executed, so no error may deny it.
fn sent_and_unanswered() {
    let server = Server::start();
    let proxy = Proxy::before(server.port);
    let store = builder(&proxy).build().unwrap();
    store.init(&crate::flags(1)).unwrap();
    upsert(&store, 2).unwrap();
    let direct = server.store();
    let mut written = 0;
    for (round, milliseconds) in (0..).zip([290, 295, 300, 305, 400].repeat(2)) {
        // On a connection that is well, so that no call ends before it has sent anything.
        proxy.replies.open_up();
        eventually("it is well", || read(&store).is_ok());
        proxy.replies.slow_down(65536, milliseconds);
        let next = 3 + round * 2;
        let mut look = |next, outcome: Result<(), StoreError>| match outcome {
            Err(error) if error.kind() == ErrorKind::Timeout => {
                written += usize::from(version(&direct) == Some(next));
            }
            // Nothing of it comes later either: what follows is on the same connection, in order.
            Err(error) => assert_ne!(version(&direct), Some(next), "{error}"),
            Ok(()) => {}
        };
        look(next, upsert(&store, next));
        look(next + 1, store.init(&crate::flags(next + 1)));
    }
    println!("of 20 writes whose replies were late {written} were written and ended as a timeout");
    // At least those upserts whose replies were all too late.
    assert!(written >= 2, "{written}");
    proxy.replies.open_up();
    eventually("it works again", || read(&store).is_ok());
}

/// A reply that was cut off in its middle goes on, and is nobody else's.
fn late_reply() {
    let server = Server::start();
    server.store().upsert(&Kind::FEATURES, "large", &large(1, 3000)).map(drop).unwrap();
    upsert(&server.store(), 7).unwrap();
    let proxy = Proxy::before(server.port);
    let store = builder(&proxy).pool_size(1).build().unwrap();
    let before = version(&store);
    proxy.replies.slow_down(1000, 150);
    assert_eq!(store.get(&Kind::FEATURES, "large").unwrap_err().kind(), ErrorKind::Timeout);
    proxy.replies.open_up();
    assert_eq!(before, Some(7));
    eventually("the next reply is its own", || read(&store).ok() == Some(Some(7)));
    assert_eq!(version(&store), Some(7));
    assert_eq!(store.get(&Kind::FEATURES, "large").unwrap(), Some(large(1, 3000)));
}

/// Longer than the time to connect, and than a call.
fn slow_credentials() {
    let server = Server::with(&["--requirepass", "pa55"]);
    let proxy = Proxy::before(server.port);
    proxy.replies.slow_down(65536, 10);
    for callback in [TIMEOUT - Duration::from_millis(10), TIMEOUT * 3] {
        let store = builder(&proxy).credentials(move || {
            thread::sleep(callback);
            Ok(Credentials::password("pa55"))
        });
        let store = store.build().unwrap();
        let started = Instant::now();
        let first = read(&store);
        assert!(started.elapsed() < TIMEOUT * 2 && first.is_err(), "{first:?}");
        eventually("it connects", || read(&store).is_ok());
    }
}

/// Eight threads and one answer.
fn shared_credentials() {
    let server = Server::with(&["--requirepass", "pa55"]);
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let (answer, may_answer) = std::sync::mpsc::channel::<()>();
    let may_answer = std::sync::Mutex::new(may_answer);
    let store = server.builder().timeout(crate::HANG).credentials(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        let _ = may_answer.lock().unwrap().recv();
        Ok(Credentials::password("pa55"))
    });
    let store = store.build().unwrap();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..8).map(|_| scope.spawn(|| read(&store))).collect();
        let connecting = || {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
            names.filter(|name| name.starts_with("flagstore-redis")).count()
        };
        eventually("several connections want credentials", || connecting() >= 4);
        answer.send(()).unwrap();
        for reader in readers {
            assert_eq!(reader.join().unwrap().unwrap(), None);
        }
    });
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(flag(1).version(), 1);
}
