use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use flagstore_core::{BigSegmentStoreWrapper, BigSegmentsStatus, FeatureStore, Kind, Shown};
use launchdarkly_server_sdk::{
    AllData, Context, DataKind, PersistentDataStore, PersistentDataStoreFactory, PersistentStoreError,
    SerializedItem,
};

use super::membership::Memberships;
use super::parsed::Parsed;
use super::segment_forms::{Members, SegmentForms};
use crate::flagstore::Flagstore;

// The client evaluates on the thread that calls it, and asks its store for each segment on the way. So what this thread
// has set here is what the question is about. References, so that no evaluation pays for a copy of its context.
scoped_tls::scoped_thread_local!(static CONTEXT: Context);
scoped_tls::scoped_thread_local!(static CALL: Call);

/// A call of a client that is under way.
struct Call {
    /// Which one, for threads on which the call of one client makes another client evaluate.
    client: u64,
    memberships: Memberships,
}

/// A store as the SDK sees it while a client of ours is evaluating: segments are answered for the context of the call.
#[derive(Debug, Clone)]
pub(super) struct ScopedStore {
    client: u64,
    plug: Flagstore,
    store: Arc<dyn FeatureStore>,
    big_segments: Option<BigSegmentStoreWrapper>,
    told: Arc<AtomicBool>,
}

impl ScopedStore {
    pub(super) fn new(store: Arc<dyn FeatureStore>, big_segments: Option<BigSegmentStoreWrapper>) -> Self {
        static CLIENTS: AtomicU64 = AtomicU64::new(0);
        Self {
            client: CLIENTS.fetch_add(1, Ordering::Relaxed),
            plug: Flagstore::cached(Arc::clone(&store)),
            store,
            big_segments,
            told: Arc::default(),
        }
    }

    pub(super) fn big_segments(&self) -> Option<&BigSegmentStoreWrapper> {
        self.big_segments.as_ref()
    }

    /// Makes a call for this context, during which segments are answered for it. A call inside of it, or a panic, leaves
    /// this one as it was.
    pub(super) fn scope<R>(
        &self,
        context: &Context,
        call: impl FnOnce() -> R,
    ) -> (R, Option<BigSegmentsStatus>) {
        let scope = Call { client: self.client, memberships: Memberships::default() };
        let result = CONTEXT.set(context, || CALL.set(&scope, call));
        (result, scope.memberships.take_status())
    }

    /// The JSON of the segment's form for the call that is under way on this thread; `None` if there is none.
    fn json_for_call(&self, segment: &SegmentForms) -> Option<String> {
        if !CALL.is_set() {
            return None;
        }
        CALL.with(|call| {
            let form =
                |context: &Context| call.memberships.form(segment, context, self.big_segments.as_ref());
            (call.client == self.client).then(|| CONTEXT.with(|context| form(context).json.to_string()))
        })
    }

    fn warn_of_call_without_context(&self, key: &str) {
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "{}/{} is a Big Segment in an evaluation whose context is not known: only its rules count. Make the \
                 call through BigSegmentsClient, or inside its with_context. This is said once",
                Kind::SEGMENTS,
                Shown::new(key)
            );
        }
    }
}

impl PersistentDataStoreFactory for ScopedStore {
    fn create_persistent_data_store(&self) -> Result<Box<dyn PersistentDataStore>, std::io::Error> {
        Ok(Box::new(self.clone()))
    }
}

impl PersistentDataStore for ScopedStore {
    fn init(&mut self, data: AllData<SerializedItem, SerializedItem>) -> Result<(), PersistentStoreError> {
        self.plug.init(data)
    }

    fn flag(&self, key: &str) -> Result<Option<SerializedItem>, PersistentStoreError> {
        self.plug.flag(key)
    }

    fn segment(&self, key: &str) -> Result<Option<SerializedItem>, PersistentStoreError> {
        let item = self.store.get(&Kind::SEGMENTS, key);
        let Some(item) = item.map_err(|error| PersistentStoreError::new(error.to_string()))? else {
            return Ok(None);
        };
        // The plug says why it cannot be parsed.
        let Ok(Some(Parsed(Ok(segment)))) = item.decode_ref::<Parsed<SegmentForms>>() else {
            return self.plug.segment(key);
        };
        let json = match (self.json_for_call(segment), &segment.members) {
            (Some(json), _) => json,
            (None, Members::Listed { .. }) => return self.plug.segment(key),
            (None, Members::Big { .. }) => {
                self.warn_of_call_without_context(key);
                segment.neither.json.to_string()
            }
        };
        Ok(Some(SerializedItem { version: item.version(), deleted: false, serialized_item: json }))
    }

    fn all_flags(&self) -> Result<HashMap<String, SerializedItem>, PersistentStoreError> {
        self.plug.all_flags()
    }

    /// Always says that the update was applied. The SDK would otherwise read the item for its cache, which it does not
    /// have here, and of a segment that is no evaluation.
    fn upsert(
        &mut self,
        kind: DataKind,
        key: &str,
        serialized_item: SerializedItem,
    ) -> Result<bool, PersistentStoreError> {
        self.plug.upsert(kind, key, serialized_item).map(|_| true)
    }

    fn is_initialized(&self) -> bool {
        self.plug.is_initialized()
    }
}
