use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread;

use parking_lot::Mutex;

use super::DataStoreStatus;

/// A subscription to a status: its listener is called for as long as this lives.
#[must_use = "the listener is called until this is dropped"]
pub struct StatusListener(Arc<Listener>);

struct Listener {
    call: Box<dyn Fn(DataStoreStatus) + Send + Sync>,
    undelivered: Mutex<Undelivered>,
}

#[derive(Default)]
struct Undelivered {
    changes: VecDeque<DataStoreStatus>,
    /// Whether a thread is at work that takes them all.
    is_delivering: bool,
}

/// Those who want to know, each with a queue and, while that is not empty, a thread of its own.
#[derive(Default)]
pub(super) struct Listeners(Mutex<Vec<Weak<Listener>>>);

impl Listeners {
    pub(super) fn add(&self, call: impl Fn(DataStoreStatus) + Send + Sync + 'static) -> StatusListener {
        let listener = Arc::new(Listener { call: Box::new(call), undelivered: Mutex::default() });
        self.0.lock().push(Arc::downgrade(&listener));
        StatusListener(listener)
    }

    pub(super) fn tell(&self, change: DataStoreStatus) {
        self.0.lock().retain(|listener| {
            let listener = listener.upgrade();
            listener.inspect(|listener| listener.tell(change)).is_some()
        });
    }

    pub(super) fn count(&self) -> usize {
        self.0.lock().iter().filter(|listener| listener.strong_count() > 0).count()
    }
}

impl Listener {
    fn tell(self: &Arc<Self>, change: DataStoreStatus) {
        let mut undelivered = self.undelivered.lock();
        undelivered.changes.push_back(change);
        if !undelivered.is_delivering {
            let listener = Arc::downgrade(self);
            let thread = thread::Builder::new().name("flagstore-listener".to_owned());
            // Without a thread it stays in the queue, for the next change to try again.
            undelivered.is_delivering = thread.spawn(move || deliver(&listener)).is_ok();
        }
    }

    /// The next change. `None` means that there is none, and that the thread which asks has to end.
    fn next(&self) -> Option<DataStoreStatus> {
        let mut undelivered = self.undelivered.lock();
        let next = undelivered.changes.pop_front();
        undelivered.is_delivering = next.is_some();
        next
    }
}

fn deliver(listener: &Weak<Listener>) {
    while let Some(listener) = listener.upgrade() {
        let Some(change) = listener.next() else { return };
        // Its panic was printed by the panic hook, and is nobody else's business.
        let _ = catch_unwind(AssertUnwindSafe(|| (listener.call)(change)));
    }
}

impl fmt::Debug for StatusListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusListener({} undelivered)", self.0.undelivered.lock().changes.len())
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listeners", self.count())
    }
}
