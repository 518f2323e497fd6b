#![doc = include_str!("../README.md")]

mod factory;
mod flagstore;

pub use factory::{FlagstoreFactory, cached_data_store, data_store};

/// The example of the repository's own README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct RepositoryReadme;
