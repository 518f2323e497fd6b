//! Without Big Segments our evaluator says what the official client says.

use std::sync::Arc;

use flagstore_core::{AllData, CachingStoreWrapper, FeatureStore, Kind, MemoryStore};
use flagstore_launchdarkly::{AllFlagsOptions, Evaluator, cached_data_store};
use launchdarkly_server_sdk::{Client, Context, EvalError, FlagDetailConfig, FlagFilter, FlagValue, Reason};
use serde_json::{Value, json};

use crate::support::{Broken, daemon, of_kind, user};

const ENVIRONMENT: &str = include_str!("../../examples/environment.json");

fn both() -> (Client, Evaluator, CachingStoreWrapper) {
    let store = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
    store.init(&AllData::from_json(ENVIRONMENT).unwrap()).unwrap();
    let config = daemon().data_store(cached_data_store(store.clone()).no_caching()).build().unwrap();
    (Client::build(config).unwrap(), Evaluator::new(store.clone()), store)
}

fn contexts() -> Vec<Context> {
    let mut contexts: Vec<Context> = [
        r#"{"kind":"user","key":"user-lena","address":{"country":"DE","city":"Berlin"},"orders":40,
            "registeredAt":"2023-02-11T09:30:00Z","lifetimeValue":2140.5,"payment":{"methods":["apple-pay"]}}"#,
        r#"{"kind":"user","key":"user-mei","email":"mei@tidewater.example"}"#,
        r#"{"kind":"multi","user":{"key":"user-sam"},
            "organization":{"key":"org-acme","region":"eu-west-1","billing":{"plan":"enterprise","seats":250}},
            "device":{"key":"tablet-7","type":"tablet","appVersion":"2.9.4","os":{"name":"Android"}}}"#,
    ]
    .iter()
    .map(|json| serde_json::from_str(json).unwrap())
    .collect();
    contexts.push(of_kind("organization", "org-acme"));
    contexts.extend((0..40).map(|n| user(&format!("user-{n}"))));
    contexts
}

/// Value, variation and reason of every flag are the same, for everybody.
#[test]
fn every_flag_of_an_environment_is_the_same() {
    let (client, evaluator, store) = both();
    // Which the evaluator does not know to be a cache.
    let any_store = Evaluator::new(Arc::new(store.clone()));
    let flags = store.all(&Kind::FEATURES).unwrap();
    assert!(flags.len() > 20);
    for context in contexts() {
        for (key, _) in flags.iter() {
            let ours = evaluator.variation_detail(&context, key, Value::Null);
            assert_eq!(ours.detail, client.variation_detail(&context, key, Value::Null), "{key} {context:?}");
            assert_eq!(ours.big_segments_status, None, "{key}");
            assert_eq!(ours, any_store.variation_detail(&context, key, Value::Null), "{key}");
        }
    }
}

/// All at once too, with every option.
#[test]
fn all_flags_of_an_environment_are_the_same() {
    let (client, evaluator, _) = both();
    for context in contexts() {
        let mut config = FlagDetailConfig::new();
        let mut options = AllFlagsOptions::new();
        for step in 0..4 {
            match step {
                1 => {
                    config.with_reasons();
                    options = options.with_reasons();
                }
                2 => {
                    config.flag_filter(FlagFilter::CLIENT);
                    options = options.client_side_only();
                }
                3 => {
                    config.details_only_for_tracked_flags();
                    options = options.details_only_for_tracked_flags();
                }
                _ => {}
            }
            let official = serde_json::to_value(client.all_flags_detail(&context, config)).unwrap();
            let ours = serde_json::to_value(evaluator.all_flags(&context, options)).unwrap();
            assert_eq!(ours, official, "step {step}");
        }
    }
}

/// Defaults come with the same reasons.
#[test]
fn what_gives_the_default_is_the_same() {
    let (client, evaluator, store) = both();
    let context = user("user-1");
    for (key, _) in store.all(&Kind::FEATURES).unwrap().iter().chain([("unknown", &item())]) {
        let ours = evaluator.bool_variation_detail(&context, key, true).detail;
        assert_eq!(ours, client.bool_variation_detail(&context, key, true), "{key}");
        let ours = evaluator.str_variation_detail(&context, key, "default".to_owned()).detail;
        assert_eq!(ours, client.str_variation_detail(&context, key, "default".to_owned()), "{key}");
        let ours = evaluator.int_variation_detail(&context, key, 7).detail;
        assert_eq!(ours, client.int_variation_detail(&context, key, 7), "{key}");
        let ours = evaluator.float_variation_detail(&context, key, 0.5).detail;
        assert_eq!(ours, client.float_variation_detail(&context, key, 0.5), "{key}");
        let ours = evaluator.json_variation_detail(&context, key, json!([1])).detail;
        assert_eq!(ours, client.json_variation_detail(&context, key, json!([1])), "{key}");
        assert_eq!(evaluator.bool_variation(&context, key, true), client.bool_variation(&context, key, true));
        let text = || "default".to_owned();
        assert_eq!(
            evaluator.str_variation(&context, key, text()),
            client.str_variation(&context, key, text())
        );
        assert_eq!(evaluator.int_variation(&context, key, 7), client.int_variation(&context, key, 7));
        let default = || json!({"a": 1});
        assert_eq!(
            evaluator.json_variation(&context, key, default()),
            client.json_variation(&context, key, default())
        );
    }
    let unknown = evaluator.variation(&context, "unknown", "default".to_owned());
    assert_eq!(unknown, FlagValue::Str("default".to_owned()));
}

fn item() -> flagstore_core::Item {
    flagstore_core::Item::parse("{}").unwrap()
}

/// A store that fails is no flag that is missing, and the reason says so.
#[test]
fn a_failing_store_gives_the_default_with_an_exception() {
    let store = CachingStoreWrapper::builder(Broken).build().unwrap();
    let detail = Evaluator::new(store).bool_variation_detail(&user("a"), "flag", true).detail;
    assert_eq!(detail.value, Some(true));
    assert_eq!(detail.reason, Reason::Error { error: EvalError::Exception });
}
