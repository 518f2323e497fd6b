//! What an init does, and in which order.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use flagstore_core::{AllData, ErrorKind, FeatureStoreCore, Item, Kind};
use serde_json::Value;

use crate::support::proxy::{Do, Request};
use crate::support::{PATIENCE, Server};
use crate::{cases, flag, flags};

cases![
    puts_come_in_levels_then_deletes_then_the_mark,
    batches_are_full_and_no_key_is_twice_in_one,
    nothing_is_still_the_mark,
    what_is_too_large_is_reported_and_its_old_version_stays,
    the_stored_keys_are_read_beside_the_puts,
    what_is_put_is_never_left_over,
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

/// Segments, flags without prerequisites, their dependents, left-overs, mark; and all keys are read before the
/// first delete. (Peers' bugs 1 and 9.)
fn puts_come_in_levels_then_deletes_then_the_mark(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let store = behind.store();
    store.init(&flags(30, 1, 10)).unwrap();
    proxy.take();
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
    assert_eq!(queries.len(), 2);
    assert!(queries.iter().all(|query| query.number < writes[4].number), "read before the deletes");
    let operations: Vec<_> = writes.iter().map(|request| request.operation.as_str()).collect();
    assert_eq!(operations, [&["BatchWriteItem"; 6][..], &["PutItem"]].concat());
    let put: Vec<_> = writes[..4].iter().map(|request| keys(request).remove(0)).collect();
    let put: Vec<_> = put.iter().map(|(kind, _, key)| (kind.as_str(), key.as_str())).collect();
    assert_eq!(put, [("put", "segment"), ("put", "base"), ("put", "middle"), ("put", "top")]);
    let deleted: Vec<_> = writes[4..6].iter().flat_map(|request| keys(request)).collect();
    assert_eq!(deleted.len(), 30);
    assert!(deleted.iter().all(|(kind, _, key)| kind == "delete" && key.starts_with("flag-")), "{deleted:?}");
    assert_eq!(writes[6].body()["Item"]["key"]["S"], server.namespace("$inited"));
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
    assert_eq!(proxy.take_operations(), ["PutItem"]);
    let empty = AllData::from_json(r#"{"flags":{},"segments":{}}"#).unwrap();
    store.init(&empty).unwrap();
    assert_eq!(proxy.take_operations(), ["Query", "Query", "PutItem"]);
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

/// So the read takes no time of its own, however many pages it has.
fn the_stored_keys_are_read_beside_the_puts(server: &Server) {
    server.store().init(&flags(15, 1, 100_000)).unwrap();
    // No put is answered before both pages have been asked for.
    let pages = AtomicUsize::new(0);
    let (_proxy, behind) = server.behind(move |request| {
        match &*request.operation {
            "Query" => drop(pages.fetch_add(1, Ordering::AcqRel)),
            "BatchWriteItem" => wait_until(|| pages.load(Ordering::Acquire) == 2),
            _ => {}
        }
        Do::Forward
    });
    behind.store().init(&flags(10, 2, 10)).unwrap();
    assert_eq!(server.store().get_all(&Kind::FEATURES).unwrap().by_key.len(), 10);
}

/// Also if the keys are read when it is there already, and a left-over is one all the same.
fn what_is_put_is_never_left_over(server: &Server) {
    server.store().init(&flags(30, 1, 10)).unwrap();
    let first_level_is_put = AtomicBool::new(false);
    let (proxy, behind) = server.behind(move |request| {
        match &*request.operation {
            "Query" => wait_until(|| first_level_is_put.load(Ordering::Acquire)),
            "BatchWriteItem" if keys(request)[0].2 == "top" => {
                first_level_is_put.store(true, Ordering::Release);
            }
            _ => {}
        }
        Do::Forward
    });
    let data =
        AllData::new().with(Kind::FEATURES, [("top", with_prerequisite("flag-1")), ("flag-1", flag(2))]);
    behind.store().init(&data).unwrap();
    assert_eq!(proxy.take().len(), 6, "a query, two puts, 29 deletes in two, the mark");
    let mut left: Vec<_> = server.store().get_all(&Kind::FEATURES).unwrap().by_key.into_iter().collect();
    left.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert_eq!(left, [("flag-1".to_owned(), flag(2)), ("top".to_owned(), with_prerequisite("flag-1"))]);
}

/// As many requests at the same time as configured, and none of a level before the last is done.
fn concurrency_is_limited_and_levels_wait(server: &Server) {
    let slow = |_: &Request| Do::Delay(std::time::Duration::from_millis(20));
    for concurrency in [1, 4] {
        let (proxy, behind) = server.behind(slow);
        let store = behind.builder().init_concurrency(concurrency);
        let store = store.timeout(PATIENCE).attempt_timeout(PATIENCE);
        store.build().unwrap().init(&flags(250, 1, 10)).unwrap();
        assert_eq!(proxy.most_at_once(), concurrency);
    }
    let (proxy, behind) = server.anew().behind(slow);
    let base = (0..50).map(|n| (format!("base-{n}"), flag(1)));
    let top = (0..50).map(|n| (format!("top-{n}"), with_prerequisite("base-0")));
    behind.store().init(&AllData::new().with(Kind::FEATURES, top.chain(base))).unwrap();
    assert_eq!(proxy.most_at_once(), 3, "each level has two batches, and the first one the query beside it");
}

/// In a thread of the proxy's own.
fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited for {PATIENCE:?}");
        std::thread::yield_now();
    }
}
