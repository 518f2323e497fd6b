//! Where the server takes no MULTI, no EXEC, or neither scripts nor MULTI.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use flagstore_core::{AllData, ErrorKind, FeatureStoreCore, Kind, Upsert};
use flagstore_redis::RedisStore;

use crate::server::Server;
use crate::{Test, flag, flags, upsert, version};

pub(crate) const TESTS: &[Test] = &[
    ("transactions::without_multi_an_upsert_is_one_script", upserts_without_multi),
    ("transactions::without_multi_an_init_changes_nothing", init_without_multi),
    ("transactions::without_multi_no_acknowledged_write_is_lost", writers_without_multi),
    ("transactions::without_exec_nothing_changes", without_exec),
    ("transactions::without_scripts_and_multi_nothing_changes", neither),
    ("transactions::multi_that_is_taken_away_is_noticed", taken_away),
];

fn restricted(server: &Server, rules: &[&str]) -> RedisStore {
    server.ask::<()>(&[&["ACL", "SETUSER", "limited", "on", ">pa55", "~*"], rules].concat());
    server.builder().username("limited").password("pa55").build().unwrap()
}

/// The answers are those of any other server.
fn upserts_without_multi() {
    for rules in [&["+@all", "-multi"], &["+@all", "-@transaction"]] {
        let server = Server::start();
        let store = restricted(&server, rules);
        for version in 1..6 {
            assert_eq!(store.upsert(&Kind::FEATURES, "dark-mode", &flag(version)).unwrap(), Upsert::Applied);
            assert_eq!(crate::version(&store), Some(version));
        }
        for older in [4, 5] {
            let upserted = store.upsert(&Kind::FEATURES, "dark-mode", &flag(older)).unwrap();
            assert_eq!(upserted, Upsert::Stale(flag(5)));
        }
        // What the script cannot compare by itself.
        server.ask::<()>(&[
            "HSET",
            "launchdarkly:features",
            "dark-mode",
            r#"{"a":{"version":9},"version":6}"#,
        ]);
        assert!(matches!(store.upsert(&Kind::FEATURES, "dark-mode", &flag(6)), Ok(Upsert::Stale(_))));
        upsert(&store, 7).unwrap();
        server.ask::<()>(&["HSET", "launchdarkly:features", "dark-mode", "not an item"]);
        upsert(&store, 1).unwrap();
        assert_eq!(version(&store), Some(1));
    }
}

/// It says what the user lacks, and readers see the old environment whole.
fn init_without_multi() {
    for rules in [&["+@all", "-multi"], &["+@all", "-@transaction"]] {
        let server = Server::start();
        server.store().init(&flags(1)).unwrap();
        let store = restricted(&server, rules);
        let empty = AllData::new().with(Kind::FEATURES, [("other", flag(2))]);
        for _ in 0..3 {
            let error = store.init(&empty).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("MULTI"), "{error}");
            assert_eq!(version(&store), Some(1), "nothing has changed");
            assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 1);
        }
    }
}

/// Beside a writer with full rights, no read is older than what has been acknowledged before it.
fn writers_without_multi() {
    let server = Server::start();
    let (limited, full) = (restricted(&server, &["+@all", "-multi"]), server.store());
    let (next, acknowledged) = (AtomicU64::new(1), AtomicU64::new(0));
    thread::scope(|scope| {
        for store in [&limited, &limited, &full, &full] {
            let (next, acknowledged) = (&next, &acknowledged);
            scope.spawn(move || {
                for _ in 0..300 {
                    let version = next.fetch_add(1, Ordering::Relaxed);
                    upsert(store, version).unwrap();
                    acknowledged.fetch_max(version, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..600 {
                    let before = acknowledged.load(Ordering::SeqCst);
                    let found = version(&full).unwrap_or_default();
                    assert!(found >= before, "{found} after {before}");
                }
            });
        }
    });
    assert_eq!(version(&full), Some(next.into_inner() - 1));
}

/// Redis discards the transaction.
fn without_exec() {
    let server = Server::start();
    server.store().init(&flags(1)).unwrap();
    let store = restricted(&server, &["+@all", "-exec"]);
    for _ in 0..3 {
        for error in [upsert(&store, 2).unwrap_err(), store.init(&flags(3)).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        }
        assert_eq!(version(&store), Some(1));
    }
}

/// A clear refusal, and the same words each time.
fn neither() {
    let server = Server::start();
    server.store().init(&flags(1)).unwrap();
    let store = restricted(&server, &["+@all", "-@scripting", "-multi"]);
    for _ in 0..3 {
        let error = upsert(&store, 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("MULTI"), "{error}");
        assert_eq!(version(&store), Some(1));
    }
}

/// On an open connection the rest of that one packet runs, so the error says that it may have happened.
fn taken_away() {
    let server = Server::start();
    let store = restricted(&server, &["+@all"]);
    upsert(&store, 1).unwrap();
    server.ask::<()>(&["ACL", "SETUSER", "limited", "-multi"]);
    assert_eq!(upsert(&store, 2).unwrap_err().kind(), ErrorKind::Timeout);
    for version in 3..6 {
        upsert(&store, version).unwrap();
        assert_eq!(crate::version(&store), Some(version));
    }
    let error = store.init(&flags(9)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(version(&store), Some(5));
}
