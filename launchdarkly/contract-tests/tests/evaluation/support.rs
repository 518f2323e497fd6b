//! A table of its own in the DynamoDB of the environment.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use flagstore_conformance::{BigSegmentsFixture, Case, Fixture};
use flagstore_core::{FeatureStoreCore, StoreError};
use flagstore_dynamodb::DynamoDbStoreBuilder;
use flagstore_dynamodb::aws_sdk_dynamodb::Client;
use flagstore_dynamodb::aws_sdk_dynamodb::config::{BehaviorVersion, Config, Region};
use flagstore_dynamodb::aws_sdk_dynamodb::types::AttributeValue;
use tokio::runtime::{Builder, Runtime};

use crate::cases;
use crate::dynamodb::{builder, credentials};

/// Far above what anything takes, also on a machine with other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub(crate) fn n(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(crate) struct DynamoDb(pub(crate) Result<Server, String>);

/// A server, and a table in it that nobody else uses.
pub(crate) struct Server {
    endpoint: String,
    table: String,
    raw: Client,
}

impl DynamoDb {
    pub(crate) fn find() -> Self {
        Self(Server::find())
    }
}

impl Server {
    fn find() -> Result<Self, String> {
        const ADVICE: &str = "Run: eval \"$(scripts/services up dynamodb)\"";
        let endpoint = std::env::var("FLAGSTORE_DYNAMODB_ENDPOINT")
            .map_err(|_| format!("FLAGSTORE_DYNAMODB_ENDPOINT is not set. {ADVICE}"))?;
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .endpoint_url(&endpoint)
            .region(Region::new("us-east-1"))
            .credentials_provider(credentials());
        let table = format!("flagstore-test-{:016x}", RandomState::new().build_hasher().finish());
        let server = Self { endpoint, table, raw: Client::from_conf(config.build()) };
        let store = server.builder().build().map_err(|error| error.to_string())?;
        store.create_table_if_missing().map_err(|error| format!("{error}. {ADVICE}"))?;
        Ok(server)
    }

    pub(crate) fn builder(&self) -> DynamoDbStoreBuilder {
        builder(&self.table, &self.endpoint)
    }

    /// Stores a row with these and no other attributes beside its keys.
    pub(crate) fn put<'a>(
        &self,
        namespace: &str,
        key: &str,
        attributes: impl IntoIterator<Item = (&'a str, AttributeValue)>,
    ) {
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        let runtime = RUNTIME
            .get_or_init(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());
        let row = [("namespace", s(namespace)), ("key", s(key))].into_iter().chain(attributes);
        let row = row.map(|(name, value)| (name.to_owned(), value)).collect();
        runtime.block_on(self.raw.put_item().table_name(&self.table).set_item(Some(row)).send()).unwrap();
    }
}

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

    fn big_segments(&self) -> Option<&dyn BigSegmentsFixture> {
        Some(self)
    }

    fn cases(&self) -> Vec<Case> {
        cases::all()
    }
}
