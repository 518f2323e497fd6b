//! What is logged, and how often. Records are told apart by their text, as all tests share one logger.

use std::sync::{Arc, Mutex, Once};

use flagstore_core::{CacheMode, CachingStoreWrapper, FeatureStore, Item, Kind, MemoryStore, Upsert};
use flagstore_launchdarkly::{AllFlagsOptions, BigSegmentsClient, Evaluator};
use launchdarkly_server_sdk::FlagDetailConfig;
use launchdarkly_server_sdk::{ConfigBuilder, NullEventProcessorBuilder};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::support::{Store, TestStore, daemon, daemon_client, evaluate, flag, plug, put, uncached, user};

static RECORDS: Mutex<Vec<(Level, String, String)>> = Mutex::new(Vec::new());

struct Recorder;

impl Log for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let record = (record.level(), record.target().to_owned(), record.args().to_string());
        RECORDS.lock().unwrap().push(record);
    }

    fn flush(&self) {}
}

fn record() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Recorder).unwrap();
        log::set_max_level(LevelFilter::Info);
    });
}

/// Level, target and text of the records that contain this text.
fn recorded(text: &str) -> Vec<(Level, String, String)> {
    RECORDS.lock().unwrap().iter().filter(|(_, _, message)| message.contains(text)).cloned().collect()
}

/// Whoever misses a flag finds its key and the reason in the log, and not the data.
#[test]
fn a_flag_that_is_left_out_is_logged_by_key_and_reason() {
    record();
    let store: Store = Arc::new(TestStore { unreadable: Some("logged-unreadable"), ..TestStore::default() });
    put(&store, &Kind::FEATURES, "logged-wrong", r#"{"version":1,"salt":"0xc0ffee"}"#);
    put(&store, &Kind::FEATURES, "logged-good", &flag("logged-good", 1, true));
    plug(&store).all_flags().unwrap();
    for (key, expected) in [
        (
            "logged-wrong",
            "features/logged-wrong counts as missing, because the SDK cannot parse version 1: missing field `key`",
        ),
        ("logged-unreadable", "left out of all flags: test: get_all features/logged-unreadable: not JSON"),
    ] {
        let records = recorded(key);
        assert_eq!(records.len(), 1, "{records:?}");
        assert_eq!(records[0].0, Level::Warn);
        assert!(records[0].2.starts_with(expected), "{records:?}");
    }
    assert!(recorded("logged-good").is_empty() && recorded("0xc0ffee").is_empty());
}

/// What the SDK cannot parse is named once for each version, however often and by whichever way it is asked for.
#[test]
fn an_item_that_does_not_parse_is_logged_once_for_each_version() {
    record();
    let store: Store = Arc::new(TestStore::default());
    let client = daemon_client(&store);
    for version in [1, 2] {
        let wrong = format!(r#"{{"key":"logged-once","version":{version},"on":"yes"}}"#);
        put(&store, &Kind::FEATURES, "logged-once", &wrong);
        put(&store, &Kind::SEGMENTS, "logged-segment", &wrong.replace("\"on\"", "\"included\""));
        let rule =
            r#""rules":[{"clauses":[{"attribute":"","op":"segmentMatch","values":["logged-segment"]}]}]"#;
        let flag = flag("in-segment", version, false).replace(r#""rules":[]"#, rule);
        put(&store, &Kind::FEATURES, "in-segment", &flag);
        for _ in 0..3 {
            evaluate(&client, "logged-once");
            evaluate(&client, "in-segment");
            let _ = client.all_flags_detail(&user(), FlagDetailConfig::new());
        }
    }
    for item in ["features/logged-once", "segments/logged-segment"] {
        let messages: Vec<_> = recorded(item).into_iter().map(|(_, _, message)| message).collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
        for (message, version) in messages.iter().zip(1..) {
            let expected = format!(
                "{item} counts as missing, because the SDK cannot parse version {version}: invalid type"
            );
            assert!(message.starts_with(&expected), "{message}");
        }
    }
    let of_sdk = recorded("failed to convert serialized item");
    assert!(of_sdk.is_empty(), "the SDK does not say which: {of_sdk:?}");
}

/// Our evaluator names it too, once for each version.
#[test]
fn the_evaluator_names_what_it_cannot_parse_once_for_each_version() {
    record();
    let store = CachingStoreWrapper::builder(MemoryStore::new()).mode(CacheMode::Off).build().unwrap();
    let evaluator = Evaluator::new(store.clone());
    for version in [1, 2] {
        let wrong = format!(r#"{{"key":"evaluator-once","version":{version},"on":"yes"}}"#);
        let wrong = Item::parse(wrong).unwrap();
        assert_eq!(store.upsert(&Kind::FEATURES, "evaluator-once", &wrong).unwrap(), Upsert::Applied);
        for _ in 0..3 {
            assert!(evaluator.bool_variation(&user(), "evaluator-once", true));
            let _ = evaluator.all_flags(&user(), AllFlagsOptions::new());
        }
    }
    let messages: Vec<_> = recorded("evaluator-once").into_iter().map(|(_, _, message)| message).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    for (message, version) in messages.iter().zip(1..) {
        let expected = format!(
            "features/evaluator-once counts as missing, because version {version} cannot be parsed: invalid type"
        );
        assert!(message.starts_with(&expected), "{message}");
    }
}

/// A key has any length and any characters: no log line is made of what it holds, by the plug or by our evaluator.
#[test]
fn a_key_is_logged_escaped_and_cut() {
    record();
    for name in ["plug", "evaluator"] {
        let key = format!("{name}\nforged{}", "x".repeat(10_000));
        let wrong = Item::parse(r#"{"version":1,"on":"yes"}"#).unwrap();
        if name == "plug" {
            let store: Store = Arc::new(TestStore::default());
            put(&store, &Kind::FEATURES, &key, wrong.json());
            plug(&store).all_flags().unwrap();
        } else {
            let store = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
            assert_eq!(store.upsert(&Kind::FEATURES, &key, &wrong).unwrap(), Upsert::Applied);
            assert!(Evaluator::new(store).bool_variation(&user(), &key, true));
        }
        let messages = recorded(&format!(r"features/{name}\nforgedxxx"));
        let [(level, _, message)] = &messages[..] else { panic!("one record") };
        assert_eq!(*level, Level::Warn);
        assert!(message.contains("xxx... counts as missing"), "{message}");
        assert!(!message.contains('\n') && message.len() < 300, "{message}");
        assert!(recorded(&format!("{name}\nforged")).is_empty(), "the key as it is");
    }
}

/// Whoever evaluates past our client is told, once, and how it is done.
#[test]
fn a_big_segment_without_a_context_is_logged_once() {
    record();
    let store = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
    let rule = r#""rules":[{"clauses":[{"attribute":"","op":"segmentMatch","values":["logged-big"]}]}]"#;
    let flag = flag("in-big", 1, false).replace(r#""rules":[]"#, rule);
    let segment = r#"{"key":"logged-big","version":1,"unbounded":true,"generation":1}"#;
    for (kind, key, json) in [(Kind::FEATURES, "in-big", &*flag), (Kind::SEGMENTS, "logged-big", segment)] {
        assert_eq!(store.upsert(&kind, key, &Item::parse(json).unwrap()).unwrap(), Upsert::Applied);
    }
    let config =
        ConfigBuilder::new("key").daemon_mode(true).event_processor(&NullEventProcessorBuilder::new());
    let client = BigSegmentsClient::build(config, store, None).unwrap();
    for _ in 0..3 {
        assert!(!client.client().bool_variation(&user(), "in-big", false));
    }
    let [(level, _, message)] = &recorded("logged-big")[..] else { panic!("one record") };
    assert_eq!(*level, Level::Warn);
    assert!(message.contains("inside its with_context"), "{message}");
}

/// The SDK asks for a boolean, so the reason can only be logged.
#[test]
fn an_unknown_state_of_initialization_is_logged() {
    record();
    let store: Store = Arc::new(TestStore { down: Some("logged: no route"), ..TestStore::default() });
    assert!(!plug(&store).is_initialized());
    let [(level, target, message)] = &recorded("logged: no route")[..] else { panic!("one record") };
    assert_eq!((*level, target.as_str()), (Level::Warn, "flagstore_launchdarkly::flagstore"));
    assert_eq!(message, "taken as not initialized: test: is_initialized: logged: no route");
}

/// The SDK logs the errors that it is given, so they are not logged here as well.
#[test]
fn a_failed_init_is_logged_once_and_by_the_sdk() {
    record();
    let store: Store = Arc::new(TestStore { too_large: Some("logged-huge"), ..TestStore::default() });
    let sdk = daemon(&uncached(&store)).data_store_builder().build().unwrap();
    let flag = flag("logged-huge", 1, true);
    let payload = format!(r#"{{"flags":{{"logged-huge":{flag}}},"segments":{{}}}}"#);
    sdk.write().init(serde_json::from_str(&payload).unwrap());
    let [(level, target, message)] = &recorded("logged-huge")[..] else { panic!("one record") };
    assert_eq!(*level, Level::Error);
    assert!(target.starts_with("launchdarkly_server_sdk::"), "{target}");
    assert_eq!(message, "failed to init store: test: init features/logged-huge: too large");
}
