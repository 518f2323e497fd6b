//! What a cached Big Segments membership costs, above a bare moka hit, how much memory it takes, and how often many
//! threads ask for one context:
//! `cargo bench -p flagstore-conformance`.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use flagstore_conformance::ratio::Comparison;
use flagstore_core::{
    BigSegmentMembership, BigSegmentPatch, BigSegmentStore, BigSegmentStoreWrapper, BigSegmentUpdates,
    MemoryBigSegmentStore, PatchOutcome, StoreError, UnixMillis, context_hash,
};
use moka::sync::Cache;

const CONTEXTS: usize = 100_000;
const SEGMENTS: usize = 10;
const HOUR: Duration = Duration::from_secs(3600);

fn main() -> Result<(), StoreError> {
    memory()?;
    hits()?;
    threads()?;
    Ok(())
}

/// All of them are there before the store answers the first one.
fn threads() -> Result<(), StoreError> {
    const THREADS: usize = 1_000;
    let slow = Arc::new(Slow { asked: AtomicUsize::new(0), waiting: Barrier::new(THREADS + 1) });
    let wrapper = BigSegmentStoreWrapper::builder(Arc::clone(&slow)).build()?;
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                slow.waiting.wait();
                wrapper.get_membership("one")
            });
        }
        slow.waiting.wait();
    });
    println!("{THREADS} threads that ask for one context: {} queries", slow.asked.load(Ordering::SeqCst));
    Ok(())
}

/// A store that takes its time.
#[derive(Debug)]
struct Slow {
    asked: AtomicUsize,
    waiting: Barrier,
}

impl BigSegmentStore for Slow {
    fn get_metadata(&self) -> Result<Option<UnixMillis>, StoreError> {
        Ok(Some(UnixMillis::now()))
    }

    fn get_membership(&self, _: &str) -> Result<Option<BigSegmentMembership>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(200));
        Ok(None)
    }

    fn stop(&self) {}
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slow")
    }
}

/// A store with contexts that are each in ten segments, of which it has two hundred.
fn store(contexts: usize) -> Result<MemoryBigSegmentStore, StoreError> {
    let store = MemoryBigSegmentStore::new();
    store.set_metadata(UnixMillis::now())?;
    for segment in 0..200 {
        let mut patch = BigSegmentPatch::new(format!("customers-in-beta-{segment:03}.g1"), "", "");
        let is_in_it = |context: &usize| (segment + context).is_multiple_of(20);
        patch.included.add =
            (0..contexts).filter(is_in_it).map(|context| context_hash(&key(context))).collect();
        assert_eq!(store.apply_patch(&patch)?, PatchOutcome::Applied);
    }
    Ok(store)
}

fn key(context: usize) -> String {
    format!("context-key-{context:08}")
}

fn wrapper(store: MemoryBigSegmentStore) -> Result<BigSegmentStoreWrapper, StoreError> {
    BigSegmentStoreWrapper::builder(store)
        .context_cache_size(CONTEXTS as u64)
        .context_cache_time(HOUR)
        .build()
}

fn hits() -> Result<(), StoreError> {
    const CACHED: usize = 1_000;
    let wrapper = wrapper(store(CACHED)?)?;
    let keys: Vec<String> = (0..CACHED).map(key).collect();
    let bare: Cache<String, BigSegmentMembership> = Cache::builder()
        .eviction_policy(moka::policy::EvictionPolicy::lru())
        .max_capacity(CONTEXTS as u64)
        .time_to_live(HOUR)
        .build();
    for key in &keys {
        bare.insert(key.clone(), wrapper.get_membership(key).membership);
    }
    bare.run_pending_tasks();
    Comparison::new("membership, cached, against a bare moka hit", 2.0)
        .rounds(500)
        .repeat(2_000)
        .measure(
            |n| bare.get(&keys[n as usize % CACHED]),
            |n| wrapper.get_membership(&keys[n as usize % CACHED]),
        )
        .print();
    Ok(())
}

/// Of the process, with the store's own data already there.
fn memory() -> Result<(), StoreError> {
    let wrapper = wrapper(store(CONTEXTS)?)?;
    assert_eq!(wrapper.get_membership(&key(0)).membership.len(), SEGMENTS);
    wrapper.clear_cache();
    let before = resident();
    for context in 0..CONTEXTS {
        let _ = wrapper.get_membership(&key(context));
    }
    match before.zip(resident()) {
        Some((before, after)) => {
            let taken = after.saturating_sub(before);
            println!(
                "{CONTEXTS} cached memberships of {SEGMENTS} references: {:.1} MB, {} bytes each",
                taken as f64 / 1e6,
                taken / CONTEXTS as u64
            );
        }
        None => println!("memory is only measured on Linux"),
    }
    Ok(())
}

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}
