//! What the tests share: a Big Segment store that tells what it was asked, and everything that evaluates.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flagstore_core::{
    AllData, BigSegmentMembership, BigSegmentStore, BigSegmentStoreBuilder, BigSegmentStoreStatus,
    BigSegmentStoreWrapper, BigSegmentsStatus, CacheMode, CachingStoreWrapper, ErrorKind, FeatureStore,
    FeatureStoreCore, Item, Items, Kind, MemoryStore, StoreError, UnixMillis, Upsert, context_hash,
};
use flagstore_launchdarkly::{BigSegmentsClient, Evaluation, Evaluator};
use launchdarkly_server_sdk::{ConfigBuilder, Context, ContextBuilder, NullEventProcessorBuilder};
use parking_lot::Mutex;
use serde_json::Value;

use crate::fault::Fault;

pub(crate) const HEALTHY: BigSegmentStoreStatus = BigSegmentStoreStatus { available: true, stale: false };
pub(crate) const STALE: BigSegmentStoreStatus = BigSegmentStoreStatus { available: true, stale: true };
pub(crate) const UNAVAILABLE: BigSegmentStoreStatus =
    BigSegmentStoreStatus { available: false, stale: false };

/// Makes tests of these functions, and a list for the mutants: a case that is left out is dead code.
macro_rules! cases {
    ($($name:ident),+ $(,)?) => {
        pub(crate) const CASES: &[(&str, fn())] = &[$((stringify!($name), $name)),+];

        mod tests {
            $(#[test]
            fn $name() {
                super::$name();
            })+
        }
    };
}
pub(crate) use cases;

/// A Big Segment store whose every answer is set by the test.
#[derive(Debug, Default)]
pub(crate) struct TestBigSegments {
    state: Mutex<State>,
    fault: Option<Fault>,
}

#[derive(Debug, Default)]
struct State {
    /// By context hash. An error is one that cannot be read.
    memberships: HashMap<String, Result<Option<BigSegmentMembership>, ()>>,
    synchronized_on: Option<UnixMillis>,
    is_down: bool,
    queries: Vec<String>,
    polls: usize,
}

impl TestBigSegments {
    pub(crate) fn set(&self, context_key: &str, included: &[&str], excluded: &[&str]) {
        let (mut included, mut excluded) = (included.to_vec(), excluded.to_vec());
        match self.fault {
            Some(Fault::TakesExcludedForIncluded) => included.append(&mut excluded),
            Some(Fault::TakesExcludedForUnknown) => excluded.clear(),
            Some(Fault::ExclusionWins) => included.retain(|segment_ref| !excluded.contains(segment_ref)),
            _ => {}
        }
        let membership = BigSegmentMembership::new(included, excluded);
        self.state.lock().memberships.insert(context_hash(context_key), Ok(Some(membership)));
    }

    pub(crate) fn set_null(&self, context_key: &str) {
        self.state.lock().memberships.insert(context_hash(context_key), Ok(None));
    }

    pub(crate) fn set_unreadable(&self, context_key: &str) {
        self.state.lock().memberships.insert(context_hash(context_key), Err(()));
    }

    pub(crate) fn set_synchronized_on(&self, time: Option<UnixMillis>) {
        self.state.lock().synchronized_on = time;
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.state.lock().is_down = is_down;
    }

    /// The hashes that were asked for, in order.
    pub(crate) fn queries(&self) -> Vec<String> {
        self.state.lock().queries.clone()
    }

    pub(crate) fn polls(&self) -> usize {
        self.state.lock().polls
    }
}

impl BigSegmentStore for TestBigSegments {
    fn get_metadata(&self) -> Result<Option<UnixMillis>, StoreError> {
        let mut state = self.state.lock();
        state.polls += 1;
        if state.is_down {
            return Err(StoreError::new(ErrorKind::Unavailable, "test", "get_metadata", "down"));
        }
        Ok(state.synchronized_on)
    }

    fn get_membership(&self, context_hash: &str) -> Result<Option<BigSegmentMembership>, StoreError> {
        let mut state = self.state.lock();
        let times = if self.fault == Some(Fault::AsksTwice) { 2 } else { 1 };
        state.queries.extend(std::iter::repeat_n(context_hash.to_owned(), times));
        let failed = |kind, reason| Err(StoreError::new(kind, "test", "get_membership", reason));
        let answer = match state.memberships.get(context_hash) {
            _ if state.is_down => failed(ErrorKind::Unavailable, "down"),
            Some(Err(())) => failed(ErrorKind::Corrupt, "unreadable"),
            Some(Ok(membership)) => Ok(membership.clone()),
            None => Ok(None),
        };
        match (self.fault, &answer) {
            (Some(Fault::TakesErrorsForUnknown), Err(_)) => Ok(None),
            (Some(Fault::TakesUnknownForAnError), Ok(None)) => failed(ErrorKind::Other, "nothing there"),
            (Some(Fault::TakesEmptyForAnError), Ok(Some(membership))) if membership.is_empty() => {
                failed(ErrorKind::Other, "empty")
            }
            _ => answer,
        }
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
    fault: Option<Fault>,
}

/// Something that evaluates.
pub(crate) struct Subject {
    pub(crate) way: Way,
    name: String,
    wrapper: Option<BigSegmentStoreWrapper>,
    fault: Option<Fault>,
}

/// How it evaluates.
pub(crate) enum Way {
    Evaluator(Evaluator),
    Client(Box<BigSegmentsClient>),
}

impl Subject {
    pub(crate) fn evaluate(&self, context: &Context, flag_key: &str) -> Evaluation<bool> {
        let other = user("a");
        let mut context = context;
        match (self.fault, &self.wrapper) {
            (Some(Fault::MixesContexts), _) => context = &other,
            (Some(Fault::CachesNothing), Some(wrapper)) => wrapper.clear_cache(),
            (Some(Fault::AsksWithoutNeed), Some(wrapper)) => drop(wrapper.get_membership("needless")),
            _ => {}
        }
        let mut evaluation = match &self.way {
            Way::Evaluator(evaluator) => evaluator.bool_variation_detail(context, flag_key, false),
            Way::Client(client) => client.bool_variation_detail(context, flag_key, false),
        };
        if let Some(fault) = self.fault {
            evaluation.big_segments_status = fault.in_status(evaluation.big_segments_status);
        }
        evaluation
    }

    /// Value and status.
    pub(crate) fn get(&self, context: &Context, flag_key: &str) -> (bool, Option<BigSegmentsStatus>) {
        let evaluation = self.evaluate(context, flag_key);
        (evaluation.detail.value.unwrap(), evaluation.big_segments_status)
    }

    /// How its Big Segment store does.
    pub(crate) fn status(&self) -> BigSegmentStoreStatus {
        let provider = match &self.way {
            Way::Evaluator(evaluator) => evaluator.big_segment_store_status_provider(),
            Way::Client(client) => client.big_segment_store_status_provider(),
        };
        match (provider.status(), self.fault) {
            (UNAVAILABLE, Some(Fault::SaysAvailableForNotConfigured)) if self.wrapper.is_none() => HEALTHY,
            (status, _) => status,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl World {
    /// Value and status of a flag.
    pub(crate) fn get(&self, context: &Context, flag_key: &str) -> (bool, Option<BigSegmentsStatus>) {
        if self.fault == Some(Fault::PollsWithEachEvaluation) {
            drop(self.big_segments.get_metadata());
        }
        self.subject.get(context, flag_key)
    }

    pub(crate) fn put(&self, kind: &Kind, key: &str, json: &str) {
        let mut json = json.to_owned();
        if let Some(fault) = self.fault {
            let mut item: Value = serde_json::from_str(&json).unwrap();
            if fault == Fault::SeesNoNewVersion && item["version"] != 1 {
                return;
            }
            if *kind == Kind::SEGMENTS {
                fault.in_segment(&mut item);
            } else {
                fault.in_flag(&mut item);
            }
            json = item.to_string();
        }
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
    worlds_as_of(UnixMillis::now(), configure)
}

/// The same with Big Segments that were up to date at this time.
pub(crate) fn worlds_as_of(
    time: UnixMillis,
    configure: impl Fn(BigSegmentStoreBuilder) -> BigSegmentStoreBuilder,
) -> impl Iterator<Item = World> {
    let fault = Fault::of_this_thread();
    SUBJECTS.into_iter().map(move |(way, cache)| {
        let big_segments = Arc::new(TestBigSegments { fault, ..TestBigSegments::default() });
        big_segments.set_synchronized_on(Some(time));
        let hour = Duration::from_secs(3600);
        let builder = configure(BigSegmentStoreWrapper::builder(Arc::clone(&big_segments)));
        let builder = match fault {
            Some(Fault::CachesForEver) => builder.context_cache_time(hour),
            Some(Fault::HasNoLimit) => builder.context_cache_size(1_000_000),
            Some(Fault::PollsOnce) => builder.status_poll_interval(hour).stale_after(hour),
            _ => builder,
        };
        world(big_segments, Some(builder.build().unwrap()), way, cache)
    })
}

/// Everything that evaluates, without a Big Segment store.
pub(crate) fn worlds_without_big_segments() -> impl Iterator<Item = World> {
    SUBJECTS.into_iter().map(|(way, cache)| world(Arc::default(), None, way, cache))
}

const SUBJECTS: [(&str, &str); 6] = [
    (EVALUATOR, BARE),
    (EVALUATOR, "cached"),
    (OF_ANY_STORE, BARE),
    (OF_ANY_STORE, "cached"),
    ("client", BARE),
    ("client", "cached"),
];
const EVALUATOR: &str = "evaluator";
/// One that does not know that its store has a cache.
const OF_ANY_STORE: &str = "evaluator of any store";
const BARE: &str = "bare";

fn world(
    big_segments: Arc<TestBigSegments>,
    wrapper: Option<BigSegmentStoreWrapper>,
    way: &str,
    cache: &str,
) -> World {
    let name = format!("{way}, {cache}");
    let fault = Fault::of_this_thread();
    let mode = if cache == BARE { CacheMode::Off } else { CacheMode::Forever };
    let store = CachingStoreWrapper::builder(MemoryStore::new()).mode(mode).build().unwrap();
    let evaluator = |evaluator: Evaluator| match &wrapper {
        Some(wrapper) => Way::Evaluator(evaluator.with_big_segments(wrapper.clone())),
        None => Way::Evaluator(evaluator),
    };
    let way = match way {
        EVALUATOR => evaluator(Evaluator::new(store.clone())),
        OF_ANY_STORE => evaluator(Evaluator::new(Arc::new(store.clone()))),
        _ => {
            Way::Client(Box::new(BigSegmentsClient::build(daemon(), store.clone(), wrapper.clone()).unwrap()))
        }
    };
    World { store, big_segments, subject: Subject { way, name, wrapper, fault }, fault }
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
    // What has a fault would only be waited for in vain.
    let patience = if Fault::of_this_thread().is_some() { 300 } else { 30_000 };
    let deadline = Instant::now() + Duration::from_millis(patience);
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
