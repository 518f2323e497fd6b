use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{BigSegmentsStatus, ErrorKind, UnixMillis};

use super::wrapped::{HEALTHY, STALE, Setup, UNAVAILABLE, polling};
use crate::BigSegmentsSettings;
use crate::case::{Case, Database, Skip};
use crate::controlled_big_segments::Query;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(data_that_is_up_to_date_is_healthy),
        Case::new(old_data_is_stale),
        Case::new(data_that_was_never_synchronized_is_stale),
        Case::new(failing_store_is_unavailable),
        Case::new(first_poll_is_one_and_is_waited_for),
        Case::new(changes_are_detected),
        Case::new(data_becomes_stale_by_itself),
        Case::new(queries_add_no_polls),
        Case::new(poll_interval_is_at_most_the_stale_limit),
        Case::new(failed_query_is_an_outage_until_the_next_poll),
        Case::new(failure_of_one_query_alone_is_no_outage),
        Case::new(stays_as_it_is_while_polling_is_off),
        Case::new(there_is_one_poller),
        Case::new(store_that_panics_is_polled_again),
        Case::new(polling_ends_with_the_wrapper),
        Case::new(stopped_wrapper_is_unavailable),
    ]
}

const HOUR: Duration = Duration::from_secs(3600);

fn long() -> BigSegmentsSettings {
    BigSegmentsSettings::long()
}

/// The age is below the limit.
fn data_that_is_up_to_date_is_healthy(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &long())?;
    assert_eq!(setup.wrapper.status(), HEALTHY);
    assert_eq!(setup.trust("a"), BigSegmentsStatus::Healthy);
    // Of two hours.
    let setup = Setup::prepared(database, &long(), |database, _| {
        let hour_ago = UnixMillis(UnixMillis::now().0 - 3_600_000);
        assert!(database.set_metadata(hour_ago).is_ok());
    })?;
    assert_eq!(setup.wrapper.status(), HEALTHY);
    Ok(())
}

/// What it says is still told, with the status beside it.
fn old_data_is_stale(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::prepared(database, &long(), |database, _| {
        let ago = UnixMillis(UnixMillis::now().0 - 2 * 3_600_000);
        assert!(database.set_metadata(ago).is_ok());
    })?;
    setup.include("a", &["s.g1"]);
    assert_eq!(setup.wrapper.status(), STALE);
    assert_eq!(setup.trust("a"), BigSegmentsStatus::Stale);
    assert_eq!(setup.check("a", "s.g1"), Some(true));
    Ok(())
}

/// It is no error (bug 42 of peers).
fn data_that_was_never_synchronized_is_stale(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::prepared(database, &long(), |_, _| ())?;
    assert_eq!(setup.wrapper.status(), STALE);
    assert_eq!(setup.trust("a"), BigSegmentsStatus::Stale);
    Ok(())
}

/// Whatever the failure is, and also for contexts that are known: nobody can say whether that still holds.
fn failing_store_is_unavailable(database: &Database<'_>) -> Result<(), Skip> {
    for kind in [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::Corrupt, ErrorKind::Other] {
        let setup = Setup::prepared(database, &long(), |_, store| store.fail(Query::Metadata, kind))?;
        setup.include("a", &["s.g1"]);
        assert_eq!(setup.wrapper.status(), UNAVAILABLE, "{kind:?}");
        for _ in 0..2 {
            let result = setup.wrapper.get_membership("a");
            assert_eq!(result.status, BigSegmentsStatus::StoreError, "{kind:?}");
            assert_eq!(result.membership.check_membership("s.g1"), Some(true), "{kind:?}");
        }
    }
    Ok(())
}

/// Building does not wait for the store. Whoever asks before it has answered does.
fn first_poll_is_one_and_is_waited_for(database: &Database<'_>) -> Result<(), Skip> {
    let mut gate = None;
    let patience = database.fixture.patience();
    let setup = Setup::prepared(database, &long(), |_, store| {
        gate = Some(store.hold(Query::Metadata, patience));
    })?;
    let gate = gate.unwrap_or_else(|| panic!("prepared"));
    let wrapper = &setup.wrapper;
    thread::scope(|scope| {
        let ask =
            |n| scope.spawn(move || if n % 2 == 0 { wrapper.status() } else { status_by_query(&**wrapper) });
        let askers: Vec<_> = (0..20).map(ask).collect();
        gate.wait();
        assert!(askers.iter().all(|asker| !asker.is_finished()), "somebody has not waited");
        gate.open();
        for asker in askers {
            assert!(asker.join().is_ok_and(|status| status == STALE));
        }
    });
    assert_eq!(setup.store.polls(), 1);
    Ok(())
}

fn status_by_query(wrapper: &dyn crate::BigSegments) -> flagstore_core::BigSegmentStoreStatus {
    match wrapper.get_membership("a").status {
        BigSegmentsStatus::Stale => STALE,
        BigSegmentsStatus::Healthy => HEALTHY,
        _ => UNAVAILABLE,
    }
}

/// In every direction, without anybody who asks for a context.
fn changes_are_detected(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &polling())?;
    setup.wait_for_status(HEALTHY);
    for _ in 0..2 {
        setup.synchronized(3 * HOUR);
        setup.wait_for_status(STALE);
        setup.fail(Query::Metadata);
        setup.wait_for_status(UNAVAILABLE);
        setup.store.heal();
        setup.wait_for_status(STALE);
        setup.synchronized(Duration::ZERO);
        setup.wait_for_status(HEALTHY);
        setup.fail(Query::Metadata);
        setup.wait_for_status(UNAVAILABLE);
        setup.store.heal();
        setup.wait_for_status(HEALTHY);
    }
    Ok(())
}

/// When nobody synchronizes it any more.
fn data_becomes_stale_by_itself(database: &Database<'_>) -> Result<(), Skip> {
    let soon = BigSegmentsSettings { stale_after: Duration::from_secs(1), ..polling() };
    let setup = Setup::prepared(database, &soon, |database, _| {
        // A moment that is to come, so that it is not over before the wrapper is there.
        let later = UnixMillis(UnixMillis::now().0 + 1_000);
        assert!(database.set_metadata(later).is_ok());
    })?;
    setup.wait_for_status(STALE);
    Ok(())
}

/// However many there are.
fn queries_add_no_polls(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &long())?;
    for n in 0..100 {
        assert_eq!(setup.trust(&format!("context-{n}")), BigSegmentsStatus::Healthy);
    }
    assert_eq!(setup.wrapper.status(), HEALTHY);
    assert_eq!(setup.store.polls(), 1);
    Ok(())
}

/// A longer one would show stale data too late.
fn poll_interval_is_at_most_the_stale_limit(database: &Database<'_>) -> Result<(), Skip> {
    let settings = BigSegmentsSettings { stale_after: Duration::from_millis(20), ..long() };
    let setup = Setup::new(database, &settings)?;
    setup.wait_for("three polls", || setup.store.polls() >= 3);
    Ok(())
}

/// A database that does not answer one question is not taken to be well until it is asked again.
fn failed_query_is_an_outage_until_the_next_poll(database: &Database<'_>) -> Result<(), Skip> {
    for kind in [ErrorKind::Unavailable, ErrorKind::Timeout] {
        let setup = Setup::new(database, &long())?;
        assert_eq!(setup.trust("known"), BigSegmentsStatus::Healthy);
        setup.store.fail(Query::Membership, kind);
        assert_eq!(setup.trust("a"), BigSegmentsStatus::StoreError, "{kind:?}");
        assert_eq!(setup.wrapper.status(), UNAVAILABLE, "{kind:?}");
        setup.store.heal();
        assert_eq!(setup.trust("known"), BigSegmentsStatus::StoreError, "{kind:?}: of what is known");
        assert_eq!(setup.store.polls(), 1);
    }
    let setup = Setup::new(database, &polling())?;
    setup.wait_for_status(HEALTHY);
    setup.fail(Query::Membership);
    assert_eq!(setup.trust("a"), BigSegmentsStatus::StoreError);
    setup.wait_for_status(HEALTHY);
    Ok(())
}

/// Such as a membership that cannot be read.
fn failure_of_one_query_alone_is_no_outage(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &long())?;
    for kind in [ErrorKind::Corrupt, ErrorKind::Other] {
        setup.store.fail(Query::Membership, kind);
        assert_eq!(setup.trust("a"), BigSegmentsStatus::StoreError, "{kind:?}");
        assert_eq!(setup.wrapper.status(), HEALTHY, "{kind:?}");
    }
    Ok(())
}

/// Nobody polls, a failed query changes nothing that would stay, and everything goes on afterwards.
fn stays_as_it_is_while_polling_is_off(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &polling())?;
    setup.wait_for_status(HEALTHY);
    setup.wrapper.set_polling_active(false);
    setup.wrapper.set_polling_active(false);
    // One that is under way may go on.
    setup.wait_for("the last poll", || setup.store.polls_under_way() == 0);
    let before = setup.store.polls();
    setup.store.fail(Query::Membership, ErrorKind::Unavailable);
    setup.synchronized(3 * HOUR);
    for n in 0..100 {
        assert_eq!(setup.trust(&format!("context-{n}")), BigSegmentsStatus::StoreError);
    }
    assert_eq!((setup.wrapper.status(), setup.store.polls()), (HEALTHY, before));
    setup.wrapper.set_polling_active(true);
    setup.wait_for_status(STALE);
    Ok(())
}

/// However often polling is turned on, and off and on (bug 43 of peers).
fn there_is_one_poller(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &polling())?;
    for _ in 0..20 {
        setup.wrapper.set_polling_active(true);
    }
    for _ in 0..20 {
        setup.wrapper.set_polling_active(false);
        setup.wrapper.set_polling_active(true);
    }
    // The pauses between the polls of one poller take at least this long, and those of several pass together.
    let (before, begin) = (setup.store.polls(), Instant::now());
    setup.wait_for("ten pauses", || setup.store.polls() > before + 11);
    assert!(begin.elapsed() >= 10 * polling().status_poll_interval, "polled more often");
    Ok(())
}

/// That is an outage, and not the end of the poller. Nor does whoever waits for the first poll wait for ever.
fn store_that_panics_is_polled_again(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::prepared(database, &long(), |_, store| store.panic_once(Query::Metadata))?;
    assert_eq!(setup.wrapper.status(), UNAVAILABLE);
    let setup = Setup::new(database, &polling())?;
    setup.wait_for_status(HEALTHY);
    setup.store.panic_once(Query::Metadata);
    let before = setup.store.polls();
    setup.wait_for("polls after the panic", || setup.store.polls() > before + 2);
    setup.wait_for_status(HEALTHY);
    Ok(())
}

/// Its thread holds the store no longer than a poll takes.
fn polling_ends_with_the_wrapper(database: &Database<'_>) -> Result<(), Skip> {
    for settings in [polling(), long()] {
        let setup = Setup::new(database, &settings)?;
        setup.wait_for_status(HEALTHY);
        let Setup { store, wrapper, patience, .. } = setup;
        drop(wrapper);
        crate::case::wait_for(patience, "the end of the thread", || Arc::strong_count(&store) == 1);
    }
    Ok(())
}

/// And stays so, whatever is turned on.
fn stopped_wrapper_is_unavailable(database: &Database<'_>) -> Result<(), Skip> {
    let setup = Setup::new(database, &polling())?;
    setup.wait_for_status(HEALTHY);
    setup.wrapper.stop();
    assert_eq!(setup.wrapper.status(), UNAVAILABLE);
    setup.wait_for("the end of the thread", || Arc::strong_count(&setup.store) == 1);
    let before = setup.store.polls();
    setup.wrapper.set_polling_active(true);
    assert_eq!((setup.wrapper.status(), setup.store.polls()), (UNAVAILABLE, before));
    Ok(())
}
