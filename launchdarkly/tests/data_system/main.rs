//! The data system: a database, a source, and the official client above them.
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

mod close;
mod database;
mod initialization;
mod listeners;
mod support;
