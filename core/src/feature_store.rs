use std::fmt::{Debug, Display};
use std::sync::Arc;

use crate::{AllData, ErrorKind, Item, Kind, LiveItems, StoreError, Upsert};

/// What an application or an SDK uses: live data, without tombstones.
///
/// [`CachingStoreWrapper`](crate::CachingStoreWrapper) makes one of any
/// [`FeatureStoreCore`](crate::FeatureStoreCore). Versions, atomicity and deadlines are those of the core's
/// contract; the wrapper's documentation says what a cache changes about them.
pub trait FeatureStore: Debug + Display + Send + Sync + 'static {
    /// Replaces the contents of every kind that is given, and marks the store initialized.
    ///
    /// # Errors
    ///
    /// Those of [`FeatureStoreCore::init`](crate::FeatureStoreCore::init).
    fn init(&self, all_data: &AllData) -> Result<(), StoreError>;

    /// The live item of that key. `None` if there is none, or if it is deleted.
    ///
    /// # Errors
    ///
    /// Those of [`FeatureStoreCore::get`](crate::FeatureStoreCore::get), if the database had to be asked.
    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError>;

    /// All live items of a kind. What cannot be read is left out.
    ///
    /// # Errors
    ///
    /// Those of [`FeatureStoreCore::get_all`](crate::FeatureStoreCore::get_all), if the database had to be
    /// asked.
    fn all(&self, kind: &Kind) -> Result<LiveItems, StoreError>;

    /// Stores the item, or its tombstone, if nothing is stored under its key, or something older.
    ///
    /// # Errors
    ///
    /// Those of [`FeatureStoreCore::upsert`](crate::FeatureStoreCore::upsert).
    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError>;

    /// Deletes the item if what is stored is older than `version`: an [`upsert`](Self::upsert) of a tombstone.
    ///
    /// # Errors
    ///
    /// Those of [`upsert`](Self::upsert), and [`Other`](crate::ErrorKind::Other) if the version is above
    /// [`MAX_VERSION`](crate::MAX_VERSION), which no item can have.
    fn delete(&self, kind: &Kind, key: &str, version: u64) -> Result<Upsert, StoreError> {
        let tombstone = Item::tombstone(key, version);
        let tombstone = tombstone.map_err(|error| {
            StoreError::new(ErrorKind::Other, "item", "delete", error).about([(kind.clone(), key.to_owned())])
        })?;
        self.upsert(kind, key, &tombstone)
    }

    /// Whether anybody ever initialized the store. A database that cannot tell counts as not initialized.
    fn initialized(&self) -> bool;
}

#[deny(clippy::missing_trait_methods)]
impl<S: FeatureStore + ?Sized> FeatureStore for Arc<S> {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        (**self).init(all_data)
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        (**self).get(kind, key)
    }

    fn all(&self, kind: &Kind) -> Result<LiveItems, StoreError> {
        (**self).all(kind)
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        (**self).upsert(kind, key, item)
    }

    fn delete(&self, kind: &Kind, key: &str, version: u64) -> Result<Upsert, StoreError> {
        (**self).delete(kind, key, version)
    }

    fn initialized(&self) -> bool {
        (**self).initialized()
    }
}
