//! The list of cases: the contract's table of contents.
//!
//! Each case is a private function named as a sentence, so one that is left out of the list is dead code
//! and does not compile without a warning.

mod big_segments;
mod caching;
mod changes;
mod concurrency;
mod delete;
mod errors;
mod get;
mod get_all;
mod init;
mod prefix;
mod processes;
mod runtimes;
mod size;
mod unreadable;
mod upsert;

use crate::Case;

/// Every case: of the contract, of the cache above a store that keeps it, and of Big Segments.
#[must_use]
pub fn all() -> Vec<Case> {
    core().into_iter().chain(caching()).chain(big_segments()).collect()
}

/// The cases of Big Segments: of [`BigSegmentStore`](flagstore_core::BigSegmentStore),
/// [`BigSegmentUpdates`](flagstore_core::BigSegmentUpdates) and
/// [`BigSegmentStoreWrapper`](flagstore_core::BigSegmentStoreWrapper).
#[must_use]
pub fn big_segments() -> Vec<Case> {
    big_segments::cases()
}

/// The cases of a cache above a store, with its status and recovery: of
/// [`CachingStoreWrapper`](flagstore_core::CachingStoreWrapper).
#[must_use]
pub fn caching() -> Vec<Case> {
    caching::cases()
}

/// The cases of the contract itself: of [`FeatureStoreCore`](flagstore_core::FeatureStoreCore).
#[must_use]
pub fn core() -> Vec<Case> {
    [
        init::cases(),
        get::cases(),
        get_all::cases(),
        upsert::cases(),
        delete::cases(),
        prefix::cases(),
        size::cases(),
        unreadable::cases(),
        errors::cases(),
        concurrency::cases(),
        processes::cases(),
        changes::cases(),
        runtimes::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
