//! What an evaluation takes, by our evaluator, by the official client, and by the bare crate under both:
//! `cargo bench -p flagstore-launchdarkly --bench evaluation`.

use std::collections::HashMap;
use std::fmt;
use std::hint::black_box;
use std::thread;
use std::time::Instant;

use flagstore_conformance::ratio::Comparison;
use flagstore_core::{
    AllData, BigSegmentMembership, BigSegmentStore, BigSegmentStoreWrapper, CacheMode, CachingStoreWrapper,
    FeatureStore, MemoryStore, StoreError, UnixMillis,
};
use flagstore_launchdarkly::{BigSegmentsClient, Evaluator, cached_data_store};
use launchdarkly_server_sdk::{
    Client, ConfigBuilder, ContextBuilder, Flag, FlagValue, NullEventProcessorBuilder, Segment, TestData,
};
use launchdarkly_server_sdk_evaluation::{Store, evaluate};

type Error = Box<dyn std::error::Error>;

/// What nobody here matches, so that every rule is looked at.
const CLAUSE: &str =
    r#"{"contextKind":"user","attribute":"country","op":"in","values":["de","fr","it"],"negate":false}"#;

fn main() -> Result<(), Error> {
    let rule = format!(r#"{{"id":"r","variation":1,"trackEvents":false,"clauses":[{CLAUSE}]}}"#);
    let in_segment = |segment: &str| {
        format!(
            r#"{{"id":"r","variation":1,"trackEvents":false,"clauses":[{{"attribute":"","op":"segmentMatch","values":["{segment}"]}}]}}"#
        )
    };
    let flags = [
        ("without rules", flag("without rules", "")),
        ("with 5 rules", flag("with 5 rules", &vec![rule; 5].join(","))),
        ("with a segment", flag("with a segment", &in_segment("regular"))),
        ("with a Big Segment", flag("with a Big Segment", &in_segment("big"))),
    ];
    let segment = |key: &str, more: &str| {
        format!(
            r#"{{"key":"{key}","version":1,{more}"included":["a","user-1","b"],"excluded":[],"rules":[],"salt":""}}"#
        )
    };
    let segments =
        [("regular", segment("regular", "")), ("big", segment("big", r#""unbounded":true,"generation":1,"#))];

    let store = CachingStoreWrapper::builder(MemoryStore::new()).mode(CacheMode::Forever).build()?;
    let section = |items: &[(&str, String)]| {
        items.iter().map(|(key, json)| format!("\"{key}\":{json}")).collect::<Vec<_>>().join(",")
    };
    store.init(&AllData::from_json(&format!(
        r#"{{"flags":{{{}}},"segments":{{{}}}}}"#,
        section(&flags),
        section(&segments)
    ))?)?;
    let big_segments = BigSegmentStoreWrapper::builder(Everyone).build()?;

    let evaluator = Evaluator::new(store.clone()).with_big_segments(big_segments.clone());
    let scoped = BigSegmentsClient::build(daemon(), store.clone(), big_segments)?;
    let official = Client::build(daemon().data_store(cached_data_store(store).no_caching()).build()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let _entered = runtime.enter();
    let in_memory = in_memory(&flags, &segments)?;
    let context = ContextBuilder::new("user-1").set_value("country", "es".into()).build()?;

    for (key, json) in &flags {
        let flag: Flag = serde_json::from_str(json)?;
        let is_without_segments = !key.contains("egment");
        let bare = |_| evaluate(&Nothing, &flag, &context, None).value.and_then(|value| value.as_bool());
        let ours = |_| evaluator.bool_variation(&context, key, false);
        if is_without_segments {
            compare(format!("{key}: evaluator / bare crate"), 1.1).measure(bare, ours).print();
        }
        if *key != "with a Big Segment" {
            compare(format!("{key}: evaluator / client in memory"), 0.5)
                .measure(|_| in_memory.bool_variation(&context, key, false), ours)
                .print();
        }
        compare(format!("{key}: our client / client, same store"), 1.2)
            .measure(
                |_| official.bool_variation(&context, key, false),
                |_| scoped.bool_variation(&context, key, false),
            )
            .print();
    }
    environment()?;
    two_threads(|key| evaluator.bool_variation(&context, key, false));
    more_for_a_big_segment(
        "evaluator, than a flag without segments",
        || evaluator.bool_variation(&context, "with a Big Segment", false),
        || evaluator.bool_variation(&context, "without rules", false),
    );
    more_for_a_big_segment(
        "our client, than the client that ignores it",
        || scoped.bool_variation(&context, "with a Big Segment", false),
        || official.bool_variation(&context, "with a Big Segment", false),
    );
    Ok(())
}

/// Every flag of the example's environment for one context: of all sorts and sizes, with regular segments and
/// prerequisites.
fn environment() -> Result<(), Error> {
    const ENVIRONMENT: &str = include_str!("../examples/environment.json");
    let store = CachingStoreWrapper::builder(MemoryStore::new()).mode(CacheMode::Forever).build()?;
    store.init(&AllData::from_json(ENVIRONMENT)?)?;
    let evaluator = Evaluator::new(store);
    let mut json: serde_json::Value = serde_json::from_str(ENVIRONMENT)?;
    for section in ["flags", "segments"] {
        let section = json[section].as_object_mut().ok_or("no section")?;
        section.retain(|_, item| item["deleted"] != true);
    }
    let parsed = Parsed {
        flags: serde_json::from_value(json["flags"].take())?,
        segments: serde_json::from_value(json["segments"].take())?,
    };
    let context = ContextBuilder::new("user-lena").set_value("orders", 40.0.into()).build()?;
    let total = parsed.flags.len();
    let default = || FlagValue::Bool(false);
    let bare = |flag| evaluate(&parsed, flag, &context, None).value.cloned();
    compare(format!("{total} flags of all sorts: evaluator / bare crate"), 1.1)
        .repeat(20)
        .measure(
            |_| parsed.flags.values().for_each(|flag| drop(black_box(bare(flag)))),
            |_| {
                let values = parsed.flags.keys().map(|key| evaluator.variation(&context, key, default()));
                values.for_each(|value| drop(black_box(value)));
            },
        )
        .print();
    Ok(())
}

/// The least that the bare crate can be given: everything parsed, in maps.
struct Parsed {
    flags: HashMap<String, Flag>,
    segments: HashMap<String, Segment>,
}

impl Store for Parsed {
    fn flag(&self, key: &str) -> Option<Flag> {
        self.flags.get(key).cloned()
    }

    fn segment(&self, key: &str) -> Option<Segment> {
        self.segments.get(key).cloned()
    }
}

/// How much more two threads get done than one that evaluate the same flag, which is in one place for both.
fn two_threads(evaluate: impl Fn(&str) -> bool + Sync) {
    const CALLS: u32 = 1_000_000;
    let time = |threads| {
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| (0..CALLS).for_each(|_| _ = black_box(evaluate(black_box("with 5 rules")))));
            }
        });
        began.elapsed().as_secs_f64()
    };
    let mut gains: Vec<f64> = (0..9).map(|_| 2.0 * time(1) / time(2)).collect();
    gains.sort_by(f64::total_cmp);
    println!(
        "two threads, the same flag with 5 rules: {:.2} times what one gets done",
        gains[gains.len() / 2]
    );
}

fn compare(name: String, limit: f64) -> Comparison {
    Comparison::new(name, limit).rounds(400).repeat(500)
}

/// What a Big Segment whose membership is cached adds to an evaluation: the median of the differences.
fn more_for_a_big_segment(name: &str, with: impl Fn() -> bool, without: impl Fn() -> bool) {
    const CALLS: u32 = 500;
    let time = |evaluate: &dyn Fn() -> bool| {
        let began = Instant::now();
        for _ in 0..CALLS {
            black_box(evaluate());
        }
        began.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    assert!(with(), "everyone is in it");
    let mut more: Vec<f64> = (0..400).map(|_| time(&with) - time(&without)).collect();
    more.sort_by(f64::total_cmp);
    println!("a Big Segment, cached: {name}: {:.2} us more (at most 1 us)", more[more.len() / 2] / 1000.0);
}

fn daemon() -> ConfigBuilder {
    ConfigBuilder::new("sdk-key").daemon_mode(true).event_processor(&NullEventProcessorBuilder::new())
}

/// The official client as it comes, with everything in its memory.
fn in_memory(flags: &[(&str, String)], segments: &[(&str, String)]) -> Result<Client, Error> {
    let data = TestData::new();
    for (_, json) in flags {
        data.use_preconfigured_flag(serde_json::from_str(json)?);
    }
    for (_, json) in segments {
        data.use_preconfigured_segment(serde_json::from_str(json)?);
    }
    let config =
        ConfigBuilder::new("sdk-key").data_source(&data).event_processor(&NullEventProcessorBuilder::new());
    let client = Client::build(config.build()?)?;
    client.start_with_default_executor();
    Ok(client)
}

fn flag(key: &str, rules: &str) -> String {
    format!(
        r#"{{"key":"{key}","version":1,"on":true,"prerequisites":[],"targets":[{{"values":["user-key-00001","user-key-00002","user-key-00003"],"variation":1}}],"contextTargets":[],"rules":[{rules}],"fallthrough":{{"variation":0}},"offVariation":0,"variations":[false,true],"clientSideAvailability":{{"usingMobileKey":true,"usingEnvironmentId":false}},"salt":"0123456789abcdef","trackEvents":false,"deleted":false}}"#
    )
}

/// A store without segments, for flags that have none.
struct Nothing;

impl Store for Nothing {
    fn flag(&self, _: &str) -> Option<Flag> {
        None
    }

    fn segment(&self, _: &str) -> Option<Segment> {
        None
    }
}

/// A store in which everyone is in the Big Segment.
#[derive(Debug)]
struct Everyone;

impl BigSegmentStore for Everyone {
    fn get_metadata(&self) -> Result<Option<UnixMillis>, StoreError> {
        Ok(Some(UnixMillis::now()))
    }

    fn get_membership(&self, _: &str) -> Result<Option<BigSegmentMembership>, StoreError> {
        Ok(Some(BigSegmentMembership::new(["big.g1"], [])))
    }

    fn stop(&self) {}
}

impl fmt::Display for Everyone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Everyone")
    }
}
