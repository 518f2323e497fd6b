//! What an evaluation allocates does not grow with the lists of its segments, nor, by our evaluator, with those of its flag:
//! both were parsed once. In a program of its own, since the counting allocator is the program's.

use std::error::Error;

use flagstore_core::{
    BigSegmentMembership, BigSegmentStore, BigSegmentStoreWrapper, CacheMode, CachingStoreWrapper,
    FeatureStore, Item, Kind, MemoryStore, StoreError, UnixMillis,
};
use flagstore_launchdarkly::{BigSegmentsClient, Evaluator};
use launchdarkly_server_sdk::{ConfigBuilder, Context, ContextBuilder, NullEventProcessorBuilder};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const LONG: usize = 20_000;

#[test]
fn evaluations_copy_no_lists() -> Result<(), Box<dyn Error>> {
    let _profiler = dhat::Profiler::builder().testing().build();
    let store = CachingStoreWrapper::builder(MemoryStore::new()).mode(CacheMode::Forever).build()?;
    let put = |kind: &Kind, key: &str, json: String| -> Result<(), Box<dyn Error>> {
        store.upsert(kind, key, &Item::parse(json)?).map(drop)?;
        Ok(())
    };
    for (key, length) in [("short", 2), ("long", LONG)] {
        let list: Vec<String> = (0..length).map(|n| format!("user-{n}")).collect();
        let list = serde_json::to_string(&list)?;
        put(
            &Kind::FEATURES,
            &format!("flag-{key}"),
            format!(
                r#"{{"key":"flag-{key}","version":1,"on":true,"variations":[false,true],"fallthrough":{{"variation":0}},
                    "targets":[{{"variation":1,"values":{list}}}]}}"#
            ),
        )?;
        for (segment, more) in [("reg", ""), ("big", r#""unbounded":true,"generation":1,"#)] {
            put(
                &Kind::SEGMENTS,
                &format!("{segment}-{key}"),
                format!(
                    r#"{{"key":"{segment}-{key}","version":1,{more}"included":{list},"excluded":{list},
                        "includedContexts":[{{"contextKind":"user","values":{list}}}]}}"#
                ),
            )?;
            put(
                &Kind::FEATURES,
                &format!("{segment}-{key}"),
                format!(
                    r#"{{"key":"{segment}-{key}","version":1,"on":true,"variations":[false,true],
                        "fallthrough":{{"variation":0}},"rules":[{{"variation":1,"clauses":[{{"attribute":"",
                        "op":"segmentMatch","values":["{segment}-{key}"]}}]}}]}}"#
                ),
            )?;
        }
    }
    let big_segments = BigSegmentStoreWrapper::builder(Everyone).build()?;
    let config =
        ConfigBuilder::new("key").daemon_mode(true).event_processor(&NullEventProcessorBuilder::new());
    let client = BigSegmentsClient::build(config, store.clone(), big_segments.clone())?;
    let evaluator = Evaluator::new(store.clone()).with_big_segments(big_segments);
    let context = ContextBuilder::new("user-1").build()?;

    type Evaluate<'a> = &'a dyn Fn(&Context, &str) -> bool;
    let ways: [(&str, Evaluate<'_>); 2] = [
        ("evaluator", &|context, key| evaluator.bool_variation(context, key, false)),
        ("client", &|context, key| client.bool_variation(context, key, false)),
    ];
    for (name, evaluate) in ways {
        // The client parses its flags each time.
        let kinds: &[&str] = if name == "client" { &["reg", "big"] } else { &["reg", "big", "flag"] };
        for segment in kinds {
            let bytes = ["short", "long"].map(|length| {
                let key = format!("{segment}-{length}");
                assert!(evaluate(&context, &key), "{name}, {key}");
                let before = dhat::HeapStats::get().total_bytes;
                assert!(evaluate(&context, &key), "{name}, {key}");
                dhat::HeapStats::get().total_bytes - before
            });
            let [short, long] = bytes;
            println!("{name}, {segment}: {short} bytes with 2 members, {long} with {LONG}");
            // The keys are not of the same length.
            assert!(
                long < short + 200,
                "{name}, {segment}: {short} bytes with 2 members, {long} with {LONG}"
            );
        }
    }
    Ok(())
}

/// A store in which everyone is in every segment.
#[derive(Debug)]
struct Everyone;

impl BigSegmentStore for Everyone {
    fn get_metadata(&self) -> Result<Option<UnixMillis>, StoreError> {
        Ok(Some(UnixMillis::now()))
    }

    fn get_membership(&self, _: &str) -> Result<Option<BigSegmentMembership>, StoreError> {
        Ok(Some(BigSegmentMembership::new(["big-short.g1", "big-long.g1"], [])))
    }

    fn stop(&self) {}
}

impl std::fmt::Display for Everyone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Everyone")
    }
}
