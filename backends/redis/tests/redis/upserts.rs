//! How an upsert compares versions, and what it does where scripts are not allowed.

use std::sync::Arc;
use std::thread;

use flagstore_core::{FeatureStoreCore, Item, Kind, MAX_VERSION, Upsert};
use flagstore_redis::RedisStore;

use crate::server::{Server, ask};
use crate::{Test, flag, upsert, version};

pub(crate) const TESTS: &[Test] = &[
    ("upserts::usual_upsert_is_one_command", one_command),
    ("upserts::version_is_compared_however_it_is_written", spellings),
    ("upserts::versions_are_exact", exact_versions),
    ("upserts::stale_brings_the_item_without_another_command", stale),
    ("upserts::other_flags_are_no_conflict", no_conflicts),
    ("upserts::changes_in_between_are_found", races),
    ("upserts::scripts_come_back_after_script_flush", script_flush),
    ("upserts::where_scripts_are_forbidden_it_watches", forbidden_scripts),
    ("upserts::scripts_that_are_allowed_again_are_used_again", allowed_again),
    ("upserts::where_scripts_do_not_work_it_watches", no_scripts),
    ("upserts::where_writes_are_forbidden_it_is_an_error", forbidden_writes),
];

/// How often a command was called; zero if never.
fn calls(server: &Server, command: &str) -> u64 {
    let statistics: String = server.ask(&["INFO", "commandstats"]);
    let line = statistics.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

/// Bug 16: small or large, one round trip, and nothing is read again.
fn one_command() {
    let server = Server::start();
    let store = server.store();
    let large = |version| {
        let rules = "{\"clauses\":[]},".repeat(2000);
        let json = format!(r#"{{"key":"large","rules":[{rules}{{}}],"version":{version},"deleted":false}}"#);
        Item::parse(json).unwrap()
    };
    upsert(&store, 1).unwrap();
    let before = calls(&server, "evalsha");
    for version in 2..12 {
        upsert(&store, version).unwrap();
        assert_eq!(store.upsert(&Kind::FEATURES, "large", &large(version)).unwrap(), Upsert::Applied);
    }
    assert_eq!(calls(&server, "evalsha") - before, 20);
    assert_eq!(calls(&server, "hsetnx"), 22, "twice where the server did not know the script");
    assert_eq!(calls(&server, "watch"), 0);
}

/// Wherever and however the version stands, and whatever looks like one.
fn spellings() {
    let server = Server::start();
    let store = server.store();
    let padding = "x".repeat(600);
    let stored = [
        r#"{"version":5}"#.to_owned(),
        r#"{"version":5,"key":"a"}"#.to_owned(),
        r#"  { "key" : "a" , "version" : 5 , "on" : true } "#.to_owned(),
        r#"{"version":5.0,"key":"a"}"#.to_owned(),
        r#"{"version":5e0}"#.to_owned(),
        r#"{"key":"a","vers\u0069on":5}"#.to_owned(),
        r#"{"nested":{"version":99},"version":5}"#.to_owned(),
        r#"{"version":5,"nested":{"version":99}}"#.to_owned(),
        r#"{"nested":[{"version":1}],"version":5,"more":[{"version":1}]}"#.to_owned(),
        r#"{"version":5,"text":"\"version\":99"}"#.to_owned(),
        r#"{"text":"{\"version\":99}","version":5}"#.to_owned(),
        r#"{"text":",\"version\":99,","version":5}"#.to_owned(),
        r#"{"text":"}","version":5,"other":"{"}"#.to_owned(),
        r#"{"a\\":1,"b\"version":99,"version":5}"#.to_owned(),
        r#"{"b\"version":99,"version":5}"#.to_owned(),
        r#"{"version":5,"b,\"version":99}"#.to_owned(),
        r#"{"values":["version",99],"version":5}"#.to_owned(),
        format!(r#"{{"a":"{padding}","version":5,"b":"{padding}"}}"#),
        format!(r#"{{"a":{{"b":"{padding}"}},"version":5,"c":{{"b":"{padding}"}}}}"#),
        format!(r#"{{"a":"{padding}","version":5}}"#),
        format!(r#"{{"version":5,"b":"{padding}"}}"#),
        format!(r#"{{"version":5,"b":{{"b":"{padding}","version":99}}}}"#),
    ];
    for json in stored {
        let item = Item::parse(json.as_str()).unwrap();
        assert_eq!(item.version(), 5, "{json}");
        server.ask::<()>(&["HSET", "launchdarkly:features", "dark-mode", &json]);
        for older in [0, 4, 5] {
            let upserted = store.upsert(&Kind::FEATURES, "dark-mode", &flag(older)).unwrap();
            assert_eq!(upserted, Upsert::Stale(item.clone()), "{older} on {json}");
        }
        let upserted = store.upsert(&Kind::FEATURES, "dark-mode", &flag(6)).unwrap();
        assert_eq!(upserted, Upsert::Applied, "on {json}");
    }
    // Without a version of its own it is version 0, whatever is inside.
    for json in [r#"{"nested":{"version":99}}"#, r#"{"key":"a"}"#, "{}"] {
        server.ask::<()>(&["HSET", "launchdarkly:features", "dark-mode", json]);
        assert!(
            matches!(store.upsert(&Kind::FEATURES, "dark-mode", &flag(0)), Ok(Upsert::Stale(_))),
            "{json}"
        );
        assert_eq!(store.upsert(&Kind::FEATURES, "dark-mode", &flag(1)).unwrap(), Upsert::Applied, "{json}");
    }
}

/// Up to 2^53, where a double is exact, and no further.
fn exact_versions() {
    let server = Server::start();
    let store = server.store();
    for version in [1_700_000_000_000, MAX_VERSION - 2, MAX_VERSION - 1, MAX_VERSION] {
        upsert(&store, version).unwrap();
        upsert(&store, version - 1).unwrap();
        assert_eq!(crate::version(&store), Some(version));
    }
}

fn stale() {
    let server = Server::start();
    let store = server.store();
    upsert(&store, 5).unwrap();
    let (scripts, reads) = (calls(&server, "evalsha"), calls(&server, "hget"));
    let upserted = store.upsert(&Kind::FEATURES, "dark-mode", &flag(4)).unwrap();
    assert_eq!(upserted, Upsert::Stale(flag(5)));
    // The script's own HGET counts.
    assert_eq!((calls(&server, "evalsha") - scripts, calls(&server, "hget") - reads), (1, 1));
}

/// Bug 7, and no retry: sixteen writers on as many flags of one environment.
fn no_conflicts() {
    let server = Server::start();
    let store = server.store();
    upsert(&store, 1).unwrap();
    let before = calls(&server, "evalsha");
    thread::scope(|scope| {
        for writer in 0..16 {
            let store = &store;
            scope.spawn(move || {
                for version in 1..=100 {
                    let upserted = store.upsert(&Kind::FEATURES, &format!("flag-{writer}"), &flag(version));
                    assert_eq!(upserted.unwrap(), Upsert::Applied);
                }
            });
        }
    });
    assert_eq!(calls(&server, "evalsha") - before, 1600);
}

/// Where the script has to ask back, another writer may come between; the highest version wins all the same
/// (bugs 7 and 49).
fn races() {
    let server = Server::start();
    let store = Arc::new(server.store());
    let nested = |version| {
        Item::parse(format!(r#"{{"a":{{"version":1}},"version":{version},"b":{{"version":1}}}}"#)).unwrap()
    };
    let writers: Vec<_> = (0..8_u64)
        .map(|writer| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                for n in 0..200 {
                    // Giving up is an error, and never a lost update.
                    drop(store.upsert(&Kind::FEATURES, "dark-mode", &nested(n * 8 + writer + 1)));
                }
                let last = nested(1_000_000 + writer);
                while store.upsert(&Kind::FEATURES, "dark-mode", &last).is_err() {}
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(version(&store), Some(1_000_007));
}

fn script_flush() {
    let server = Server::start();
    let store = server.store();
    for version in 1..5 {
        server.ask::<()>(&["SCRIPT", "FLUSH"]);
        upsert(&store, version).unwrap();
        assert_eq!(crate::version(&store), Some(version));
    }
}

fn restricted(server: &Server, rules: &[&str]) -> RedisStore {
    let user = [&["ACL", "SETUSER", "limited", "on", ">pa55", "~*"], rules].concat();
    server.ask::<()>(&user);
    server.builder().username("limited").password("pa55").build().unwrap()
}

/// An ACL without EVAL and EVALSHA: the same results by WATCH, and scripts are asked for once.
fn forbidden_scripts() {
    let server = Server::start();
    let store = restricted(&server, &["+@all", "-@scripting"]);
    for version in 1..10 {
        upsert(&store, version).unwrap();
    }
    let item = flag(9);
    assert_eq!(store.upsert(&Kind::FEATURES, "dark-mode", &flag(9)).unwrap(), Upsert::Stale(item));
    let statistics: String = server.ask(&["INFO", "commandstats"]);
    assert!(
        statistics.contains("cmdstat_evalsha:calls=0") && statistics.contains("rejected_calls=1"),
        "{statistics}"
    );

    server.ask::<()>(&["HSET", "launchdarkly:features", "dark-mode", "not an item"]);
    upsert(&store, 1).unwrap();
    assert_eq!(version(&store), Some(1));

    // Many threads, another process, and the highest version is there in the end.
    let other = server.store();
    thread::scope(|scope| {
        for writer in 0..8 {
            let (store, other) = (&store, &other);
            scope.spawn(move || {
                for n in 0..50_u64 {
                    upsert(if writer % 4 == 0 { other } else { store }, n * 8 + writer + 2).unwrap();
                }
            });
        }
    });
    assert_eq!(version(&store), Some(49 * 8 + 7 + 2));
    // And no WATCH is left on a connection: an init would not be executed.
    (0..20).for_each(|n| store.init(&crate::flags(n)).unwrap());
}

/// Without a restart of the program.
fn allowed_again() {
    let server = Server::start();
    let store = restricted(&server, &["+@all", "-@scripting"]);
    upsert(&store, 1).unwrap();
    let before = calls(&server, "evalsha");
    server.ask::<()>(&["ACL", "SETUSER", "limited", "+@all"]);
    let mut next = 1;
    crate::eventually("a script is run", || {
        next += 1;
        upsert(&store, next).unwrap();
        calls(&server, "evalsha") > before
    });
    assert!(next > 50, "not at each upsert: {next}");
    assert_eq!(version(&store), Some(next));
}

/// What the script needs is forbidden, or scripts are not known there at all: nothing is lost, and it watches.
fn no_scripts() {
    let renamed = ["--rename-command", "EVAL", "", "--rename-command", "EVALSHA", ""];
    let unknown = Server::with(&renamed);
    let server = Server::start();
    for store in [
        unknown.store(),
        restricted(&server, &["+@all", "-hdel"]),
        restricted(&server, &["+@all", "-hsetnx"]),
    ] {
        for version in 1..5 {
            upsert(&store, version).unwrap();
            assert_eq!(crate::version(&store), Some(version));
        }
        assert_eq!(store.upsert(&Kind::FEATURES, "dark-mode", &flag(3)).unwrap(), Upsert::Stale(flag(4)));
        store.init(&crate::flags(0)).unwrap();
    }
}

/// A user that may not write at all does not make the store believe that scripts are the reason.
fn forbidden_writes() {
    let server = Server::start();
    let store = restricted(&server, &["+@all", "-@write"]);
    upsert(&store, 1).unwrap_err();
    let mut raw = server.raw();
    ask::<()>(&mut raw, &["ACL", "SETUSER", "limited", "+@all"]);
    upsert(&store, 1).unwrap();
    assert!(calls(&server, "watch") <= 1, "only while the write was forbidden");
}
