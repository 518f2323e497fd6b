use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::kept::{ByKey, Mark, Snapshot};
use super::shared::Shared;
use crate::{AllData, DataStoreStatus, ErrorKind, Kind, StoreError, Upsert};

/// Finds out whether a database that failed is back.
pub(super) struct Monitor {
    poll_interval: Duration,
    /// Whether a thread is at it.
    is_polling: Mutex<bool>,
    stop: Arc<Stop>,
}

/// Ends the threads of a wrapper that is gone.
#[derive(Default)]
struct Stop {
    is_set: Mutex<bool>,
    set: Condvar,
}

impl Stop {
    /// Waits for that long, or until it is over: then it is true.
    fn wait(&self, interval: Duration) -> bool {
        let mut is_set = self.is_set.lock();
        self.set.wait_while_for(&mut is_set, |is_set| !*is_set, interval);
        *is_set
    }
}

impl Monitor {
    pub(super) fn new(poll_interval: Duration) -> Self {
        Self { poll_interval, is_polling: Mutex::new(false), stop: Arc::default() }
    }

    /// Calls `tick` again and again, on a thread of its own, until it says that it is done or the wrapper is
    /// gone. Whether there is such a thread now.
    fn every(
        &self,
        interval: Duration,
        name: &str,
        wrapper: Weak<Shared>,
        mut is_done: impl FnMut(&Shared) -> bool + Send + 'static,
    ) -> bool {
        let stop = Arc::clone(&self.stop);
        let run = move || {
            while !stop.wait(interval)
                && wrapper.upgrade().is_some_and(|shared| {
                    // A store that panics has not recovered, and must not leave nobody to watch it.
                    !catch_unwind(AssertUnwindSafe(|| is_done(&shared))).unwrap_or(false)
                })
            {}
        };
        thread::Builder::new().name(name.to_owned()).spawn(run).is_ok()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        *self.stop.is_set.lock() = true;
        self.stop.set.notify_all();
    }
}

impl Shared {
    /// Turns the status to unavailable, and watches for the end of it.
    pub(super) fn report_outage(&self) {
        let mut is_polling = self.monitor.is_polling.lock();
        self.status.update_status(DataStoreStatus::UNAVAILABLE);
        if !*is_polling {
            let (interval, wrapper) = (self.monitor.poll_interval, Weak::clone(&self.this));
            *is_polling = self.monitor.every(interval, "flagstore-monitor", wrapper, Self::has_recovered);
        }
    }

    /// Whether the database is back, and, where the data is kept, is up to date again. If so the status says
    /// it from now on.
    fn has_recovered(&self) -> bool {
        if !self.core.is_available() {
            return false;
        }
        let (is_written_back, mark) = match self.write_back() {
            Ok(Some(outcome)) => outcome,
            Ok(None) => return false,
            Err(error) => {
                tracing::warn!("the database is back, and is not up to date yet: {error}");
                return false;
            }
        };
        let mut is_polling = self.monitor.is_polling.lock();
        // What fails from now on is reported when this is over, and begins anew.
        if !self.cache.catch_up(mark) {
            return false;
        }
        self.status.update_status(DataStoreStatus { available: true, stale: !is_written_back });
        *is_polling = false;
        true
    }

    /// Looks again and again whether a database that was initialized still is.
    pub(super) fn watch_for_data_loss(&self, interval: Duration) {
        self.monitor.every(interval, "flagstore-loss-watch", Weak::clone(&self.this), |shared| {
            shared.look_for_data_loss();
            false
        });
    }

    fn look_for_data_loss(&self) {
        if !self.status.status().available {
            return;
        }
        match self.observed(self.core.is_initialized()) {
            Ok(true) => self.initialized.set(),
            Ok(false) if self.initialized.is_set() => {
                tracing::warn!("{}: the database has lost its data", self.core);
                if !self.cache.has_snapshot() {
                    // Nobody here can fill it in again. Reported once, and not at every look.
                    self.initialized.unset();
                }
                self.report_outage();
            }
            Ok(false) | Err(_) => {}
        }
    }

    /// Brings the database up to date with what is known, and never puts something older in place of something
    /// newer. The mark is how far that goes. False if not everything is known: a part must not pass for the
    /// whole. `None` if an init came between.
    fn write_back(&self) -> Result<Option<(bool, Mark)>, StoreError> {
        let (snapshot, mark) = self.cache.snapshot();
        if snapshot.is_none() {
            return Ok(Some((false, mark)));
        }
        let is_lost = !self.core.is_initialized()?;
        if is_lost || !self.cache.uninitialized().is_empty() {
            self.write_back_inits(is_lost)?;
        }
        let inits = *self.inits.read();
        let (snapshot, mark) = self.cache.snapshot();
        for (kind, items) in snapshot.unwrap_or_default() {
            if !self.upsert_newer(&kind, items, inits)? {
                return Ok(None);
            }
        }
        Ok(Some((true, mark)))
    }

    /// Inits a database that has lost everything, or the kinds of which it has not taken the init.
    fn write_back_inits(&self, is_lost: bool) -> Result<(), StoreError> {
        // No update of ours comes between what is read here and what is written.
        let mut inits = self.inits.write();
        let before = self.cache.before_a_write();
        let uninitialized = self.cache.uninitialized();
        let mut snapshot = self.cache.snapshot().0.unwrap_or_default();
        snapshot.retain(|kind, _| is_lost || uninitialized.contains(kind));
        let all_data = self.newest_of(snapshot, is_lost)?;
        let result = self.core.init(&all_data);
        if !self.put_init(&all_data, &result, before) {
            return result;
        }
        *inits += 1;
        Ok(())
    }

    /// The data of the snapshot, and of the database where it is newer. If the database has lost its data, what
    /// it has now was written since, and stays.
    fn newest_of(&self, snapshot: Snapshot, is_lost: bool) -> Result<AllData, StoreError> {
        let mut all_data = AllData::new();
        for (kind, mut items) in snapshot {
            for (key, stored) in self.core.get_all(&kind)?.by_key {
                match items.get_mut(key.as_str()) {
                    Some(known) if known.version() < stored.version() => *known = stored,
                    Some(known) if is_lost && known.version() == stored.version() => *known = stored,
                    None if is_lost => drop(items.insert(key.into(), stored)),
                    Some(_) | None => {}
                }
            }
            all_data =
                all_data.with(kind, items.into_iter().map(|(key, item)| (key.as_ref().to_owned(), item)));
        }
        Ok(all_data.in_dependency_order())
    }

    /// Upserts what the database has not, and caches what it has. False if an init came between.
    fn upsert_newer(&self, kind: &Kind, items: ByKey, inits: u64) -> Result<bool, StoreError> {
        let before = self.cache.before_a_write();
        let stored = self.core.get_all(kind)?.by_key;
        for (key, item) in items {
            let ended = self.inits.read();
            if *ended != inits {
                return Ok(false);
            }
            match stored.get(&*key) {
                Some(stored) if stored.version() >= item.version() => {
                    self.cache.put_written(kind, &key, stored, before);
                }
                _ => match but_too_large(self.core.upsert(kind, &key, &item))? {
                    Some(Upsert::Applied) => self.cache.put_written(kind, &key, &item, before),
                    Some(Upsert::Stale(current)) => self.cache.put_written(kind, &key, &current, before),
                    None => {}
                },
            }
        }
        Ok(true)
    }
}

/// An item that is too large will not fit the next time either, and is no reason to try again.
fn but_too_large<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Err(error) if error.kind() == ErrorKind::TooLarge => Ok(None),
        result => result.map(Some),
    }
}
