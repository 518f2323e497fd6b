#![doc = include_str!("../README.md")]
#![allow(
    clippy::unwrap_used,
    reason = "all of this is for tests, which may as well panic where they cannot go on"
)]

pub mod data_system;
pub mod database;
pub mod flags;
pub mod official;
pub mod peer;
pub mod program;
pub mod relay;
pub mod run;
pub mod rust;
pub mod upstream;
pub mod wait;
