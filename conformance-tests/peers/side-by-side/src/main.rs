//! Times our Redis store beside LaunchDarkly's, in one run on one server: `scripts/side-by-side`.
//!
//! Each program keeps 10 000 flags, one thread makes one call after the other, and nothing is cached. The figures are
//! averages in microseconds. What a call is differs a little: Python's stores parse the JSON of a flag, the others do not.
//! A second table has the evaluations per second.

#![allow(clippy::unwrap_used, reason = "a measurement may as well panic where it cannot go on")]

mod evaluations;

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use flagstore_core::{AllData, FeatureStoreCore, Item, Kind};
use flagstore_redis::RedisStore;
use serde_json::{Value, json};

const FLAGS: usize = 10_000;
const CALLS: usize = 3_000;
const OPERATIONS: [&str; 4] = ["upsert", "get", "init", "get_all"];

/// A flag of half a kilobyte.
const TEMPLATE: &str = r#"{"key":"KEY","version":VERSION,"on":true,"variations":["off","a","b"],"offVariation":0,"fallthrough":{"rollout":{"variations":[{"variation":1,"weight":50000},{"variation":2,"weight":50000}]}},"prerequisites":[],"targets":[{"variation":1,"values":["user-1","user-2"]}],"contextTargets":[],"rules":[],"salt":"c2FsdA==","clientSide":false,"clientSideAvailability":{"usingMobileKey":false,"usingEnvironmentId":false},"trackEvents":false,"trackEventsFallthrough":false,"deleted":false}"#;

fn main() {
    let url = std::env::var("FLAGSTORE_REDIS_URL").expect("run it by scripts/side-by-side");
    let peers = std::env::var("FLAGSTORE_PEERS").expect("run it by scripts/side-by-side");
    let peers = Path::new(&peers);
    let plan = json!({"flags": FLAGS, "calls": CALLS, "template": TEMPLATE}).to_string();
    let rows = [
        ("flagstore-redis", ours(&url)),
        (
            "launchdarkly-server-sdk-redis 1.0.0-rc.1 (Rust)",
            theirs(&peers.join("rust/release/peer"), &[], &url, &plan),
        ),
        ("go-server-sdk-redis-redigo 3.0.0", theirs(&peers.join("go/peer"), &[], &url, &plan)),
        (
            "launchdarkly-server-sdk 9.20.0 (Python)",
            theirs(&peers.join("python/bin/python"), &[&peers.join("python/peer.py")], &url, &plan),
        ),
    ];
    println!("| Redis, microseconds | {} |", OPERATIONS.join(" | "));
    println!("|---|{}", "---|".repeat(OPERATIONS.len()));
    for (name, times) in rows {
        let times = OPERATIONS.map(|operation| format!("{:.0}", times[operation].as_f64().unwrap()));
        println!("| {name} | {} |", times.join(" | "));
    }
    println!(
        "\n| 10 000 flags of half a kilobyte in turn, each a percentage rollout, one thread | evaluations per second |\n|---|---|"
    );
    for (name, rate) in evaluations::rows(store(&url, "evaluate")).unwrap() {
        println!("| {name} | {rate:.0} |");
    }
}

fn theirs(program: &Path, arguments: &[&Path], url: &str, plan: &str) -> Value {
    let output = Command::new(program).args(arguments).args(["time", url, plan]).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|_| {
        panic!("{}: {text}\n{}", program.display(), String::from_utf8_lossy(&output.stderr))
    })
}

fn ours(url: &str) -> Value {
    let (store, kind, everything) = (store(url, "time"), Kind::FEATURES, everything());
    let init = average(3, |_| store.init(&everything).unwrap());
    let get = average(CALLS, |i| drop(black_box(store.get(&kind, &key(i % FLAGS)).unwrap())));
    let upsert = average(CALLS, |i| {
        let i = (i % FLAGS, i + 2);
        drop(black_box(store.upsert(&kind, &key(i.0), &flag(i.0, i.1)).unwrap()));
    });
    let get_all = average(3, |_| drop(black_box(store.get_all(&kind).unwrap())));
    json!({"init": init, "get": get, "upsert": upsert, "get_all": get_all})
}

fn store(url: &str, what: &str) -> RedisStore {
    let prefix = format!("{what}-flagstore-{}", std::process::id());
    RedisStore::builder().url(url).prefix(prefix).timeout(Duration::from_secs(60)).build().unwrap()
}

fn everything() -> AllData {
    AllData::new().with(Kind::FEATURES, (0..FLAGS).map(|i| (key(i), flag(i, 1))))
}

fn key(i: usize) -> String {
    format!("flag-{i}")
}

fn flag(i: usize, version: usize) -> Item {
    Item::parse(text(i, version)).unwrap()
}

fn text(i: usize, version: usize) -> String {
    TEMPLATE.replace("KEY", &key(i)).replace("VERSION", &version.to_string())
}

/// In microseconds, after a first call that does not count.
fn average(calls: usize, mut call: impl FnMut(usize)) -> f64 {
    call(0);
    let start = Instant::now();
    for i in 0..calls {
        call(i + 1);
    }
    start.elapsed().as_secs_f64() * 1e6 / calls as f64
}
