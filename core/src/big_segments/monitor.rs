use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_utils::atomic::AtomicCell;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::status::BigSegmentStoreStatus;
use crate::listeners::Listeners;
use crate::{BigSegmentStore, ErrorKind, StoreError};

/// The one-word name of what has the cache and the status, in errors.
pub(super) const WRAPPER: &str = "big_segments";

/// What asks the database, and knows its status from that.
pub(super) struct Monitor {
    stale_after: Duration,
    /// `None` before the first poll is back. It changes only under the lock on `state`.
    status: AtomicCell<Option<BigSegmentStoreStatus>>,
    state: Mutex<State>,
    /// Told when a poll is back.
    polled: Condvar,
    listeners: Listeners<BigSegmentStoreStatus>,
}

struct State {
    /// `None` once the wrapper is stopped or gone: nobody shall be asked any more.
    store: Option<Arc<dyn BigSegmentStore>>,
    is_being_polled: bool,
    /// Whether somebody polls again and again. If not, a failed query must not change what would not be
    /// mended.
    is_watched: bool,
}

impl Monitor {
    pub(super) fn new(store: Arc<dyn BigSegmentStore>, stale_after: Duration) -> Self {
        let state = State { store: Some(store), is_being_polled: false, is_watched: false };
        Self {
            stale_after,
            status: AtomicCell::new(None),
            state: Mutex::new(state),
            polled: Condvar::new(),
            listeners: Listeners::new(),
        }
    }

    /// Of nothing, which is never available.
    pub(super) fn of_nothing() -> Self {
        Self {
            stale_after: Duration::ZERO,
            status: AtomicCell::new(Some(BigSegmentStoreStatus::UNAVAILABLE)),
            state: Mutex::new(State { store: None, is_being_polled: false, is_watched: false }),
            polled: Condvar::new(),
            listeners: Listeners::new(),
        }
    }

    /// The status. Who asks before the first poll is back waits for it, and makes it if nobody has begun to.
    pub(super) fn status(&self) -> BigSegmentStoreStatus {
        if let Some(status) = self.status.load() {
            return status;
        }
        let mut state = self.state.lock();
        loop {
            match self.status.load() {
                Some(status) => return status,
                None if state.is_being_polled => self.polled.wait(&mut state),
                None => self.poll_now(&mut state),
            }
        }
    }

    /// Asks the database how up to date it is, unless somebody is just doing that.
    pub(super) fn poll(&self) {
        let mut state = self.state.lock();
        if !state.is_being_polled {
            self.poll_now(&mut state);
        }
    }

    /// The lock is not held while the database is asked.
    fn poll_now(&self, state: &mut MutexGuard<'_, State>) {
        state.is_being_polled = true;
        let store = state.store.clone();
        let answer = MutexGuard::unlocked(state, || ask(store, "get_metadata", |store| store.get_metadata()));
        state.is_being_polled = false;
        let status = match &answer {
            Ok(Some(synchronized_on)) if synchronized_on.age() < self.stale_after => {
                BigSegmentStoreStatus::HEALTHY
            }
            Ok(_) => BigSegmentStoreStatus::STALE,
            Err(_) => BigSegmentStoreStatus::UNAVAILABLE,
        };
        self.set(state, status, answer.err().as_ref());
        self.polled.notify_all();
    }

    /// Asks the database. A failure that says so makes it unavailable, until the next poll.
    pub(super) fn query<T>(
        &self,
        operation: &'static str,
        query: impl FnOnce(&dyn BigSegmentStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let store = self.state.lock().store.clone();
        let answer = ask(store, operation, query);
        if let Err(error) = &answer
            && error.is_away()
        {
            let state = self.state.lock();
            if state.is_watched {
                self.set(&state, BigSegmentStoreStatus::UNAVAILABLE, Some(error));
            }
        }
        answer
    }

    pub(super) fn listeners(&self) -> &Listeners<BigSegmentStoreStatus> {
        &self.listeners
    }

    /// Says whether somebody polls again and again from now on. False if there is nothing to poll any more.
    pub(super) fn set_watched(&self, is_watched: bool) -> bool {
        let mut state = self.state.lock();
        state.is_watched = is_watched && state.store.is_some();
        state.is_watched
    }

    /// Asks nobody any more, and lets go of the store.
    pub(super) fn end(&self) -> Option<Arc<dyn BigSegmentStore>> {
        let mut state = self.state.lock();
        self.status.store(Some(BigSegmentStoreStatus::UNAVAILABLE));
        self.polled.notify_all();
        state.store.take()
    }

    /// Takes the lock to show that it is held.
    fn set(&self, state: &State, status: BigSegmentStoreStatus, why: Option<&StoreError>) {
        if state.store.is_none() {
            return;
        }
        // Until the first poll is back, everybody takes the database to be as it should.
        let before = self.status.swap(Some(status)).unwrap_or(BigSegmentStoreStatus::HEALTHY);
        if before == status {
            return;
        }
        self.listeners.tell(&status);
        match (status, why) {
            (_, Some(error)) => tracing::warn!(%error, "Big Segments are unavailable"),
            (BigSegmentStoreStatus::HEALTHY, _) => tracing::info!("Big Segments are up to date again"),
            _ => tracing::warn!(
                "Big Segments are stale: they have not been up to date for {:?} or longer; check the Relay Proxy",
                self.stale_after
            ),
        }
    }
}

/// Calls the store. That it panics or is gone is an error like any other.
fn ask<T>(
    store: Option<Arc<dyn BigSegmentStore>>,
    operation: &'static str,
    ask: impl FnOnce(&dyn BigSegmentStore) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let failed = |reason| Err(StoreError::new(ErrorKind::Other, WRAPPER, operation, reason));
    let Some(store) = store else { return failed("it was stopped") };
    catch_unwind(AssertUnwindSafe(|| ask(&*store))).unwrap_or_else(|_| failed("the store panicked"))
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("status", &self.status.load()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BigSegmentUpdates, MemoryBigSegmentStore, UnixMillis};

    /// Who asks for the status where nobody has polled yet makes the first poll, and nobody after that another one.
    #[test]
    fn the_first_who_asks_polls() -> Result<(), StoreError> {
        let store = MemoryBigSegmentStore::new();
        let monitor = Monitor::new(Arc::new(store.clone()), Duration::from_secs(60));
        assert_eq!(monitor.status(), BigSegmentStoreStatus::STALE);
        store.set_metadata(UnixMillis::now())?;
        assert_eq!(monitor.status(), BigSegmentStoreStatus::STALE, "polled again");
        monitor.poll();
        assert_eq!(monitor.status(), BigSegmentStoreStatus::HEALTHY);
        Ok(())
    }
}
