//! Values that somebody wants to be told of: statuses, and changes of flags.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Debug};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::background::{Background, Next};

/// A subscription: its listener is called for as long as this lives.
///
/// When it is dropped, a call that is under way goes on, and no other begins; what was not delivered is
/// forgotten. It may be dropped anywhere, also by the listener itself.
#[must_use = "the listener is called until this is dropped"]
pub struct Subscription(#[expect(dead_code, reason = "held for its drop")] Box<dyn Any + Send + Sync>);

impl Subscription {
    /// One that ends when `guard` is dropped.
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self(Box::new(guard))
    }
}

impl Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}

/// Those who want to be told, each with a queue and, while that is not empty, a thread of its own. So one that
/// is slow or panics holds up nobody else, and may call whatever it likes.
pub(crate) struct Listeners<T>(Arc<Mutex<Registry<T>>>);

struct Registry<T> {
    listeners: BTreeMap<u64, Arc<Listener<T>>>,
    next: u64,
}

struct Listener<T> {
    undelivered: Arc<Mutex<VecDeque<T>>>,
    delivery: Background,
}

/// Takes its listener out of the registry. The registry's own handle is dropped here too, outside its lock: with
/// the last one goes the user's closure, whose destructor may do anything.
struct Guard<T> {
    registry: Weak<Mutex<Registry<T>>>,
    number: u64,
    listener: Arc<Listener<T>>,
}

impl<T: Clone + Send + 'static> Listeners<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Registry { listeners: BTreeMap::new(), next: 0 })))
    }

    /// Has it called with every value that is told from now on, in order.
    pub(crate) fn add(&self, call: impl Fn(T) + Send + Sync + 'static) -> Subscription {
        let undelivered: Arc<Mutex<VecDeque<T>>> = Arc::default();
        let queue = Arc::clone(&undelivered);
        let deliver = move || {
            let Some(value) = queue.lock().pop_front() else { return Next::Rest };
            call(value);
            Next::Now
        };
        let delivery = Background::new("flagstore-listener", deliver);
        let listener = Arc::new(Listener { undelivered, delivery });
        let mut registry = self.0.lock();
        let number = registry.next;
        registry.next += 1;
        registry.listeners.insert(number, Arc::clone(&listener));
        Subscription::new(Guard { registry: Arc::downgrade(&self.0), number, listener })
    }

    /// Tells everybody. Never waits, and calls nobody on this thread, so it may be called under a lock that
    /// keeps values in order.
    pub(crate) fn tell(&self, value: &T) {
        for listener in self.0.lock().listeners.values() {
            listener.undelivered.lock().push_back(value.clone());
            listener.delivery.wake();
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().listeners.len()
    }
}

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        let registered =
            self.registry.upgrade().and_then(|registry| registry.lock().listeners.remove(&self.number));
        drop(registered);
        // What is not delivered yet would be delivered to nobody.
        let undelivered = std::mem::take(&mut *self.listener.undelivered.lock());
        drop(undelivered);
    }
}

impl<T: Clone + Send + 'static> Debug for Listeners<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listeners", self.count())
    }
}

/// A value with those who want to know when it changes.
#[derive(Debug)]
pub(crate) struct Observable<T: Clone + Send + 'static> {
    // Held while the listeners are told, which only queues the value, so that all see the same order.
    current: Mutex<T>,
    listeners: Listeners<T>,
}

impl<T: Clone + PartialEq + Send + 'static> Observable<T> {
    pub(crate) fn new(first: T) -> Self {
        Self { current: Mutex::new(first), listeners: Listeners::new() }
    }

    pub(crate) fn get(&self) -> T {
        self.current.lock().clone()
    }

    /// Sets the value, and tells the listeners if it is another one. Whether it is.
    pub(crate) fn set(&self, value: T) -> bool {
        let mut current = self.current.lock();
        let is_change = *current != value;
        if is_change {
            *current = value;
            self.listeners.tell(&current);
        }
        is_change
    }

    pub(crate) fn listeners(&self) -> &Listeners<T> {
        &self.listeners
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    /// Values arrive in order, at whoever listens, and nobody else.
    #[test]
    fn values_arrive_in_order() {
        let listeners = Listeners::new();
        let (told, heard) = channel();
        listeners.tell(&0);
        let subscription = listeners.add(move |value| told.send(value).unwrap());
        (1..=1_000).for_each(|value| listeners.tell(&value));
        assert_eq!(heard.iter().take(1_000).collect::<Vec<_>>(), (1..=1_000).collect::<Vec<_>>());
        drop(subscription);
        assert!(heard.recv_timeout(Duration::from_secs(60)).is_err(), "the listener is gone with its guard");
    }

    /// A guard that is dropped leaves nothing behind, although nothing is ever told.
    #[test]
    fn a_dropped_guard_leaves_nothing_behind() {
        let listeners: Listeners<u64> = Listeners::new();
        let held = Arc::new(());
        for _ in 0..1_000 {
            let held = Arc::clone(&held);
            drop(listeners.add(move |_| _ = &held));
        }
        assert_eq!(
            (listeners.count(), listeners.0.lock().listeners.len(), Arc::strong_count(&held)),
            (0, 0, 1)
        );
    }

    /// What a listener holds may do anything when it is destroyed, such as using the listeners.
    #[test]
    fn a_destructor_may_use_the_listeners() {
        struct TellsAtTheEnd(Arc<Listeners<u64>>);
        impl Drop for TellsAtTheEnd {
            fn drop(&mut self) {
                self.0.tell(&1);
                drop(self.0.add(|_| ()));
            }
        }
        let listeners = Arc::new(Listeners::new());
        let end = TellsAtTheEnd(Arc::clone(&listeners));
        drop(listeners.add(move |_| _ = &end));
        assert_eq!(listeners.count(), 0);
    }
}
