//! Sources of data with what stands around them: real databases, and the official client.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

mod official;
mod outages;
#[path = "../support/stand_in.rs"]
mod stand_in;
mod support;
mod versions;
