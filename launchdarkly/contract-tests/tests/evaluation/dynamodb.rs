//! How a store in a DynamoDB is opened.

use flagstore_dynamodb::aws_sdk_dynamodb::config::Credentials;
use flagstore_dynamodb::{DynamoDbStore, DynamoDbStoreBuilder};

pub(crate) fn builder(table: &str, endpoint: &str) -> DynamoDbStoreBuilder {
    DynamoDbStore::builder(table).endpoint(endpoint).region("us-east-1").credentials_provider(credentials())
}

/// DynamoDB Local wants letters and digits in an access key.
pub(crate) fn credentials() -> Credentials {
    Credentials::new("dummyaccesskeyid", "dummysecretaccesskey", None, None, "tests")
}
