use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use flagstore_core::{AllData, DataStoreStatus, Kind};
use parking_lot::Mutex;

use super::{STALE, Setup, UNAVAILABLE, finite};
use crate::Listener;
use crate::case::{Case, Database, Succeed, item};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(hear_changes_in_order_on_another_thread),
        Case::new(hear_only_what_comes_after_them),
        Case::new(slow_one_delays_nobody),
        Case::new(panicking_one_stops_nobody),
        Case::new(may_call_the_store),
        Case::new(hear_nothing_after_they_are_dropped),
    ]
}

/// What a listener has heard.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<DataStoreStatus>>>);

impl Log {
    fn listener(&self) -> Listener {
        let log = self.clone();
        Box::new(move |status| log.0.lock().push(status))
    }

    fn wait_for(&self, setup: &Setup, expected: &[DataStoreStatus]) {
        setup.wait_for("all changes", || self.0.lock().len() >= expected.len());
        assert_eq!(*self.0.lock(), expected);
    }
}

fn outage(setup: &Setup) {
    setup.begin_outage();
    setup.end_outage(STALE);
}

/// Each change comes once, none before an earlier one, and the call that caused it does not wait for that.
fn hear_changes_in_order_on_another_thread(database: &Database<'_>) {
    let setup = Setup::new(database, finite());
    let log = Log::default();
    let _log = setup.store.listen(log.listener());
    let (tell, told) = mpsc::channel();
    let _threads = setup.store.listen(Box::new(move |_| _ = tell.send(thread::current().id())));
    for _ in 0..10 {
        outage(&setup);
    }
    log.wait_for(&setup, &[UNAVAILABLE, STALE].repeat(10));
    let first = told.recv_timeout(setup.patience);
    assert!(first.is_ok_and(|thread| thread != thread::current().id()), "on the caller's thread");
}

/// Who comes later does not hear of what was before.
fn hear_only_what_comes_after_them(database: &Database<'_>) {
    let setup = Setup::new(database, finite());
    outage(&setup);
    let log = Log::default();
    let _log = setup.store.listen(log.listener());
    outage(&setup);
    log.wait_for(&setup, &[UNAVAILABLE, STALE]);
}

/// Neither a call, nor the recovery, nor another listener waits for one that does not come back. It is told of
/// everything in the end.
fn slow_one_delays_nobody(database: &Database<'_>) {
    let setup = Setup::new(database, finite());
    let (let_go, wait) = mpsc::channel::<()>();
    let (slow, fast) = (Log::default(), Log::default());
    let (hear, wait, patience) = (slow.listener(), Mutex::new(wait), 2 * setup.patience);
    let _slow = setup.store.listen(Box::new(move |status| {
        // Until the sender is dropped, and not for ever, so that a case that fails comes to an end.
        let _ = wait.lock().recv_timeout(patience);
        hear(status);
    }));
    let _fast = setup.store.listen(fast.listener());
    outage(&setup);
    outage(&setup);
    fast.wait_for(&setup, &[UNAVAILABLE, STALE].repeat(2));
    assert_eq!(setup.get("a"), None);
    assert!(slow.0.lock().is_empty());
    drop(let_go);
    slow.wait_for(&setup, &[UNAVAILABLE, STALE].repeat(2));
}

/// The others hear everything, and so does it.
fn panicking_one_stops_nobody(database: &Database<'_>) {
    let setup = Setup::new(database, finite());
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let _panicking = setup.store.listen(Box::new(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        panic!("a listener panics as it was told to");
    }));
    let log = Log::default();
    let _log = setup.store.listen(log.listener());
    outage(&setup);
    outage(&setup);
    log.wait_for(&setup, &[UNAVAILABLE, STALE].repeat(2));
    setup.wait_for("its calls", || calls.load(Ordering::SeqCst) == 4);
}

/// A listener may read, write and listen: it is called where nothing is locked.
fn may_call_the_store(database: &Database<'_>) {
    let setup = Setup::new(database, finite());
    let (store, log) = (Arc::downgrade(&setup.store), Log::default());
    let hear = log.listener();
    let _calling = setup.store.listen(Box::new(move |status| {
        let Some(store) = store.upgrade() else { return };
        drop(store.get(&Kind::FEATURES, "a"));
        drop(store.all(&Kind::FEATURES));
        drop(store.init(&AllData::new()));
        drop(store.upsert(&Kind::FEATURES, "a", &item("a", 1, "")));
        let _ = (store.initialized(), store.status(), store.statistics());
        drop(store.listen(Box::new(|_| ())));
        store.invalidate_all();
        hear(status);
    }));
    setup.begin_outage();
    setup.wait_for("the listener", || !log.0.lock().is_empty());
    setup.end_outage(STALE);
    log.wait_for(&setup, &[UNAVAILABLE, STALE]);
    setup.wait_for("its update", || setup.version("a") == Some(1));
}

/// A guard that is dropped is the end, for this one and no other.
fn hear_nothing_after_they_are_dropped(database: &Database<'_>) {
    let setup = Setup::new(database, finite());
    let (dropped, kept) = (Log::default(), Log::default());
    let guard = setup.store.listen(dropped.listener());
    let _kept = setup.store.listen(kept.listener());
    outage(&setup);
    dropped.wait_for(&setup, &[UNAVAILABLE, STALE]);
    drop(guard);
    outage(&setup);
    kept.wait_for(&setup, &[UNAVAILABLE, STALE].repeat(2));
    assert_eq!(dropped.0.lock().len(), 2);
    setup.wait_for("the end of its thread", || Arc::strong_count(&dropped.0) == 1);
    setup.store.all(&Kind::FEATURES).succeed();
}
