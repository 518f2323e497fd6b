use std::sync::Arc;
use std::time::Duration;

use flagstore_conformance::{BigSegmentsFixture, Case, Fixture, cases};
use flagstore_core::{FeatureStoreCore, StoreError};

use crate::big_segments_fault::BigSegmentsFault;
use crate::faulty::FaultyFixture;
use crate::faulty_big_segments::FaultyBigSegments;

/// Sound stores of feature flags, with Big Segments that have a fault.
pub(crate) struct FaultyBigSegmentsFixture {
    stores: FaultyFixture,
    big_segments: FaultyBigSegments,
}

impl FaultyBigSegmentsFixture {
    pub(crate) fn new(fault: BigSegmentsFault) -> Self {
        Self { stores: FaultyFixture::new(None), big_segments: FaultyBigSegments::new(Some(fault)) }
    }
}

impl Fixture for FaultyBigSegmentsFixture {
    fn name(&self) -> &str {
        "faulty_big_segments"
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        self.stores.open(prefix)
    }

    fn init_is_atomic(&self) -> bool {
        true
    }

    fn secrets(&self) -> Vec<String> {
        self.stores.secrets()
    }

    fn big_segments(&self) -> Option<&dyn BigSegmentsFixture> {
        Some(&self.big_segments)
    }

    fn cases(&self) -> Vec<Case> {
        cases::big_segments()
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(500)
    }
}
