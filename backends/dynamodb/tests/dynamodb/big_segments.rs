//! Big Segments as the Relay Proxy writes and reads them, and what is particular to DynamoDB.

use std::collections::HashMap;
use std::time::Duration;

use flagstore_core::{
    BigSegmentPatch, BigSegmentStore, BigSegmentUpdates, ErrorKind, FeatureStoreCore, Kind, PatchOutcome,
    UnixMillis,
};
use flagstore_dynamodb::aws_sdk_dynamodb::types::AttributeValue;

use serde_json::json;

use crate::support::proxy::Do;
use crate::support::{Server, n, random_name, s};
use crate::{assert_kind, cases, flag};

cases![
    rows_of_the_relay_are_read,
    patches_write_what_the_relay_writes,
    patches_of_the_relay_are_continued,
    a_time_that_is_not_a_number_is_none,
    a_set_of_another_type_is_an_error,
    each_call_is_one_request,
    a_long_patch_that_was_interrupted_is_applied_again,
    a_patch_whose_answer_is_lost_is_applied_once,
    a_patch_that_may_have_happened_is_a_timeout,
    a_patch_waits_for_a_transaction_of_others,
    one_store_keeps_flags_and_big_segments,
    a_server_that_never_answers_is_a_timeout_for_big_segments_too,
];

fn set(segment_refs: &[&str]) -> AttributeValue {
    AttributeValue::Ss(segment_refs.iter().map(|segment_ref| (*segment_ref).to_owned()).collect())
}

/// Rows as they lie in the table, with a prefix and without one, put there by a driver alone.
fn rows_of_the_relay_are_read(server: &Server) {
    for prefix in [String::new(), server.prefix.clone()] {
        let server = Server { prefix, ..server.clone() };
        let (store, hash) = (server.store(), random_name());
        assert_eq!(store.get_membership(&hash).unwrap(), None);
        let attributes =
            [("included", set(&["both.g1", "in.g0"])), ("excluded", set(&["both.g1", "out.g12"]))];
        server.put(&server.namespace("big_segments_user"), &hash, attributes);
        let membership = store.get_membership(&hash).unwrap().unwrap();
        let known: Vec<_> = membership.iter().collect();
        assert_eq!(known, [("both.g1", true), ("in.g0", true), ("out.g12", false)]);
        // What is left of somebody who was in a list.
        server.put(&server.namespace("big_segments_user"), &hash, []);
        assert_eq!(store.get_membership(&hash).unwrap(), None);

        let metadata = server.namespace("big_segments_metadata");
        server.put(&metadata, &metadata, [("lastVersion", s("652ec9b7"))]);
        assert_eq!(store.get_metadata().unwrap(), None);
        let attributes = [("synchronizedOn", n(1_699_999_999_123)), ("lastVersion", s("652ec9b7"))];
        server.put(&metadata, &metadata, attributes);
        assert_eq!(store.get_metadata().unwrap(), Some(UnixMillis(1_699_999_999_123)));
        assert_eq!(store.get_version().unwrap(), "652ec9b7");
    }
}

fn patch(from: &str, to: &str, contexts: usize) -> BigSegmentPatch {
    let mut patch = BigSegmentPatch::new("seg.g1", from, to);
    patch.included.add = (0..contexts).map(|n| format!("context-{n:03}")).collect();
    patch
}

fn applied(store: &dyn BigSegmentUpdates, patch: &BigSegmentPatch) {
    assert_eq!(store.apply_patch(patch).unwrap(), PatchOutcome::Applied);
}

/// Exact names, types and values.
fn patches_write_what_the_relay_writes(server: &Server) {
    let store = server.store();
    let mut patch = patch("", "v1", 1);
    patch.excluded.add = vec!["other".to_owned()];
    applied(&store, &patch);
    store.set_metadata(UnixMillis(1_234_567_890)).unwrap();
    let users = server.namespace("big_segments_user");
    let row = |key: &str, others: &[(&str, AttributeValue)]| {
        let keys = [("namespace", s(&users)), ("key", s(key))];
        let row = keys.into_iter().chain(others.iter().cloned());
        Some(row.map(|(name, value)| (name.to_owned(), value)).collect::<HashMap<_, _>>())
    };
    assert_eq!(server.row(&users, "context-000"), row("context-000", &[("included", set(&["seg.g1"]))]));
    assert_eq!(server.row(&users, "other"), row("other", &[("excluded", set(&["seg.g1"]))]));
    let metadata = server.namespace("big_segments_metadata");
    let stored = server.row(&metadata, &metadata).unwrap();
    assert_eq!(stored.len(), 4, "{stored:?}");
    assert_eq!((&stored["synchronizedOn"], &stored["lastVersion"]), (&n(1_234_567_890), &s("v1")));
}

/// The version is the Relay's, and an empty one is none.
fn patches_of_the_relay_are_continued(server: &Server) {
    let (store, metadata) = (server.store(), server.namespace("big_segments_metadata"));
    server.put(&metadata, &metadata, [("lastVersion", s(""))]);
    assert_eq!(store.get_version().unwrap(), "");
    applied(&store, &patch("", "v1", 1));
    server.put(&metadata, &metadata, [("lastVersion", s("v2"))]);
    let outcome = store.apply_patch(&patch("v1", "v3", 1)).unwrap();
    assert_eq!(outcome, PatchOutcome::OutOfOrder("v2".to_owned()));
    applied(&store, &patch("v2", "v3", 1));
}

/// As Go, Python and Node have it. A number that is no time is an error.
fn a_time_that_is_not_a_number_is_none(server: &Server) {
    let (store, metadata) = (server.store(), server.namespace("big_segments_metadata"));
    for other in [s("1234567890"), s(""), AttributeValue::Null(true), AttributeValue::Bool(true)] {
        server.put(&metadata, &metadata, [("synchronizedOn", other)]);
        assert_eq!(store.get_metadata().unwrap(), None);
    }
    for number in ["-5", "1.5", "99999999999999999999"] {
        server.put(&metadata, &metadata, [("synchronizedOn", AttributeValue::N(number.to_owned()))]);
        assert_kind(store.get_metadata(), ErrorKind::Corrupt, "synchronizedOn is not a whole number");
    }
}

/// It is no outage, and no exclusion.
fn a_set_of_another_type_is_an_error(server: &Server) {
    let (store, users) = (server.store(), server.namespace("big_segments_user"));
    for name in ["included", "excluded"] {
        for other in
            [s("seg.g1"), AttributeValue::L(vec![s("seg.g1")]), AttributeValue::Ns(vec!["1".to_owned()])]
        {
            server.put(&users, "h", [(name, other)]);
            assert_kind(store.get_membership("h"), ErrorKind::Corrupt, name);
        }
    }
}

/// And every read of them is consistent.
fn each_call_is_one_request(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let store = behind.store();
    applied(&store, &patch("", "v1", 99));
    assert_eq!(
        proxy.take_operations(),
        ["Query", "TransactWriteItems"],
        "the first write has the table proven"
    );
    let _ = store.apply_patch(&patch("", "v1", 1)).unwrap();
    assert_eq!(proxy.take_operations(), ["TransactWriteItems"], "one that is out of order");
    applied(&store, &patch("v1", "v2", 100));
    assert_eq!(proxy.take_operations(), ["TransactWriteItems", "TransactWriteItems"]);
    store.set_metadata(UnixMillis(5)).unwrap();
    assert_eq!(proxy.take_operations(), ["UpdateItem"]);
    assert!(store.get_membership("context-000").unwrap().is_some());
    assert!(store.get_metadata().unwrap().is_some());
    assert_eq!(store.get_version().unwrap(), "v2");
    let requests = proxy.take();
    assert_eq!(requests.len(), 3);
    for request in requests {
        assert_eq!(request.operation, "GetItem");
        assert_eq!(request.body()["ConsistentRead"], true);
    }
}

/// The version comes with the last piece, and each piece can be written twice.
fn a_long_patch_that_was_interrupted_is_applied_again(server: &Server) {
    let refused = r#"{"__type":"com.amazonaws.dynamodb.v20120810#AccessDeniedException","message":"no"}"#;
    let (_proxy, behind) = server.behind(move |request| match request.nth {
        1 if request.operation == "TransactWriteItems" => Do::Answer(400, refused.to_owned()),
        _ => Do::Forward,
    });
    let (store, patch) = (behind.store(), patch("", "v1", 150));
    assert_kind(store.apply_patch(&patch), ErrorKind::Timeout, "may have happened");
    assert_eq!(store.get_version().unwrap(), "");
    applied(&store, &patch);
    assert_eq!(store.get_version().unwrap(), "v1");
    for hash in &patch.included.add {
        assert!(store.get_membership(hash).unwrap().is_some(), "{hash}");
    }
}

/// The SDK sends it again, with the same token, by which the server knows it.
fn a_patch_whose_answer_is_lost_is_applied_once(server: &Server) {
    let (proxy, behind) = server.behind(|request| match request.nth {
        0 if request.operation == "TransactWriteItems" => Do::LoseAnswer,
        _ => Do::Forward,
    });
    applied(&behind.store(), &patch("", "v1", 1));
    let mut requests = proxy.take();
    requests.retain(|request| request.operation == "TransactWriteItems");
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].body()["ClientRequestToken"], requests[1].body()["ClientRequestToken"]);
}

/// After it, it is applied again, and is found out of order if it has happened.
fn a_patch_that_may_have_happened_is_a_timeout(server: &Server) {
    let (_proxy, behind) = server.behind(|request| match &*request.operation {
        "TransactWriteItems" | "UpdateItem" => Do::LoseAnswer,
        _ => Do::Forward,
    });
    let store = behind.store();
    assert_kind(store.apply_patch(&patch("", "v1", 1)), ErrorKind::Timeout, "may have happened");
    assert_kind(store.set_metadata(UnixMillis(5)), ErrorKind::Timeout, "may have happened");
    let outcome = server.store().apply_patch(&patch("", "v1", 1)).unwrap();
    assert_eq!(outcome, PatchOutcome::OutOfOrder("v1".to_owned()));
}

/// It ends in a moment, and its rows are not the database's trouble.
fn a_patch_waits_for_a_transaction_of_others(server: &Server) {
    let conflict = || {
        let answer = json!({
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "Message": "Transaction cancelled, please refer cancellation reasons for specific reasons",
            "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict", "Message": "ongoing"}],
        });
        Do::Answer(400, answer.to_string())
    };
    let (proxy, behind) = server.behind(move |request| match &*request.operation {
        "TransactWriteItems" if request.nth < 2 => conflict(),
        _ => Do::Forward,
    });
    applied(&behind.store(), &patch("", "v1", 1));
    assert_eq!(proxy.take_operations()[1..], ["TransactWriteItems"; 3]);

    let (_proxy, behind) = server.behind(move |request| match &*request.operation {
        "TransactWriteItems" => conflict(),
        _ => Do::Forward,
    });
    let error = behind.store().apply_patch(&patch("v1", "v2", 1));
    assert_kind(error, ErrorKind::Other, "a transaction of somebody else's has the item");
    assert_eq!(server.store().get_version().unwrap(), "v1");
}

/// Both contracts of one object.
fn one_store_keeps_flags_and_big_segments(server: &Server) {
    let store = server.store();
    let _ = store.upsert(&Kind::FEATURES, "dark-mode", &flag(1)).unwrap();
    applied(&store, &patch("", "v1", 1));
    store.stop();
    assert_eq!(store.get(&Kind::FEATURES, "dark-mode").unwrap(), Some(flag(1)));
    assert!(store.get_membership("context-000").unwrap().is_some());
}

/// Every call ends at its deadline.
fn a_server_that_never_answers_is_a_timeout_for_big_segments_too(server: &Server) {
    let (_proxy, behind) = server.behind(|_| Do::Hang);
    let store = behind.builder().timeout(Duration::from_millis(100)).build().unwrap();
    assert_kind(store.get_metadata(), ErrorKind::Timeout, "no answer");
    assert_kind(store.get_membership("h"), ErrorKind::Timeout, "no answer");
    assert_kind(store.get_version(), ErrorKind::Timeout, "no answer");
    assert_kind(store.set_metadata(UnixMillis(1)), ErrorKind::Timeout, "no answer");
    assert_kind(store.apply_patch(&patch("", "v1", 1)), ErrorKind::Timeout, "no answer");
}
