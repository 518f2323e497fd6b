//! Times LaunchDarkly's Redis store for Rust: `peer time URL PLAN`. ../README.md has the plan.

use std::collections::HashMap;
use std::time::Instant;

use launchdarkly_server_sdk::{AllData, DataKind, PersistentDataStoreFactory, SerializedItem};
use launchdarkly_server_sdk_redis::RedisPersistentDataStoreFactory;
use serde_json::{json, Value};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (url, plan): (_, Value) = (&arguments[2], serde_json::from_str(&arguments[3]).unwrap());
    let number = |name: &str| usize::try_from(plan[name].as_u64().unwrap()).unwrap();
    let (flags, calls) = (number("flags"), number("calls"));
    let template = plan["template"].as_str().unwrap();
    let flag = |i: usize, version: usize| {
        let json = template.replace("KEY", &key(i)).replace("VERSION", &version.to_string());
        SerializedItem { version: version as u64, deleted: false, serialized_item: json }
    };
    let mut factory = RedisPersistentDataStoreFactory::new();
    let prefix = format!("time-rust-{}", std::process::id());
    let mut store = factory.url(url).prefix(&prefix).create_persistent_data_store().unwrap();
    let everything = || AllData {
        flags: (0..flags).map(|i| (key(i), flag(i, 1))).collect::<HashMap<_, _>>(),
        segments: HashMap::new(),
    };
    // It takes the data by value, so what it is made of is made before.
    let mut prepared: Vec<_> = (0..4).map(|_| Some(everything())).collect();
    let init = average(3, |i| store.init(prepared[i].take().unwrap()).unwrap());
    let get = average(calls, |i| drop(store.flag(&key(i % flags)).unwrap()));
    let upsert = average(calls, |i| {
        store.upsert(DataKind::Flag, &key(i % flags), flag(i % flags, i + 2)).map(drop).unwrap();
    });
    let get_all = average(3, |_| drop(store.all_flags().unwrap()));
    println!("{}", json!({"init": init, "get": get, "upsert": upsert, "get_all": get_all}));
}

fn key(i: usize) -> String {
    format!("flag-{i}")
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
