use flagstore_core::{FeatureStoreCore, Kind, Upsert};
use tokio::runtime::{Builder, Runtime};

use crate::case::{Case, Database, Succeed, flags, item};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(calls_work_on_a_plain_thread),
        Case::new(calls_work_inside_a_multi_thread_runtime),
        Case::new(calls_work_inside_a_current_thread_runtime),
        Case::new(store_can_be_opened_and_dropped_inside_a_runtime),
    ]
}

fn multi_thread() -> Runtime {
    built(Builder::new_multi_thread().worker_threads(1).build())
}

fn current_thread() -> Runtime {
    built(Builder::new_current_thread().build())
}

fn built(runtime: std::io::Result<Runtime>) -> Runtime {
    runtime.unwrap_or_else(|error| panic!("no runtime: {error}"))
}

/// Each method once.
fn call_everything(store: &dyn FeatureStoreCore) {
    store.init(&flags([("a", item("a", 1, ""))])).succeed();
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &item("a", 2, "")).succeed(), Upsert::Applied);
    assert_eq!(store.get(&Kind::FEATURES, "a").succeed(), Some(item("a", 2, "")));
    assert_eq!(store.get_all(&Kind::FEATURES).succeed().by_key.len(), 1);
    assert!(store.is_initialized().succeed() && store.is_available());
}

/// Where there is no runtime at all.
fn calls_work_on_a_plain_thread(database: &Database<'_>) {
    call_everything(&*database.open());
}

/// Inside a task, on a runtime's only worker: a store that waits for that worker would wait forever.
fn calls_work_inside_a_multi_thread_runtime(database: &Database<'_>) {
    let (runtime, store) = (multi_thread(), database.open());
    let task = runtime.spawn(async move { call_everything(&*store) });
    runtime.block_on(task).unwrap_or_else(|error| panic!("{error}"));
}

/// Inside a runtime that has no threads at all.
fn calls_work_inside_a_current_thread_runtime(database: &Database<'_>) {
    let store = database.open();
    current_thread().block_on(async { call_everything(&*store) });
}

/// An application opens and drops its store wherever it likes.
fn store_can_be_opened_and_dropped_inside_a_runtime(database: &Database<'_>) {
    for runtime in [multi_thread(), current_thread()] {
        runtime.block_on(async {
            let store = database.open();
            call_everything(&*store);
            drop(store);
        });
    }
}
