use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::StoreError;

/// A database read that is under way, and that others wait for instead of making it too.
pub(super) struct Flight<T> {
    answer: Mutex<Option<Result<T, StoreError>>>,
    landed: Condvar,
}

impl<T: Clone> Flight<T> {
    fn new() -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(None), landed: Condvar::new() })
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
}

/// The reads that are under way, by what they read, each with what was written meanwhile (`W`).
pub(super) struct Flights<K, T, W>(HashMap<K, (Arc<Flight<T>>, W)>);

/// Whether to read the database, or to wait for somebody who does.
pub(super) enum Boarding<T> {
    Lead(Arc<Flight<T>>),
    Wait(Arc<Flight<T>>),
}

impl<K: Hash + Eq, T: Clone, W: Default> Flights<K, T, W> {
    pub(super) fn board(&mut self, key: K) -> Boarding<T> {
        match self.0.get(&key) {
            Some((flight, _)) => Boarding::Wait(Arc::clone(flight)),
            None => {
                let flight = Flight::new();
                self.0.insert(key, (Arc::clone(&flight), W::default()));
                Boarding::Lead(flight)
            }
        }
    }

    /// What was written since the flight of that key began, if one is under way.
    pub(super) fn written_during(&mut self, key: &K) -> Option<&mut W> {
        self.0.get_mut(key).map(|(_, written)| written)
    }

    /// Ends the flight, and returns what was written meanwhile. `None` if it no longer counts.
    pub(super) fn take(&mut self, key: &K, flight: &Arc<Flight<T>>) -> Option<W> {
        if self.0.get(key).is_some_and(|(current, _)| Arc::ptr_eq(current, flight)) {
            return self.0.remove(key).map(|(_, written)| written);
        }
        None
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
