//! Who is told that a flag has changed.

mod change;
mod graph;
mod known;
mod tracker;

pub use change::{FlagChange, FlagValueChange};
pub use tracker::{FlagTracker, FlagTrackerBuilder};
