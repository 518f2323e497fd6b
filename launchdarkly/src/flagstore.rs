use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use flagstore_core::{AllData, DecodeError, FeatureStore, FeatureStoreCore, Item, Kind, Upsert};
use launchdarkly_server_sdk::{
    AllData as SdkData, DataKind, Flag, PersistentDataStore, PersistentStoreError, SerializedItem,
};

/// A store as the SDK sees it.
///
/// The SDK takes version and deleted from the descriptor and looks into the text only for the rest, so the
/// descriptor tells what the [`Item`] knows. It logs every error that it is given, so nothing that is
/// returned is logged here as well.
#[derive(Debug, Clone)]
pub(crate) enum Flagstore {
    /// Each call is one of the database.
    Core(Arc<dyn FeatureStoreCore>),
    /// Reads come from a cache where they can. It hides tombstones, which to the SDK are as good as nothing.
    Cached(Arc<dyn FeatureStore>),
}

impl Flagstore {
    fn get(&self, kind: &Kind, key: &str) -> Result<Option<SerializedItem>, PersistentStoreError> {
        let item = match self {
            Self::Core(store) => store.get(kind, key),
            Self::Cached(store) => store.get(kind, key),
        };
        Ok(item.map_err(to_sdk_error)?.as_ref().map(to_sdk))
    }
}

impl PersistentDataStore for Flagstore {
    fn init(&mut self, data: SdkData<SerializedItem, SerializedItem>) -> Result<(), PersistentStoreError> {
        let all_data = AllData::new()
            .with(Kind::SEGMENTS, all_from_sdk(&Kind::SEGMENTS, data.segments)?)
            .with(Kind::FEATURES, all_from_sdk(&Kind::FEATURES, data.flags)?);
        // Items that were too large are an error too, though all others are stored: the SDK then logs which
        // they are, and goes on to read from the store instead of a cache that says otherwise.
        let all_data = all_data.in_dependency_order();
        match self {
            Self::Core(store) => store.init(&all_data),
            Self::Cached(store) => store.init(&all_data),
        }
        .map_err(to_sdk_error)
    }

    fn flag(&self, key: &str) -> Result<Option<SerializedItem>, PersistentStoreError> {
        self.get(&Kind::FEATURES, key)
    }

    fn segment(&self, key: &str) -> Result<Option<SerializedItem>, PersistentStoreError> {
        self.get(&Kind::SEGMENTS, key)
    }

    fn all_flags(&self) -> Result<HashMap<String, SerializedItem>, PersistentStoreError> {
        match self {
            Self::Core(store) => {
                let items = store.get_all(&Kind::FEATURES).map_err(to_sdk_error)?;
                for error in &items.unreadable {
                    tracing::warn!("left out of all flags: {error}");
                }
                Ok(flags_among(items.by_key.iter().map(|(key, item)| (key.as_str(), item))))
            }
            Self::Cached(store) => {
                let items = store.all(&Kind::FEATURES).map_err(to_sdk_error)?;
                Ok(flags_among(items.iter()))
            }
        }
    }

    fn upsert(
        &mut self,
        kind: DataKind,
        key: &str,
        serialized_item: SerializedItem,
    ) -> Result<bool, PersistentStoreError> {
        let kind = match kind {
            DataKind::Flag => Kind::FEATURES,
            DataKind::Segment => Kind::SEGMENTS,
        };
        let item = from_sdk(&kind, key, serialized_item)?;
        let upserted = match self {
            Self::Core(store) => store.upsert(&kind, key, &item),
            Self::Cached(store) => store.upsert(&kind, key, &item),
        };
        Ok(upserted.map_err(to_sdk_error)? == Upsert::Applied)
    }

    fn is_initialized(&self) -> bool {
        match self {
            Self::Core(store) => store.is_initialized().unwrap_or_else(|error| {
                tracing::warn!("taken as not initialized: {error}");
                false
            }),
            Self::Cached(store) => store.initialized(),
        }
    }
}

/// Those that the SDK can parse: of a map with a single one that it cannot, it would make an empty map.
fn flags_among<'a>(items: impl Iterator<Item = (&'a str, &'a Item)>) -> HashMap<String, SerializedItem> {
    let parses = |(key, item): &(&str, &Item)| match item.decode::<Flag>() {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!("left out of all flags: {}/{key}: {error}", Kind::FEATURES);
            false
        }
    };
    items.filter(parses).map(|(key, item)| (key.to_owned(), to_sdk(item))).collect()
}

fn to_sdk(item: &Item) -> SerializedItem {
    SerializedItem {
        version: item.version(),
        deleted: item.is_deleted(),
        serialized_item: item.json().to_owned(),
    }
}

fn to_sdk_error(error: impl Display) -> PersistentStoreError {
    PersistentStoreError::new(error.to_string())
}

fn all_from_sdk(
    kind: &Kind,
    items: HashMap<String, SerializedItem>,
) -> Result<Vec<(String, Item)>, PersistentStoreError> {
    let items = items.into_iter();
    items
        .map(|(key, serialized)| {
            let item = from_sdk(kind, &key, serialized)?;
            Ok((key, item))
        })
        .collect()
}

fn from_sdk(kind: &Kind, key: &str, serialized: SerializedItem) -> Result<Item, PersistentStoreError> {
    let SerializedItem { version, deleted, serialized_item: json } = serialized;
    let item = if deleted {
        // The SDK's own tombstone says "$deleted" where others expect the key.
        Item::tombstone(key, version)
    } else {
        live_from_sdk(key, version, json)
    };
    item.map_err(|error| to_sdk_error(format!("{kind}/{key}: {error}")))
}

/// Reads a live item, and adds the `"deleted":false` that the SDK leaves out and PHP requires.
fn live_from_sdk(key: &str, version: u64, mut json: String) -> Result<Item, DecodeError> {
    let item = Item::parse_versioned(key, version, json.as_str())?;
    if item.states_deleted() {
        return Ok(item);
    }
    // The text is that of an object, so its last brace closes it, and one before that opens an empty one.
    if let Some(end) = json.rfind('}') {
        let empty = json[..end].trim_end().ends_with('{');
        json.insert_str(end, if empty { r#""deleted":false"# } else { r#","deleted":false"# });
    }
    Item::parse_versioned(key, version, json)
}
