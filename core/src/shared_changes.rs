use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::{Change, ChangeSource, ChangeWatch};

/// One watch of a [`ChangeSource`] for several who want to know, who are told one after the other: in the order
/// in which they began to watch.
///
/// So a cache has learned that what it holds is old before a [`FlagTracker`](crate::FlagTracker) that shares [its
/// changes](crate::CachingStoreWrapper::changes) looks at it. A clone shares the same watch, which begins with the
/// first who watches and ends with the last.
///
/// ```
/// use flagstore_core::{CachingStoreWrapper, ChangeSource, FlagTracker, MemoryStore};
///
/// fn track(changes: impl ChangeSource) -> Result<FlagTracker, flagstore_core::StoreError> {
///     let store = CachingStoreWrapper::builder(MemoryStore::new()).changes(changes).build()?;
///     let tracker = FlagTracker::builder(store.clone());
///     Ok(match store.changes() {
///         Some(changes) => tracker.changes(changes.clone()).build(),
///         None => tracker.build(),
///     })
/// }
/// ```
#[derive(Clone)]
pub struct SharedChangeSource(Arc<Shared>);

struct Shared {
    source: Arc<dyn ChangeSource>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    watchers: BTreeMap<u64, Watcher>,
    next: u64,
    watch: Option<ChangeWatch>,
    is_over: bool,
}

type Watcher = Arc<dyn Fn(Change) + Send + Sync>;

/// Ends one watcher, and with the last one the watch.
struct Guard {
    shared: Arc<Shared>,
    number: u64,
}

impl SharedChangeSource {
    /// Watches this source, as soon as somebody watches it through this.
    pub fn new(source: impl ChangeSource) -> Self {
        Self(Arc::new(Shared { source: Arc::new(source), state: Mutex::default() }))
    }

    /// Ends the watch for good, whoever still wants to know. A second time it does nothing.
    pub fn end(&self) {
        let ended = {
            let mut state = self.0.state.lock();
            state.is_over = true;
            (std::mem::take(&mut state.watchers), state.watch.take())
        };
        drop(ended);
    }
}

impl ChangeSource for SharedChangeSource {
    fn watch(&self, on_change: Box<dyn Fn(Change) + Send + Sync>) -> ChangeWatch {
        let (number, is_first) = {
            let mut state = self.0.state.lock();
            if state.is_over {
                return ChangeWatch::new(());
            }
            let number = state.next;
            state.next += 1;
            let is_first = state.watchers.is_empty();
            state.watchers.insert(number, on_change.into());
            (number, is_first)
        };
        let guard = Guard { shared: Arc::clone(&self.0), number };
        if is_first {
            let shared = Arc::downgrade(&self.0);
            let watch = self.0.source.watch(Box::new(move |change| tell(&shared, &change)));
            // Whoever it was for may be gone already. It is dropped outside the lock.
            let unwanted = {
                let mut state = self.0.state.lock();
                if state.watchers.is_empty() { Some(watch) } else { state.watch.replace(watch) }
            };
            drop(unwanted);
        }
        ChangeWatch::new(guard)
    }
}

fn tell(shared: &Weak<Shared>, change: &Change) {
    let Some(shared) = shared.upgrade() else { return };
    let watchers: Vec<Watcher> = shared.state.lock().watchers.values().cloned().collect();
    for watcher in watchers {
        watcher(change.clone());
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let ended = {
            let mut state = self.shared.state.lock();
            let watcher = state.watchers.remove(&self.number);
            let watch = if state.watchers.is_empty() { state.watch.take() } else { None };
            (watcher, watch)
        };
        drop(ended);
    }
}

impl fmt::Debug for SharedChangeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.source, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tells when it is told to, and knows how many watch it.
    #[derive(Debug, Clone, Default)]
    struct Manual(Arc<Mutex<Vec<Weak<Callback>>>>);

    struct Callback(Box<dyn Fn(Change) + Send + Sync>);

    impl fmt::Debug for Callback {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Callback")
        }
    }

    impl ChangeSource for Manual {
        fn watch(&self, on_change: Box<dyn Fn(Change) + Send + Sync>) -> ChangeWatch {
            let callback = Arc::new(Callback(on_change));
            self.0.lock().push(Arc::downgrade(&callback));
            ChangeWatch::new(callback)
        }
    }

    impl Manual {
        fn watches(&self) -> Vec<Arc<Callback>> {
            self.0.lock().iter().filter_map(Weak::upgrade).collect()
        }

        fn tell(&self) {
            self.watches().iter().for_each(|watch| watch.0(Change::Anything));
        }
    }

    /// One watch serves all, in their order, and ends with the last of them.
    #[test]
    fn watchers_share_a_watch_and_are_told_in_order() {
        let manual = Manual::default();
        let shared = SharedChangeSource::new(manual.clone());
        assert_eq!(manual.watches().len(), 0);

        let told: Arc<Mutex<Vec<&str>>> = Arc::default();
        let watch = |name| {
            let told = Arc::clone(&told);
            shared.watch(Box::new(move |_| told.lock().push(name)))
        };
        let first = watch("first");
        let second = watch("second");
        assert_eq!(manual.watches().len(), 1);
        manual.tell();
        assert_eq!(*told.lock(), ["first", "second"]);

        drop(first);
        let third = watch("third");
        manual.tell();
        assert_eq!(told.lock()[2..], ["second", "third"]);
        drop((second, third));
        assert_eq!(manual.watches().len(), 0);

        let _fourth = watch("fourth");
        assert_eq!(manual.watches().len(), 1);
    }

    /// The end is for all, and for good.
    #[test]
    fn the_end_is_for_all() {
        let manual = Manual::default();
        let shared = SharedChangeSource::new(manual.clone());
        let _before = shared.watch(Box::new(drop));
        shared.end();
        assert_eq!(manual.watches().len(), 0);
        let _after = shared.watch(Box::new(drop));
        assert_eq!(manual.watches().len(), 0);
    }
}
