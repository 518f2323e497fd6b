use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::StoreError;

/// A database read that is under way, and that others wait for instead of making it too; with what was written
/// since it began (`W`).
pub(super) struct Flight<T, W> {
    answer: Mutex<Option<Result<T, StoreError>>>,
    landed: Condvar,
    written: Mutex<W>,
}

impl<T: Clone, W: Default> Flight<T, W> {
    fn new() -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(None), landed: Condvar::new(), written: Mutex::default() })
    }

    /// Waits for the answer, which takes no longer than the database's deadline.
    pub(super) fn wait(&self) -> Result<T, StoreError> {
        let mut answer = self.answer.lock();
        loop {
            match &*answer {
                Some(answer) => return answer.clone(),
                None => self.landed.wait(&mut answer),
            }
        }
    }

    /// Gives all who wait their answer.
    pub(super) fn land(&self, answer: Result<T, StoreError>) {
        *self.answer.lock() = Some(answer);
        self.landed.notify_all();
    }

    /// What was written while it was under way, or until it no longer counted.
    pub(super) fn written(&self) -> W {
        std::mem::take(&mut self.written.lock())
    }
}

/// The reads that are under way, and count, by what they read.
pub(super) struct Flights<K, T, W>(HashMap<K, Arc<Flight<T, W>>>);

/// Whether to read the database, or to wait for somebody who does.
pub(super) enum Boarding<T, W> {
    Lead(Arc<Flight<T, W>>),
    Wait(Arc<Flight<T, W>>),
}

impl<K: Hash + Eq, T: Clone, W: Default> Flights<K, T, W> {
    pub(super) fn board(&mut self, key: K) -> Boarding<T, W> {
        match self.0.get(&key) {
            Some(flight) => Boarding::Wait(Arc::clone(flight)),
            None => {
                let flight = Flight::new();
                self.0.insert(key, Arc::clone(&flight));
                Boarding::Lead(flight)
            }
        }
    }

    /// Notes what is written, if a flight of that key is under way.
    pub(super) fn note(&self, key: &K, note: impl FnOnce(&mut W)) {
        if let Some(flight) = self.0.get(key) {
            note(&mut flight.written.lock());
        }
    }

    /// Ends the flight. False if it no longer counts.
    pub(super) fn end(&mut self, key: &K, flight: &Arc<Flight<T, W>>) -> bool {
        let counts = self.0.get(key).is_some_and(|current| Arc::ptr_eq(current, flight));
        if counts {
            self.0.remove(key);
        }
        counts
    }

    /// What these flights bring no longer counts: those who wait get it, and the cache does not.
    pub(super) fn discard(&mut self, which: impl Fn(&K) -> bool) {
        self.0.retain(|key, _| !which(key));
    }
}

impl<K, T, W> Default for Flights<K, T, W> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}
