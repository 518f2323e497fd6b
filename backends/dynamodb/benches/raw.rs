//! What the store costs above the bare AWS SDK, and what an init costs: `cargo bench -p flagstore-dynamodb`.
//!
//! Needs a server: `eval "$(scripts/services up dynamodb)"`. The raw side is what one would write by hand for
//! this one purpose: the same request of the same SDK, from the same kind of thread, on a runtime of its own.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set itself up may as well panic")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use flagstore_conformance::ratio::{Comparison, verdict};
use flagstore_core::{AllData, FeatureStoreCore, Item, Kind};
use flagstore_dynamodb::DynamoDbStore;
use flagstore_dynamodb::aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};

use support::proxy::{Do, Units};
use support::{PATIENCE, Row, Server, s, wait};

const LIMIT: f64 = 1.1;
const FLAGS: usize = 2_000;
/// How many of them differ in a later init.
const CHANGED: usize = 20;
const LATENCY: Duration = Duration::from_millis(10);
/// The default of `init_concurrency`.
const DEFAULT: usize = 32;

fn main() -> ExitCode {
    let server = match Server::find() {
        Ok(server) => server.anew(),
        Err(advice) => {
            println!("{advice}");
            return ExitCode::FAILURE;
        }
    };
    let store = server.store();
    let raw = Raw { namespace: server.namespace("features"), server: server.clone() };
    let parts: [(&str, &dyn Fn()); 4] = [
        ("get", &|| get(&raw, &store)),
        ("upsert", &|| upsert(&raw, &store)),
        ("init", &|| init(&server)),
        ("costs", &|| costs(&server)),
    ];
    // One of them, as in `cargo bench -p flagstore-dynamodb -- costs`, or all.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    for (name, part) in parts {
        if wanted.as_deref().is_none_or(|wanted| wanted == name) {
            part();
        }
    }
    ExitCode::SUCCESS
}

fn get(raw: &Raw, store: &DynamoDbStore) {
    for (key, size) in [("half-kb", 500), ("ten-kb", 10_000)] {
        let _ = store.upsert(&Kind::FEATURES, key, &flag(1, size)).expect("upsert");
        Comparison::new(format!("get, {key}"), LIMIT)
            .rounds(200)
            .repeat(5)
            .measure(|_| raw.get(key), |_| store.get(&Kind::FEATURES, key).expect("get"))
            .print();
    }
}

fn upsert(raw: &Raw, store: &DynamoDbStore) {
    Comparison::new("upsert, applied", LIMIT)
        .rounds(200)
        .repeat(5)
        .measure(
            |n| raw.upsert("raw", &flag(n + 1, 500)),
            |n| store.upsert(&Kind::FEATURES, "store", &flag(n + 1, 500)).expect("upsert"),
        )
        .print();
    let stale = flag(0, 500);
    Comparison::new("upsert, stale", LIMIT)
        .rounds(200)
        .repeat(5)
        .measure(
            |_| raw.upsert("raw", &stale),
            |_| store.upsert(&Kind::FEATURES, "store", &stale).expect("upsert"),
        )
        .print();
}

/// With as much latency as a database in another building has.
///
/// DynamoDB Local does all writes on one thread, which then has no more to give. So it is also said how long it
/// takes without latency, which is a bound for whatever a client does, and the same is measured with a server
/// that takes no time of its own, as if it had as many machines as DynamoDB: the proxy answers the writes
/// itself.
fn init(server: &Server) {
    let (_proxy, local) = server.behind(|_| Do::Delay(LATENCY));
    let (_proxy, idle) = server.behind(|request| match &*request.operation {
        "BatchWriteItem" => {
            std::thread::sleep(LATENCY);
            Do::Answer(200, r#"{"UnprocessedItems":{}}"#.to_owned())
        }
        _ => Do::Delay(LATENCY),
    });
    for (name, server, without_latency) in
        [("DynamoDB Local", local, Some(server)), ("no time of its own", idle, None)]
    {
        let [(_, one_by_one), rest @ ..] = timed_inits(&server, [1, 8, 16, DEFAULT, 64]);
        println!(
            "init, {FLAGS} flags, latency {LATENCY:?}, {name}: one batch after another {one_by_one:.2?}"
        );
        let part_of = |time: Duration| time.as_secs_f64() / one_by_one.as_secs_f64();
        for (concurrency, time) in rest {
            let part = part_of(time);
            let what = format!("  {concurrency:>2} side by side {time:.0?}, 1/{:.1}", 1.0 / part);
            println!("{}", if concurrency == DEFAULT { verdict(&what, part, 0.2) } else { what });
        }
        if let Some(server) = without_latency {
            let [(_, bound)] = timed_inits(server, [DEFAULT]);
            println!("  without latency, so the bound {bound:.0?}, 1/{:.1}", 1.0 / part_of(bound));
        }
    }
}

/// The fastest of some inits with each concurrency, which is the one that a machine's other work disturbed
/// least. They take turns, so that it disturbs all alike, and in a first round, which does not count, the
/// server warms up. Each init has its own prefix.
fn timed_inits<const N: usize>(server: &Server, concurrencies: [usize; N]) -> [(usize, Duration); N] {
    let all_data = flags(FLAGS, 300);
    let mut fastest = concurrencies.map(|concurrency| (concurrency, Duration::MAX));
    for round in 0..10 {
        for (concurrency, fastest) in &mut fastest {
            let store = server.anew().builder().init_concurrency(*concurrency).init_timeout(PATIENCE);
            let store = store.build().expect("build");
            let start = Instant::now();
            store.init(&all_data).expect("init");
            if round > 0 {
                *fastest = start.elapsed().min(*fastest);
            }
        }
    }
    fastest
}

/// What AWS charges for, as the server counts it.
fn costs(server: &Server) {
    println!("operation                        requests   read units   write units");
    for size in [500, 2_000, 10_000] {
        let (proxy, behind) = server.anew().behind(|_| Do::Forward);
        proxy.meter();
        let store = behind.store();
        let print = |what: &str| {
            let (requests, Units { read, written }) = (proxy.take().len(), proxy.take_units());
            println!("{what:<14}, {FLAGS} flags of {size:>5} B {requests:>8} {read:>12} {written:>13}");
        };
        let all_data = flags(FLAGS, size);
        let changed = with_changes(&all_data, CHANGED);
        for (what, all_data) in
            [("init first", &all_data), ("init unchanged", &all_data), ("init changed", &changed)]
        {
            store.init(all_data).expect("init");
            print(what);
        }
        store.get_all(&Kind::FEATURES).expect("get_all");
        print("get_all");
    }
}

fn flag(version: u64, size: usize) -> Item {
    let filler = "x".repeat(size - 40);
    Item::from_parts(version, false, format!(r#"{{"version":{version:>10},"filler":"{filler}"}}"#)).unwrap()
}

/// The same environment, but so many of its flags.
fn with_changes(all_data: &AllData, count: usize) -> AllData {
    let items = all_data.items(&Kind::FEATURES).enumerate().map(|(number, (key, item))| {
        let item = if number < count { flag(2, item.json().len()) } else { item.clone() };
        (key.to_owned(), item)
    });
    AllData::new().with(Kind::FEATURES, items)
}

fn flags(count: usize, size: usize) -> AllData {
    AllData::new().with(Kind::FEATURES, (0..count).map(|n| (format!("flag-{n}"), flag(1, size))))
}

/// The bare SDK. An error is a panic, which costs nothing.
struct Raw {
    namespace: String,
    server: Server,
}

impl Raw {
    fn get(&self, key: &str) -> Option<Row> {
        self.server.row(&self.namespace, key)
    }

    fn upsert(&self, key: &str, item: &Item) -> bool {
        let version = AttributeValue::N(item.version().to_string());
        let put = self
            .server
            .raw
            .put_item()
            .table_name(&self.server.table)
            .item("namespace", s(&self.namespace))
            .item("key", s(key))
            .item("version", version.clone())
            .item("item", s(item.json()))
            .condition_expression(
                "attribute_not_exists(#namespace) or attribute_not_exists(#key) or :version > #version",
            )
            .expression_attribute_names("#namespace", "namespace")
            .expression_attribute_names("#key", "key")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", version)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match wait(put.send()) {
            Ok(_) => true,
            Err(error) => {
                assert!(error.into_service_error().is_conditional_check_failed_exception(), "upsert");
                false
            }
        }
    }
}
