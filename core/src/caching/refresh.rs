use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread;

use parking_lot::Mutex;

use super::cache::Found;
use super::shared::Shared;
use crate::Kind;

/// Reads anew, in the background, what is too old. Its thread lives only while there is something to read.
#[derive(Default)]
pub(super) struct Refresher(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Target>,
    is_running: bool,
}

/// An item, or all items of the kind.
#[derive(Clone, PartialEq, Eq)]
struct Target {
    kind: Kind,
    key: Option<Arc<str>>,
}

impl Shared {
    /// Has it read anew, unless that is already on its way, or the database is known not to answer.
    pub(super) fn refresh(&self, kind: &Kind, key: Option<&str>) {
        if !self.status.status().available {
            return;
        }
        let mut queue = self.refresher.0.lock();
        if queue.waiting.iter().any(|target| target.kind == *kind && target.key.as_deref() == key) {
            return;
        }
        queue.waiting.push_back(Target { kind: kind.clone(), key: key.map(Arc::from) });
        if !queue.is_running {
            let wrapper = Weak::clone(&self.this);
            let thread = thread::Builder::new().name("flagstore-refresh".to_owned());
            queue.is_running = thread.spawn(move || run(&wrapper)).is_ok();
        }
    }

    /// The next one, which stays in the queue until it is read. `None` ends the thread that asks.
    fn next_refresh(&self) -> Option<Target> {
        let mut queue = self.refresher.0.lock();
        let next = queue.waiting.front().cloned();
        queue.is_running = next.is_some();
        next
    }
}

fn run(wrapper: &Weak<Shared>) {
    while let Some(shared) = wrapper.upgrade() {
        let Some(target) = shared.next_refresh() else { return };
        let is_fresh = match &target.key {
            Some(key) => matches!(shared.cache.peek(&target.kind, key, |_| ()), Found::Fresh(_)),
            None => matches!(shared.cache.peek_all(&target.kind), Found::Fresh(_)),
        };
        if !is_fresh && shared.status.status().available {
            // The status has learned of a failure, and the old value goes on until it is too old. A store that
            // panics must not end the thread that others count on.
            let _ = catch_unwind(AssertUnwindSafe(|| match &target.key {
                Some(key) => drop(shared.load(&target.kind, key)),
                None => drop(shared.load_all(&target.kind)),
            }));
        }
        shared.refresher.0.lock().waiting.retain(|waiting| *waiting != target);
    }
}
