//! Plugs the store into the suite.

mod big_segments;
mod support;

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use flagstore_conformance::{BigSegmentsFixture, Fixture, run_in_every_mode};
use flagstore_core::{FeatureStoreCore, Kind, StoreError};
use support::{PATIENCE, SECRETS, SHARED, Server};

/// The deadline of calls to a database that is silent.
const SHORT: Duration = Duration::from_millis(300);

/// The system accepts connections for it, and nobody ever reads from them.
static SILENT: LazyLock<TcpListener> =
    LazyLock::new(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));

/// One table, of this process or of the one that started it.
struct DynamoDb(Result<Server, String>);

impl Fixture for DynamoDb {
    fn name(&self) -> &str {
        "dynamodb"
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        Ok(Arc::new(self.server().builder().prefix(prefix).timeout(PATIENCE).init_timeout(PATIENCE).build()?))
    }

    fn init_is_atomic(&self) -> bool {
        false
    }

    fn ready(&self) -> Result<(), String> {
        self.0.as_ref().map(drop).map_err(Clone::clone)
    }

    fn shared_by(&self) -> Option<(&'static str, String)> {
        Some((SHARED, self.server().shared()))
    }

    fn open_unreachable(&self) -> Option<Arc<dyn FeatureStoreCore>> {
        // Nothing listens there.
        let store = self.server().builder().endpoint("http://127.0.0.1:9").build();
        Some(Arc::new(store.expect("a builder makes no request")))
    }

    fn open_silent(&self) -> Option<(Arc<dyn FeatureStoreCore>, Duration)> {
        let endpoint = format!("http://{}", SILENT.local_addr().expect("it listens"));
        let builder = self.server().builder().endpoint(endpoint);
        let store = builder.timeout(SHORT).attempt_timeout(SHORT).init_timeout(SHORT).build();
        Some((Arc::new(store.expect("a builder makes no request")), SHORT))
    }

    fn corrupt(&self, prefix: &str, kind: &Kind, key: &str) -> Option<()> {
        self.server().put(&format!("{prefix}:{kind}"), key, [("item", support::s("garbage"))]);
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
