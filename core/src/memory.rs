use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::{AllData, FeatureStoreCore, Item, Items, Kind, StoreError, Upsert};

/// A store in memory: the contract in its plainest code, and the reference for every other.
///
/// A clone is another handle to the same data. It never fails, and it forgets everything with its last
/// handle.
///
/// ```
/// use flagstore_core::{FeatureStoreCore, Item, Kind, MemoryStore, Upsert};
///
/// let store = MemoryStore::new();
/// let newer = Item::parse(r#"{"key":"dark-mode","version":2}"#)?;
/// let older = Item::parse(r#"{"key":"dark-mode","version":1}"#)?;
/// assert_eq!(store.upsert(&Kind::FEATURES, "dark-mode", &newer)?, Upsert::Applied);
/// assert_eq!(store.upsert(&Kind::FEATURES, "dark-mode", &older)?, Upsert::Stale(newer));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<RwLock<Data>>);

#[derive(Debug, Default)]
struct Data {
    kinds: HashMap<Kind, HashMap<String, Item>>,
    initialized: bool,
}

impl MemoryStore {
    /// An empty store that is not initialized.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl FeatureStoreCore for MemoryStore {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        let mut data = self.0.write();
        for (kind, items) in all_data.kinds() {
            let items = items.map(|(key, item)| (key.to_owned(), item.clone())).collect();
            data.kinds.insert(kind.clone(), items);
        }
        data.initialized = true;
        Ok(())
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        let data = self.0.read();
        Ok(data.kinds.get(kind).and_then(|items| items.get(key)).cloned())
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        let by_key = self.0.read().kinds.get(kind).cloned().unwrap_or_default();
        Ok(Items { by_key, unreadable: Vec::new() })
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        let mut data = self.0.write();
        let items = data.kinds.entry(kind.clone()).or_default();
        match items.get(key) {
            Some(current) if current.version() >= item.version() => Ok(Upsert::Stale(current.clone())),
            _ => {
                items.insert(key.to_owned(), item.clone());
                Ok(Upsert::Applied)
            }
        }
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        Ok(self.0.read().initialized)
    }

    fn is_available(&self) -> bool {
        true
    }

    fn describe(&self) -> &'static str {
        "memory"
    }
}

impl fmt::Display for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}
