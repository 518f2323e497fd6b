//! The contract of a LaunchDarkly feature store, and what every flagstore backend shares.
//!
//! | module | what it is |
//! |---|---|
//! | [`Kind`] | a namespace of items: `features`, `segments` |
//! | [`Item`] | a versioned JSON object or a tombstone |
//! | [`AllData`] | a whole environment, as LaunchDarkly and the Relay Proxy serve it |
//! | [`FeatureStoreCore`] | **the contract**: what a backend implements |
//! | [`StoreError`] | what went wrong, where, and what a caller can do about it |
//! | [`Shown`] | a key in a message: escaped, and cut where it is too long |
//! | [`MemoryStore`] | the contract in its plainest code |
//! | [`FeatureStore`] | what an application or an SDK uses: live data |
//! | [`CachingStoreWrapper`] | makes one of any core: a cache, the database's status, recovery from outages |
//! | `AsyncFeatureStore` | the same as futures (feature `tokio`) |
//! | [`copy`] | from one store into another |
//! | [`ChangeSource`] | tells a cache that somebody else has written |
//! | [`DataStoreStatusProvider`] | whether the database is available, for whoever wants to know |
//! | [`BigSegmentStore`] | the contract of what keeps Big Segments, and [`BigSegmentUpdates`] that of what feeds them |
//! | [`BigSegmentStoreWrapper`] | what evaluations ask for Big Segments: a cache and a status above any store |
//! | [`UpdateProcessor`] | the contract of a data source, which brings flags into a store |
//! | [`DataSourceUpdateSink`] | where a data source brings them, and where its status is kept |
//! | [`DataSource`] | a data source at work |
//! | [`FlagTracker`] | tells that flags have changed, whoever has changed them |
//! | [`EventProcessor`] | the contract of what takes an application's events |
//! | `Bridge` | lets a backend with an async client be called from anywhere (feature `bridge`) |
//!
//! Backends are crates of their own (`flagstore-sqlite`), and `flagstore-conformance` shows whether one
//! keeps the contract.

mod all_data;
#[cfg(feature = "tokio")]
mod async_feature_store;
mod background;
mod big_segments;
#[cfg(feature = "bridge")]
mod bridge;
mod caching;
mod changes;
mod copy;
mod data_source;
mod dependencies;
mod error;
mod events;
mod feature_store;
mod feature_store_core;
mod flag_tracker;
mod item;
mod kind;
mod known;
mod listeners;
mod live_items;
mod memory;
mod shared_changes;
mod shown;
mod status;
mod stripe;
mod watched;

pub use all_data::{AllData, ParseError};
#[cfg(feature = "tokio")]
pub use async_feature_store::AsyncFeatureStore;
pub use big_segments::{
    BigSegmentChanges, BigSegmentMembership, BigSegmentPatch, BigSegmentStore, BigSegmentStoreBuilder,
    BigSegmentStoreStatus, BigSegmentStoreStatusProvider, BigSegmentStoreWrapper, BigSegmentUpdates,
    BigSegmentsQueryResult, BigSegmentsStatus, ContextChange, MemoryBigSegmentStore, PatchOutcome,
    UnixMillis, context_hash,
};
#[cfg(feature = "bridge")]
pub use bridge::Bridge;
pub use caching::{CacheMode, CacheStatistics, CachingStoreBuilder, CachingStoreWrapper, StalePolicy};
pub use changes::{Change, ChangeSource, ChangeWatch};
pub use copy::{Copied, copy};
pub use data_source::{
    BackgroundOperation, DataSource, DataSourceErrorInfo, DataSourceErrorKind, DataSourceFactory,
    DataSourceState, DataSourceStatus, DataSourceStatusProvider, DataSourceUpdateSink,
    DataSourceUpdateSinkBuilder, Delivery, FeatureRequester, Requested, UpdateProcessor,
};
pub use error::{ErrorKind, StoreError};
pub use events::{CollectingEventProcessor, Event, EventProcessor, NullEventProcessor};
pub use feature_store::FeatureStore;
pub use feature_store_core::{FeatureStoreCore, Items, Upsert};
pub use flag_tracker::{FlagChange, FlagTracker, FlagTrackerBuilder, FlagValueChange};
pub use item::{DecodeError, Item, MAX_VERSION};
pub use kind::Kind;
pub use listeners::Subscription;
pub use live_items::LiveItems;
pub use memory::MemoryStore;
pub use shared_changes::SharedChangeSource;
pub use shown::Shown;
pub use status::{DataStoreStatus, DataStoreStatusProvider, DataStoreUpdateSink};

/// The example of the README, which is for those who do not read it here.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
