//! Big Segments as the Relay Proxy writes and reads them, and what is particular to Redis.

use std::net::TcpListener;
use std::time::Duration;

use flagstore_core::{
    BigSegmentPatch, BigSegmentStore, BigSegmentStoreWrapper, BigSegmentUpdates, BigSegmentsStatus,
    ErrorKind, PatchOutcome, UnixMillis, context_hash,
};

use crate::nodes::Cluster;
use crate::proxy::Proxy;
use crate::server::{Server, ask};
use crate::{Test, eventually, upsert, version};

pub(crate) const TESTS: &[Test] = &[
    ("big_segments::rows_of_the_relay_are_read", relay_rows),
    ("big_segments::patches_write_what_the_relay_writes", golden),
    ("big_segments::patches_of_the_relay_are_continued", continued),
    ("big_segments::time_that_is_none_is_an_error", malformed_times),
    ("big_segments::set_of_another_type_is_an_error", wrong_type),
    ("big_segments::both_sets_are_one_round_trip", one_transaction),
    ("big_segments::one_store_keeps_flags_and_big_segments_over_one_connection", one_pool),
    ("big_segments::stopped_wrapper_closes_the_connections", stopped_wrapper),
    ("big_segments::user_without_transactions_can_read", without_transactions),
    ("big_segments::server_that_never_answers_is_an_error_at_the_deadline", mute_server),
    ("big_segments::reply_that_dribbles_is_cut_off_at_the_deadline", dribbling_reply),
    ("big_segments::cluster_keeps_them_together_or_apart", cluster),
];

const HASH: &str = "CEXjZY7cHJG/ydFy7q4+YEFwVrG3/pkJwA4FAjrbfx0=";

/// Commands as the Relay Proxy sends them, under the default prefix and another, by a driver alone.
fn relay_rows() {
    let server = Server::start();
    for (prefix, stored) in [("", "launchdarkly"), ("env", "env")] {
        let store = server.builder().prefix(prefix).build().unwrap();
        assert_eq!(store.get_metadata().unwrap(), None);
        assert_eq!(store.get_membership(HASH).unwrap(), None);
        let key = |name: &str| format!("{stored}:{name}");
        let commands: [&[&str]; 9] = [
            &["MULTI"],
            &["SET", &key("big_segments_lock"), ""],
            &["SET", &key("big_segments_cursor"), "652ec9b74997e612346d9482"],
            &["SADD", &key(&format!("big_segment_include:{HASH}")), "both.g1"],
            &["SADD", &key(&format!("big_segment_include:{HASH}")), "in.g0"],
            &["SADD", &key(&format!("big_segment_exclude:{HASH}")), "both.g1"],
            &["SADD", &key(&format!("big_segment_exclude:{HASH}")), "out.g12"],
            &["EXEC"],
            &["SET", &key("big_segments_synchronized_on"), "1699999999123"],
        ];
        let mut relay = server.raw();
        for command in commands {
            ask::<flagstore_redis::redis::Value>(&mut relay, command);
        }
        assert_eq!(store.get_metadata().unwrap(), Some(UnixMillis(1_699_999_999_123)));
        let membership = store.get_membership(&context_hash("user-key")).unwrap().unwrap();
        let known: Vec<_> = membership.iter().collect();
        assert_eq!(known, [("both.g1", true), ("in.g0", true), ("out.g12", false)]);
    }
}

fn patch(from: &str, to: &str) -> BigSegmentPatch {
    let mut patch = BigSegmentPatch::new("seg.g1", from, to);
    patch.included.add = vec![HASH.to_owned()];
    patch.excluded.add = vec!["other".to_owned()];
    patch
}

/// Exact keys, types and values, and nothing expires.
fn golden() {
    let server = Server::start();
    let store = server.builder().prefix("env").build().unwrap();
    assert_eq!(store.apply_patch(&patch("", "v1")).unwrap(), PatchOutcome::Applied);
    store.set_metadata(UnixMillis(1_234_567_890)).unwrap();
    let mut keys: Vec<String> = server.ask(&["KEYS", "*"]);
    keys.sort();
    let included = format!("env:big_segment_include:{HASH}");
    assert_eq!(
        keys,
        [
            "env:big_segment_exclude:other",
            &included,
            "env:big_segments_cursor",
            "env:big_segments_lock",
            "env:big_segments_synchronized_on"
        ]
    );
    assert_eq!(server.ask::<Vec<String>>(&["SMEMBERS", &included]), ["seg.g1"]);
    assert_eq!(server.ask::<Vec<String>>(&["SMEMBERS", "env:big_segment_exclude:other"]), ["seg.g1"]);
    assert_eq!(server.ask::<String>(&["GET", "env:big_segments_cursor"]), "v1");
    assert_eq!(server.ask::<String>(&["GET", "env:big_segments_lock"]), "");
    assert_eq!(server.ask::<String>(&["GET", "env:big_segments_synchronized_on"]), "1234567890");
    for key in keys {
        assert_eq!(server.ask::<i64>(&["TTL", &key]), -1, "{key}");
    }
}

/// The version is the Relay's cursor, and an empty one is none.
fn continued() {
    let server = Server::start();
    let store = server.store();
    server.ask::<()>(&["SET", "launchdarkly:big_segments_cursor", ""]);
    assert_eq!(store.get_version().unwrap(), "");
    assert_eq!(store.apply_patch(&patch("", "v1")).unwrap(), PatchOutcome::Applied);
    server.ask::<()>(&["SET", "launchdarkly:big_segments_cursor", "v2"]);
    assert_eq!(store.apply_patch(&patch("v1", "v3")).unwrap(), PatchOutcome::OutOfOrder("v2".to_owned()));
    assert_eq!(store.apply_patch(&patch("v2", "v3")).unwrap(), PatchOutcome::Applied);
    assert_eq!(server.ask::<String>(&["GET", "launchdarkly:big_segments_cursor"]), "v3");
}

/// Bug 45: an empty text is no time, and not 1970 either.
fn malformed_times() {
    let server = Server::start();
    let store = server.store();
    for time in ["", "abc", "-5", "+5", "1.5", " 5", "5 ", "99999999999999999999"] {
        server.ask::<()>(&["SET", "launchdarkly:big_segments_synchronized_on", time]);
        let error = store.get_metadata().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{time:?}: {error}");
        assert!(error.to_string().contains("milliseconds since 1970"), "{error}");
    }
    server.ask::<()>(&["SET", "launchdarkly:big_segments_synchronized_on", "0"]);
    assert_eq!(store.get_metadata().unwrap(), Some(UnixMillis(0)));
}

/// A key that another application uses is no outage, and spoils no other context.
fn wrong_type() {
    let server = Server::start();
    let store = server.store();
    for name in ["include", "exclude"] {
        let key = format!("launchdarkly:big_segment_{name}:{HASH}");
        server.ask::<()>(&["SET", &key, "mine"]);
        let error = store.get_membership(HASH).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other, "{error}");
        assert!(error.to_string().contains("WRONGTYPE"), "{error}");
        assert_eq!(store.get_membership("other").unwrap(), None);
        server.ask::<()>(&["DEL", &key]);
    }
}

/// In one round trip, where peers take two: the server executes all of it although no reply ever arrives.
fn one_transaction() {
    let server = Server::start();
    let proxy = Proxy::before(server.port);
    let store = flagstore_redis::RedisStore::builder().url(proxy.url()).build().unwrap();
    // Also finds out that the server takes transactions, which takes a round trip of its own, once.
    assert_eq!(store.apply_patch(&patch("", "v1")).unwrap(), PatchOutcome::Applied);
    server.ask::<()>(&["CONFIG", "RESETSTAT"]);
    proxy.replies.cut_after(0);
    assert!(store.get_membership(HASH).is_err());
    eventually("the server has executed it", || {
        let statistics: String = server.ask(&["INFO", "commandstats"]);
        ["multi:calls=1,", "smembers:calls=2,", "exec:calls=1,"]
            .iter()
            .all(|command| statistics.contains(&format!("cmdstat_{command}")))
    });
}

/// Both contracts of one object, one after the other over the same connection.
fn one_pool() {
    let server = Server::start();
    let store = server.builder().pool_size(1).client_name("shared").build().unwrap();
    upsert(&store, 1).unwrap();
    assert_eq!(store.apply_patch(&patch("", "v1")).unwrap(), PatchOutcome::Applied);
    assert_eq!(version(&store), Some(1));
    assert!(store.get_membership(HASH).unwrap().is_some());
    let clients: String = server.ask(&["CLIENT", "LIST"]);
    assert_eq!(clients.matches("name=shared").count(), 1, "{clients}");
    store.stop();
    assert_eq!(version(&store), Some(1), "the flags go on");
}

/// It lets go of the store, whose connections end although the wrapper is still there.
fn stopped_wrapper() {
    let server = Server::start();
    let store = server.builder().client_name("watched").build().unwrap();
    let wrapper = BigSegmentStoreWrapper::builder(store).build().unwrap();
    assert_eq!(wrapper.get_membership("user-key").status, BigSegmentsStatus::Stale);
    let connections = || server.ask::<String>(&["CLIENT", "LIST"]).matches("name=watched").count();
    assert!(connections() > 0);
    wrapper.stop();
    eventually("the connections are closed", || connections() == 0);
    assert_eq!(wrapper.get_membership("user-key").status, BigSegmentsStatus::StoreError);
}

/// Two reads then. A patch needs a transaction, and says so without having changed anything.
fn without_transactions() {
    let server = Server::start();
    assert_eq!(server.store().apply_patch(&patch("", "v1")).unwrap(), PatchOutcome::Applied);
    server.ask::<()>(&["ACL", "SETUSER", "limited", "on", ">pa55", "~*", "+@all", "-multi"]);
    let store = server.builder().username("limited").password("pa55").build().unwrap();
    let membership = store.get_membership(HASH).unwrap().unwrap();
    assert_eq!(membership.check_membership("seg.g1"), Some(true));
    let error = store.apply_patch(&patch("v1", "v2")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(store.get_version().unwrap(), "v1");
}

/// Every call ends.
fn mute_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let store =
        flagstore_redis::RedisStore::builder().url(url).timeout(Duration::from_millis(100)).build().unwrap();
    let errors = [
        store.get_metadata().unwrap_err(),
        store.get_membership(HASH).unwrap_err(),
        store.get_version().unwrap_err(),
        store.set_metadata(UnixMillis(1)).unwrap_err(),
        store.apply_patch(&patch("", "v1")).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
    }
}

/// Also on a connection that has worked before. What was sent may have happened.
fn dribbling_reply() {
    let server = Server::start();
    let proxy = Proxy::before(server.port);
    let builder = flagstore_redis::RedisStore::builder().url(proxy.url());
    let store = builder.timeout(Duration::from_millis(300)).build().unwrap();
    assert_eq!(store.apply_patch(&patch("", "v1")).unwrap(), PatchOutcome::Applied);
    store.set_metadata(UnixMillis(1_234_567_890)).unwrap();
    // The shortest reply, to SET, takes half a second.
    proxy.replies.slow_down(1, 100);
    for error in [
        store.get_metadata().unwrap_err(),
        store.get_membership(HASH).unwrap_err(),
        store.get_version().unwrap_err(),
        store.set_metadata(UnixMillis(1)).unwrap_err(),
        store.apply_patch(&patch("v1", "v2")).unwrap_err(),
    ] {
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
    }
    proxy.replies.open_up();
    eventually("it works again", || store.get_membership(HASH).is_ok());
}

/// With a hash tag on one node, in one transaction; without one wherever the keys are.
fn cluster() {
    let cluster = Cluster::start();
    for prefix in ["{ld}", "untagged"] {
        let store = cluster.builder().prefix(prefix).build().unwrap();
        let mut first = patch("", "v1");
        first.included.add.extend((0..20).map(|n| format!("context-{n}")));
        assert_eq!(store.apply_patch(&first).unwrap(), PatchOutcome::Applied, "{prefix}");
        assert_eq!(store.apply_patch(&first).unwrap(), PatchOutcome::OutOfOrder("v1".to_owned()), "{prefix}");
        store.set_metadata(UnixMillis(5)).unwrap();
        assert_eq!(store.get_metadata().unwrap(), Some(UnixMillis(5)));
        assert_eq!(store.get_version().unwrap(), "v1");
        for (hash, expected) in [(HASH, true), ("other", false), ("context-0", true), ("context-19", true)] {
            let membership = store.get_membership(hash).unwrap().unwrap();
            assert_eq!(membership.check_membership("seg.g1"), Some(expected), "{prefix} {hash}");
        }
    }
}
