//! What is stored, and what others have stored, byte for byte.

use flagstore_core::{AllData, ErrorKind, FeatureStoreCore, Item, Kind, Upsert};

use crate::server::{Server, ask};
use crate::{Test, flag};

pub(crate) const TESTS: &[Test] = &[
    ("stored::keys_and_values_are_those_of_the_relay", golden),
    ("stored::prefix_is_in_every_key", prefixes),
    ("stored::nothing_expires", nothing_expires),
    ("stored::empty_data_initializes", empty_data),
    ("stored::tombstones_of_every_writer_are_read", tombstones),
    ("stored::marks_of_every_writer_are_read", marks),
    ("stored::old_python_is_initialized_if_one_wants", old_python),
    ("stored::kind_of_another_type_is_an_error", wrong_type),
    ("stored::odd_values_spoil_no_other", odd_values),
    ("stored::missing_key_is_nothing_to_log", missing_key),
];

/// Bugs 2, 8 and 26: exact keys, exact bytes, and everything in one transaction.
fn golden() {
    let server = Server::start();
    let store = server.builder().prefix("env").build().unwrap();
    let json = r#"{ "key":"a", "version":7.0,"unknown" : [1, 2.50], "text":"\u00e9" }"#;
    let data = AllData::new()
        .with(Kind::SEGMENTS, [("s", Item::parse(r#"{"key":"s","version":1}"#).unwrap())])
        .with(Kind::FEATURES, [("a", Item::parse(json).unwrap()), ("b", Item::tombstone("b", 3).unwrap())]);
    store.init(&data).unwrap();

    let mut keys: Vec<String> = server.ask(&["KEYS", "*"]);
    keys.sort();
    assert_eq!(keys, ["env:$inited", "env:features", "env:segments"]);
    assert_eq!(server.ask::<String>(&["TYPE", "env:features"]), "hash");
    assert_eq!(server.ask::<String>(&["HGET", "env:features", "a"]), json);
    assert_eq!(
        server.ask::<String>(&["HGET", "env:features", "b"]),
        r#"{"key":"b","version":3,"deleted":true}"#
    );
    assert_eq!(server.ask::<String>(&["GET", "env:$inited"]), "");

    // An upsert leaves every byte alone too, also where the script cannot tell what was there.
    let newer = r#"{"version" : 8 , "nested":{"version":99}}"#;
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &Item::parse(newer).unwrap()).unwrap(), Upsert::Applied);
    assert_eq!(server.ask::<String>(&["HGET", "env:features", "a"]), newer);
}

/// Bug 4: all operations, with and without a prefix.
fn prefixes() {
    let server = Server::start();
    for (prefix, stored) in [("", "launchdarkly"), ("env", "env"), ("{env}", "{env}"), ("a:b", "a:b")] {
        let store = server.builder().prefix(prefix).build().unwrap();
        store.init(&crate::flags(1)).unwrap();
        assert_eq!(store.upsert(&Kind::FEATURES, "dark-mode", &flag(2)).unwrap(), Upsert::Applied);
        assert_eq!(store.get(&Kind::FEATURES, "dark-mode").unwrap(), Some(flag(2)));
        assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 1);
        assert!(store.is_initialized().unwrap());
        let value: String = server.ask(&["HGET", &format!("{stored}:features"), "dark-mode"]);
        assert_eq!(value, flag(2).json());
    }
    let default = server.store();
    assert_eq!(default.get(&Kind::FEATURES, "dark-mode").unwrap(), Some(flag(2)), "no prefix is the default");
}

/// No key has a time to live.
fn nothing_expires() {
    let server = Server::start();
    let store = server.store();
    store.init(&crate::flags(1)).unwrap();
    crate::upsert(&store, 2).unwrap();
    for key in ["launchdarkly:$inited", "launchdarkly:features"] {
        assert_eq!(server.ask::<i64>(&["TTL", key]), -1, "{key}");
    }
}

/// Bugs 5 and 6: no kinds, and kinds without items.
fn empty_data() {
    let server = Server::start();
    let store = server.store();
    store.init(&AllData::new()).unwrap();
    assert!(store.is_initialized().unwrap());
    server.ask::<()>(&["FLUSHALL"]);
    let nothing: [(&str, Item); 0] = [];
    let empty = AllData::new().with(Kind::FEATURES, nothing.clone()).with(Kind::SEGMENTS, nothing);
    store.init(&empty).unwrap();
    assert!(store.is_initialized().unwrap());
    assert!(store.get_all(&Kind::FEATURES).unwrap().by_key.is_empty());
}

/// Bug 25: whatever says `"deleted":true` is a tombstone, with the version that it has.
fn tombstones() {
    let dialects = [
        // Go and Relay: a full flag or segment.
        r#"{"key":"$deleted","on":false,"prerequisites":[],"targets":[],"contextTargets":[],"rules":[],"fallthrough":{},"offVariation":null,"variations":[],"clientSideAvailability":{"usingMobileKey":false,"usingEnvironmentId":false},"clientSide":false,"salt":"","trackEvents":false,"trackEventsFallthrough":false,"debugEventsUntilDate":null,"version":9,"deleted":true}"#,
        r#"{"key":"$deleted","included":[],"excluded":[],"salt":"","rules":[],"version":9,"deleted":true}"#,
        // Java, .NET and Node.
        r#"{"version":9,"deleted":true}"#,
        // Ruby and this store; Python with spaces.
        r#"{"key":"gone","version":9,"deleted":true}"#,
        r#"{"key": "gone", "version": 9, "deleted": true}"#,
        // Rust, in either order.
        r#"{"deleted":true,"key":"$deleted","version":9}"#,
        r#"{"version":9,"key":"$deleted","deleted":true}"#,
    ];
    let server = Server::start();
    let (store, mut raw) = (server.store(), server.raw());
    for json in dialects {
        for kind in [Kind::FEATURES, Kind::SEGMENTS] {
            ask::<()>(&mut raw, &["HSET", &format!("launchdarkly:{kind}"), "gone", json]);
            let item = store.get(&kind, "gone").unwrap().unwrap();
            assert_eq!((item.version(), item.is_deleted(), item.json()), (9, true, json));
            assert_eq!(store.get_all(&kind).unwrap().by_key["gone"], item);
            // It has a version that later writes must beat (bug 46: and is returned to those that do not).
            for version in [8, 9] {
                assert_eq!(store.upsert(&kind, "gone", &flag(version)).unwrap(), Upsert::Stale(item.clone()));
            }
            assert_eq!(store.upsert(&kind, "gone", &flag(10)).unwrap(), Upsert::Applied);
        }
    }
}

/// Python and Ruby write the key's own name as its value; others wrote something else.
fn marks() {
    let server = Server::start();
    let store = server.store();
    for mark in ["", "launchdarkly:$inited", "1"] {
        assert!(!store.is_initialized().unwrap());
        server.ask::<()>(&["SET", "launchdarkly:$inited", mark]);
        assert!(store.is_initialized().unwrap(), "{mark:?}");
        server.ask::<()>(&["DEL", "launchdarkly:$inited"]);
    }
}

/// Bug 1: a database that Python before 9.15 has filled has no mark.
fn old_python() {
    let server = Server::start();
    server.ask::<()>(&["HSET", "launchdarkly:features", "a", r#"{"key": "a", "version": 1}"#]);
    assert!(!server.store().is_initialized().unwrap());
    let lenient =
        |prefix: &str| server.builder().prefix(prefix).flags_mean_initialized(true).build().unwrap();
    assert!(lenient("").is_initialized().unwrap());
    assert!(!lenient("other").is_initialized().unwrap());
}

/// A key that another application uses is no outage.
fn wrong_type() {
    let server = Server::start();
    let store = server.store();
    server.ask::<()>(&["SET", "launchdarkly:features", "mine"]);
    let errors = [
        store.get(&Kind::FEATURES, "a").unwrap_err(),
        store.get_all(&Kind::FEATURES).unwrap_err(),
        store.upsert(&Kind::FEATURES, "a", &flag(1)).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Other, "{error}");
        assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    }
    assert!(store.is_available());
    store.init(&crate::flags(1)).unwrap();
}

/// Bugs 27, 28 and 54: keys and values that are no text, no JSON, no object or have no proper version.
fn odd_values() {
    let server = Server::start();
    let store = server.store();
    store.init(&crate::flags(1)).unwrap();
    let odd: [&[u8]; 9] = [
        b"",
        b"null",
        b"[]",
        b"{",
        b"{\"version\":\"5\"}",
        b"{\"version\":-1}",
        b"{\"version\":1.5}",
        b"{\"version\":5,\"version\":6}",
        b"{\"version\":5,\"name\":\"\xff\"}",
    ];
    for value in odd {
        let mut hset = flagstore_redis::redis::cmd("HSET");
        hset.arg("launchdarkly:features").arg("odd").arg(value).exec(&mut server.raw()).unwrap();
        let error = store.get(&Kind::FEATURES, "odd").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let items = store.get_all(&Kind::FEATURES).unwrap();
        assert_eq!((items.by_key.len(), items.unreadable.len()), (1, 1), "{:?}", items.unreadable);
        // Any version may overwrite it, also a lower one than it seems to have.
        assert_eq!(store.upsert(&Kind::FEATURES, "odd", &flag(1)).unwrap(), Upsert::Applied);
        assert_eq!(store.get(&Kind::FEATURES, "odd").unwrap(), Some(flag(1)));
        server.ask::<()>(&["HDEL", "launchdarkly:features", "odd"]);
    }
    let mut hset = flagstore_redis::redis::cmd("HSET");
    hset.arg("launchdarkly:features").arg(b"\xffkey").arg("{}").exec(&mut server.raw()).unwrap();
    let items = store.get_all(&Kind::FEATURES).unwrap();
    assert_eq!((items.by_key.len(), items.unreadable.len()), (1, 1));
    assert_eq!(items.unreadable[0].kind(), ErrorKind::Corrupt);
}

/// Bug 13: a key that is not there is `None`, and no error.
fn missing_key() {
    let server = Server::start();
    assert_eq!(server.store().get(&Kind::FEATURES, "nothing").unwrap(), None);
}
