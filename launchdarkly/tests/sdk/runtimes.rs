//! Calls are plain calls, so it does not matter on which thread and in which runtime they are made.

use std::sync::Arc;
use std::time::Duration;

use flagstore_core::Kind;
use tokio::runtime;

use crate::support::{Store, daemon, daemon_client, evaluate, flag, put, stores, uncached};

/// Builds a client, evaluates, writes through the SDK, and drops all of it where it was called.
fn use_and_drop(store: Store) {
    put(&store, &Kind::FEATURES, "dark-mode", &flag("dark-mode", 1, true));
    let client = daemon_client(&store);
    client.start_with_default_executor();
    assert!(evaluate(&client, "dark-mode").0, "{store}");
    let sdk = daemon(&uncached(&store)).data_store_builder().build().unwrap();
    let update = serde_json::from_str(&flag("dark-mode", 2, false)).unwrap();
    sdk.write().upsert("dark-mode", update).unwrap();
    assert!(!evaluate(&client, "dark-mode").0, "{store}");
    client.close();
}

/// No runtime at all.
#[test]
fn works_on_a_plain_thread() {
    for store in stores() {
        std::thread::spawn(|| use_and_drop(store)).join().unwrap();
    }
}

/// On a worker of a runtime with many.
#[test]
fn works_in_a_multi_thread_runtime() {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    for store in stores() {
        runtime.block_on(runtime.spawn(async { use_and_drop(store) })).unwrap();
    }
}

/// On the only thread of a runtime, which has no other to hand blocking work to.
#[test]
fn works_in_a_current_thread_runtime() {
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    for store in stores() {
        runtime.block_on(async { use_and_drop(store) });
    }
}

/// A store and a client that were made outside may be dropped inside.
#[test]
fn may_be_dropped_inside_a_runtime() {
    let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for store in stores() {
        let client = daemon_client(&store);
        runtime.block_on(async {
            assert_eq!(client.wait_for_initialization(Duration::from_secs(10)).await, Some(true));
            drop(client);
            drop(store);
        });
    }
}

/// Clients share the store, and threads share a client.
#[test]
fn threads_share_clients_and_stores() {
    for store in stores() {
        put(&store, &Kind::FEATURES, "dark-mode", &flag("dark-mode", 1, true));
        let clients = [Arc::new(daemon_client(&store)), Arc::new(daemon_client(&store))];
        std::thread::scope(|scope| {
            for n in 0..8 {
                let client = &clients[n % 2];
                scope.spawn(|| assert!((0..50).all(|_| evaluate(client, "dark-mode").0)));
            }
        });
    }
}
