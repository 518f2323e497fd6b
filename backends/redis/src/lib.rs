#![doc = include_str!("../README.md")]

mod builder;
mod changes;
mod cluster;
mod connect;
mod connections;
mod credentials;
mod error;
mod injected;
mod pool;
mod schema;
mod session;
mod store;
#[cfg(any(feature = "tls-native-tls", feature = "tls-rustls"))]
mod tls;
mod upsert;

pub use builder::RedisStoreBuilder;
pub use changes::RedisChanges;
pub use credentials::Credentials;
pub use redis;
pub use store::RedisStore;
