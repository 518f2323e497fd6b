use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use flagstore_core::BigSegmentStoreStatus;
use parking_lot::Mutex;

use super::wrapped::{HEALTHY, STALE, Setup, UNAVAILABLE, polling};
use crate::case::{Case, Database, Skip};
use crate::controlled_big_segments::Query;
use crate::{BigSegmentsListener, BigSegmentsSettings};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(hear_changes_in_order_on_another_thread),
        Case::new(hear_nothing_where_nothing_changes),
        Case::new(hear_of_a_first_poll_that_went_wrong),
        Case::new(panicking_one_stops_nobody),
        Case::new(may_call_the_wrapper),
        Case::new(hear_nothing_after_they_are_dropped),
    ]
}

/// What a listener has heard.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<BigSegmentStoreStatus>>>);

impl Log {
    fn listener(&self) -> BigSegmentsListener {
        let log = self.clone();
        Box::new(move |status| log.0.lock().push(status))
    }

    fn wait_for(&self, setup: &Setup<'_>, expected: &[BigSegmentStoreStatus]) {
        setup.wait_for("all changes", || self.0.lock().len() >= expected.len());
        assert_eq!(*self.0.lock(), expected);
    }
}

fn outage(setup: &Setup<'_>) {
    setup.fail(Query::Metadata);
    setup.wait_for_status(UNAVAILABLE);
    setup.store.heal();
    setup.wait_for_status(HEALTHY);
}

/// Each change comes once, and none before an earlier one.
fn hear_changes_in_order_on_another_thread(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &polling())?;
    setup.wait_for_status(HEALTHY);
    let log = Log::default();
    let _log = setup.wrapper.listen(log.listener());
    let (tell, told) = mpsc::channel();
    let _threads = setup.wrapper.listen(Box::new(move |_| _ = tell.send(thread::current().id())));
    for _ in 0..5 {
        setup.synchronized(Duration::from_secs(3 * 3600));
        setup.wait_for_status(STALE);
        setup.fail(Query::Metadata);
        setup.wait_for_status(UNAVAILABLE);
        setup.synchronized(Duration::ZERO);
        setup.store.heal();
        setup.wait_for_status(HEALTHY);
    }
    log.wait_for(&setup, &[STALE, UNAVAILABLE, HEALTHY].repeat(5));
    let first = told.recv_timeout(setup.patience);
    assert!(first.is_ok_and(|thread| thread != thread::current().id()), "on the caller's thread");
    Ok(())
}

/// However often the store is polled.
fn hear_nothing_where_nothing_changes(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &polling())?;
    let log = Log::default();
    let _log = setup.wrapper.listen(log.listener());
    setup.wait_for("ten polls", || setup.store.polls() > 10);
    outage(&setup);
    let before = setup.store.polls();
    setup.wait_for("ten more", || setup.store.polls() > before + 10);
    log.wait_for(&setup, &[UNAVAILABLE, HEALTHY]);
    Ok(())
}

/// Whoever listens from the beginning hears that it is a bad one.
fn hear_of_a_first_poll_that_went_wrong(database: &Database<'_>) -> Result<(), Skip> {
    let mut gate = None;
    let patience = database.fixture.patience();
    let setup = Setup::prepared(database, &BigSegmentsSettings::long(), |_, store| {
        gate = Some(store.hold(Query::Metadata, patience));
    })?;
    let gate = gate.unwrap_or_else(|| panic!("prepared"));
    gate.wait();
    let log = Log::default();
    let _log = setup.wrapper.listen(log.listener());
    gate.open();
    log.wait_for(&setup, &[STALE]);
    Ok(())
}

/// The others hear everything, and so does it.
fn panicking_one_stops_nobody(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &polling())?;
    setup.wait_for_status(HEALTHY);
    let (panicking, log) = (Log::default(), Log::default());
    let hear = panicking.listener();
    let _panicking = setup.wrapper.listen(Box::new(move |status| {
        hear(status);
        panic!("a listener panics as it was told to");
    }));
    let _log = setup.wrapper.listen(log.listener());
    outage(&setup);
    outage(&setup);
    for log in [log, panicking] {
        log.wait_for(&setup, &[UNAVAILABLE, HEALTHY].repeat(2));
    }
    Ok(())
}

/// It is called where nothing is locked.
fn may_call_the_wrapper(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &polling())?;
    setup.wait_for_status(HEALTHY);
    let (wrapper, log) = (Arc::downgrade(&setup.wrapper), Log::default());
    let hear = log.listener();
    let _calling = setup.wrapper.listen(Box::new(move |status| {
        let Some(wrapper) = wrapper.upgrade() else { return };
        let _ = (wrapper.status(), wrapper.get_membership("a"));
        wrapper.clear_cache();
        wrapper.set_polling_active(true);
        drop(wrapper.listen(Box::new(|_| ())));
        hear(status);
    }));
    outage(&setup);
    log.wait_for(&setup, &[UNAVAILABLE, HEALTHY]);
    Ok(())
}

/// A guard that is dropped is the end, for this one and no other.
fn hear_nothing_after_they_are_dropped(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &polling())?;
    setup.wait_for_status(HEALTHY);
    let (dropped, kept) = (Log::default(), Log::default());
    let guard = setup.wrapper.listen(dropped.listener());
    let _kept = setup.wrapper.listen(kept.listener());
    outage(&setup);
    dropped.wait_for(&setup, &[UNAVAILABLE, HEALTHY]);
    drop(guard);
    outage(&setup);
    kept.wait_for(&setup, &[UNAVAILABLE, HEALTHY].repeat(2));
    assert_eq!(dropped.0.lock().len(), 2);
    setup.wait_for("the end of it", || Arc::strong_count(&dropped.0) == 1);
    Ok(())
}
