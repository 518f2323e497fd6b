#![doc = include_str!("../README.md")]

mod big_segments;
mod builder;
mod capabilities;
mod changes;
mod cluster;
mod codec;
mod connect;
mod connections;
mod credentials;
mod error;
mod handshake;
mod injected;
mod pool;
mod schema;
mod sentinel;
mod session;
mod socket;
mod store;
mod tls;
mod upsert;
mod wire;

pub use builder::RedisStoreBuilder;
pub use capabilities::Capabilities;
pub use changes::RedisChanges;
pub use credentials::Credentials;
pub use redis;
pub use store::RedisStore;
