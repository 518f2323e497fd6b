//! A fixed number of places for things that are made when they are needed, and used by one thread at a time.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// For how long one that waits may be overtaken by who comes just then. Handing everything over in order would
/// be fair at once, and slow: whatever is given back would lie idle until the next thread has woken up.
const PATIENCE: Duration = Duration::from_millis(1);

pub(crate) struct Slots<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    /// What was used last is at the end and is used next: its caches are warm, and few are ever made.
    free: Vec<Option<T>>,
    /// The oldest first.
    waiting: VecDeque<Arc<Waiter>>,
}

struct Waiter {
    since: Instant,
    called: Condvar,
}

impl<T> Slots<T> {
    pub(crate) fn new(places: usize) -> Self {
        let free = (0..places).map(|_| None).collect();
        Self { state: Mutex::new(State { free, waiting: VecDeque::new() }) }
    }

    /// A place, with what is in it, or `None` if there was none before the deadline.
    pub(crate) fn take(&self, deadline: Instant) -> Option<Lease<'_, T>> {
        let mut state = self.state.lock();
        let may_overtake = state.waiting.front().is_none_or(|oldest| oldest.since.elapsed() < PATIENCE);
        if may_overtake && let Some(content) = state.free.pop() {
            return Some(Lease { slots: self, content });
        }
        let waiter = Arc::new(Waiter { since: Instant::now(), called: Condvar::new() });
        state.waiting.push_back(Arc::clone(&waiter));
        let is_mine =
            |state: &State<T>| state.waiting.front().is_some_and(|oldest| Arc::ptr_eq(oldest, &waiter));
        let not_yet = |state: &mut State<T>| state.free.is_empty() || !is_mine(state);
        waiter.called.wait_while_until(&mut state, not_yet, deadline);

        let content = if is_mine(&state) { state.free.pop() } else { None };
        state.waiting.retain(|other| !Arc::ptr_eq(other, &waiter));
        state.call_the_oldest();
        content.map(|content| Lease { slots: self, content })
    }

    /// Takes out of the free places what is so. It is for the caller to drop, not under the lock.
    pub(crate) fn take_out(&self, is_so: impl Fn(&T) -> bool) -> Vec<T> {
        self.state
            .lock()
            .free
            .iter_mut()
            .filter_map(|place| place.take_if(|content| is_so(content)))
            .collect()
    }

    fn give_back(&self, content: Option<T>) {
        let mut state = self.state.lock();
        let place = if content.is_some() { state.free.len() } else { 0 };
        state.free.insert(place, content);
        state.call_the_oldest();
    }
}

impl<T> State<T> {
    fn call_the_oldest(&self) {
        if !self.free.is_empty()
            && let Some(oldest) = self.waiting.front()
        {
            oldest.called.notify_one();
        }
    }
}

/// A place that is in use. It is given back on drop, so also when a panic unwinds.
pub(crate) struct Lease<'a, T> {
    slots: &'a Slots<T>,
    content: Option<T>,
}

impl<T> Deref for Lease<'_, T> {
    type Target = Option<T>;

    fn deref(&self) -> &Option<T> {
        &self.content
    }
}

impl<T> DerefMut for Lease<'_, T> {
    fn deref_mut(&mut self) -> &mut Option<T> {
        &mut self.content
    }
}

impl<T> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        self.slots.give_back(self.content.take());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn eventually(mut is_so: impl FnMut() -> bool) {
        let deadline = far();
        while !is_so() {
            assert!(Instant::now() < deadline, "it did not come about");
            thread::yield_now();
        }
    }

    /// Who has waited longest is next, also before those who come while it wakes up.
    #[test]
    fn the_oldest_waiter_is_next() {
        let slots = Slots::<()>::new(1);
        let lease = slots.take(far()).unwrap();
        let order = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for n in 0..8 {
                let (slots, order) = (&slots, &order);
                scope.spawn(move || {
                    let _lease = slots.take(far()).unwrap();
                    order.lock().push(n);
                });
                eventually(|| slots.state.lock().waiting.len() == n + 1);
            }
            eventually(|| slots.state.lock().waiting.iter().all(|waiter| waiter.since.elapsed() >= PATIENCE));
            drop(lease);
            // Who comes now has to wait its turn.
            let _lease = slots.take(far()).unwrap();
            order.lock().push(8);
        });
        let order = order.into_inner();
        assert_eq!(order, (0..9).collect::<Vec<_>>());
    }

    /// Who gives up leaves its turn to the next, and none is lost.
    #[test]
    fn who_gives_up_leaves_its_turn() {
        let slots = Slots::<()>::new(2);
        let taken = AtomicUsize::new(0);
        thread::scope(|scope| {
            for n in 0..16 {
                let (slots, taken) = (&slots, &taken);
                scope.spawn(move || {
                    for round in 0..500 {
                        let patience = Duration::from_micros((n * round) % 50);
                        if slots.take(Instant::now() + patience).is_some() {
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert!(taken.into_inner() > 0);
        let state = slots.state.lock();
        assert_eq!((state.free.len(), state.waiting.len()), (2, 0));
    }
}
