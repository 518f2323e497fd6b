//! What a membership costs above the bare synchronous client:
//! `cargo bench -p flagstore-redis --bench big_segments`, against the server of `FLAGSTORE_REDIS_URL`.
//!
//! The raw side is one connection and the two commands in one pipeline, with owned results; beside it, for
//! comparison, the two commands one after another, as peers send them.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set itself up may as well panic")]

use flagstore_conformance::ratio::Comparison;
use flagstore_core::{BigSegmentPatch, BigSegmentStore, BigSegmentUpdates, context_hash};
use flagstore_redis::RedisStore;
use flagstore_redis::redis::{self, Client, Commands, Connection};

fn main() {
    let Ok(url) = std::env::var("FLAGSTORE_REDIS_URL") else {
        println!("FLAGSTORE_REDIS_URL is not set. Start a server: eval \"$(scripts/services up redis)\"");
        return;
    };
    let prefix = format!("flagstore-bench-{}", std::process::id());
    let store = RedisStore::builder().url(&url).prefix(&prefix).build().unwrap();
    let mut raw = Client::open(url).unwrap().get_connection().unwrap();
    for segments in [0, 10, 1_000] {
        let hash = context_hash(&format!("member-of-{segments}"));
        for segment in 0..segments {
            let mut patch = BigSegmentPatch::new(format!("customers-in-beta-{segment:03}.g1"), "", "");
            let list = if segment % 2 == 0 { &mut patch.included } else { &mut patch.excluded };
            list.add.push(hash.clone());
            drop(store.apply_patch(&patch).unwrap());
        }
        let sets = ["include", "exclude"].map(|name| format!("{prefix}:big_segment_{name}:{hash}"));
        let repeat = if segments > 100 { 10 } else { 50 };
        Comparison::new(format!("get_membership, {segments} references, against a pipeline"), 1.25)
            .rounds(300)
            .repeat(repeat)
            .measure(|_| pipeline(&mut raw, &sets), |_| store.get_membership(&hash).unwrap())
            .print();
        Comparison::new(format!("get_membership, {segments} references, against a transaction"), 1.25)
            .rounds(300)
            .repeat(repeat)
            .measure(|_| transaction(&mut raw, &sets), |_| store.get_membership(&hash).unwrap())
            .print();
        Comparison::new(format!("get_membership, {segments} references, against two round trips"), 1.25)
            .rounds(300)
            .repeat(repeat)
            .measure(|_| two_round_trips(&mut raw, &sets), |_| store.get_membership(&hash).unwrap())
            .print();
    }
    let keys: Vec<String> = raw.scan_match(format!("{prefix}:*")).unwrap().map(Result::unwrap).collect();
    raw.del::<_, ()>(keys).unwrap();
}

type Sets = (Vec<String>, Vec<String>);

fn pipeline(raw: &mut Connection, sets: &[String; 2]) -> Sets {
    redis::pipe().smembers(&sets[0]).smembers(&sets[1]).query(raw).unwrap()
}

fn transaction(raw: &mut Connection, sets: &[String; 2]) -> Sets {
    redis::pipe().atomic().smembers(&sets[0]).smembers(&sets[1]).query(raw).unwrap()
}

fn two_round_trips(raw: &mut Connection, sets: &[String; 2]) -> Sets {
    (raw.smembers(&sets[0]).unwrap(), raw.smembers(&sets[1]).unwrap())
}
