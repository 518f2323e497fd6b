//! Flags that depend on Big Segments, over every backend: evaluated by our evaluator and by the official client, bare and
//! behind the cache. What is in the database was put there by its driver alone, as the Relay Proxy does.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

mod cases;
mod dynamodb;
mod environment;
mod events;
mod service;
mod sqlite;
mod subject;
mod support;

// How the Big Segments of each backend plug into its own tests.
#[path = "../../../../backends/dynamodb/tests/big_segments/mod.rs"]
mod dynamodb_big_segments;
#[path = "../../../../backends/redis/tests/big_segments/mod.rs"]
mod redis_big_segments;
#[path = "../../../../backends/sqlite/tests/big_segments/mod.rs"]
mod sqlite_big_segments;

use std::process::ExitCode;

use flagstore_conformance::{Fixture, run};
// Where those look for them.
use sqlite::Sqlite;
use support::DynamoDb;

fn main() -> ExitCode {
    let backends: [Box<dyn Fixture>; 3] =
        [Box::new(service::Service::find()), Box::new(DynamoDb::find()), Box::new(Sqlite::new())];
    run(backends)
}
