#![doc = include_str!("../README.md")]

mod batch;
mod big_segments;
mod builder;
mod client;
mod codec;
mod condition;
mod connection;
mod doubt;
mod error;
mod identity;
mod schema;
mod store;
mod table;

pub use aws_config::SdkConfig;
pub use aws_sdk_dynamodb;
pub use builder::DynamoDbStoreBuilder;
pub use store::DynamoDbStore;
