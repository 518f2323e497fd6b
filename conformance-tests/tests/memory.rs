//! The reference store keeps the contract, and so does a cache above it.

mod big_segments;

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

use flagstore_conformance::{BigSegmentsFixture, Fixture, run_in_every_mode};
use flagstore_core::{FeatureStoreCore, MemoryStore, StoreError};
use parking_lot::Mutex;

use big_segments::BigSegmentsInMemory;

/// One memory store for each prefix: that is what a prefix means.
#[derive(Default)]
struct Memory {
    stores: Mutex<HashMap<String, MemoryStore>>,
    big_segments: BigSegmentsInMemory,
}

impl Fixture for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        Ok(Arc::new(self.stores.lock().entry(prefix.to_owned()).or_default().clone()))
    }

    fn init_is_atomic(&self) -> bool {
        true
    }

    fn big_segments(&self) -> Option<&dyn BigSegmentsFixture> {
        Some(&self.big_segments)
    }
}

fn main() -> ExitCode {
    run_in_every_mode(Memory::default)
}
