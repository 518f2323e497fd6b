//! The reference store keeps the contract, and so does a cache above it.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

use flagstore_conformance::{Fixture, run_in_every_mode};
use flagstore_core::{FeatureStoreCore, MemoryStore, StoreError};
use parking_lot::Mutex;

/// One memory store for each prefix: that is what a prefix means.
#[derive(Default)]
struct Memory(Mutex<HashMap<String, MemoryStore>>);

impl Fixture for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        Ok(Arc::new(self.0.lock().entry(prefix.to_owned()).or_default().clone()))
    }

    fn init_is_atomic(&self) -> bool {
        true
    }
}

fn main() -> ExitCode {
    run_in_every_mode(Memory::default)
}
