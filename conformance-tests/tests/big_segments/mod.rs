//! Big Segments in memory, for the suite.

use std::collections::HashMap;
use std::sync::Arc;

use flagstore_conformance::BigSegmentsFixture;
use flagstore_core::{
    BigSegmentPatch, BigSegmentUpdates, MemoryBigSegmentStore, PatchOutcome, StoreError, UnixMillis,
};
use parking_lot::Mutex;

/// One store for each prefix.
#[derive(Default)]
pub(crate) struct BigSegmentsInMemory(Mutex<HashMap<String, MemoryBigSegmentStore>>);

impl BigSegmentsInMemory {
    pub(crate) fn store(&self, prefix: &str) -> MemoryBigSegmentStore {
        self.0.lock().entry(prefix.to_owned()).or_default().clone()
    }
}

impl BigSegmentsFixture for BigSegmentsInMemory {
    fn open(&self, prefix: &str) -> Result<Arc<dyn BigSegmentUpdates>, StoreError> {
        Ok(Arc::new(self.store(prefix)))
    }

    /// There is no way past the store, so this is by patches that leave the version as it is.
    fn put_membership(&self, prefix: &str, context_hash: &str, included: &[&str], excluded: &[&str]) {
        let store = self.store(prefix);
        for (list, is_included) in [(included, true), (excluded, false)] {
            for segment_ref in list {
                let mut patch = BigSegmentPatch::new(*segment_ref, "", "");
                let changes = if is_included { &mut patch.included } else { &mut patch.excluded };
                changes.add.push(context_hash.to_owned());
                assert!(matches!(store.apply_patch(&patch), Ok(PatchOutcome::Applied)));
            }
        }
    }

    fn put_metadata(&self, prefix: &str, synchronized_on: UnixMillis) {
        assert!(self.store(prefix).set_metadata(synchronized_on).is_ok());
    }
}
