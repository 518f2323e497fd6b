//! Plugs the store into the suite.

mod big_segments;
mod support;

use std::process::ExitCode;
use std::sync::Arc;

use flagstore_conformance::{BigSegmentsFixture, Fixture, run_in_every_mode};
use flagstore_core::{FeatureStoreCore, Kind, StoreError};
use support::{PATIENCE, SECRETS, SHARED, Server};

/// One table, of this process or of the one that started it.
struct DynamoDb(Result<Server, String>);

impl Fixture for DynamoDb {
    fn name(&self) -> &str {
        "dynamodb"
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        let server = self.0.as_ref().expect("only opened when ready");
        Ok(Arc::new(server.builder().prefix(prefix).timeout(PATIENCE).init_timeout(PATIENCE).build()?))
    }

    fn init_is_atomic(&self) -> bool {
        false
    }

    fn ready(&self) -> Result<(), String> {
        self.0.as_ref().map(drop).map_err(Clone::clone)
    }

    fn shared_by(&self) -> Option<(&'static str, String)> {
        Some((SHARED, self.0.as_ref().ok()?.shared()))
    }

    fn open_unreachable(&self) -> Option<Arc<dyn FeatureStoreCore>> {
        // Nothing listens there.
        let store = self.0.as_ref().ok()?.builder().endpoint("http://127.0.0.1:9").build();
        Some(Arc::new(store.expect("a builder makes no request")))
    }

    fn corrupt(&self, prefix: &str, kind: &Kind, key: &str) -> Option<()> {
        let server = self.0.as_ref().ok()?;
        server.put(&format!("{prefix}:{kind}"), key, [("item", support::s("garbage"))]);
        Some(())
    }

    fn big_segments(&self) -> Option<&dyn BigSegmentsFixture> {
        Some(self)
    }

    fn too_large(&self) -> Option<usize> {
        Some(400_000)
    }

    fn secrets(&self) -> Vec<String> {
        SECRETS.map(str::to_owned).into()
    }
}

fn main() -> ExitCode {
    // One for all modes. Dropped only when they are done, and the container with it.
    let server = Server::find();
    run_in_every_mode(|| DynamoDb(server.clone()))
}
