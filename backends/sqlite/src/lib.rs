#![doc = include_str!("../README.md")]

mod builder;
mod changes;
mod connections;
mod error;
mod open_file;
mod schema;
mod store;

pub use builder::{SqliteStoreBuilder, Synchronous};
pub use changes::SqliteChanges;
pub use rusqlite;
pub use store::SqliteStore;
