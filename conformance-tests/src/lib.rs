#![doc = include_str!("../README.md")]

mod big_segments;
mod cache;
mod cached;
mod case;
pub mod cases;
mod controlled;
mod controlled_big_segments;
mod data_source;
mod fixture;
mod linearizability;
mod log;
pub mod ratio;
mod run;
pub mod stand_in;
mod worker;

pub use big_segments::{BigSegments, BigSegmentsFixture, BigSegmentsListener, BigSegmentsSettings};
pub use cache::{CacheSettings, CachingStore, Listener};
pub use cached::{cached, run_in_every_mode};
pub use case::{Case, Skip};
pub use data_source::{Origin, SourceCase, SourceFixture, run_sources, source_cases};
pub use fixture::Fixture;
pub use run::{run, work_if_asked};
pub use stand_in::StandIn;
