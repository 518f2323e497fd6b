//! A cache above a store, with its status and recovery.
//!
//! What is known of the database is one [`table`] of immutable states. Readers look at the state that is there
//! and wait for nobody; every change makes the next one, under a lock that nobody holds while the database is
//! asked. Each entry says what is known of a key (an item, a tombstone, nothing), its version, since when, and
//! what of it is still to be written, and [`merge`](crate::known::merge) is the one place that puts news there.
//!
//! - **A `get`**: [`FeatureStore::get`] looks with [`Table::look`](table::Table::look). A hit ends there. For a
//!   miss, [`Loads::load`](load::Loads::load) [boards a flight](flight::Flights::board): the first asks the database
//!   through the [watched store](crate::watched::WatchedStore), and [`Table::read`](table::Table::read) merges
//!   the answer; the others wait for it.
//! - **An `upsert`** goes to the database first, then [`Table::upsert_ended`](table::Table::upsert_ended) merges the
//!   answer, or keeps what a database that is away could not take.
//! - **An `init`** likewise: [`Table::init_ended`](table::Table::init_ended) replaces the kinds in one step, so no
//!   reader sees half of it; what overlapped it is in doubt and is asked for again.
//! - **An outage**: the watched store reports the first failure, and its monitor probes until
//!   [`recover`](recovery::recover) has written everything that is [pending](table::Table::pending); only then does
//!   the status say available.

mod builder;
mod flight;
#[cfg(test)]
mod interleavings;
mod load;
mod mode;
mod recovery;
mod room;
mod state;
mod statistics;
mod table;
#[cfg(feature = "tokio")]
mod tasks;
mod workers;
mod wrapper;

pub use builder::CachingStoreBuilder;
pub use mode::{CacheMode, StalePolicy};
pub use statistics::CacheStatistics;
pub use wrapper::CachingStoreWrapper;
