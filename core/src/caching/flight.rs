//! Database reads that are under way, so that others wait for them instead of making them too.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
#[cfg(feature = "tokio")]
use std::task::Poll;
use std::task::Waker;

use parking_lot::{Condvar, Mutex};

use crate::StoreError;
use crate::known::Moment;

/// A read that is under way. Threads [wait](Self::wait) for its answer, tasks [poll](Self::poll) it.
pub(super) struct Flight<T> {
    pub(super) since: Moment,
    progress: Mutex<Progress<T>>,
    landed: Condvar,
}

struct Progress<T> {
    answer: Option<Result<T, StoreError>>,
    wakers: Vec<Waker>,
}

impl<T: Clone> Flight<T> {
    /// Waits for the answer, which takes no longer than the database's deadline.
    pub(super) fn wait(&self) -> Result<T, StoreError> {
        let mut progress = self.progress.lock();
        loop {
            match &progress.answer {
                Some(answer) => return answer.clone(),
                None => self.landed.wait(&mut progress),
            }
        }
    }

    /// The answer, if it is there. If not, the waker is woken when it is.
    #[cfg(feature = "tokio")]
    pub(super) fn poll(&self, waker: &Waker) -> Poll<Result<T, StoreError>> {
        let mut progress = self.progress.lock();
        if let Some(answer) = &progress.answer {
            return Poll::Ready(answer.clone());
        }
        if !progress.wakers.iter().any(|known| known.will_wake(waker)) {
            progress.wakers.push(waker.clone());
        }
        Poll::Pending
    }

    /// Gives all who wait their answer.
    fn land(&self, answer: Result<T, StoreError>) {
        let mut progress = self.progress.lock();
        progress.answer = Some(answer);
        let wakers = std::mem::take(&mut progress.wakers);
        drop(progress);
        self.landed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// The reads that are under way, by what they read.
pub(super) struct Flights<K, T>(Mutex<HashMap<K, Arc<Flight<T>>>>);

/// Whether to read the database, or to wait for somebody who does.
pub(super) enum Boarding<T> {
    Lead(Arc<Flight<T>>),
    Join(Arc<Flight<T>>),
}

impl<K: Hash + Eq + Clone, T: Clone> Flights<K, T> {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Joins the flight that is under way, if what it brings counts for somebody who asks now, and else begins one
    /// at this moment.
    pub(super) fn board(&self, key: &K, now: Moment, counts: impl Fn(Moment) -> bool) -> Boarding<T> {
        let mut flights = self.0.lock();
        match flights.get(key) {
            Some(flight) if counts(flight.since) => Boarding::Join(Arc::clone(flight)),
            _ => {
                let progress = Mutex::new(Progress { answer: None, wakers: Vec::new() });
                let flight = Arc::new(Flight { since: now, progress, landed: Condvar::new() });
                flights.insert(key.clone(), Arc::clone(&flight));
                Boarding::Lead(flight)
            }
        }
    }

    /// Ends the flight with this answer. Nobody boards it any more.
    pub(super) fn land(&self, key: &K, flight: &Arc<Flight<T>>, answer: Result<T, StoreError>) {
        let mut flights = self.0.lock();
        if flights.get(key).is_some_and(|current| Arc::ptr_eq(current, flight)) {
            flights.remove(key);
        }
        drop(flights);
        flight.land(answer);
    }
}
