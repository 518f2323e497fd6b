//! Whole clients of the SDK.

use std::sync::Arc;

use flagstore_core::{Item, Kind, Upsert};
use flagstore_launchdarkly::data_store;
use flagstore_sqlite::SqliteStore;
use launchdarkly_server_sdk::{
    Client, ConfigBuilder, EvalError, FlagDetailConfig, NullEventProcessorBuilder, Reason, TestData,
};

use crate::support::{
    Store, TestStore, daemon_client, evaluate, flag, put, segment, stored, stores, uncached, user,
};

const FALLTHROUGH: Reason = Reason::Fallthrough { in_experiment: false };
const NOT_FOUND: Reason = Reason::Error { error: EvalError::FlagNotFound };

/// A client that only reads sees at once what others write.
#[test]
fn a_daemon_client_sees_updates_and_deletions() {
    for store in stores() {
        put(&store, &Kind::FEATURES, "dark-mode", &flag("dark-mode", 1, true));
        let client = daemon_client(&store);
        assert_eq!(evaluate(&client, "dark-mode"), (true, FALLTHROUGH), "{store}");
        put(&store, &Kind::FEATURES, "dark-mode", &flag("dark-mode", 2, false));
        assert_eq!(evaluate(&client, "dark-mode"), (false, FALLTHROUGH), "{store}");
        let tombstone = Item::tombstone("dark-mode", 3).unwrap();
        assert_eq!(store.upsert(&Kind::FEATURES, "dark-mode", &tombstone).unwrap(), Upsert::Applied);
        assert_eq!(evaluate(&client, "dark-mode"), (false, NOT_FOUND), "{store}");
    }
}

/// An evaluation follows a flag's rules into the segments of the store.
#[test]
fn a_rule_finds_its_segment() {
    let rule = r#""rules":[{"id":"r","variation":1,"trackEvents":false,"clauses":[{"contextKind":"user","attribute":"","op":"segmentMatch","values":["staff"],"negate":false}]}]"#;
    for store in stores() {
        put(&store, &Kind::FEATURES, "beta", &flag("beta", 1, false).replace(r#""rules":[]"#, rule));
        let client = daemon_client(&store);
        assert_eq!(evaluate(&client, "beta"), (false, FALLTHROUGH), "without the segment: {store}");
        put(&store, &Kind::SEGMENTS, "staff", &segment("staff", 1, "user-1"));
        let matched = Reason::RuleMatch { rule_index: 0, rule_id: "r".to_owned(), in_experiment: false };
        assert_eq!(evaluate(&client, "beta"), (true, matched), "{store}");
    }
}

/// All live flags that parse, and no others.
#[test]
fn the_state_of_all_flags_is_complete() {
    for store in stores() {
        put(&store, &Kind::FEATURES, "on", &flag("on", 1, true));
        put(&store, &Kind::FEATURES, "off", &flag("off", 1, false));
        put(&store, &Kind::FEATURES, "wrong", r#"{"version":1}"#);
        put(&store, &Kind::FEATURES, "gone", r#"{"version":1,"deleted":true}"#);
        let detail = daemon_client(&store).all_flags_detail(&user(), FlagDetailConfig::new());
        let mut detail = serde_json::to_value(detail).unwrap();
        detail.as_object_mut().unwrap().remove("$flagsState");
        assert_eq!(detail, serde_json::json!({"on": true, "off": false, "$valid": true}), "{store}");
    }
}

/// In daemon mode a client is always ready, so over an empty store a flag is merely unknown.
#[test]
fn over_an_empty_store_a_flag_is_not_found() {
    for store in stores() {
        let client = daemon_client(&store);
        assert!(client.initialized());
        assert_eq!(evaluate(&client, "dark-mode"), (false, NOT_FOUND), "{store}");
    }
}

/// Evaluations of a client whose database is away give the default.
#[test]
fn over_a_failing_store_a_flag_is_not_found() {
    let store: Store = Arc::new(TestStore { down: Some("connection refused"), ..TestStore::default() });
    assert_eq!(evaluate(&daemon_client(&store), "dark-mode"), (false, NOT_FOUND));
}

/// A client that is kept up to date writes; one in daemon mode, with its own handle to the database, reads.
///
/// The SDK's test data stand in for the stream: they come in through the same calls of the data store.
#[test]
fn what_one_client_receives_another_evaluates() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _entered = runtime.enter();
    let folder = tempfile::tempdir().unwrap();
    for (name, caching) in [("cached", true), ("uncached", false)] {
        let open = || -> Store { Arc::new(SqliteStore::builder(folder.path().join(name)).build().unwrap()) };
        let (writers, readers) = (open(), open());
        let updates = TestData::new();
        updates.use_preconfigured_flag(serde_json::from_str(&flag("dark-mode", 1, true)).unwrap());
        updates.use_preconfigured_segment(serde_json::from_str(&segment("staff", 1, "user-1")).unwrap());
        let config = ConfigBuilder::new("sdk-key")
            .data_store(&if caching { data_store(Arc::clone(&writers)) } else { uncached(&writers) })
            .data_source(&updates)
            .event_processor(&NullEventProcessorBuilder::new());
        let writer = Client::build(config.build().unwrap()).unwrap();
        let reader = daemon_client(&readers);
        assert_eq!(evaluate(&reader, "dark-mode"), (false, NOT_FOUND), "{name}");

        writer.start_with_default_executor();
        assert!(writer.initialized() && readers.is_initialized().unwrap(), "{name}");
        assert_eq!(evaluate(&reader, "dark-mode"), (true, FALLTHROUGH), "{name}");
        assert!(stored(&readers, &Kind::SEGMENTS, "staff").ends_with(r#","deleted":false}"#), "{name}");

        updates.use_preconfigured_flag(serde_json::from_str(&flag("dark-mode", 2, false)).unwrap());
        for client in [&writer, &reader] {
            assert_eq!(evaluate(client, "dark-mode"), (false, FALLTHROUGH), "{name}");
        }
    }
}
