use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{ProvideCredentials, SharedCredentialsProvider};
use flagstore_core::{Bridge, StoreError};
use tokio::sync::OnceCell;

use crate::DynamoDbStore;
use crate::client::{Settings, endpoint_of};
use crate::connection::Connection;
use crate::deadline::sooner;
use crate::error::STORE;
use crate::table::Table;

/// Leaves room in a namespace for the kind.
const LONGEST_PREFIX: usize = 1024;

const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(600);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const MAX_ATTEMPTS: u32 = 3;

/// Batches of 25 that are 800 writes together. One partition takes 1000 a second, so more would be throttled
/// sooner than faster; 16 take a third longer (see the benchmark).
const INIT_CONCURRENCY: usize = 32;

/// Configures a [`DynamoDbStore`].
///
/// ```
/// use std::time::Duration;
/// use flagstore_dynamodb::DynamoDbStore;
///
/// let store = DynamoDbStore::builder("feature-flags")
///     .prefix("production")
///     .region("eu-west-1")
///     .timeout(Duration::from_millis(800))
///     .attempt_timeout(Duration::from_millis(250))
///     .build()?;
/// assert_eq!(store.to_string(), "DynamoDB(eu-west-1/feature-flags, production)");
/// # Ok::<(), flagstore_core::StoreError>(())
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct DynamoDbStoreBuilder {
    table: String,
    prefix: String,
    region: Option<String>,
    endpoint: Option<String>,
    credentials_provider: Option<SharedCredentialsProvider>,
    timeout: Duration,
    attempt_timeout: Option<Duration>,
    connect_timeout: Option<Duration>,
    init_timeout: Duration,
    max_attempts: Option<u32>,
    init_concurrency: usize,
    sdk_config: Option<SdkConfig>,
    client: Option<Client>,
    consistent_reads: bool,
    bridge: Option<Arc<Bridge>>,
}

impl DynamoDbStore {
    /// Configures a store in the table of this name or ARN, which exists already: see
    /// [`create_table_if_missing`](Self::create_table_if_missing). An ARN says the region too.
    pub fn builder(table: impl Into<String>) -> DynamoDbStoreBuilder {
        DynamoDbStoreBuilder {
            table: table.into(),
            prefix: String::new(),
            region: None,
            endpoint: None,
            credentials_provider: None,
            timeout: Duration::from_secs(2),
            attempt_timeout: None,
            connect_timeout: None,
            init_timeout: Duration::from_secs(30),
            max_attempts: None,
            init_concurrency: INIT_CONCURRENCY,
            sdk_config: None,
            client: None,
            consistent_reads: true,
            bridge: None,
        }
    }
}

impl DynamoDbStoreBuilder {
    /// Sets the prefix under which the store keeps its data. Stores of different prefixes share a table and
    /// see nothing of each other; the Relay Proxy calls it `LD_PREFIX`. Defaults to none.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Sets the AWS region, such as `eu-west-1`. Defaults to that in the table's ARN, or else to the `SdkConfig`'s,
    /// or else to what the environment, the AWS profile or the machine says.
    pub fn region(self, region: impl Into<String>) -> Self {
        Self { region: Some(region.into()), ..self }
    }

    /// Sets the URL at which DynamoDB answers, such as `http://localhost:8000`. Defaults to the
    /// `SdkConfig`'s, or else to that in the environment, or else to AWS's own of the region.
    pub fn endpoint(self, endpoint: impl Into<String>) -> Self {
        Self { endpoint: Some(endpoint.into()), ..self }
    }

    /// Sets who gives the credentials. Defaults to the `SdkConfig`'s, or else to the AWS default chain: the
    /// environment, the profile, a role.
    pub fn credentials_provider(self, provider: impl ProvideCredentials + 'static) -> Self {
        Self { credentials_provider: Some(SharedCredentialsProvider::new(provider)), ..self }
    }

    /// Sets the deadline of every call but `init`, with all its attempts and pages. Defaults to 2 seconds.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets how long one attempt may take before the next one is made. Attempts of an `init`, which carries
    /// more, may take a sixth of its timeout if that is longer. Defaults to 600 milliseconds, or to `timeout`
    /// if that is shorter.
    pub fn attempt_timeout(self, attempt_timeout: Duration) -> Self {
        Self { attempt_timeout: Some(attempt_timeout), ..self }
    }

    /// Sets how long it may take to open a connection, within an attempt. Defaults to 500 milliseconds.
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout: Some(connect_timeout), ..self }
    }

    /// Sets the deadline of `init`, which writes all the data, and of a patch of Big Segments that takes more than one
    /// transaction. Until then an init repeats what is throttled or left unprocessed. Defaults to 30 seconds.
    pub fn init_timeout(self, init_timeout: Duration) -> Self {
        Self { init_timeout, ..self }
    }

    /// Sets how often a request is sent in all if it fails or is throttled, with short random pauses. 1 turns
    /// retries off. What is throttled in an `init` is repeated until its timeout all the same. Defaults to 3.
    pub fn max_attempts(self, max_attempts: u32) -> Self {
        Self { max_attempts: Some(max_attempts), ..self }
    }

    /// Sets how many requests of an `init` run side by side, of 25 items each. Less spares a table whose
    /// capacity others need too; 1 is what the official SDKs do. An `init` that is throttled goes on at the pace at
    /// which the table takes it. Defaults to 32, which is 800 writes: one partition of DynamoDB takes 1000 a
    /// second.
    pub fn init_concurrency(self, init_concurrency: usize) -> Self {
        Self { init_concurrency, ..self }
    }

    /// Sets the configuration that all AWS clients of the application share, in place of the environment.
    /// What is set on this builder counts more; timeouts and retries are always this builder's. Defaults to
    /// none.
    pub fn sdk_config(self, sdk_config: SdkConfig) -> Self {
        Self { sdk_config: Some(sdk_config), ..self }
    }

    /// Sets a ready client, with its own region, endpoint, credentials, attempts and timeouts, none of which
    /// can be set here too. `timeout` and `init_timeout` still bound each call. It is never closed by the
    /// store. Its credentials are loaded by itself, and no call of the store cancels that.
    ///
    /// If the application itself uses it inside a current-thread runtime, give the store a client of its own:
    /// a connection that was opened there does not move while a call of the store blocks that thread.
    ///
    /// Defaults to none.
    pub fn client(self, client: Client) -> Self {
        Self { client: Some(client), ..self }
    }

    /// Sets whether a read sees every write that was acknowledged before it. Without that a read costs half as much,
    /// and may miss the writes of about the last second. What an `init` or an `upsert` compares is not concerned.
    /// Defaults to true.
    pub fn consistent_reads(self, consistent_reads: bool) -> Self {
        Self { consistent_reads, ..self }
    }

    /// Sets on whose threads the requests run. Stores that are given the same bridge share its two threads, so an
    /// application with many environments needs no more of them than one with a single one. Defaults to a bridge of
    /// the store's own.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use flagstore_dynamodb::{Bridge, DynamoDbStore};
    ///
    /// let bridge = Arc::new(Bridge::new("dynamodb")?);
    /// let stores: Vec<DynamoDbStore> = ["production", "staging"]
    ///     .into_iter()
    ///     .map(|environment| {
    ///         DynamoDbStore::builder("flags").prefix(environment).bridge(Arc::clone(&bridge)).build()
    ///     })
    ///     .collect::<Result<_, _>>()?;
    /// # Ok::<(), flagstore_core::StoreError>(())
    /// ```
    pub fn bridge(self, bridge: Arc<Bridge>) -> Self {
        Self { bridge: Some(bridge), ..self }
    }

    /// Builds the store, and starts its threads. No request is made: a database that is down now may be up
    /// when it is needed.
    ///
    /// # Errors
    ///
    /// [`Config`](flagstore_core::ErrorKind::Config) names the field that has to change.
    pub fn build(self) -> Result<DynamoDbStore, StoreError> {
        self.check()?;
        let timeouts = |attempt: Duration, operation: Duration| {
            let operation = sooner(operation);
            TimeoutConfig::builder()
                .connect_timeout(self.connect_timeout.unwrap_or(CONNECT_TIMEOUT))
                .operation_attempt_timeout(attempt.min(operation))
                .operation_timeout(operation)
                .build()
        };
        let attempt = self.attempt_timeout.unwrap_or(ATTEMPT_TIMEOUT);
        let init_timeouts =
            self.client.is_none().then(|| timeouts(attempt.max(self.init_timeout / 6), self.init_timeout));
        let from_config = |of: fn(&SdkConfig) -> Option<String>| self.sdk_config.as_ref().and_then(of);
        let max_attempts = self.max_attempts.unwrap_or(MAX_ATTEMPTS);
        let settings = Settings {
            region: self
                .region
                .clone()
                .or_else(|| region_of(&self.table).map(str::to_owned))
                .or_else(|| from_config(|config| config.region().map(ToString::to_string))),
            endpoint: self.endpoint.clone().or_else(|| from_config(endpoint_of)),
            timeouts: timeouts(attempt, self.timeout),
            credentials_provider: self.credentials_provider,
            max_attempts,
            sdk_config: self.sdk_config,
        };
        let table = Table {
            connection: Connection::new(settings, self.client),
            name: self.table,
            prefix: self.prefix,
            consistent_reads: self.consistent_reads,
            init_concurrency: self.init_concurrency,
            // Another's client has attempts of its own.
            init_attempts: if init_timeouts.is_some() { max_attempts } else { 1 },
            init_timeouts,
            proven: OnceCell::new(),
        };
        Ok(DynamoDbStore {
            bridge: match self.bridge {
                Some(bridge) => bridge,
                None => Arc::new(Bridge::new(STORE)?),
            },
            table: Arc::new(table),
            timeout: self.timeout,
            init_timeout: self.init_timeout,
        })
    }

    fn check(&self) -> Result<(), StoreError> {
        let wrong = |field: &str, reason: &str| Err(StoreError::config(STORE, field, reason));
        if !is_table(&self.table) {
            return wrong(
                "table",
                "must be 3 to 255 letters, digits, _, - and ., or an ARN such as \
                 arn:aws:dynamodb:eu-west-1:123456789012:table/flags",
            );
        }
        if self.prefix.len() > LONGEST_PREFIX {
            return wrong("prefix", "must not be longer than 1024 bytes");
        }
        if self.region.as_ref().is_some_and(|region| !is_region(region)) {
            return wrong("region", "must be letters, digits and -, such as eu-west-1");
        }
        if let (Some(region), Some(of_table)) = (&self.region, region_of(&self.table))
            && region != of_table
        {
            return wrong("region", "is not that in the table's ARN");
        }
        let of_client = self.client.as_ref().and_then(|client| client.config().region());
        if let (Some(of_client), Some(of_table)) = (of_client, region_of(&self.table))
            && of_client.as_ref() != of_table
        {
            return wrong("client", "has not the region that is in the table's ARN");
        }
        let of_config = self.sdk_config.as_ref().and_then(endpoint_of);
        if self.endpoint.is_none() && of_config.is_some_and(|endpoint| !is_endpoint(&endpoint)) {
            return wrong(
                "sdk_config",
                "its endpoint must be a URL such as http://localhost:8000, without user or password",
            );
        }
        if self.endpoint.as_ref().is_some_and(|endpoint| !is_endpoint(endpoint)) {
            // Not shown: there may be a password in it.
            return wrong(
                "endpoint",
                "must be a URL such as http://localhost:8000, without user or password",
            );
        }
        let timeouts = [
            ("timeout", Some(self.timeout)),
            ("attempt_timeout", self.attempt_timeout),
            ("connect_timeout", self.connect_timeout),
            ("init_timeout", Some(self.init_timeout)),
        ];
        for (field, timeout) in timeouts {
            timeout.map_or(Ok(()), |timeout| StoreError::check_timeout(STORE, field, timeout))?;
        }
        if self.attempt_timeout.is_some_and(|attempt| attempt > self.timeout) {
            return wrong("attempt_timeout", "must not be longer than timeout");
        }
        if self.max_attempts == Some(0) {
            return wrong("max_attempts", "must be at least 1");
        }
        if self.init_concurrency == 0 {
            return wrong("init_concurrency", "must be at least 1");
        }
        let beside_client = [
            ("sdk_config", self.sdk_config.is_some()),
            ("region", self.region.is_some()),
            ("endpoint", self.endpoint.is_some()),
            ("credentials_provider", self.credentials_provider.is_some()),
            ("attempt_timeout", self.attempt_timeout.is_some()),
            ("connect_timeout", self.connect_timeout.is_some()),
            ("max_attempts", self.max_attempts.is_some()),
        ];
        match beside_client.into_iter().find(|(_, is_set)| *is_set && self.client.is_some()) {
            Some((field, _)) => wrong(field, "has no effect on a ready client: configure the client itself"),
            None => Ok(()),
        }
    }
}

fn is_table(name: &str) -> bool {
    let legal = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    match name.strip_prefix("arn:") {
        // partition:dynamodb:region:account:table/name
        Some(arn) => match *arn.split(':').collect::<Vec<_>>() {
            [partition, "dynamodb", region, account, table] => {
                let parts = [partition, region, account];
                let name = table.strip_prefix("table/").unwrap_or_default();
                parts.iter().all(|part| !part.is_empty() && legal(part))
                    && matches!(name.len(), 3..=255)
                    && legal(name)
            }
            _ => false,
        },
        None => matches!(name.len(), 3..=255) && legal(name),
    }
}

/// The region in the table's name, if that is an ARN.
fn region_of(table: &str) -> Option<&str> {
    table.strip_prefix("arn:").and_then(|arn| arn.split(':').nth(2))
}

fn is_region(region: &str) -> bool {
    !region.is_empty() && region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

pub(crate) fn is_endpoint(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        let host = rest.split('/').next().unwrap_or_default();
        let odd = |c: char| c.is_whitespace() || c.is_control() || "@?#\\".contains(c);
        !host.is_empty() && !host.starts_with(':') && !rest.contains(odd)
    })
}

impl fmt::Debug for DynamoDbStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `..` for what may hold credentials, and an endpoint only once it is known to hold none.
        f.debug_struct("DynamoDbStoreBuilder")
            .field("table", &self.table)
            .field("prefix", &self.prefix)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint.as_ref().filter(|endpoint| is_endpoint(endpoint)))
            .field("credentials_provider", &self.credentials_provider.as_ref().map(|_| ".."))
            .field("timeout", &self.timeout)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("init_timeout", &self.init_timeout)
            .field("max_attempts", &self.max_attempts)
            .field("init_concurrency", &self.init_concurrency)
            .field("sdk_config", &self.sdk_config.as_ref().map(|_| ".."))
            .field("client", &self.client.as_ref().map(|_| ".."))
            .field("consistent_reads", &self.consistent_reads)
            .field("bridge", &self.bridge)
            .finish()
    }
}

#[cfg(test)]
mod tests;
