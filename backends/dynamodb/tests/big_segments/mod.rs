//! Plugs Big Segments into the suite.

use std::sync::Arc;

use flagstore_conformance::BigSegmentsFixture;
use flagstore_core::{BigSegmentUpdates, StoreError, UnixMillis};
use flagstore_dynamodb::aws_sdk_dynamodb::types::AttributeValue;

use crate::DynamoDb;
use crate::support::{self, PATIENCE, Server};

impl DynamoDb {
    pub(crate) fn server(&self) -> &Server {
        self.0.as_ref().expect("only opened when ready")
    }
}

impl BigSegmentsFixture for DynamoDb {
    fn open(&self, prefix: &str) -> Result<Arc<dyn BigSegmentUpdates>, StoreError> {
        Ok(Arc::new(self.server().builder().prefix(prefix).timeout(PATIENCE).build()?))
    }

    fn put_membership(&self, prefix: &str, context_hash: &str, included: &[&str], excluded: &[&str]) {
        let lists = [("included", included), ("excluded", excluded)];
        let sets = lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| {
            (name, AttributeValue::Ss(list.iter().map(|segment_ref| (*segment_ref).to_owned()).collect()))
        });
        self.server().put(&format!("{prefix}:big_segments_user"), context_hash, sets);
    }

    fn put_metadata(&self, prefix: &str, synchronized_on: UnixMillis) {
        let key = format!("{prefix}:big_segments_metadata");
        self.server().put(&key, &key, [("synchronizedOn", support::n(synchronized_on.0))]);
    }

    fn open_unreachable(&self) -> Option<Arc<dyn BigSegmentUpdates>> {
        // Nothing listens there.
        let store = self.server().builder().endpoint("http://127.0.0.1:9").build();
        Some(Arc::new(store.expect("a builder makes no request")))
    }

    fn corrupt(&self, prefix: &str, context_hash: &str) -> Option<()> {
        let namespace = format!("{prefix}:big_segments_user");
        self.server().put(&namespace, context_hash, [("included", support::s("s.g1"))]);
        Some(())
    }
    fn corrupt_metadata(&self, prefix: &str) -> Option<()> {
        let key = format!("{prefix}:big_segments_metadata");
        self.server().put(&key, &key, [("synchronizedOn", AttributeValue::N("-5".to_owned()))]);
        Some(())
    }
}
