//! What an init does, and in which order.

use std::collections::HashSet;

use flagstore_core::{AllData, ErrorKind, FeatureStoreCore, Item, Kind};
use serde_json::Value;

use crate::support::proxy::{Do, Request};
use crate::support::{PATIENCE, Server, n, s, wait};
use crate::{cases, flag, flags};

cases![
    puts_come_in_levels_then_deletes_then_the_mark,
    batches_are_full_and_no_key_is_twice_in_one,
    nothing_is_still_the_mark,
    what_is_too_large_is_reported_and_its_old_version_stays,
    a_kind_that_no_table_can_have_is_empty,
    all_that_is_stored_is_read_before_anything_is_written,
    an_unchanged_init_writes_nothing,
    an_unchanged_init_costs_no_write_units,
    only_what_differs_is_written,
    the_mark_is_written_when_it_is_missing,
    concurrency_is_limited_and_levels_wait,
];

/// The keys of all writes in a BatchWriteItem.
fn keys(request: &Request) -> Vec<(String, String, String)> {
    let body = request.body();
    let writes =
        body["RequestItems"].as_object().unwrap().values().flat_map(|writes| writes.as_array().unwrap());
    let key = |kind: &str, row: &Value| {
        let text = |name: &str| row[name]["S"].as_str().unwrap().to_owned();
        (kind.to_owned(), text("namespace"), text("key"))
    };
    writes
        .map(|write| match write.get("PutRequest") {
            Some(put) => key("put", &put["Item"]),
            None => key("delete", &write["DeleteRequest"]["Key"]),
        })
        .collect()
}

fn with_prerequisite(key: &str) -> Item {
    Item::parse(format!(r#"{{"version":1,"prerequisites":[{{"key":"{key}","variation":0}}]}}"#)).unwrap()
}

/// Its name is longer than a partition key may be. So nothing of it is stored, and all else is.
fn a_kind_that_no_table_can_have_is_empty(server: &Server) {
    let (store, kind) = (server.store(), Kind::new("k".repeat(3000)));
    let data = flags(2, 1, 10).with(kind.clone(), [("a", flag(1))]);
    let error = store.init(&data).unwrap_err();
    assert_eq!((error.kind(), error.items()), (ErrorKind::TooLarge, &[(kind.clone(), "a".to_owned())][..]));
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 2);
    assert_eq!(store.get_all(&kind).unwrap().by_key.len(), 0);
    assert_eq!(store.get(&kind, "a").unwrap(), None);
}

/// Segments, flags without prerequisites, their dependents, left-overs, mark; and all keys are read before the
/// first delete. (Peers' bugs 1 and 9.)
fn puts_come_in_levels_then_deletes_then_the_mark(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let store = behind.store();
    store.init(&flags(30, 1, 10)).unwrap();
    let first = proxy.take();
    assert_eq!(first.last().unwrap().body()["Item"]["key"]["S"], server.namespace("$inited"));
    let data = AllData::new()
        .with(
            Kind::FEATURES,
            [("top", with_prerequisite("middle")), ("middle", with_prerequisite("base")), ("base", flag(1))],
        )
        .with(Kind::SEGMENTS, [("segment", flag(1))]);
    store.init(&data).unwrap();

    let requests = proxy.take();
    let (queries, writes): (Vec<_>, Vec<_>) =
        requests.iter().partition(|request| request.operation == "Query");
    assert_eq!(queries.len(), 3);
    assert!(queries.iter().all(|query| query.number < writes[0].number), "read before anything is written");
    let operations: Vec<_> = writes.iter().map(|request| request.operation.as_str()).collect();
    assert_eq!(operations, ["BatchWriteItem"; 6], "the mark is there");
    let put: Vec<_> = writes[..4].iter().map(|request| keys(request).remove(0)).collect();
    let put: Vec<_> = put.iter().map(|(kind, _, key)| (kind.as_str(), key.as_str())).collect();
    assert_eq!(put, [("put", "segment"), ("put", "base"), ("put", "middle"), ("put", "top")]);
    let deleted: Vec<_> = writes[4..6].iter().flat_map(|request| keys(request)).collect();
    assert_eq!(deleted.len(), 30);
    assert!(deleted.iter().all(|(kind, _, key)| kind == "delete" && key.starts_with("flag-")), "{deleted:?}");
}

/// 25 writes a batch.
fn batches_are_full_and_no_key_is_twice_in_one(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    behind.store().init(&flags(60, 1, 10)).unwrap();
    let batches = proxy.take();
    let batches: Vec<_> = batches.iter().filter(|request| request.operation == "BatchWriteItem").collect();
    let mut sizes: Vec<_> = batches.iter().map(|request| keys(request).len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [10, 25, 25]);
    let all: HashSet<_> = batches.iter().flat_map(|request| keys(request)).collect();
    assert_eq!(all.len(), 60);
}

/// (Peers' bugs 5 and 6: environments without flags.)
fn nothing_is_still_the_mark(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let store = behind.store();
    store.init(&AllData::new()).unwrap();
    assert_eq!(proxy.take_operations(), ["Query", "PutItem"]);
    let empty = AllData::from_json(r#"{"flags":{},"segments":{}}"#).unwrap();
    store.init(&empty).unwrap();
    assert_eq!(proxy.take_operations(), ["Query"; 3]);
    assert!(store.is_initialized().unwrap());
}

/// It is neither sent nor taken for a left-over, and everything else is stored. (Peers' bug 11.)
fn what_is_too_large_is_reported_and_its_old_version_stays(server: &Server) {
    let store = server.store();
    store.init(&AllData::new().with(Kind::FEATURES, [("large", flag(1)), ("gone", flag(1))])).unwrap();
    let large = || Item::parse(format!(r#"{{"version":2,"filler":"{}"}}"#, "x".repeat(400_000))).unwrap();
    // The most that passes our own check, so that the server's is seen to agree.
    let most = 400_000 - 100 - 23 - server.namespace("features").len() - "most".len() - 1;
    let most = Item::from_parts(2, false, format!(r#"{{"version":2{}}}"#, " ".repeat(most - 13))).unwrap();
    let data = AllData::new()
        .with(Kind::SEGMENTS, [("huge", large())])
        .with(Kind::FEATURES, [("large", large()), ("small", flag(2)), ("most", most.clone())]);

    let error = store.init(&data).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert_eq!(error.items(), [(Kind::SEGMENTS, "huge".to_owned()), (Kind::FEATURES, "large".to_owned())]);
    assert!(
        error.to_string().contains("400 KB") && error.to_string().contains("all other items were stored")
    );
    let all = store.get_all(&Kind::FEATURES).unwrap().by_key;
    assert_eq!(all.len(), 3);
    assert_eq!((&all["large"], &all["small"]), (&flag(1), &flag(2)));
    assert!(all["most"] == most);
    assert!(store.is_initialized().unwrap());
}

/// So nothing is written that is there, and nothing to a table of another shape.
fn all_that_is_stored_is_read_before_anything_is_written(server: &Server) {
    server.store().init(&flags(15, 1, 100_000)).unwrap();
    let (proxy, behind) = server.behind(|_| Do::Forward);
    behind.store().init(&flags(10, 2, 10)).unwrap();
    assert_eq!(proxy.take_operations(), ["Query", "Query", "Query", "BatchWriteItem", "BatchWriteItem"]);
    assert_eq!(server.store().get_all(&Kind::FEATURES).unwrap().by_key.len(), 10);
}

/// The reads are paid anyway. (Peers' bug 39: everything was rewritten with every poll.)
fn an_unchanged_init_writes_nothing(server: &Server) {
    let data = || {
        AllData::new()
            .with(Kind::FEATURES, [("top", with_prerequisite("base")), ("base", flag(1))])
            .with(Kind::SEGMENTS, [("segment", flag(1)), ("gone", Item::tombstone("gone", 2).unwrap())])
    };
    server.store().init(&data()).unwrap();
    let (proxy, behind) = server.behind(|_| Do::Forward);
    behind.store().init(&data()).unwrap();
    assert_eq!(proxy.take_operations(), ["Query"; 3]);
}

/// As the server charges for it: the second time what is stored is read, and nothing is written.
fn an_unchanged_init_costs_no_write_units(server: &Server) {
    const FLAGS: usize = 2_000;
    let (proxy, behind) = server.behind(|_| Do::Forward);
    proxy.meter();
    let store = behind.store();
    let [first, second] = ["first", "second, unchanged"].map(|which| {
        store.init(&flags(FLAGS, 1, 450)).unwrap();
        let (requests, units) = (proxy.take().len(), proxy.take_units());
        println!(
            "{which} init of {FLAGS} flags of 0.5 KB: {requests} requests, {} read units, {} write units",
            units.read, units.written
        );
        (requests, units)
    });
    assert_eq!((first.0, first.1.written), (FLAGS / 25 + 3, FLAGS as f64 + 1.0), "with the mark");
    assert_eq!((second.0, second.1.written), (3, 0.0));
}

/// An item of another version or text, and a row with anything else in it.
fn only_what_differs_is_written(server: &Server) {
    let store = server.store();
    store.init(&flags(60, 1, 10)).unwrap();
    let namespace = server.namespace("features");
    let same = server.row(&namespace, "flag-0").unwrap();
    let (version, item) = (same["version"].clone(), same["item"].clone());
    server.put(&namespace, "flag-1", [("version", n(2)), ("item", item.clone())]);
    server.put(&namespace, "flag-2", [("version", version.clone()), ("item", s("{}"))]);
    server.put(
        &namespace,
        "flag-3",
        [
            ("version", version.clone()),
            ("item", item.clone()),
            ("deleted", flagstore_dynamodb::aws_sdk_dynamodb::types::AttributeValue::Bool(true)),
        ],
    );
    server.put(&namespace, "flag-4", [("item", item.clone())]);
    server.put(&namespace, "flag-5", [("version", version)]);
    server.put(&namespace, "left-over", [("version", n(1)), ("item", item)]);
    let (proxy, behind) = server.behind(|_| Do::Forward);
    behind.store().init(&flags(60, 1, 10)).unwrap();
    let requests = proxy.take();
    let mut written: Vec<_> = requests
        .iter()
        .filter(|request| request.operation == "BatchWriteItem")
        .flat_map(|request| keys(request).into_iter().map(|(what, _, key)| format!("{what} {key}")))
        .collect();
    written.sort();
    let expected = ["delete left-over", "put flag-1", "put flag-2", "put flag-3", "put flag-4", "put flag-5"];
    assert_eq!(written, expected);
    assert_eq!(server.row(&namespace, "flag-3").unwrap().len(), 4);
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 60);
}

/// Though all else is there, as after an init that did not come to its end.
fn the_mark_is_written_when_it_is_missing(server: &Server) {
    let store = server.store();
    store.init(&flags(2, 1, 10)).unwrap();
    let mark = server.namespace("$inited");
    let delete = server.raw.delete_item().table_name(&server.table);
    wait(delete.key("namespace", s(&mark)).key("key", s(&mark)).send()).unwrap();
    assert!(!store.is_initialized().unwrap());
    let (proxy, behind) = server.behind(|_| Do::Forward);
    behind.store().init(&flags(2, 1, 10)).unwrap();
    assert_eq!(proxy.take_operations(), ["Query", "Query", "PutItem"]);
    assert!(store.is_initialized().unwrap());
}

/// As many requests at the same time as configured, and none of a level before the last is done.
fn concurrency_is_limited_and_levels_wait(server: &Server) {
    let slow = |_: &Request| Do::Delay(std::time::Duration::from_millis(20));
    for concurrency in [1, 4] {
        let (proxy, behind) = server.anew().behind(slow);
        let store = behind.builder().init_concurrency(concurrency);
        let store = store.timeout(PATIENCE).attempt_timeout(PATIENCE);
        store.build().unwrap().init(&flags(250, 1, 10)).unwrap();
        assert_eq!(proxy.most_at_once(), concurrency);
    }
    let (proxy, behind) = server.anew().behind(slow);
    let base = (0..50).map(|n| (format!("base-{n}"), flag(1)));
    let top = (0..50).map(|n| (format!("top-{n}"), with_prerequisite("base-0")));
    behind.store().init(&AllData::new().with(Kind::FEATURES, top.chain(base))).unwrap();
    assert_eq!(proxy.most_at_once(), 2, "each level has two batches");
}
