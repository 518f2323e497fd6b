//! The plug, as the SDK uses it: called directly, through the SDK's own wrapper, and by whole clients. No
//! test uses the network.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but does not see that helpers are part of them"
)]

mod cached;
mod clients;
mod logs;
mod repairs;
mod runtimes;
mod stores;
mod support;
mod tombstones;
mod wrapper;
