//! How many requests each operation makes, and what is in them.

use flagstore_core::{FeatureStoreCore, Item, Kind, Upsert};
use serde_json::json;

use crate::support::proxy::Do;
use crate::support::{PATIENCE, Server};
use crate::{cases, flag, flags};

cases![
    each_operation_is_one_request,
    an_upsert_has_everyones_condition,
    every_read_is_consistent,
    reads_are_not_consistent_for_those_who_say_so,
    get_all_reads_every_page,
    a_store_that_is_built_makes_no_request,
    a_missing_key_is_one_quiet_request,
];

/// One each, also for an upsert that is refused. (Peers' bugs 16 and 46: they read again to know what is
/// there.)
fn each_operation_is_one_request(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let store = behind.store();
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &flag(2)).unwrap(), Upsert::Applied);
    assert_eq!(proxy.take_operations(), ["Query", "PutItem"], "the first write has the table proven");
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &flag(1)).unwrap(), Upsert::Stale(flag(2)));
    assert_eq!(proxy.take_operations(), ["PutItem"]);
    assert_eq!(
        store.upsert(&Kind::FEATURES, "a", &Item::tombstone("a", 3).unwrap()).unwrap(),
        Upsert::Applied
    );
    assert_eq!(proxy.take_operations(), ["PutItem"]);
    assert!(store.get(&Kind::FEATURES, "a").unwrap().is_some());
    assert_eq!(proxy.take_operations(), ["GetItem"]);
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 1);
    assert_eq!(proxy.take_operations(), ["Query"]);
    assert!(!store.is_initialized().unwrap());
    assert_eq!(proxy.take_operations(), ["GetItem"]);
    assert!(store.is_available());
    assert_eq!(proxy.take_operations(), ["GetItem"]);
}

/// Writers of all languages write with the same condition, and this one brings back what is stored.
fn an_upsert_has_everyones_condition(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let _ = behind.store().upsert(&Kind::FEATURES, "a", &flag(2)).unwrap();
    let expected = json!({
        "TableName": server.table,
        "Item": {
            "namespace": {"S": server.namespace("features")},
            "key": {"S": "a"},
            "version": {"N": "2"},
            "item": {"S": flag(2).json()},
        },
        "ConditionExpression": "attribute_not_exists(#namespace) or attribute_not_exists(#key) or :version > #version",
        "ExpressionAttributeNames": {"#namespace": "namespace", "#key": "key", "#version": "version"},
        "ExpressionAttributeValues": {":version": {"N": "2"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    });
    assert_eq!(proxy.take()[1].body(), expected);
}

/// Also the reads of an init.
fn every_read_is_consistent(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let store = behind.store();
    store.init(&flags(3, 1, 10)).unwrap();
    let _ = (store.get(&Kind::FEATURES, "a").unwrap(), store.get_all(&Kind::FEATURES).unwrap());
    let _ = (store.is_initialized().unwrap(), store.is_available());
    let requests = proxy.take();
    let reads: Vec<_> =
        requests.iter().filter(|request| matches!(&*request.operation, "GetItem" | "Query")).collect();
    assert_eq!(reads.len(), 6);
    assert!(reads.iter().all(|request| request.body()["ConsistentRead"] == true), "{reads:?}");
}

/// For half the price. What is compared before a write stays exact.
fn reads_are_not_consistent_for_those_who_say_so(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let store = behind.builder().timeout(PATIENCE).consistent_reads(false).build().unwrap();
    store.init(&flags(3, 1, 10)).unwrap();
    for request in proxy.take().iter().filter(|request| request.operation == "Query") {
        assert_eq!(request.body()["ConsistentRead"], true);
    }
    let _ = (store.get(&Kind::FEATURES, "a").unwrap(), store.get_all(&Kind::FEATURES).unwrap());
    let _ = (store.is_initialized().unwrap(), store.is_available());
    let reads = proxy.take();
    assert_eq!(reads.len(), 4);
    assert!(reads.iter().all(|request| request.body()["ConsistentRead"] == false), "{reads:?}");
}

/// A page ends after 1 MB.
fn get_all_reads_every_page(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let store = behind.store();
    store.init(&flags(30, 1, 100_000)).unwrap();
    proxy.take();
    let all = store.get_all(&Kind::FEATURES).unwrap();
    assert_eq!((all.by_key.len(), all.unreadable.len()), (30, 0));
    assert_eq!(proxy.take_operations(), ["Query"; 3]);
    // An init's look at the keys that are there pages too.
    store.init(&flags(1, 2, 10)).unwrap();
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 1);
}

/// So a database that is down at the start does not matter, and no table is created behind anyone's back.
fn a_store_that_is_built_makes_no_request(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let store = behind.store();
    drop(behind.builder().build().unwrap());
    assert!(proxy.take().is_empty());
    store.init(&flags(1, 1, 10)).unwrap();
    assert!(!proxy.take_operations().iter().any(|operation| operation.ends_with("Table")));
}

/// (Peers' bug 13: an unknown flag was logged as an error.)
fn a_missing_key_is_one_quiet_request(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    assert_eq!(behind.store().get(&Kind::FEATURES, "missing").unwrap(), None);
    assert_eq!(proxy.take_operations(), ["GetItem"]);
}
