use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use flagstore_core::{AllData, FeatureStore, FeatureStoreCore, Item, Kind, Shown, StoreError, Upsert};
use launchdarkly_server_sdk::{
    AllData as SdkData, DataKind, Flag, PersistentDataStore, PersistentStoreError, Segment, SerializedItem,
};

use crate::readable::{Readable, Texts};

/// A store as the SDK sees it.
///
/// The SDK takes version and deleted from the descriptor and looks into the text only for the rest, so the
/// descriptor tells what the [`Item`] knows. It logs every error that it is given, so nothing that is
/// returned is logged here as well.
#[derive(Debug, Clone)]
pub(crate) struct Flagstore {
    store: Store,
    flags: Arc<Texts<Flag>>,
    segments: Arc<Texts<Segment>>,
}

#[derive(Debug, Clone)]
enum Store {
    /// Each call is one of the database.
    Core(Arc<dyn FeatureStoreCore>),
    /// Reads come from a cache where they can. It hides tombstones, which to the SDK are as good as nothing.
    Cached(Arc<dyn FeatureStore>),
}

impl Flagstore {
    pub(crate) fn core(store: Arc<dyn FeatureStoreCore>) -> Self {
        Self::new(Store::Core(store))
    }

    pub(crate) fn cached(store: Arc<dyn FeatureStore>) -> Self {
        Self::new(Store::Cached(store))
    }

    fn new(store: Store) -> Self {
        Self { store, flags: Arc::default(), segments: Arc::default() }
    }

    fn get<T: Readable>(
        &self,
        texts: &Texts<T>,
        key: &str,
    ) -> Result<Option<SerializedItem>, PersistentStoreError> {
        let item = match &self.store {
            Store::Core(store) => store.get(&T::KIND, key),
            Store::Cached(store) => store.get(&T::KIND, key),
        };
        Ok(item.map_err(to_sdk_error)?.and_then(|item| to_sdk(texts, key, &item)))
    }

    fn all_to_sdk<'a>(
        &self,
        items: impl Iterator<Item = (&'a str, &'a Item)>,
    ) -> HashMap<String, SerializedItem> {
        items.filter_map(|(key, item)| Some((key.to_owned(), to_sdk(&self.flags, key, item)?))).collect()
    }
}

impl PersistentDataStore for Flagstore {
    fn init(&mut self, data: SdkData<SerializedItem, SerializedItem>) -> Result<(), PersistentStoreError> {
        let all_data = AllData::new()
            .with(Kind::SEGMENTS, all_from_sdk::<Segment>(data.segments)?)
            .with(Kind::FEATURES, all_from_sdk::<Flag>(data.flags)?);
        // Items that were too large are an error too, though all others are stored: the SDK then logs which
        // they are, and goes on to read from the store instead of a cache that says otherwise.
        let all_data = all_data.in_dependency_order();
        match &self.store {
            Store::Core(store) => store.init(&all_data),
            Store::Cached(store) => kept(store.init(&all_data), ()),
        }
        .map_err(to_sdk_error)
    }

    fn flag(&self, key: &str) -> Result<Option<SerializedItem>, PersistentStoreError> {
        self.get(&self.flags, key)
    }

    fn segment(&self, key: &str) -> Result<Option<SerializedItem>, PersistentStoreError> {
        self.get(&self.segments, key)
    }

    fn all_flags(&self) -> Result<HashMap<String, SerializedItem>, PersistentStoreError> {
        match &self.store {
            Store::Core(store) => {
                let items = store.get_all(&Kind::FEATURES).map_err(to_sdk_error)?;
                for error in &items.unreadable {
                    tracing::warn!("left out of all flags: {error}");
                }
                Ok(self.all_to_sdk(items.by_key.iter().map(|(key, item)| (key.as_str(), item))))
            }
            Store::Cached(store) => {
                let items = store.all(&Kind::FEATURES).map_err(to_sdk_error)?;
                Ok(self.all_to_sdk(items.iter()))
            }
        }
    }

    fn upsert(
        &mut self,
        kind: DataKind,
        key: &str,
        serialized_item: SerializedItem,
    ) -> Result<bool, PersistentStoreError> {
        let (kind, item) = match kind {
            DataKind::Flag => (Kind::FEATURES, from_sdk::<Flag>(key, serialized_item)?),
            DataKind::Segment => (Kind::SEGMENTS, from_sdk::<Segment>(key, serialized_item)?),
        };
        let upserted = match &self.store {
            Store::Core(store) => store.upsert(&kind, key, &item),
            Store::Cached(store) => kept(store.upsert(&kind, key, &item), Upsert::Applied),
        };
        Ok(upserted.map_err(to_sdk_error)? == Upsert::Applied)
    }

    fn is_initialized(&self) -> bool {
        match &self.store {
            Store::Core(store) => store.is_initialized().unwrap_or_else(|error| {
                tracing::warn!("taken as not initialized: {error}");
                false
            }),
            Store::Cached(store) => store.initialized(),
        }
    }
}

/// The item as the SDK can parse it. Of a map with a single one that it cannot, it would make an empty map.
fn to_sdk<T: Readable>(texts: &Texts<T>, key: &str, item: &Item) -> Option<SerializedItem> {
    let deleted = item.is_deleted();
    let text = if deleted { item.json().to_owned() } else { texts.of(key, item)? };
    Some(SerializedItem { version: item.version(), deleted, serialized_item: text })
}

/// The result, after which the SDK has to read what our cache shows. A write that it keeps and shows, although the
/// database has not taken it, is done for the SDK: after an error its own cache would go on with what was there before.
fn kept<T>(result: Result<T, StoreError>, done: T) -> Result<T, StoreError> {
    match result {
        Err(error) if error.is_kept() => {
            tracing::debug!("kept until the database is back: {error}");
            Ok(done)
        }
        result => result,
    }
}

fn to_sdk_error(error: impl Display) -> PersistentStoreError {
    PersistentStoreError::new(error.to_string())
}

fn all_from_sdk<T: Readable>(
    items: HashMap<String, SerializedItem>,
) -> Result<Vec<(String, Item)>, PersistentStoreError> {
    let items = items.into_iter();
    items
        .map(|(key, serialized)| {
            let item = from_sdk::<T>(&key, serialized)?;
            Ok((key, item))
        })
        .collect()
}

/// The item as others can read it.
fn from_sdk<T: Readable>(key: &str, serialized: SerializedItem) -> Result<Item, PersistentStoreError> {
    let SerializedItem { version, deleted, serialized_item: json } = serialized;
    let item = if deleted {
        // The SDK's own tombstone says "$deleted" where others expect the key.
        Item::tombstone(key, version)
    } else {
        Item::parse_versioned(key, version, T::MODEL.repair(&json).unwrap_or(json))
    };
    item.map_err(|error| to_sdk_error(format!("{}/{}: {error}", T::KIND, Shown::new(key))))
}
