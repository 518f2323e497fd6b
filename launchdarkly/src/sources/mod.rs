//! Sources of data for a [`DataSourceUpdateSink`](flagstore_core::DataSourceUpdateSink): what fills a store, instead
//! of the official client or a Relay Proxy.
//!
//! | builder | where the data comes from | feature |
//! |---|---|---|
//! | [`StreamingDataSourceBuilder`] | LaunchDarkly or a Relay Proxy, each change as it happens | `streaming` |
//! | [`PollingDataSourceBuilder`] | the same, asked for at an interval | `polling` |
//! | [`FileDataSourceBuilder`] | files in LaunchDarkly's format, in JSON or YAML, read again when they change | `file` |
//! | [`TestData`] | a test, which sets flags and segments as it goes | |
//!
//! Each is a [`DataSourceFactory`](flagstore_core::DataSourceFactory), keeps every item byte for byte, and does its
//! work on a thread of its own. Where LaunchDarkly is, and with what key and client to ask it, is a
//! [`LaunchDarklyService`].

// What they share is more than one of them alone needs.
#![cfg_attr(not(all(feature = "file", feature = "polling", feature = "streaming")), allow(dead_code))]

mod clock;
#[cfg(test)]
mod fed;
mod feed;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "streaming")]
mod payload;
#[cfg(feature = "polling")]
mod polling;
#[cfg(feature = "polling")]
mod requester;
#[cfg(feature = "service")]
mod retry;
mod segment_builder;
#[cfg(feature = "service")]
mod service;
#[cfg(feature = "streaming")]
mod streaming;
mod test_data;
mod threaded;
#[cfg(feature = "service")]
mod transport;
mod version;

#[cfg(feature = "file")]
pub use file::{DuplicateKeys, FileDataSourceBuilder};
#[cfg(feature = "polling")]
pub use polling::PollingDataSourceBuilder;
pub use segment_builder::{SegmentBuilder, SegmentRuleBuilder};
#[cfg(feature = "service")]
pub use service::LaunchDarklyService;
#[cfg(feature = "streaming")]
pub use streaming::StreamingDataSourceBuilder;
pub use test_data::TestData;
