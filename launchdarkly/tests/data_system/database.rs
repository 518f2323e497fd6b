use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flagstore_core::{
    AllData, ErrorKind, FeatureStoreCore, Item, Items, Kind, MemoryStore, StoreError, Upsert,
};

/// A database in memory that counts how often it is asked whether it is initialized.
#[derive(Clone, Default)]
pub(crate) struct Database {
    memory: MemoryStore,
    asked: Arc<AtomicUsize>,
    is_off: bool,
    on_init: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Database {
    /// Does this before each init.
    pub(crate) fn on_init(self, on_init: impl Fn() + Send + Sync + 'static) -> Self {
        Self { on_init: Some(Arc::new(on_init)), ..self }
    }

    /// Does not answer that question.
    pub(crate) fn switched_off(self) -> Self {
        Self { is_off: true, ..self }
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl FeatureStoreCore for Database {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        self.on_init.iter().for_each(|on_init| on_init());
        self.memory.init(all_data)
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        self.memory.get(kind, key)
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        self.memory.get_all(kind)
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        self.memory.upsert(kind, key, item)
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_off {
            return Err(StoreError::new(ErrorKind::Unavailable, "test", "is_initialized", "switched off"));
        }
        self.memory.is_initialized()
    }

    fn is_available(&self) -> bool {
        !self.is_off
    }

    fn describe(&self) -> &'static str {
        "test"
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Database")
    }
}
