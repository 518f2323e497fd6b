use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TableStatus,
};
use flagstore_core::Kind;

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
    pub(crate) init_concurrency: usize,
    /// The timeouts of an init's requests, which carry up to 10 MB. `None` if the client is not ours.
    pub(crate) init_timeouts: Option<TimeoutConfig>,
}

impl Table {
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
            .consistent_read(true)
            .send()
            .await?;
        Ok(found.item)
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
