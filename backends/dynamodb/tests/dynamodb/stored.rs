//! What stands in the table, and what is made of it.

use flagstore_core::{AllData, ErrorKind, FeatureStoreCore, Item, Kind, MAX_VERSION, Upsert};
use flagstore_dynamodb::aws_sdk_dynamodb::types::AttributeValue;

use crate::support::proxy::Do;
use crate::support::{Row, Server, n, s};
use crate::{assert_kind, cases, flag};

cases![
    an_init_writes_these_rows,
    an_update_writes_this_row,
    without_a_prefix_there_is_no_colon,
    every_writers_tombstone_is_read,
    a_version_only_in_the_json_counts,
    a_bad_row_is_corrupt_and_spoils_no_other,
    a_bad_row_is_overwritten_by_any_version,
    a_bad_row_that_others_mend_meanwhile_is_not_overwritten,
    a_bad_row_is_left_over_for_an_init,
    the_harness_marker_is_an_initialized_store,
    a_key_that_cannot_be_stored_is_missing,
];

fn bool(value: bool) -> AttributeValue {
    AttributeValue::Bool(value)
}

fn row(attributes: &[(&str, AttributeValue)]) -> Row {
    attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// Exactly these attributes, for items, tombstones and the mark. (Peers' bugs 1, 2, 3 and 10.)
fn an_init_writes_these_rows(server: &Server) {
    let json = r#"{ "key":"a", "version":3, "empty":"", "new":1e2}"#;
    let data = AllData::new()
        .with(Kind::FEATURES, [("a", Item::parse(json).unwrap())])
        .with(Kind::SEGMENTS, [("gone", Item::tombstone("gone", 4).unwrap())]);
    server.store().init(&data).unwrap();

    let namespace = format!("{}:features", server.prefix);
    let expected = [("namespace", s(&namespace)), ("key", s("a")), ("version", n(3)), ("item", s(json))];
    assert_eq!(server.row(&namespace, "a"), Some(row(&expected)));

    let namespace = format!("{}:segments", server.prefix);
    let tombstone = s(r#"{"key":"gone","version":4,"deleted":true}"#);
    let expected = [("namespace", s(&namespace)), ("key", s("gone")), ("version", n(4)), ("item", tombstone)];
    assert_eq!(server.row(&namespace, "gone"), Some(row(&expected)));

    let mark = format!("{}:$inited", server.prefix);
    assert_eq!(server.row(&mark, &mark), Some(row(&[("namespace", s(&mark)), ("key", s(&mark))])));
}

/// The same row as an init, whatever was in it before.
fn an_update_writes_this_row(server: &Server) {
    let namespace = server.namespace("features");
    server.put(&namespace, "dark-mode", [("version", n(1)), ("item", s("{}")), ("odd", bool(true))]);
    assert_eq!(server.store().upsert(&Kind::FEATURES, "dark-mode", &flag(2)).unwrap(), Upsert::Applied);
    let expected = [
        ("namespace", s(&namespace)),
        ("key", s("dark-mode")),
        ("version", n(2)),
        ("item", s(flag(2).json())),
    ];
    assert_eq!(server.row(&namespace, "dark-mode"), Some(row(&expected)));
}

/// All operations, with an empty prefix. (Peers' bug 4.) The kind is this test's own, the mark everyone's.
fn without_a_prefix_there_is_no_colon(server: &Server) {
    let kind = Kind::new(&server.prefix);
    let bare = Server { prefix: String::new(), ..server.clone() };
    let store = bare.store();
    store.init(&AllData::new().with(kind.clone(), [("a", flag(1)), ("b", flag(1))])).unwrap();
    assert_eq!(store.upsert(&kind, "a", &flag(2)).unwrap(), Upsert::Applied);
    assert!(bare.row(kind.as_str(), "a").is_some() && bare.row("$inited", "$inited").is_some());
    assert_eq!(store.get(&kind, "a").unwrap(), Some(flag(2)));
    assert_eq!(store.get_all(&kind).unwrap().by_key.len(), 2);
    assert!(store.is_initialized().unwrap() && store.is_available());
    store.init(&AllData::new().with(kind.clone(), [("b", flag(3))])).unwrap();
    assert_eq!(store.get(&kind, "a").unwrap(), None);
}

/// Go's, Java's, .NET's, Node's, Python's, Ruby's and Rust's, as rows. (Peers' bug 25.)
fn every_writers_tombstone_is_read(server: &Server) {
    let go = r#"{"key":"$deleted","on":false,"prerequisites":null,"rules":null,"fallthrough":{},"offVariation":null,"variations":null,"salt":"","version":9,"deleted":true}"#;
    let tombstones = [
        ("go", vec![("version", n(9)), ("item", s(go))]),
        ("java", vec![("version", n(9)), ("item", s("null"))]),
        ("node", vec![("version", n(9)), ("item", s(r#"{"key":"node","version":9,"deleted":true}"#))]),
        ("node-bool", vec![("version", n(9)), ("deleted", bool(true))]),
        ("node-bare", vec![("version", n(9))]),
        ("null", vec![("version", n(9)), ("item", AttributeValue::Null(true))]),
        (
            "python",
            vec![("version", n(9)), ("item", s(r#"{"key": "python", "version": 9, "deleted": true}"#))],
        ),
        ("rust", vec![("version", n(9)), ("item", s(r#"{"deleted":true,"key":"$deleted","version":9}"#))]),
    ];
    let (store, namespace) = (server.store(), server.namespace("features"));
    for (writer, attributes) in &tombstones {
        server.put(&namespace, writer, attributes.clone());
    }
    let all = store.get_all(&Kind::FEATURES).unwrap();
    assert!(all.unreadable.is_empty(), "{:?}", all.unreadable);
    for (writer, _) in &tombstones {
        for read in [store.get(&Kind::FEATURES, writer).unwrap().as_ref(), all.by_key.get(*writer)] {
            let read = read.map(|item| (item.version(), item.is_deleted()));
            assert_eq!(read, Some((9, true)), "{writer}");
        }
        let stale = store.upsert(&Kind::FEATURES, writer, &flag(9)).unwrap();
        assert!(matches!(stale, Upsert::Stale(item) if item.version() == 9 && item.is_deleted()), "{writer}");
        assert_eq!(store.upsert(&Kind::FEATURES, writer, &flag(10)).unwrap(), Upsert::Applied, "{writer}");
    }
}

/// A row without the attribute with which everyone's condition compares is updated by version all the same.
fn a_version_only_in_the_json_counts(server: &Server) {
    let store = server.store();
    server.put(&server.namespace("features"), "dark-mode", [("item", s(flag(5).json()))]);
    assert_eq!(store.get(&Kind::FEATURES, "dark-mode").unwrap(), Some(flag(5)));
    for stale in [4, 5] {
        let upserted = store.upsert(&Kind::FEATURES, "dark-mode", &flag(stale)).unwrap();
        assert_eq!(upserted, Upsert::Stale(flag(5)));
    }
    assert_eq!(store.upsert(&Kind::FEATURES, "dark-mode", &flag(6)).unwrap(), Upsert::Applied);
    assert_eq!(store.get(&Kind::FEATURES, "dark-mode").unwrap(), Some(flag(6)));
}

fn bad_rows() -> Vec<(&'static str, Vec<(&'static str, AttributeValue)>)> {
    vec![
        ("nothing", vec![]),
        ("marker", vec![("value", s("true"))]),
        ("no version and null", vec![("item", s("null"))]),
        ("not deleted and no item", vec![("version", n(5)), ("deleted", bool(false))]),
        ("garbage", vec![("version", n(5)), ("item", s("garbage"))]),
        ("array", vec![("version", n(5)), ("item", s("[5]"))]),
        ("item is BOOL", vec![("version", n(5)), ("item", bool(true))]),
        ("item is B", vec![("version", n(5)), ("item", AttributeValue::B(b"{}".to_vec().into()))]),
        ("version is S", vec![("version", s("5")), ("item", s(r#"{"version":5}"#))]),
        ("version is NULL", vec![("version", AttributeValue::Null(true)), ("item", s(r#"{"version":5}"#))]),
        ("version is negative", vec![("version", AttributeValue::N("-1".to_owned())), ("item", s("{}"))]),
        ("version is a fraction", vec![("version", AttributeValue::N("1.5".to_owned())), ("item", s("{}"))]),
        ("version is too high", vec![("version", n(MAX_VERSION + 1)), ("item", s("{}"))]),
        ("json has a wrong version", vec![("version", n(5)), ("item", s(r#"{"version":"5"}"#))]),
    ]
}

/// Whatever is wrong with a row, it is an error of that item. (Peers' bugs 28 and 54.)
fn a_bad_row_is_corrupt_and_spoils_no_other(server: &Server) {
    let (store, rows) = (server.store(), bad_rows());
    for (key, attributes) in rows.clone() {
        server.put(&server.namespace("features"), key, attributes);
        let says = format!("get features/{key}: not an item: ");
        assert_kind(store.get(&Kind::FEATURES, key), ErrorKind::Corrupt, &says);
    }
    let _ = store.upsert(&Kind::FEATURES, "sound", &flag(1)).unwrap();
    let all = store.get_all(&Kind::FEATURES).unwrap();
    assert_eq!(all.by_key, [("sound".to_owned(), flag(1))].into());
    let mut reported: Vec<_> = all.unreadable.iter().map(|error| error.items()[0].1.as_str()).collect();
    let mut expected: Vec<_> = rows.iter().map(|(key, _)| *key).collect();
    reported.sort_unstable();
    expected.sort_unstable();
    assert_eq!(reported, expected);
    assert!(all.unreadable.iter().all(|error| error.kind() == ErrorKind::Corrupt));
}

/// Nobody can say what its version is, so any will do.
fn a_bad_row_is_overwritten_by_any_version(server: &Server) {
    let store = server.store();
    for (key, attributes) in bad_rows() {
        server.put(&server.namespace("features"), key, attributes);
        assert_eq!(store.upsert(&Kind::FEATURES, key, &flag(1)).unwrap(), Upsert::Applied, "{key}");
        assert_eq!(store.get(&Kind::FEATURES, key).unwrap(), Some(flag(1)), "{key}");
    }
}

/// Between the refused write and the one that overwrites, somebody else may have stored a newer item.
fn a_bad_row_that_others_mend_meanwhile_is_not_overwritten(server: &Server) {
    // A negative version is lower than any other, so there the first write is not refused.
    for (key, attributes) in bad_rows().into_iter().filter(|(key, _)| *key != "version is negative") {
        server.put(&server.namespace("features"), key, attributes);
        let other = server.clone();
        let (proxy, between) = server.behind(move |request| {
            if request.operation == "PutItem" && request.nth == 1 {
                let item = [("version", n(7)), ("item", s(flag(7).json()))];
                other.put(&other.namespace("features"), key, item);
            }
            Do::Forward
        });
        let upserted = between.store().upsert(&Kind::FEATURES, key, &flag(1)).unwrap();
        assert_eq!(upserted, Upsert::Stale(flag(7)), "{key}");
        assert_eq!(proxy.take_operations(), ["Query", "PutItem", "PutItem"], "{key}");
    }
}

/// An init removes it like any other row that it was not given.
fn a_bad_row_is_left_over_for_an_init(server: &Server) {
    for (key, attributes) in bad_rows() {
        server.put(&server.namespace("features"), key, attributes);
    }
    let store = server.store();
    store.init(&AllData::new().with(Kind::FEATURES, [("garbage", flag(1))])).unwrap();
    let all = store.get_all(&Kind::FEATURES).unwrap();
    assert_eq!(all.by_key, [("garbage".to_owned(), flag(1))].into());
    assert!(all.unreadable.is_empty());
}

/// Other writers' marks have further attributes; being there is what counts.
fn the_harness_marker_is_an_initialized_store(server: &Server) {
    let (store, mark) = (server.store(), server.namespace("$inited"));
    assert!(!store.is_initialized().unwrap());
    server.put(&mark, &mark, [("value", s("")), ("item", s("")), ("version", n(0))]);
    assert!(store.is_initialized().unwrap());
}

/// Nothing can be stored under it, so nothing is, and no request is made.
fn a_key_that_cannot_be_stored_is_missing(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let store = behind.store();
    for key in ["", &"k".repeat(1025)] {
        assert_eq!(store.get(&Kind::FEATURES, key).unwrap(), None);
        assert_kind(
            store.upsert(&Kind::FEATURES, key, &flag(1)),
            ErrorKind::TooLarge,
            "key that it cannot have",
        );
    }
    assert!(proxy.take().is_empty());
    let error =
        store.init(&AllData::new().with(Kind::FEATURES, [("", flag(1)), ("a", flag(1))])).unwrap_err();
    assert_eq!((error.kind(), error.items()), (ErrorKind::TooLarge, &[(Kind::FEATURES, String::new())][..]));
    assert_eq!(store.get(&Kind::FEATURES, "a").unwrap(), Some(flag(1)));
}
