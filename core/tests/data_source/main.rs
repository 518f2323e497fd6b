//! Data sources: the sink, the status, and the changes of flags. The modules are named as what they check is
//! named in LaunchDarkly's SDKs for Go, Java and Python.
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

mod flag_tracker;
mod flag_value_changes;
mod outage_log;
mod running;
mod status;
mod status_provider;
mod store_outages;
mod support;
mod update_sink;
