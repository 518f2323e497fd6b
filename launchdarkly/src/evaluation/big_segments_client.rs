use std::fmt;
use std::sync::Arc;

use flagstore_core::{
    BigSegmentStoreStatusProvider, BigSegmentStoreWrapper, BigSegmentsStatus, FeatureStore,
};
use launchdarkly_server_sdk::{
    BuildError, Client, ConfigBuilder, Context, Detail, FlagDetail, FlagDetailConfig, FlagValue,
    PersistentDataStoreBuilder,
};
use serde_json::Value;

use super::Evaluation;
use super::scoped_store::ScopedStore;

/// The official client, for flags that depend on Big Segments.
///
/// Its methods are those of [`Client`] of the same names, with its events, and with Big Segments in what they evaluate.
/// The details have the Big Segments status beside them, which the client's own reasons and events have no room for.
///
/// For whatever else a client does ([`start_with_default_executor`](Client::start_with_default_executor),
/// [`track_event`](Client::track_event), [`close`](Client::close)) there is [`client`](Self::client). An evaluation by
/// that one does not know of Big Segments: of them only the rules count, and a warning says so, once. Put it inside
/// [`with_context`](Self::with_context).
///
/// # How
///
/// The client evaluates on the thread that calls it, and asks its store for each segment on the way. So while one of
/// these methods runs, the store answers for its context: with a segment that includes it, excludes it, or leaves the
/// decision to the rules. For that the client has to ask: the SDK's own cache is off, and the cache is that of the
/// [`CachingStoreWrapper`](flagstore_core::CachingStoreWrapper).
///
/// ```
/// use flagstore_core::{BigSegmentStoreWrapper, CachingStoreWrapper, MemoryBigSegmentStore, MemoryStore};
/// use flagstore_launchdarkly::BigSegmentsClient;
/// use launchdarkly_server_sdk::{ConfigBuilder, ContextBuilder, NullEventProcessorBuilder};
///
/// let store = CachingStoreWrapper::builder(MemoryStore::new()).build()?;
/// let big_segments = BigSegmentStoreWrapper::builder(MemoryBigSegmentStore::new()).build()?;
/// let config = ConfigBuilder::new("sdk-key").daemon_mode(true).event_processor(&NullEventProcessorBuilder::new());
/// let client = BigSegmentsClient::build(config, store, big_segments)?;
///
/// let result = client.bool_variation_detail(&ContextBuilder::new("user-1").build()?, "beta", false);
/// assert_eq!((result.detail.value, result.big_segments_status), (Some(false), None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BigSegmentsClient {
    client: Arc<Client>,
    store: ScopedStore,
}

impl BigSegmentsClient {
    /// Makes a client of this configuration that keeps its flags and segments in `store`, and asks `big_segments` who
    /// is in a Big Segment. Without that (`None`), a flag that depends on one has the status
    /// [`NotConfigured`](BigSegmentsStatus::NotConfigured), and only the segment's rules count.
    ///
    /// A data store in the configuration is replaced, since the client must not have a cache of its own.
    ///
    /// # Errors
    ///
    /// Those of [`ConfigBuilder::build`] and [`Client::build`].
    pub fn build(
        config: ConfigBuilder,
        store: impl FeatureStore,
        big_segments: impl Into<Option<BigSegmentStoreWrapper>>,
    ) -> Result<Self, BuildError> {
        let store = ScopedStore::new(Arc::new(store), big_segments.into());
        let mut data_store = PersistentDataStoreBuilder::new(Arc::new(store.clone()));
        data_store.no_caching();
        let client = Client::build(config.data_store(&data_store).build()?)?;
        Ok(Self { client: Arc::new(client), store })
    }

    /// The client itself, for everything that is not an evaluation. Behind an [`Arc`], since a migrator wants that.
    #[must_use]
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// How the Big Segment store does, for whoever wants to watch it. Without one it is unavailable.
    #[must_use]
    pub fn big_segment_store_status_provider(&self) -> BigSegmentStoreStatusProvider {
        let provider = self.store.big_segments().map(BigSegmentStoreWrapper::status_provider);
        provider.unwrap_or_else(BigSegmentStoreStatusProvider::not_configured)
    }

    /// Makes any other call of the client, such as [`Client::migration_variation`], with Big Segments answered for this
    /// context. Returns its result, and the worst Big Segments status on the way, if there was one.
    ///
    /// What `call` evaluates has to be for the same context, and on this thread.
    pub fn with_context<R>(
        &self,
        context: &Context,
        call: impl FnOnce(&Client) -> R,
    ) -> (R, Option<BigSegmentsStatus>) {
        self.store.scope(context, || call(&self.client))
    }

    /// [`Client::variation`].
    #[must_use]
    pub fn variation(&self, context: &Context, flag_key: &str, default: impl Into<FlagValue>) -> FlagValue {
        let default = default.into();
        self.with_context(context, |client| client.variation(context, flag_key, default)).0
    }

    /// [`Client::variation_detail`], and the Big Segments status.
    #[must_use]
    pub fn variation_detail(
        &self,
        context: &Context,
        flag_key: &str,
        default: impl Into<FlagValue>,
    ) -> Evaluation<FlagValue> {
        let default = default.into();
        self.detail(context, |client| client.variation_detail(context, flag_key, default))
    }

    /// [`Client::bool_variation`].
    #[must_use]
    pub fn bool_variation(&self, context: &Context, flag_key: &str, default: bool) -> bool {
        self.with_context(context, |client| client.bool_variation(context, flag_key, default)).0
    }

    /// [`Client::bool_variation_detail`], and the Big Segments status.
    #[must_use]
    pub fn bool_variation_detail(
        &self,
        context: &Context,
        flag_key: &str,
        default: bool,
    ) -> Evaluation<bool> {
        self.detail(context, |client| client.bool_variation_detail(context, flag_key, default))
    }

    /// [`Client::str_variation`].
    #[must_use]
    pub fn str_variation(&self, context: &Context, flag_key: &str, default: String) -> String {
        self.with_context(context, |client| client.str_variation(context, flag_key, default)).0
    }

    /// [`Client::str_variation_detail`], and the Big Segments status.
    #[must_use]
    pub fn str_variation_detail(
        &self,
        context: &Context,
        flag_key: &str,
        default: String,
    ) -> Evaluation<String> {
        self.detail(context, |client| client.str_variation_detail(context, flag_key, default))
    }

    /// [`Client::float_variation`].
    #[must_use]
    pub fn float_variation(&self, context: &Context, flag_key: &str, default: f64) -> f64 {
        self.with_context(context, |client| client.float_variation(context, flag_key, default)).0
    }

    /// [`Client::float_variation_detail`], and the Big Segments status.
    #[must_use]
    pub fn float_variation_detail(&self, context: &Context, flag_key: &str, default: f64) -> Evaluation<f64> {
        self.detail(context, |client| client.float_variation_detail(context, flag_key, default))
    }

    /// [`Client::int_variation`].
    #[must_use]
    pub fn int_variation(&self, context: &Context, flag_key: &str, default: i64) -> i64 {
        self.with_context(context, |client| client.int_variation(context, flag_key, default)).0
    }

    /// [`Client::int_variation_detail`], and the Big Segments status.
    #[must_use]
    pub fn int_variation_detail(&self, context: &Context, flag_key: &str, default: i64) -> Evaluation<i64> {
        self.detail(context, |client| client.int_variation_detail(context, flag_key, default))
    }

    /// [`Client::json_variation`].
    #[must_use]
    pub fn json_variation(&self, context: &Context, flag_key: &str, default: Value) -> Value {
        self.with_context(context, |client| client.json_variation(context, flag_key, default)).0
    }

    /// [`Client::json_variation_detail`], and the Big Segments status.
    #[must_use]
    pub fn json_variation_detail(
        &self,
        context: &Context,
        flag_key: &str,
        default: Value,
    ) -> Evaluation<Value> {
        self.detail(context, |client| client.json_variation_detail(context, flag_key, default))
    }

    /// [`Client::all_flags_detail`], and the worst Big Segments status of all flags together. For one that each flag has of
    /// its own, see [`Evaluator::all_flags`](crate::Evaluator::all_flags).
    #[must_use]
    pub fn all_flags_detail(
        &self,
        context: &Context,
        config: FlagDetailConfig,
    ) -> (FlagDetail, Option<BigSegmentsStatus>) {
        self.with_context(context, |client| client.all_flags_detail(context, config))
    }

    fn detail<T>(&self, context: &Context, call: impl FnOnce(&Client) -> Detail<T>) -> Evaluation<T> {
        let (detail, big_segments_status) = self.with_context(context, call);
        Evaluation { detail, big_segments_status }
    }
}

impl fmt::Debug for BigSegmentsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BigSegmentsClient({:?})", self.store)
    }
}
