use std::sync::Arc;
use std::time::Duration;

use flagstore_conformance::{Case, Fixture, cases};
use flagstore_core::{FeatureStoreCore, MemoryStore, StoreError};

/// A database for each cache, and less patience than where nothing is broken.
pub(crate) struct Memory;

impl Fixture for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn open(&self, _: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        Ok(Arc::new(MemoryStore::new()))
    }

    fn init_is_atomic(&self) -> bool {
        true
    }

    fn cases(&self) -> Vec<Case> {
        cases::caching()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(120)
    }
}

/// A cache above one database, for calls that overlap.
pub(crate) struct Overlapping<F>(pub(crate) F);

impl<F: Fixture> Fixture for Overlapping<F> {
    fn name(&self) -> &str {
        "memory"
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        self.0.open(prefix)
    }

    fn init_is_atomic(&self) -> bool {
        true
    }

    fn cases(&self) -> Vec<Case> {
        let is_about_overlaps =
            |case: &Case| case.name() == "concurrency::history_of_one_key_is_linearizable";
        cases::core().into_iter().filter(is_about_overlaps).collect()
    }
}
