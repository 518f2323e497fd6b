//! The contract of a LaunchDarkly feature store, and what every flagstore backend shares.
//!
//! | module | what it is |
//! |---|---|
//! | [`Kind`] | a namespace of items: `features`, `segments` |
//! | [`Item`] | a versioned JSON object or a tombstone |
//! | [`AllData`] | a whole environment, as LaunchDarkly and the Relay Proxy serve it |
//! | [`FeatureStoreCore`] | **the contract**: what a backend implements |
//! | [`StoreError`] | what went wrong, where, and what a caller can do about it |
//! | [`MemoryStore`] | the contract in its plainest code |
//!
//! Backends are crates of their own (`flagstore-sqlite`), and `flagstore-conformance` shows whether one
//! keeps the contract.

mod all_data;
mod dependencies;
mod error;
mod feature_store_core;
mod item;
mod kind;
mod memory;

pub use all_data::{AllData, ParseError};
pub use error::{ErrorKind, StoreError};
pub use feature_store_core::{FeatureStoreCore, Items, Upsert};
pub use item::{DecodeError, Item, MAX_VERSION};
pub use kind::Kind;
pub use memory::MemoryStore;
