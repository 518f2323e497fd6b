//! Big Segments: segments too large for a flag's data, whose members the Relay Proxy keeps in the database, by
//! context, to be asked for when a flag needs them.

mod builder;
mod context_hash;
mod membership;
mod memory;
mod monitor;
mod patch;
mod status;
mod status_provider;
mod store;
mod unix_millis;
mod wrapper;

pub use builder::BigSegmentStoreBuilder;
pub use context_hash::context_hash;
pub use membership::BigSegmentMembership;
pub use memory::MemoryBigSegmentStore;
pub use patch::{BigSegmentChanges, BigSegmentPatch, ContextChange, PatchOutcome};
pub use status::{BigSegmentStoreStatus, BigSegmentsStatus};
pub use status_provider::BigSegmentStoreStatusProvider;
pub use store::{BigSegmentStore, BigSegmentUpdates};
pub use unix_millis::UnixMillis;
pub use wrapper::{BigSegmentStoreWrapper, BigSegmentsQueryResult};
