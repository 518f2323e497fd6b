#![doc = include_str!("../README.md")]

mod big_segments;
mod builder;
mod client;
mod codec;
mod condition;
mod conflict;
mod connection;
mod deadline;
mod doubt;
mod error;
mod http;
mod identity;
mod pace;
mod plan;
mod schema;
mod store;
mod table;
mod throttling;
mod writer;

pub use aws_config::SdkConfig;
pub use aws_sdk_dynamodb;
pub use builder::DynamoDbStoreBuilder;
pub use flagstore_core::Bridge;
pub use store::DynamoDbStore;
