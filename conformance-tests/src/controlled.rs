//! A store whose failures, delays and losses a case decides.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use flagstore_core::{AllData, ErrorKind, FeatureStoreCore, Item, Items, Kind, StoreError, Upsert};
use parking_lot::{Condvar, Mutex};

/// The methods of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Init,
    Get,
    GetAll,
    Upsert,
    IsInitialized,
    IsAvailable,
}

impl Operation {
    const ALL: [Self; 6] =
        [Self::Init, Self::Get, Self::GetAll, Self::Upsert, Self::IsInitialized, Self::IsAvailable];

    fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Get => "get",
            Self::GetAll => "get_all",
            Self::Upsert => "upsert",
            Self::IsInitialized => "is_initialized",
            Self::IsAvailable => "is_available",
        }
    }
}

/// A store above another one that does what it is told to: it counts its calls, fails, panics, finds an item
/// unreadable, holds a call back, and loses its data.
pub(crate) struct Controlled {
    calls: [AtomicUsize; Operation::ALL.len()],
    state: Mutex<State>,
}

struct State {
    inner: Arc<dyn FeatureStoreCore>,
    failing: HashMap<Operation, ErrorKind>,
    /// Calls of these are done, and answered with an error.
    unanswered: HashSet<Operation>,
    /// Updates of these keys are refused.
    refused: HashMap<String, ErrorKind>,
    panicking: HashSet<Operation>,
    unreadable: HashSet<(Kind, String)>,
    held: HashMap<Operation, Arc<Barrier>>,
    dawdles: bool,
}

impl Controlled {
    pub(crate) fn new(inner: Arc<dyn FeatureStoreCore>) -> Arc<Self> {
        let state = State {
            inner,
            failing: HashMap::new(),
            unanswered: HashSet::new(),
            refused: HashMap::new(),
            panicking: HashSet::new(),
            unreadable: HashSet::new(),
            held: HashMap::new(),
            dawdles: false,
        };
        Arc::new(Self { calls: Default::default(), state: Mutex::new(state) })
    }

    /// The store below, for what others do to it, and to see what is stored.
    pub(crate) fn inner(&self) -> Arc<dyn FeatureStoreCore> {
        Arc::clone(&self.state.lock().inner)
    }

    /// Loses its data: from now on this other store is below.
    pub(crate) fn replace(&self, other: Arc<dyn FeatureStoreCore>) {
        self.state.lock().inner = other;
    }

    /// Every call fails from now on.
    pub(crate) fn fail(&self, kind: ErrorKind) {
        self.state.lock().failing = Operation::ALL.map(|operation| (operation, kind)).into();
    }

    /// Calls of this operation fail from now on.
    pub(crate) fn fail_only(&self, operation: Operation, kind: ErrorKind) {
        self.state.lock().failing.insert(operation, kind);
    }

    /// Calls of these operations fail from now on, and no others.
    pub(crate) fn fail_exactly(&self, operations: &[Operation], kind: ErrorKind) {
        self.state.lock().failing = operations.iter().map(|operation| (*operation, kind)).collect();
    }

    /// Calls of this operation are done from now on, and their answers get lost.
    pub(crate) fn lose_answers(&self, operation: Operation) {
        self.state.lock().unanswered.insert(operation);
    }

    /// Updates of this key are refused from now on, whatever the database's health.
    pub(crate) fn refuse(&self, key: &str, kind: ErrorKind) {
        self.state.lock().refused.insert(key.to_owned(), kind);
    }

    /// Nothing fails any more, but for what is refused.
    pub(crate) fn heal(&self) {
        let mut state = self.state.lock();
        state.failing.clear();
        state.unanswered.clear();
    }

    /// The next call of this operation panics.
    pub(crate) fn panic_once(&self, operation: Operation) {
        self.state.lock().panicking.insert(operation);
    }

    /// This item cannot be read from now on.
    pub(crate) fn spoil(&self, kind: &Kind, key: &str) {
        self.state.lock().unreadable.insert((kind.clone(), key.to_owned()));
    }

    /// The next call of this operation is held back until the gate opens, when its answer is already known. It
    /// is not held for ever, so that a case that fails comes to an end.
    pub(crate) fn hold(&self, operation: Operation, patience: Duration) -> Gate {
        let barrier = Barrier::new(patience);
        self.state.lock().held.insert(operation, Arc::clone(&barrier));
        Gate(barrier)
    }

    /// Calls take their time from now on, each another one: an answer is old by the time it arrives.
    pub(crate) fn dawdle(&self) {
        self.state.lock().dawdles = true;
    }

    /// How many calls of this operation there were.
    pub(crate) fn calls(&self, operation: Operation) -> usize {
        self.calls[operation as usize].load(Ordering::SeqCst)
    }

    /// How many calls there were of all operations that an application causes.
    pub(crate) fn all_calls(&self) -> usize {
        let operations = Operation::ALL.iter().filter(|operation| **operation != Operation::IsAvailable);
        operations.map(|operation| self.calls(*operation)).sum()
    }

    fn call<T>(
        &self,
        operation: Operation,
        run: impl FnOnce(&dyn FeatureStoreCore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (inner, failing, is_unanswered) = {
            let state = self.state.lock();
            let failing = state.failing.get(&operation).copied();
            (Arc::clone(&state.inner), failing, state.unanswered.contains(&operation))
        };
        let error = |kind| StoreError::new(kind, "controlled", operation.name(), "as it was told to");
        let result = match failing {
            Some(kind) => Err(error(kind)),
            None => run(&*inner),
        };
        let result = if is_unanswered { result.and(Err(error(ErrorKind::Timeout))) } else { result };
        // Counted late, so that whoever sees the count knows that the answer is known.
        let number = self.calls[operation as usize].fetch_add(1, Ordering::SeqCst);
        let (held, panics, dawdles) = {
            let mut state = self.state.lock();
            (state.held.remove(&operation), state.panicking.remove(&operation), state.dawdles)
        };
        if dawdles {
            (0..number % 7).for_each(|_| thread::yield_now());
            thread::sleep(Duration::from_micros((number % 5 * 20) as u64));
        }
        if let Some(barrier) = held {
            barrier.hold();
        }
        assert!(!panics, "controlled: {} panics as it was told to", operation.name());
        result
    }

    fn unreadable(&self, operation: Operation, kind: &Kind, key: &str) -> Option<StoreError> {
        let place = (kind.clone(), key.to_owned());
        self.state.lock().unreadable.contains(&place).then(|| {
            StoreError::new(ErrorKind::Corrupt, "controlled", operation.name(), "not an item").about([place])
        })
    }
}

impl FeatureStoreCore for Controlled {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        self.call(Operation::Init, |inner| inner.init(all_data))
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        self.call(Operation::Get, |inner| match self.unreadable(Operation::Get, kind, key) {
            Some(error) => Err(error),
            None => inner.get(kind, key),
        })
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        self.call(Operation::GetAll, |inner| {
            let mut items = inner.get_all(kind)?;
            let unreadable = |key: &String| self.unreadable(Operation::GetAll, kind, key);
            items.unreadable.extend(items.by_key.keys().filter_map(unreadable));
            items.by_key.retain(|key, _| unreadable(key).is_none());
            Ok(items)
        })
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        let refused = self.state.lock().refused.get(key).copied();
        self.call(Operation::Upsert, |inner| match refused {
            Some(kind) => Err(StoreError::new(kind, "controlled", "upsert", "refused as it was told to")),
            None => inner.upsert(kind, key, item),
        })
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        self.call(Operation::IsInitialized, |inner| inner.is_initialized())
    }

    fn is_available(&self) -> bool {
        self.call(Operation::IsAvailable, |inner| Ok(inner.is_available())).unwrap_or(false)
    }

    fn describe(&self) -> &'static str {
        "controlled"
    }
}

impl fmt::Display for Controlled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Controlled({})", self.inner())
    }
}

impl fmt::Debug for Controlled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Holds back one call. Dropping it lets the call go on.
pub(crate) struct Gate(pub(crate) Arc<Barrier>);

impl Gate {
    /// Waits until the call is there, and its answer known.
    pub(crate) fn wait(&self) {
        let mut state = self.0.state.lock();
        self.0.changed.wait_while_for(&mut state, |state| !state.is_reached, self.0.patience);
        assert!(state.is_reached, "nobody has called the store");
    }

    /// Lets the call go on, which has to be held still: who waited for it could not have come here.
    pub(crate) fn open(self) {
        assert!(!self.0.state.lock().has_given_up, "somebody waited for a call that was held back");
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.state.lock().is_open = true;
        self.0.changed.notify_all();
    }
}

/// Where a call is held back.
pub(crate) struct Barrier {
    patience: Duration,
    state: Mutex<BarrierState>,
    changed: Condvar,
}

#[derive(Default)]
struct BarrierState {
    is_reached: bool,
    is_open: bool,
    has_given_up: bool,
}

impl Barrier {
    pub(crate) fn new(patience: Duration) -> Arc<Self> {
        Arc::new(Self { patience, state: Mutex::default(), changed: Condvar::new() })
    }

    pub(crate) fn hold(&self) {
        let mut state = self.state.lock();
        state.is_reached = true;
        self.changed.notify_all();
        let waited = self.changed.wait_while_for(&mut state, |state| !state.is_open, 2 * self.patience);
        state.has_given_up = waited.timed_out();
    }
}
