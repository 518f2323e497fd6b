//! The official client knows the context of each call, whatever happens around it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use flagstore_core::BigSegmentsStatus::Healthy;
use flagstore_core::{
    BigSegmentStoreWrapper, CachingStoreWrapper, FeatureStore, Item, Kind, MemoryStore, UnixMillis, Upsert,
};
use flagstore_launchdarkly::BigSegmentsClient;
use launchdarkly_server_sdk::{
    ConfigBuilder, FlagDetailConfig, FlagValue, NullEventProcessorBuilder, Stage, TestData,
};
use serde_json::json;

use crate::support::{TestBigSegments, daemon, flag, user};

/// A client, its store and its Big Segments: `in` is in the segment of the flag, and nobody else is.
struct Fixture {
    client: BigSegmentsClient,
    store: CachingStoreWrapper,
    big_segments: Arc<TestBigSegments>,
}

fn fixture(config: ConfigBuilder) -> Fixture {
    let store = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
    let big_segments = Arc::new(TestBigSegments::default());
    big_segments.set_synchronized_on(Some(UnixMillis::now()));
    big_segments.set("in", &["seg.g1"], &[]);
    let wrapper = BigSegmentStoreWrapper::builder(Arc::clone(&big_segments)).build().unwrap();
    let client = BigSegmentsClient::build(config, store.clone(), wrapper).unwrap();
    Fixture { client, store, big_segments }
}

const RULE: &str =
    r#"[{"id":"r","variation":1,"clauses":[{"attribute":"","op":"segmentMatch","values":["seg"]}]}]"#;
const SEGMENT: &str = r#"{"key":"seg","version":1,"unbounded":true,"generation":1,"included":[],"excluded":[],"rules":[],"salt":""}"#;

fn filled() -> Fixture {
    let fixture = fixture(daemon());
    for (kind, key, json) in
        [(Kind::FEATURES, "flag", &*flag("flag", RULE)), (Kind::SEGMENTS, "seg", SEGMENT)]
    {
        assert_eq!(fixture.store.upsert(&kind, key, &Item::parse(json).unwrap()).unwrap(), Upsert::Applied);
    }
    fixture
}

impl Fixture {
    fn is_in(&self, key: &str) -> bool {
        self.client.bool_variation(&user(key), "flag", false)
    }
}

/// The SDK's own cache is filled by the SDK's init, and would then answer instead of the store.
#[test]
fn the_cache_of_the_sdk_is_off() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _entered = runtime.enter();
    let updates = TestData::new();
    let complete = flag("flag", RULE).replace(r#""clauses""#, r#""trackEvents":false,"clauses""#).replacen(
        '{',
        r#"{"prerequisites":[],"targets":[],"#,
        1,
    );
    updates.use_preconfigured_flag(serde_json::from_str(&complete).unwrap());
    updates.use_preconfigured_segment(serde_json::from_str(SEGMENT).unwrap());
    let config = ConfigBuilder::new("sdk-key")
        .data_source(&updates)
        .event_processor(&NullEventProcessorBuilder::new());
    // Also if the application has asked for one.
    let mut forever = flagstore_launchdarkly::data_store(MemoryStore::new());
    let fixture = fixture(config.data_store(forever.cache_forever()));
    fixture.client.client().start_with_default_executor();
    assert!(fixture.client.client().initialized() && fixture.store.initialized());
    for _ in 0..2 {
        assert!(fixture.is_in("in") && !fixture.is_in("out"));
    }
}

/// Each thread has its call, also while others have theirs.
#[test]
fn threads_do_not_mix_their_contexts() {
    let fixture = filled();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let fixture = &fixture;
            scope.spawn(move || {
                for round in 0..200 {
                    let is_in = (thread + round) % 2 == 0;
                    assert_eq!(fixture.is_in(if is_in { "in" } else { "out" }), is_in);
                }
            });
        }
    });
}

/// A call inside of a call is for its own context, and the outer one goes on with its own.
#[test]
fn calls_may_be_nested() {
    let (one, other) = (filled(), filled());
    other.big_segments.set("in", &[], &[]);
    other.big_segments.set("out", &["seg.g1"], &[]);
    let (results, status) = one.client.with_context(&user("in"), |client| {
        let before = client.bool_variation(&user("in"), "flag", false);
        let inner = one.client.bool_variation_detail(&user("out"), "flag", false);
        let of_other = other.client.bool_variation_detail(&user("out"), "flag", false);
        // The call of another client is none of this one's.
        let unknown = other.client.client().bool_variation(&user("out"), "flag", false);
        let after = client.bool_variation(&user("in"), "flag", false);
        (before, inner.detail.value, of_other.detail.value, unknown, after)
    });
    assert_eq!(results, (true, Some(false), Some(true), false, true));
    assert_eq!(status, Some(Healthy));
}

/// A panic ends its call and no other.
#[test]
fn a_panic_leaves_no_context_behind() {
    let fixture = filled();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        fixture.client.with_context(&user("in"), |_| panic!("on purpose"));
    }));
    assert!(panicked.is_err());
    let unscoped = fixture.client.client().bool_variation(&user("in"), "flag", false);
    assert!(!unscoped, "the context of the call that panicked is still there");
    assert!(fixture.is_in("in") && !fixture.is_in("out"));
}

/// What the client evaluates outside of a call knows no context: the rules decide, and no query is made.
#[test]
fn an_evaluation_without_a_context_makes_no_query() {
    let fixture = filled();
    assert!(!fixture.client.client().bool_variation(&user("in"), "flag", false));
    assert!(fixture.big_segments.queries().is_empty());
}

/// All flags for a context, with one status for all of them.
#[test]
fn all_flags_are_for_the_context_of_the_call() {
    let fixture = filled();
    for (key, expected) in [("in", true), ("out", false)] {
        let (detail, status) = fixture.client.all_flags_detail(&user(key), FlagDetailConfig::new());
        let detail = serde_json::to_value(detail).unwrap();
        assert_eq!((&detail["flag"], &detail["$valid"]), (&json!(expected), &json!(true)));
        assert_eq!(status, Some(Healthy));
    }
}

/// Whatever has no method of its own goes through `with_context`.
#[test]
fn every_other_call_can_be_made_with_a_context() {
    let fixture = filled();
    let stages = flag("stages", RULE).replace("[false,true]", r#"["off","live"]"#);
    let stages = Item::parse(stages).unwrap();
    assert_eq!(fixture.store.upsert(&Kind::FEATURES, "stages", &stages).unwrap(), Upsert::Applied);
    for (key, expected) in [("in", Stage::Live), ("out", Stage::Off)] {
        let context = user(key);
        let ((stage, _), status) = fixture
            .client
            .with_context(&context, |client| client.migration_variation(&context, "stages", Stage::Shadow));
        assert_eq!((stage, status), (expected, Some(Healthy)));
    }
}

/// Each typed variation is that of the client, with the status where there is a detail.
#[test]
fn every_typed_variation_is_for_its_context() {
    let fixture = filled();
    let client = &fixture.client;
    for (key, values) in
        [("text", r#"["no","yes"]"#), ("number", "[0.5,1.5]"), ("json", r#"[{"a":0},{"a":1}]"#)]
    {
        let json = flag(key, RULE).replace("[false,true]", values);
        let item = Item::parse(json).unwrap();
        assert_eq!(fixture.store.upsert(&Kind::FEATURES, key, &item).unwrap(), Upsert::Applied);
    }
    let user = user("in");
    assert_eq!(client.str_variation(&user, "text", String::new()), "yes");
    assert_eq!(client.int_variation(&user, "number", 7), 1);
    assert!((client.float_variation(&user, "number", 7.0) - 1.5).abs() < f64::EPSILON);
    assert_eq!(client.json_variation(&user, "json", json!(null)), json!({"a": 1}));
    assert_eq!(client.variation(&user, "flag", false), FlagValue::Bool(true));
    let details = [
        client.str_variation_detail(&user, "text", String::new()).big_segments_status,
        client.int_variation_detail(&user, "number", 7).big_segments_status,
        client.float_variation_detail(&user, "number", 7.0).big_segments_status,
        client.json_variation_detail(&user, "json", json!(null)).big_segments_status,
        client.variation_detail(&user, "flag", false).big_segments_status,
    ];
    assert_eq!(details, [Some(Healthy); 5]);
}
