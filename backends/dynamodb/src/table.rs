use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{self, Config};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TableStatus,
};
use flagstore_core::Kind;
use tokio::sync::OnceCell;

use crate::codec::Row;
use crate::connection::Connection;
use crate::error::Failure;
use crate::schema::{self, KEY, NAMESPACE};

/// Between two looks at a table that is being created.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The table, and all that a request to it needs.
pub(crate) struct Table {
    pub(crate) connection: Connection,
    pub(crate) name: String,
    pub(crate) prefix: String,
    /// Whether a read sees every write that was acknowledged before it.
    pub(crate) consistent_reads: bool,
    pub(crate) init_concurrency: usize,
    /// How often a request of an init is sent in all if it fails, other than by a throttling.
    pub(crate) init_attempts: u32,
    /// The timeouts of an init's requests, which carry up to 10 MB. `None` if the client is not ours.
    pub(crate) init_timeouts: Option<TimeoutConfig>,
    /// Set when the table has proven to be of our shape.
    pub(crate) proven: OnceCell<()>,
}

impl Table {
    /// What an init's requests are sent with: longer timeouts, and once each, since the init has a backoff of its
    /// own.
    pub(crate) fn for_init(&self) -> config::Builder {
        match &self.init_timeouts {
            Some(timeouts) => {
                Config::builder().timeout_config(timeouts.clone()).retry_config(RetryConfig::disabled())
            }
            None => Config::builder(),
        }
    }

    pub(crate) fn location(&self) -> Option<String> {
        self.connection.location()
    }

    pub(crate) fn namespace(&self, kind: &Kind) -> String {
        schema::namespace(&self.prefix, kind.as_str())
    }

    /// The row under these keys.
    pub(crate) async fn get(
        &self,
        client: &Client,
        namespace: String,
        key: &str,
    ) -> Result<Option<Row>, Failure> {
        let found = client
            .get_item()
            .table_name(&self.name)
            .key(NAMESPACE, AttributeValue::S(namespace))
            .key(KEY, AttributeValue::S(key.to_owned()))
            .consistent_read(self.consistent_reads)
            .send()
            .await?;
        Ok(found.item)
    }
}

impl Table {
    /// All rows of a namespace, a page at a time.
    pub(crate) fn rows_in(&self, client: &Client, namespace: String) -> QueryFluentBuilder {
        client
            .query()
            .table_name(&self.name)
            .key_condition_expression("#namespace = :namespace")
            .expression_attribute_names("#namespace", NAMESPACE)
            .expression_attribute_values(":namespace", AttributeValue::S(namespace))
    }

    /// Returns once the table has proven to be of our shape, before anything is written to it: in a table of another
    /// shape, a put of ours might replace the rows of others. Once per store is enough.
    pub(crate) async fn prove(&self, client: &Client) -> Result<(), Failure> {
        let prove = async || self.look_at_mark(client, Config::builder()).await.map(drop);
        self.proven.get_or_try_init(prove).await.copied()
    }

    /// Whether the store is marked as initialized. It asks in a way that only a table of our shape answers: an
    /// equality is for a partition key, a beginning for a sort key, and both are strings.
    pub(crate) async fn look_at_mark(&self, client: &Client, with: config::Builder) -> Result<bool, Failure> {
        let mark = schema::initialized(&self.prefix);
        let found = self
            .rows_in(client, mark.clone())
            .key_condition_expression("#namespace = :namespace and begins_with(#key, :key)")
            .expression_attribute_names("#key", KEY)
            .expression_attribute_values(":key", AttributeValue::S(mark.clone()))
            .consistent_read(true)
            .customize()
            .config_override(with)
            .send()
            .await?;
        // It may be set already.
        let _ = self.proven.set(());
        let is_mark = |row: &Row| row.get(KEY).and_then(|key| key.as_s().ok()) == Some(&mark);
        Ok(found.items().iter().any(is_mark))
    }
}

/// As errors name it: `table flags in eu-west-1`.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {}", self.name)?;
        match self.location() {
            Some(endpoint) if endpoint.contains("://") => write!(f, " at {endpoint}"),
            Some(region) => write!(f, " in {region}"),
            None => Ok(()),
        }
    }
}

/// Creates the table unless it is there, and waits until it can be used.
pub(crate) async fn create_if_missing(client: &Client, name: &str) -> Result<bool, Failure> {
    let mut create = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    for (name, key_type) in [(NAMESPACE, KeyType::Hash), (KEY, KeyType::Range)] {
        let attribute = AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build();
        let key = KeySchemaElement::builder().attribute_name(name).key_type(key_type).build();
        let invalid = |error: aws_sdk_dynamodb::error::BuildError| Failure::Other(error.to_string());
        create = create.attribute_definitions(attribute.map_err(invalid)?).key_schema(key.map_err(invalid)?);
    }
    let created = match create.send().await {
        Ok(_) => true,
        // Somebody else has just begun to, or it was there all along.
        Err(SdkError::ServiceError(error))
            if matches!(error.err(), CreateTableError::ResourceInUseException(_)) =>
        {
            false
        }
        Err(error) => return Err(error.into()),
    };
    while !is_active(client, name).await? {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(created)
}

async fn is_active(client: &Client, name: &str) -> Result<bool, Failure> {
    let described = client.describe_table().table_name(name).send().await?;
    Ok(described.table.and_then(|table| table.table_status) == Some(TableStatus::Active))
}
