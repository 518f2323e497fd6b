use flagstore_core::{BigSegmentUpdates, UnixMillis};
use tokio::runtime::Builder;

use super::{apply, including, known, open};
use crate::case::{Case, Database, Skip, Succeed};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(calls_work_inside_a_multi_thread_runtime),
        Case::new(calls_work_inside_a_current_thread_runtime),
    ]
}

/// Each method once.
fn call_everything(store: &dyn BigSegmentUpdates) {
    store.set_metadata(UnixMillis(5)).succeed();
    assert_eq!(store.get_metadata().succeed(), Some(UnixMillis(5)));
    apply(store, &including("s.g1", ("", "1"), ["h"]));
    assert_eq!(known(store, "h", ["s.g1"]), [Some(true)]);
    assert_eq!(store.get_version().succeed(), "1");
    store.stop();
}

/// Inside a task, on a runtime's only worker: a store that waits for that worker would wait forever.
fn calls_work_inside_a_multi_thread_runtime(database: &Database<'_>) -> Result<(), Skip> {
    let runtime = Builder::new_multi_thread().worker_threads(1).build();
    let (runtime, store) = (runtime.unwrap_or_else(|error| panic!("no runtime: {error}")), open(database)?);
    let task = runtime.spawn(async move { call_everything(&*store) });
    runtime.block_on(task).unwrap_or_else(|error| panic!("{error}"));
    Ok(())
}

/// Inside a runtime that has no threads at all.
fn calls_work_inside_a_current_thread_runtime(database: &Database<'_>) -> Result<(), Skip> {
    let runtime = Builder::new_current_thread().build();
    let (runtime, store) = (runtime.unwrap_or_else(|error| panic!("no runtime: {error}")), open(database)?);
    runtime.block_on(async { call_everything(&*store) });
    Ok(())
}
