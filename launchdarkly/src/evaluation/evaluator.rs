use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use flagstore_core::{
    BigSegmentStoreStatusProvider, BigSegmentStoreWrapper, BigSegmentsStatus, CachingStoreWrapper,
    FeatureStore, Item, Kind, Shown, StoreError,
};
use launchdarkly_server_sdk::{Context, Detail, EvalError, Flag, FlagValue, Reason, Segment};
use launchdarkly_server_sdk_evaluation::{PrerequisiteEventRecorder, Store, evaluate};
use parking_lot::Mutex;
use serde_json::Value;

use super::Evaluation;
use super::membership::Memberships;
use super::parsed::{FromJson, Parsed};
use super::ready_flag::ReadyFlag;
use super::segment_forms::SegmentForms;

/// Evaluates the flags of a store, Big Segments included.
///
/// What it evaluates is what the official SDKs evaluate, by LaunchDarkly's own crate for that. It has no client: it sends
/// no events and connects to nobody. Somebody else keeps the store up to date, such as the Relay Proxy. For events there
/// is [`BigSegmentsClient`](crate::BigSegmentsClient).
///
/// Flags and segments are parsed once for each version, if the store is a
/// [`CachingStoreWrapper`](flagstore_core::CachingStoreWrapper), and then shared by all evaluations. A clone is another
/// handle to the same store.
///
/// # Results
///
/// - A flag that is not there gives the default, with [`FlagNotFound`](EvalError::FlagNotFound), and so does one that
///   cannot be parsed: a warning names it, once for each version.
/// - If the store fails, the result is the default, with [`Exception`](EvalError::Exception). A segment or prerequisite
///   that it fails to read counts as missing, and a warning says so.
/// - A flag whose value is of another type gives the default, with [`WrongType`](EvalError::WrongType).
///
/// ```
/// use flagstore_core::{
///     AllData, BigSegmentStoreWrapper, BigSegmentsStatus, CachingStoreWrapper, FeatureStore, MemoryBigSegmentStore,
///     MemoryStore,
/// };
/// use flagstore_launchdarkly::Evaluator;
/// use launchdarkly_server_sdk::ContextBuilder;
///
/// let store = CachingStoreWrapper::builder(MemoryStore::new()).build()?;
/// store.init(&AllData::from_json(
///     r#"{"flags": {"beta": {"key": "beta", "version": 1, "on": true, "variations": [false, true],
///         "rules": [{"variation": 1, "clauses": [{"op": "segmentMatch", "values": ["testers"]}]}],
///         "fallthrough": {"variation": 0}}},
///       "segments": {"testers": {"key": "testers", "version": 1, "unbounded": true, "generation": 1}}}"#,
/// )?)?;
/// let big_segments = BigSegmentStoreWrapper::builder(MemoryBigSegmentStore::new()).build()?;
///
/// let evaluator = Evaluator::new(store).with_big_segments(big_segments);
/// let result = evaluator.bool_variation_detail(&ContextBuilder::new("user-1").build()?, "beta", false);
/// assert_eq!(result.detail.value, Some(false));
/// assert_eq!(result.big_segments_status, Some(BigSegmentsStatus::Stale), "nobody has ever fed that store");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Evaluator {
    store: Source,
    big_segments: Option<BigSegmentStoreWrapper>,
    told: Arc<Told>,
}

impl Evaluator {
    /// Evaluates what is in this store, which an [`Arc`] of it is as well.
    ///
    /// Without [Big Segments](Self::with_big_segments), a flag that depends on them has the status
    /// [`NotConfigured`](flagstore_core::BigSegmentsStatus::NotConfigured), and of a Big Segment only the rules count.
    #[must_use]
    pub fn new(store: impl FeatureStore) -> Self {
        Self { store: Source::of(store), big_segments: None, told: Arc::default() }
    }

    /// Sets where to ask who is in a Big Segment. Defaults to nowhere.
    #[must_use]
    pub fn with_big_segments(self, big_segments: BigSegmentStoreWrapper) -> Self {
        Self { big_segments: Some(big_segments), ..self }
    }

    /// How the Big Segment store does, for whoever wants to watch it. Without one it is unavailable.
    #[must_use]
    pub fn big_segment_store_status_provider(&self) -> BigSegmentStoreStatusProvider {
        let provider = self.big_segments.as_ref().map(BigSegmentStoreWrapper::status_provider);
        provider.unwrap_or_else(BigSegmentStoreStatusProvider::not_configured)
    }

    /// The value of a flag for a context.
    #[must_use]
    pub fn variation(&self, context: &Context, flag_key: &str, default: impl Into<FlagValue>) -> FlagValue {
        self.value(context, flag_key, default.into(), |value| Some(value.clone()))
    }

    /// The value of a flag for a context, and how it came about.
    #[must_use]
    pub fn variation_detail(
        &self,
        context: &Context,
        flag_key: &str,
        default: impl Into<FlagValue>,
    ) -> Evaluation<FlagValue> {
        self.detail(context, flag_key, default.into(), |value| Some(value.clone()))
    }

    /// As [`variation`](Self::variation), of a boolean flag.
    #[must_use]
    pub fn bool_variation(&self, context: &Context, flag_key: &str, default: bool) -> bool {
        self.value(context, flag_key, default, FlagValue::as_bool)
    }

    /// As [`variation_detail`](Self::variation_detail), of a boolean flag.
    #[must_use]
    pub fn bool_variation_detail(
        &self,
        context: &Context,
        flag_key: &str,
        default: bool,
    ) -> Evaluation<bool> {
        self.detail(context, flag_key, default, FlagValue::as_bool)
    }

    /// As [`variation`](Self::variation), of a flag whose values are text.
    #[must_use]
    pub fn str_variation(&self, context: &Context, flag_key: &str, default: String) -> String {
        self.value(context, flag_key, default, FlagValue::as_string)
    }

    /// As [`variation_detail`](Self::variation_detail), of a flag whose values are text.
    #[must_use]
    pub fn str_variation_detail(
        &self,
        context: &Context,
        flag_key: &str,
        default: String,
    ) -> Evaluation<String> {
        self.detail(context, flag_key, default, FlagValue::as_string)
    }

    /// As [`variation`](Self::variation), of a flag whose values are numbers.
    #[must_use]
    pub fn float_variation(&self, context: &Context, flag_key: &str, default: f64) -> f64 {
        self.value(context, flag_key, default, FlagValue::as_float)
    }

    /// As [`variation_detail`](Self::variation_detail), of a flag whose values are numbers.
    #[must_use]
    pub fn float_variation_detail(&self, context: &Context, flag_key: &str, default: f64) -> Evaluation<f64> {
        self.detail(context, flag_key, default, FlagValue::as_float)
    }

    /// As [`variation`](Self::variation), of a flag whose values are numbers. A fraction is cut off.
    #[must_use]
    pub fn int_variation(&self, context: &Context, flag_key: &str, default: i64) -> i64 {
        self.value(context, flag_key, default, FlagValue::as_int)
    }

    /// As [`variation_detail`](Self::variation_detail), of a flag whose values are numbers. A fraction is cut off.
    #[must_use]
    pub fn int_variation_detail(&self, context: &Context, flag_key: &str, default: i64) -> Evaluation<i64> {
        self.detail(context, flag_key, default, FlagValue::as_int)
    }

    /// As [`variation`](Self::variation), as JSON, whatever the type.
    #[must_use]
    pub fn json_variation(&self, context: &Context, flag_key: &str, default: Value) -> Value {
        self.value(context, flag_key, default, FlagValue::as_json)
    }

    /// As [`variation_detail`](Self::variation_detail), as JSON, whatever the type.
    #[must_use]
    pub fn json_variation_detail(
        &self,
        context: &Context,
        flag_key: &str,
        default: Value,
    ) -> Evaluation<Value> {
        self.detail(context, flag_key, default, FlagValue::as_json)
    }

    fn value<T>(
        &self,
        context: &Context,
        flag_key: &str,
        default: T,
        read: impl Fn(&FlagValue) -> Option<T>,
    ) -> T {
        let mut value = None;
        self.evaluate_key(context, flag_key, |detail, _| value = detail.value.and_then(&read));
        value.unwrap_or(default)
    }

    fn detail<T>(
        &self,
        context: &Context,
        flag_key: &str,
        default: T,
        read: impl Fn(&FlagValue) -> Option<T>,
    ) -> Evaluation<T> {
        let mut evaluation = Evaluation { detail: Detail::empty(Reason::Off), big_segments_status: None };
        self.evaluate_key(context, flag_key, |detail, big_segments_status| {
            evaluation.big_segments_status = big_segments_status;
            evaluation.detail = match detail.value.map(&read) {
                Some(None) => Detail::err(EvalError::WrongType),
                Some(value) => {
                    Detail { value, variation_index: detail.variation_index, reason: detail.reason }
                }
                None => Detail::empty(detail.reason),
            };
        });
        evaluation.detail.value.get_or_insert(default);
        evaluation
    }

    /// Evaluates the flag of that key. An error is a result without a value, too. If `take` is called twice, the second
    /// result counts.
    fn evaluate_key(
        &self,
        context: &Context,
        flag_key: &str,
        mut take: impl FnMut(Detail<&FlagValue>, Option<BigSegmentsStatus>),
    ) {
        let memberships = Memberships::default();
        let is_found = self.with(&Kind::FEATURES, flag_key, |flag| {
            self.evaluate(context, flag, &memberships, None, &mut take);
        });
        let error = match is_found {
            Ok(true) => return,
            Ok(false) => EvalError::FlagNotFound,
            Err(error) => {
                tracing::warn!(
                    "the default is served for {}/{}: {error}",
                    Kind::FEATURES,
                    Shown::new(flag_key)
                );
                EvalError::Exception
            }
        };
        take(Detail::err(error), None);
    }

    /// Evaluates a flag, and lets `finish` make of the result what outlives the flag.
    pub(super) fn evaluate<R>(
        &self,
        context: &Context,
        ready: &ReadyFlag,
        memberships: &Memberships,
        prerequisites: Option<&dyn PrerequisiteEventRecorder>,
        finish: impl FnOnce(Detail<&FlagValue>, Option<BigSegmentsStatus>) -> R,
    ) -> R {
        if let Some(detail) = ready.look_up(context) {
            return finish(detail, None);
        }
        let call = Call { evaluator: self, context, memberships };
        let detail = evaluate(&call, &ready.flag, context, prerequisites);
        finish(detail, memberships.take_status())
    }

    pub(super) fn store(&self) -> &dyn FeatureStore {
        self.store.as_dyn()
    }

    /// Has the item of that key read, if there is one that can be parsed. It is read twice if the first one turns out to
    /// be too old.
    fn with<T>(&self, kind: &Kind, key: &str, mut read: impl FnMut(&T)) -> Result<bool, StoreError>
    where
        Parsed<T>: Send + Sync,
        T: FromJson + 'static,
    {
        // What is read is not handed up step by step, since at each it would be copied.
        let read = |item: &Item| self.parsed(kind, key, item).map(&mut read).is_some();
        let is_read = match &self.store {
            Source::Cached(store) => store.read(kind, key, read)?,
            Source::Other(store) => store.get(kind, key)?.as_ref().map(read),
        };
        Ok(is_read == Some(true))
    }

    /// What is parsed of an item. If it cannot be parsed, it is logged once why.
    pub(super) fn parsed<'a, T>(&self, kind: &Kind, key: &str, item: &'a Item) -> Option<&'a T>
    where
        Parsed<T>: Send + Sync,
        T: FromJson + 'static,
    {
        match item.decode_ref::<Parsed<T>>() {
            Ok(Some(Parsed(Ok(parsed)))) => return Some(parsed),
            Ok(Some(Parsed(Err(error)))) => self.told.unreadable(kind, key, item, error),
            Ok(None) => {}
            Err(error) => self.told.unreadable(kind, key, item, &error),
        }
        None
    }
}

impl fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.big_segments {
            Some(big_segments) => write!(f, "Evaluator({}, {big_segments})", self.store()),
            None => write!(f, "Evaluator({})", self.store()),
        }
    }
}

#[derive(Clone)]
enum Source {
    /// From this one an item can be read without a copy of its handle, which is a good part of a short evaluation.
    Cached(CachingStoreWrapper),
    Other(Arc<dyn FeatureStore>),
}

impl Source {
    fn of(store: impl FeatureStore) -> Self {
        match (&store as &dyn Any).downcast_ref::<CachingStoreWrapper>() {
            Some(cached) => Self::Cached(cached.clone()),
            None => Self::Other(Arc::new(store)),
        }
    }

    fn as_dyn(&self) -> &dyn FeatureStore {
        match self {
            Self::Cached(store) => store,
            Self::Other(store) => &**store,
        }
    }
}

/// One evaluation, and where it gets what it needs.
struct Call<'a> {
    evaluator: &'a Evaluator,
    context: &'a Context,
    memberships: &'a Memberships,
}

impl Call<'_> {
    fn read<T, R>(&self, kind: &Kind, key: &str, read: impl Fn(&T) -> R) -> Option<R>
    where
        Parsed<T>: Send + Sync,
        T: FromJson + 'static,
    {
        let mut made = None;
        match self.evaluator.with(kind, key, |parsed| made = Some(read(parsed))) {
            Ok(true) => return made,
            Ok(false) => {}
            Err(error) => tracing::warn!("{kind}/{} counts as missing: {error}", Shown::new(key)),
        }
        None
    }
}

impl Store for Call<'_> {
    fn flag(&self, key: &str) -> Option<Flag> {
        self.read(&Kind::FEATURES, key, |ready: &ReadyFlag| ready.flag.clone())
    }

    fn segment(&self, key: &str) -> Option<Segment> {
        self.read(&Kind::SEGMENTS, key, |segment: &SegmentForms| {
            let form = self.memberships.form(segment, self.context, self.evaluator.big_segments.as_ref());
            form.segment.clone()
        })
    }
}

/// Of which items, and in which version, it was logged that they cannot be parsed.
#[derive(Default)]
struct Told(Mutex<HashMap<(Kind, Box<str>), u64>>);

impl Told {
    fn unreadable(&self, kind: &Kind, key: &str, item: &Item, error: &dyn fmt::Display) {
        let before = self.0.lock().insert((kind.clone(), key.into()), item.version());
        if before != Some(item.version()) {
            tracing::warn!(
                "{kind}/{} counts as missing, because version {} cannot be parsed: {error}",
                Shown::new(key),
                item.version()
            );
        }
    }
}
