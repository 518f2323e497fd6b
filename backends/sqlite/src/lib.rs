#![doc = include_str!("../README.md")]

mod big_segments;
mod builder;
mod changes;
mod codec;
mod connection;
mod connections;
mod error;
mod library;
mod log;
mod open_file;
mod schema;
mod slots;
mod store;

pub use builder::{SqliteStoreBuilder, Synchronous};
pub use changes::SqliteChanges;
pub use rusqlite;
pub use store::SqliteStore;
