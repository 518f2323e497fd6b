//! What is particular to Redis, against servers of its own. What holds for every store is in the suite.
//!
//! Each test starts the `redis-server` processes that it needs, on free ports of 127.0.0.1.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

mod big_segments;
mod certificates;
mod cluster;
mod configuration;
mod deadlines;
mod injected;
mod nodes;
mod pool;
mod proxy;
mod push;
mod resilience;
mod secrets;
mod sentinel;
mod server;
mod stored;
mod topology;
mod transactions;
mod upserts;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{AllData, FeatureStoreCore, Item, Kind, StoreError};
use flagstore_redis::RedisStore;
use libtest_mimic::{Arguments, Completion, Trial};

type Test = (&'static str, fn());

/// Longer than anything here takes: it is there to say what hangs.
const HANG: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    if secrets::is_asked() {
        return secrets::show_everything();
    }
    let program = server::program();
    let advice = format!("{program} is not installed. Run: apt-get install {program}");
    let has_server = Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    let required = std::env::var("FLAGSTORE_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|name| name.trim() == "redis");
    let tests = [
        big_segments::TESTS,
        certificates::TESTS,
        cluster::TESTS,
        configuration::TESTS,
        deadlines::TESTS,
        injected::TESTS,
        pool::TESTS,
        push::TESTS,
        resilience::TESTS,
        secrets::TESTS,
        sentinel::TESTS,
        stored::TESTS,
        topology::TESTS,
        transactions::TESTS,
        upserts::TESTS,
    ];
    let trial = |(name, test): &Test| {
        let (name, test, advice) = (*name, *test, advice.clone());
        match (has_server, is_required) {
            (true, _) => Trial::test(name, move || within(HANG, test).map_err(Into::into)),
            (false, true) => Trial::test(name, move || Err(advice.into())),
            (false, false) => Trial::ignorable_test(name, move || Ok(Completion::ignored_with(advice))),
        }
    };
    let trials = tests.iter().flat_map(|tests| tests.iter()).map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Runs on a thread of its own, so that a call that hangs is a failure with a name.
fn within(limit: Duration, test: fn()) -> Result<(), String> {
    let (done, result) = mpsc::channel();
    thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(test)).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic").to_owned()
        });
        let _ = done.send(result);
    });
    result.recv_timeout(limit).unwrap_or_else(|_| Err(format!("still running after {limit:?}: a call hangs")))
}

/// Waits until something holds.
#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + HANG / 2;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

fn flag(version: u64) -> Item {
    Item::parse(format!(r#"{{"key":"dark-mode","version":{version},"on":true}}"#)).unwrap()
}

fn flags(version: u64) -> AllData {
    AllData::new().with(Kind::FEATURES, [("dark-mode", flag(version))])
}

fn upsert(store: &RedisStore, version: u64) -> Result<(), StoreError> {
    store.upsert(&Kind::FEATURES, "dark-mode", &flag(version)).map(drop)
}

fn version(store: &RedisStore) -> Option<u64> {
    read(store).unwrap()
}

fn read(store: &RedisStore) -> Result<Option<u64>, StoreError> {
    Ok(store.get(&Kind::FEATURES, "dark-mode")?.map(|item| item.version()))
}
