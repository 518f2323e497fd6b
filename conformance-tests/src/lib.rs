#![doc = include_str!("../README.md")]

mod case;
pub mod cases;
mod fixture;
mod linearizability;
pub mod ratio;
mod run;
mod worker;

pub use case::{Case, Skip};
pub use fixture::Fixture;
pub use run::{run, work_if_asked};
