use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::sync::Arc;

use crate::{AllData, ErrorKind, Item, Kind, StoreError, Upsert};

/// The live items of a kind, by key. A clone costs nothing, and never changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveItems(Arc<HashMap<Arc<str>, Item>>);

impl LiveItems {
    /// The item of that key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Item> {
        self.0.get(key)
    }

    /// The items with their keys, in no order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Item)> {
        self.0.iter().map(|(key, item)| (&**key, item))
    }

    /// Puts an item in place of that key's, or takes that out. Copies the map only while somebody else holds it.
    pub(crate) fn patch(&mut self, key: &Arc<str>, live: Option<&Item>) {
        let items = Arc::make_mut(&mut self.0);
        match live {
            Some(item) => drop(items.insert(Arc::clone(key), item.clone())),
            None => drop(items.remove(key)),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of those that are given, the ones that are live.
impl<K: Into<Arc<str>>> FromIterator<(K, Item)> for LiveItems {
    fn from_iter<I: IntoIterator<Item = (K, Item)>>(items: I) -> Self {
        let live = items.into_iter().filter(|(_, item)| !item.is_deleted());
        Self(Arc::new(live.map(|(key, item)| (key.into(), item)).collect()))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// What somebody holds is his: a change makes a new map.
    #[test]
    fn live_items_never_change_in_the_hand() {
        let item = |version| Item::from_parts(version, false, "{}").unwrap();
        let mut items: LiveItems =
            [("a", item(1)), ("gone", Item::tombstone("gone", 1).unwrap())].into_iter().collect();
        let held = items.clone();
        items.patch(&"a".into(), Some(&item(2)));
        items.patch(&"b".into(), Some(&item(1)));
        assert_eq!((held.len(), held.get("a")), (1, Some(&item(1))));
        assert_eq!((items.len(), items.get("a")), (2, Some(&item(2))));
        items.patch(&"a".into(), None);
        assert_eq!((items.len(), items.get("a")), (1, None));
    }
}
