//! The Redis of the environment.

use std::sync::Arc;

use flagstore_conformance::{BigSegmentsFixture, Case, Fixture};
use flagstore_core::{FeatureStoreCore, StoreError};
use flagstore_redis::RedisStore;

use crate::cases;

pub(crate) struct Service {
    pub(crate) url: Result<String, String>,
}

impl Service {
    pub(crate) fn find() -> Self {
        let advice = "FLAGSTORE_REDIS_URL is not set. Run: eval \"$(scripts/services up redis)\"";
        Self { url: std::env::var("FLAGSTORE_REDIS_URL").map_err(|_| advice.to_owned()) }
    }
}

impl Fixture for Service {
    fn name(&self) -> &str {
        "redis"
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        Ok(Arc::new(RedisStore::builder().url(self.url.as_deref().unwrap()).prefix(prefix).build()?))
    }

    fn init_is_atomic(&self) -> bool {
        true
    }

    fn ready(&self) -> Result<(), String> {
        self.url.clone().map(drop)
    }

    fn big_segments(&self) -> Option<&dyn BigSegmentsFixture> {
        Some(self)
    }

    fn cases(&self) -> Vec<Case> {
        cases::all()
    }
}
