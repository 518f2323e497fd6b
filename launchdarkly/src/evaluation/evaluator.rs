use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use flagstore_core::{
    BigSegmentStoreStatusProvider, BigSegmentStoreWrapper, CachingStoreWrapper, FeatureStore, Item, Kind,
    Shown, StoreError,
};
use launchdarkly_server_sdk::{Context, Detail, EvalError, Flag, FlagValue, Segment};
use launchdarkly_server_sdk_evaluation::{PrerequisiteEventRecorder, Store, evaluate};
use parking_lot::Mutex;
use serde_json::Value;

use super::Evaluation;
use super::membership::Memberships;
use super::parsed::{FromJson, Parsed};
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
        let evaluation = self.variation_detail(context, flag_key, default);
        // There is one, so this one is never made.
        evaluation.detail.value.unwrap_or(FlagValue::Json(Value::Null))
    }

    /// The value of a flag for a context, and how it came about.
    #[must_use]
    pub fn variation_detail(
        &self,
        context: &Context,
        flag_key: &str,
        default: impl Into<FlagValue>,
    ) -> Evaluation<FlagValue> {
        self.typed(context, flag_key, default.into(), |value| Some(value.clone()))
    }

    /// As [`variation`](Self::variation), of a boolean flag.
    #[must_use]
    pub fn bool_variation(&self, context: &Context, flag_key: &str, default: bool) -> bool {
        self.bool_variation_detail(context, flag_key, default).detail.value.unwrap_or_default()
    }

    /// As [`variation_detail`](Self::variation_detail), of a boolean flag.
    #[must_use]
    pub fn bool_variation_detail(
        &self,
        context: &Context,
        flag_key: &str,
        default: bool,
    ) -> Evaluation<bool> {
        self.typed(context, flag_key, default, FlagValue::as_bool)
    }

    /// As [`variation`](Self::variation), of a flag whose values are text.
    #[must_use]
    pub fn str_variation(&self, context: &Context, flag_key: &str, default: String) -> String {
        self.str_variation_detail(context, flag_key, default).detail.value.unwrap_or_default()
    }

    /// As [`variation_detail`](Self::variation_detail), of a flag whose values are text.
    #[must_use]
    pub fn str_variation_detail(
        &self,
        context: &Context,
        flag_key: &str,
        default: String,
    ) -> Evaluation<String> {
        self.typed(context, flag_key, default, FlagValue::as_string)
    }

    /// As [`variation`](Self::variation), of a flag whose values are numbers.
    #[must_use]
    pub fn float_variation(&self, context: &Context, flag_key: &str, default: f64) -> f64 {
        self.float_variation_detail(context, flag_key, default).detail.value.unwrap_or_default()
    }

    /// As [`variation_detail`](Self::variation_detail), of a flag whose values are numbers.
    #[must_use]
    pub fn float_variation_detail(&self, context: &Context, flag_key: &str, default: f64) -> Evaluation<f64> {
        self.typed(context, flag_key, default, FlagValue::as_float)
    }

    /// As [`variation`](Self::variation), of a flag whose values are numbers. A fraction is cut off.
    #[must_use]
    pub fn int_variation(&self, context: &Context, flag_key: &str, default: i64) -> i64 {
        self.int_variation_detail(context, flag_key, default).detail.value.unwrap_or_default()
    }

    /// As [`variation_detail`](Self::variation_detail), of a flag whose values are numbers. A fraction is cut off.
    #[must_use]
    pub fn int_variation_detail(&self, context: &Context, flag_key: &str, default: i64) -> Evaluation<i64> {
        self.typed(context, flag_key, default, FlagValue::as_int)
    }

    /// As [`variation`](Self::variation), as JSON, whatever the type.
    #[must_use]
    pub fn json_variation(&self, context: &Context, flag_key: &str, default: Value) -> Value {
        self.json_variation_detail(context, flag_key, default).detail.value.unwrap_or_default()
    }

    /// As [`variation_detail`](Self::variation_detail), as JSON, whatever the type.
    #[must_use]
    pub fn json_variation_detail(
        &self,
        context: &Context,
        flag_key: &str,
        default: Value,
    ) -> Evaluation<Value> {
        self.typed(context, flag_key, default, FlagValue::as_json)
    }

    fn typed<T>(
        &self,
        context: &Context,
        flag_key: &str,
        default: T,
        read: impl FnOnce(&FlagValue) -> Option<T>,
    ) -> Evaluation<T> {
        let without = |error, default| Evaluation {
            detail: Detail::err_default(error, default),
            big_segments_status: None,
        };
        let flag = match self.get::<Flag>(&Kind::FEATURES, flag_key) {
            Ok(flag) => flag,
            Err(error) => {
                tracing::warn!(
                    "the default is served for {}/{}: {error}",
                    Kind::FEATURES,
                    Shown::new(flag_key)
                );
                return without(EvalError::Exception, default);
            }
        };
        let Some(Parsed(Ok(flag))) = flag.as_deref() else {
            return without(EvalError::FlagNotFound, default);
        };
        self.evaluate(context, flag, None, |detail| match detail.value {
            None => Detail { value: Some(default), variation_index: None, reason: detail.reason },
            Some(value) => match read(value) {
                Some(value) => Detail {
                    value: Some(value),
                    variation_index: detail.variation_index,
                    reason: detail.reason,
                },
                None => Detail::err_default(EvalError::WrongType, default),
            },
        })
    }

    /// Evaluates a flag, and lets `finish` make of the result what outlives the flag.
    pub(super) fn evaluate<T>(
        &self,
        context: &Context,
        flag: &Flag,
        prerequisites: Option<&dyn PrerequisiteEventRecorder>,
        finish: impl FnOnce(Detail<&FlagValue>) -> Detail<T>,
    ) -> Evaluation<T> {
        let call = Call { evaluator: self, context, memberships: Memberships::default() };
        let detail = finish(evaluate(&call, flag, context, prerequisites));
        Evaluation { detail, big_segments_status: call.memberships.status() }
    }

    pub(super) fn store(&self) -> &dyn FeatureStore {
        self.store.as_dyn()
    }

    fn get<T>(&self, kind: &Kind, key: &str) -> Result<Option<Arc<Parsed<T>>>, StoreError>
    where
        Parsed<T>: Send + Sync,
        T: FromJson + 'static,
    {
        let parsed = |item: &Item| self.parsed(kind, key, item);
        Ok(match &self.store {
            Source::Cached(store) => store.read(kind, key, parsed)?.flatten(),
            Source::Other(store) => store.get(kind, key)?.as_ref().and_then(parsed),
        })
    }

    /// What is parsed of an item. If it cannot be parsed, it is logged once why.
    pub(super) fn parsed<T>(&self, kind: &Kind, key: &str, item: &Item) -> Option<Arc<Parsed<T>>>
    where
        Parsed<T>: Send + Sync,
        T: FromJson + 'static,
    {
        let parsed = item.decode::<Parsed<T>>();
        match &parsed {
            Ok(Some(parsed)) => {
                if let Parsed(Err(error)) = &**parsed {
                    self.told.unreadable(kind, key, item, error);
                }
            }
            Ok(None) => {}
            Err(error) => self.told.unreadable(kind, key, item, error),
        }
        parsed.ok().flatten()
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
    memberships: Memberships,
}

impl Call<'_> {
    fn get<T>(&self, kind: &Kind, key: &str) -> Option<Arc<Parsed<T>>>
    where
        Parsed<T>: Send + Sync,
        T: FromJson + 'static,
    {
        self.evaluator.get(kind, key).unwrap_or_else(|error| {
            tracing::warn!("{kind}/{} counts as missing: {error}", Shown::new(key));
            None
        })
    }
}

impl Store for Call<'_> {
    fn flag(&self, key: &str) -> Option<Flag> {
        self.get::<Flag>(&Kind::FEATURES, key)?.0.as_ref().ok().cloned()
    }

    fn segment(&self, key: &str) -> Option<Segment> {
        let segment = self.get::<SegmentForms>(&Kind::SEGMENTS, key)?;
        let segment = segment.0.as_ref().ok()?;
        let form = self.memberships.form(segment, self.context, self.evaluator.big_segments.as_ref());
        Some(form.segment.clone())
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
