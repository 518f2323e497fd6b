//! The server that the tests use, and a table of their own in it.

// Each test program uses a part of it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test that cannot set itself up may as well panic"
)]

mod container;
pub mod plain_client;
pub mod proxy;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use flagstore_dynamodb::aws_sdk_dynamodb::Client;
use flagstore_dynamodb::aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use flagstore_dynamodb::aws_sdk_dynamodb::types::AttributeValue;
use flagstore_dynamodb::{DynamoDbStore, DynamoDbStoreBuilder};
use testcontainers::{Container, GenericImage};
use tokio::runtime::{Builder, Runtime};

use proxy::{Do, Proxy, Request};

const ENDPOINT: &str = "FLAGSTORE_DYNAMODB_ENDPOINT";
/// By which a process that a test starts finds the test's endpoint and table.
pub const SHARED: &str = "FLAGSTORE_DYNAMODB_SHARED";
const ADVICE: &str = "Run: eval \"$(scripts/services up dynamodb)\"";

/// DynamoDB Local wants letters and digits in an access key.
pub const SECRETS: [&str; 3] = ["dummyaccesskeyid", "dummysecretaccesskey", "dummysessiontoken"];

/// Far above what anything takes, also on a machine with other work.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub type Row = HashMap<String, AttributeValue>;

pub fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub fn n(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub fn random_name() -> String {
    format!("flagstore-test-{:016x}", RandomState::new().build_hasher().finish())
}

pub fn credentials() -> Credentials {
    Credentials::new(SECRETS[0], SECRETS[1], Some(SECRETS[2].to_owned()), None, "tests")
}

/// A server, and a table in it that nobody else uses.
#[derive(Clone)]
pub struct Server {
    pub endpoint: String,
    pub table: String,
    pub prefix: String,
    /// Not the store's, to see what it does and do what it does not.
    pub raw: Client,
    /// The server itself, if it is in a container.
    pub container: Option<Arc<Container<GenericImage>>>,
}

impl Server {
    /// The server of `FLAGSTORE_DYNAMODB_ENDPOINT`, or one in a container, or what to do to have one.
    pub fn find() -> Result<Self, String> {
        if let Some((endpoint, table)) =
            std::env::var(SHARED).ok().as_deref().and_then(|both| both.split_once(' '))
        {
            return Ok(Self::at(endpoint, table.to_owned()));
        }
        let (container, endpoint) = match std::env::var(ENDPOINT) {
            Ok(endpoint) => (None, endpoint),
            Err(_) => match container::start() {
                Ok((container, endpoint)) => (Some(Arc::new(container)), endpoint),
                Err(error) => {
                    return Err(format!("{ENDPOINT} is not set, and no container starts: {error}. {ADVICE}"));
                }
            },
        };
        let server = Self { container, ..Self::at(&endpoint, random_name()) };
        let store = server.store();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match store.create_table_if_missing() {
                Ok(_) => return Ok(server),
                // A container takes a moment.
                Err(_) if server.container.is_some() && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(error) => return Err(format!("{error}. {ADVICE}")),
            }
        }
    }

    /// The value of [`SHARED`].
    pub fn shared(&self) -> String {
        format!("{} {}", self.endpoint, self.table)
    }

    /// The same table at another endpoint, such as a proxy's.
    pub fn at(endpoint: &str, table: String) -> Self {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .endpoint_url(endpoint)
            .region(Region::new("us-east-1"))
            .credentials_provider(credentials());
        let raw = Client::from_conf(config.build());
        Self { endpoint: endpoint.to_owned(), table, prefix: String::new(), raw, container: None }
    }

    /// The same table under a prefix that nobody else uses.
    pub fn anew(&self) -> Self {
        Self { prefix: random_name(), ..self.clone() }
    }

    /// A proxy in front of the server, and the server as it appears through the proxy.
    pub fn behind(&self, rule: impl Fn(&Request) -> Do + Send + Sync + 'static) -> (Proxy, Self) {
        let proxy = Proxy::start(&self.endpoint, rule);
        let server = Self { endpoint: proxy.endpoint(), ..self.clone() };
        (proxy, server)
    }

    /// A store with timeouts far above what anything takes.
    pub fn store(&self) -> DynamoDbStore {
        self.builder().timeout(PATIENCE).attempt_timeout(PATIENCE).init_timeout(PATIENCE).build().unwrap()
    }

    pub fn namespace(&self, kind: &str) -> String {
        if self.prefix.is_empty() { kind.to_owned() } else { format!("{}:{kind}", self.prefix) }
    }

    pub fn builder(&self) -> DynamoDbStoreBuilder {
        DynamoDbStore::builder(&self.table)
            .prefix(&self.prefix)
            .endpoint(&self.endpoint)
            .region("us-east-1")
            .credentials_provider(credentials())
    }

    /// Stores a row with these and no other attributes beside its keys.
    pub fn put<'a>(
        &self,
        namespace: &str,
        key: &str,
        attributes: impl IntoIterator<Item = (&'a str, AttributeValue)>,
    ) {
        let attributes = attributes.into_iter();
        let mut row: Row = attributes.map(|(name, value)| (name.to_owned(), value)).collect();
        row.insert("namespace".to_owned(), s(namespace));
        row.insert("key".to_owned(), s(key));
        wait(self.raw.put_item().table_name(&self.table).set_item(Some(row)).send()).unwrap();
    }

    /// The row as it is stored.
    pub fn row(&self, namespace: &str, key: &str) -> Option<Row> {
        let get = self.raw.get_item().table_name(&self.table).consistent_read(true);
        wait(get.key("namespace", s(namespace)).key("key", s(key)).send()).unwrap().item
    }
}

/// Waits for a request of the raw client.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime =
        RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    runtime.block_on(future)
}
