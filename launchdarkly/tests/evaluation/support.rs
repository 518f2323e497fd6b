//! What the tests share: a Big Segment store that tells what it was asked, and everything that evaluates.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flagstore_core::{
    AllData, BigSegmentMembership, BigSegmentStore, BigSegmentStoreBuilder, BigSegmentStoreWrapper,
    BigSegmentsStatus, CacheMode, CachingStoreWrapper, ErrorKind, FeatureStore, FeatureStoreCore, Item,
    Items, Kind, MemoryStore, StoreError, UnixMillis, Upsert, context_hash,
};
use flagstore_launchdarkly::{BigSegmentsClient, Evaluation, Evaluator};
use launchdarkly_server_sdk::{ConfigBuilder, Context, ContextBuilder, NullEventProcessorBuilder};
use parking_lot::Mutex;

/// A Big Segment store whose every answer is set by the test.
#[derive(Debug, Default)]
pub(crate) struct TestBigSegments(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    memberships: HashMap<String, Option<BigSegmentMembership>>,
    synchronized_on: Option<UnixMillis>,
    is_down: bool,
    queries: Vec<String>,
    polls: usize,
}

impl TestBigSegments {
    pub(crate) fn set(&self, context_key: &str, included: &[&str], excluded: &[&str]) {
        let membership = BigSegmentMembership::new(included.iter().copied(), excluded.iter().copied());
        self.0.lock().memberships.insert(context_hash(context_key), Some(membership));
    }

    pub(crate) fn set_null(&self, context_key: &str) {
        self.0.lock().memberships.insert(context_hash(context_key), None);
    }

    pub(crate) fn set_synchronized_on(&self, time: Option<UnixMillis>) {
        self.0.lock().synchronized_on = time;
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.0.lock().is_down = is_down;
    }

    /// The hashes that were asked for, in order.
    pub(crate) fn queries(&self) -> Vec<String> {
        self.0.lock().queries.clone()
    }

    pub(crate) fn polls(&self) -> usize {
        self.0.lock().polls
    }
}

impl BigSegmentStore for TestBigSegments {
    fn get_metadata(&self) -> Result<Option<UnixMillis>, StoreError> {
        let mut state = self.0.lock();
        state.polls += 1;
        if state.is_down {
            return Err(StoreError::new(ErrorKind::Unavailable, "test", "get_metadata", "down"));
        }
        Ok(state.synchronized_on)
    }

    fn get_membership(&self, context_hash: &str) -> Result<Option<BigSegmentMembership>, StoreError> {
        let mut state = self.0.lock();
        state.queries.push(context_hash.to_owned());
        if state.is_down {
            return Err(StoreError::new(ErrorKind::Unavailable, "test", "get_membership", "down"));
        }
        Ok(state.memberships.get(context_hash).cloned().flatten())
    }

    fn stop(&self) {}
}

impl fmt::Display for TestBigSegments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Test")
    }
}

/// The two databases, which everything that evaluates has of its own.
pub(crate) struct World {
    pub(crate) store: CachingStoreWrapper,
    pub(crate) big_segments: Arc<TestBigSegments>,
    pub(crate) subject: Subject,
}

/// Something that evaluates.
pub(crate) enum Subject {
    Evaluator(Evaluator, &'static str),
    Client(Box<BigSegmentsClient>, &'static str),
}

impl Subject {
    pub(crate) fn evaluate(&self, context: &Context, flag_key: &str) -> Evaluation<bool> {
        match self {
            Self::Evaluator(evaluator, _) => evaluator.bool_variation_detail(context, flag_key, false),
            Self::Client(client, _) => client.bool_variation_detail(context, flag_key, false),
        }
    }

    /// Value and status.
    pub(crate) fn get(&self, context: &Context, flag_key: &str) -> (bool, Option<BigSegmentsStatus>) {
        let evaluation = self.evaluate(context, flag_key);
        (evaluation.detail.value.unwrap(), evaluation.big_segments_status)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evaluator(_, cache) => write!(f, "evaluator, {cache}"),
            Self::Client(_, cache) => write!(f, "client, {cache}"),
        }
    }
}

impl World {
    pub(crate) fn put(&self, kind: &Kind, key: &str, json: &str) {
        assert_eq!(
            self.store.upsert(kind, key, &Item::parse(json).unwrap()).unwrap(),
            Upsert::Applied,
            "{key}"
        );
    }

    /// A flag that is true for who is in one of these segments.
    pub(crate) fn put_flag(&self, key: &str, segments: &[&str]) {
        let values = serde_json::to_string(segments).unwrap();
        self.put(
            &Kind::FEATURES,
            key,
            &flag(
                key,
                &format!(
                    r#"[{{"id":"r","variation":1,"clauses":[{{"attribute":"","op":"segmentMatch","values":{values}}}]}}]"#
                ),
            ),
        );
    }

    /// A Big Segment of generation 1, with these properties as well.
    pub(crate) fn put_big_segment(&self, key: &str, more: &str) {
        let more = if more.is_empty() { String::new() } else { format!(",{more}") };
        self.put(
            &Kind::SEGMENTS,
            key,
            &format!(r#"{{"key":"{key}","version":1,"unbounded":true,"salt":"s"{more}}}"#),
        );
    }

    /// The hashes that were asked for belong to these keys.
    #[track_caller]
    pub(crate) fn assert_queries(&self, context_keys: &[&str]) {
        let hashes: Vec<_> = context_keys.iter().map(|key| context_hash(key)).collect();
        assert_eq!(self.big_segments.queries(), hashes, "{}", self.subject);
    }
}

/// A flag with these rules, false for everyone else.
pub(crate) fn flag(key: &str, rules: &str) -> String {
    format!(
        r#"{{"key":"{key}","version":1,"on":true,"rules":{rules},"fallthrough":{{"variation":0}},"offVariation":0,"variations":[false,true],"salt":"s","clientSideAvailability":{{"usingEnvironmentId":true,"usingMobileKey":false}}}}"#
    )
}

/// Everything that evaluates, each with databases of its own, and Big Segments that were up to date just now.
pub(crate) fn worlds(
    configure: impl Fn(BigSegmentStoreBuilder) -> BigSegmentStoreBuilder,
) -> impl Iterator<Item = World> {
    let builds = |configure: &dyn Fn(BigSegmentStoreBuilder) -> BigSegmentStoreBuilder,
                  is_client,
                  is_cached| {
        let big_segments = Arc::new(TestBigSegments::default());
        big_segments.set_synchronized_on(Some(UnixMillis::now()));
        let wrapper = configure(BigSegmentStoreWrapper::builder(Arc::clone(&big_segments))).build().unwrap();
        world(big_segments, Some(wrapper), is_client, is_cached)
    };
    [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .map(move |(is_client, is_cached)| builds(&configure, is_client, is_cached))
}

/// Everything that evaluates, without a Big Segment store.
pub(crate) fn worlds_without_big_segments() -> impl Iterator<Item = World> {
    [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .map(|(is_client, is_cached)| world(Arc::default(), None, is_client, is_cached))
}

fn world(
    big_segments: Arc<TestBigSegments>,
    wrapper: Option<BigSegmentStoreWrapper>,
    is_client: bool,
    is_cached: bool,
) -> World {
    let (mode, cache) = if is_cached { (CacheMode::Forever, "cached") } else { (CacheMode::Off, "bare") };
    let cached = CachingStoreWrapper::builder(MemoryStore::new()).mode(mode).build().unwrap();
    let subject = if is_client {
        Subject::Client(Box::new(BigSegmentsClient::build(daemon(), cached.clone(), wrapper).unwrap()), cache)
    } else {
        let evaluator = Evaluator::new(cached.clone());
        let evaluator = match wrapper {
            Some(wrapper) => evaluator.with_big_segments(wrapper),
            None => evaluator,
        };
        Subject::Evaluator(evaluator, cache)
    };
    World { store: cached, big_segments, subject }
}

pub(crate) fn daemon() -> ConfigBuilder {
    ConfigBuilder::new("sdk-key").daemon_mode(true).event_processor(&NullEventProcessorBuilder::new())
}

pub(crate) fn user(key: &str) -> Context {
    ContextBuilder::new(key).build().unwrap()
}

pub(crate) fn of_kind(kind: &str, key: &str) -> Context {
    ContextBuilder::new(key).kind(kind).build().unwrap()
}

#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A database that is away.
#[derive(Debug)]
pub(crate) struct Broken;

impl Broken {
    fn error<T>(operation: &'static str) -> Result<T, StoreError> {
        Err(StoreError::new(ErrorKind::Unavailable, "test", operation, "connection refused"))
    }
}

impl FeatureStoreCore for Broken {
    fn init(&self, _: &AllData) -> Result<(), StoreError> {
        Self::error("init")
    }

    fn get(&self, _: &Kind, _: &str) -> Result<Option<Item>, StoreError> {
        Self::error("get")
    }

    fn get_all(&self, _: &Kind) -> Result<Items, StoreError> {
        Self::error("get_all")
    }

    fn upsert(&self, _: &Kind, _: &str, _: &Item) -> Result<Upsert, StoreError> {
        Self::error("upsert")
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        Self::error("is_initialized")
    }

    fn is_available(&self) -> bool {
        false
    }

    fn describe(&self) -> &'static str {
        "test"
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Broken")
    }
}
