use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::cache::{ByKey, Snapshot};
use super::shared::Shared;
use crate::status::DataStoreStatus;
use crate::{AllData, ErrorKind, Kind, StoreError, Upsert};

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
            while !stop.wait(interval) && wrapper.upgrade().is_some_and(|shared| !is_done(&shared)) {}
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
        let is_written_back = match self.write_back() {
            Ok(is_written_back) => is_written_back,
            Err(error) => {
                tracing::warn!("the database is back, and is not up to date yet: {error}");
                return false;
            }
        };
        let mut is_polling = self.monitor.is_polling.lock();
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
                if self.cache.snapshot().is_none() {
                    // Nobody here can fill it in again. Reported once, and not at every look.
                    self.initialized.unset();
                }
                self.report_outage();
            }
            Ok(false) | Err(_) => {}
        }
    }

    /// Brings the database up to date with what is known, and never puts something older in place of something
    /// newer. False if not everything is known: a part must not pass for the whole.
    fn write_back(&self) -> Result<bool, StoreError> {
        let Some(snapshot) = self.cache.snapshot() else { return Ok(false) };
        let is_lost = !self.core.is_initialized()?;
        if is_lost || self.has_unwritten_init() {
            let all_data = self.newest_of(snapshot, is_lost)?;
            but_too_large(self.core.init(&all_data))?;
            self.init_is_written();
        }
        // With what was written since: an update that the init has overwritten is in the snapshot by now, or
        // whoever makes it sees that there was an init, and writes it again.
        for (kind, items) in self.cache.snapshot().unwrap_or_default() {
            self.upsert_newer(&kind, items)?;
        }
        Ok(true)
    }

    /// The data of the snapshot, and of the database where it is newer. If the database has lost its data, what
    /// it has now was written since, and is kept as well.
    fn newest_of(&self, snapshot: Snapshot, is_lost: bool) -> Result<AllData, StoreError> {
        let mut all_data = AllData::new();
        for (kind, mut items) in snapshot {
            for (key, stored) in self.core.get_all(&kind)?.by_key {
                match items.get_mut(key.as_str()) {
                    Some(known) if known.version() < stored.version() => *known = stored,
                    None if is_lost => drop(items.insert(key.into(), stored)),
                    Some(_) | None => {}
                }
            }
            all_data =
                all_data.with(kind, items.into_iter().map(|(key, item)| (key.as_ref().to_owned(), item)));
        }
        Ok(all_data.in_dependency_order())
    }

    fn upsert_newer(&self, kind: &Kind, items: ByKey) -> Result<(), StoreError> {
        let stored = self.core.get_all(kind)?.by_key;
        for (key, item) in items {
            match stored.get(&*key) {
                Some(stored) if stored.version() == item.version() => {}
                Some(stored) if stored.version() > item.version() => {
                    self.cache.put_written(kind, &key, stored);
                }
                _ => match but_too_large(self.core.upsert(kind, &key, &item))? {
                    Some(Upsert::Stale(current)) => self.cache.put_written(kind, &key, &current),
                    Some(Upsert::Applied) | None => {}
                },
            }
        }
        Ok(())
    }
}

/// An item that is too large will not fit the next time either, and is no reason to try again.
fn but_too_large<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Err(error) if error.kind() == ErrorKind::TooLarge => Ok(None),
        result => result.map(Some),
    }
}
