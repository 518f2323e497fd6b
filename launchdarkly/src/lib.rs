#![doc = include_str!("../README.md")]

mod data_system;
mod data_system_builder;
mod evaluation;
mod factory;
mod flagstore;
mod model;
mod readable;
pub mod sources;

pub use data_system::DataSystem;
pub use data_system_builder::DataSystemBuilder;
pub use evaluation::{AllFlagsOptions, BigSegmentsClient, Evaluation, Evaluator, FlagsState};
pub use factory::{FlagstoreFactory, cached_data_store, data_store};
#[cfg(feature = "service")]
pub use launchdarkly_sdk_transport;
pub use launchdarkly_server_sdk;

/// The example of the repository's own README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct RepositoryReadme;
