use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::change::{FlagChange, FlagValueChange};
use super::graph::{Node, Tracked};
use super::known::Known;
use crate::background::{Background, Next};
use crate::listeners::Listeners;
use crate::{
    Change, ChangeSource, ChangeWatch, DataStoreStatusProvider, FeatureStore, Kind, LiveItems, StoreError,
    Subscription,
};

/// Tells that flags have changed: by what a [data source](crate::DataSourceUpdateSink) of this process writes,
/// and by what other processes write, where a [`ChangeSource`] tells of that.
///
/// When somebody has written, the tracker looks at the store and compares with what it has seen before. So
/// whoever is told of a change can read it already, and what the store has rejected is no change.
///
/// While nobody listens it neither looks nor keeps anything. The first listener waits until everything has been
/// looked at once; if the store fails at that moment, all flags are announced as new when it is back.
///
/// A clone is another handle to the same tracker.
///
/// ```
/// use std::sync::mpsc;
/// use flagstore_core::{
///     CachingStoreWrapper, DataSourceUpdateSink, Delivery, FlagTracker, Item, Kind, MemoryStore,
/// };
///
/// let store = CachingStoreWrapper::builder(MemoryStore::new()).build()?;
/// let tracker = FlagTracker::builder(store.clone()).build();
/// let sink = DataSourceUpdateSink::builder(store).flag_tracker(tracker.clone()).build();
///
/// let (told, changes) = mpsc::channel();
/// let _listener = tracker.add_listener(move |change| told.send(change.key).unwrap());
/// assert_eq!(sink.upsert(&Kind::FEATURES, "dark-mode", &Item::parse(r#"{"version":1}"#)?), Delivery::Stored);
/// assert_eq!(&*changes.recv()?, "dark-mode");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FlagTracker(Arc<Shared>);

struct Shared {
    store: Arc<dyn FeatureStore>,
    /// Whether anybody listened when that was checked last. If not, a notice costs no more than this.
    is_listened_to: AtomicBool,
    listeners: Listeners<FlagChange>,
    state: Mutex<State>,
    /// The kinds that have to be looked at in the background.
    unseen: Mutex<Unseen>,
    looks: Background,
    watch: OnceLock<ChangeWatch>,
    store_listener: OnceLock<Subscription>,
}

#[derive(Default)]
struct State {
    /// `None` while nobody listens.
    known: Option<Known>,
    /// How often the store has been looked at. What was read before the last look began is not a newer truth.
    looks: u64,
    /// Those who want to know whether a flag's value has changed.
    by_flag: HashMap<Arc<str>, Arc<Listeners<()>>>,
}

#[derive(Default)]
struct Unseen {
    /// Each with how often it has to be looked at.
    kinds: BTreeMap<Tracked, Looks>,
    failed: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Looks {
    Once,
    /// A cache may answer the first look with what it had, and ask the database because of it. If it does not, the
    /// second one costs little.
    Twice,
}

/// The pause before the second look.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// The pause after a look that failed, which doubles each time, up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

impl FlagTracker {
    /// Configures a tracker of this store's flags.
    pub fn builder(store: impl FeatureStore) -> FlagTrackerBuilder {
        FlagTrackerBuilder { store: Arc::new(store), changes: None, store_status: None }
    }

    /// Calls the listener with every flag that has changed, until the [`Subscription`] is dropped: in order, on
    /// a thread of its own that lives only while there is something to deliver. So it may take its time, and
    /// call whatever it likes.
    ///
    /// Waits for the store, if this is the first listener.
    pub fn add_listener(&self, listener: impl Fn(FlagChange) + Send + Sync + 'static) -> Subscription {
        let subscription = self.0.listeners.add(listener);
        self.0.begin();
        subscription
    }

    /// Calls the listener when `evaluate` gives another value than before, until the [`Subscription`] is
    /// dropped.
    ///
    /// `evaluate` says what value the flag of this key has, for a context of the caller's choice. It is called
    /// once before this returns, and then after every [change](FlagChange) of the flag, on the thread that
    /// calls the listener.
    pub fn add_flag_value_change_listener<V>(
        &self,
        key: &str,
        evaluate: impl Fn() -> V + Send + Sync + 'static,
        listener: impl Fn(FlagValueChange<V>) + Send + Sync + 'static,
    ) -> Subscription
    where
        V: Clone + PartialEq + Send + 'static,
    {
        let key: Arc<str> = key.into();
        let listeners = self.0.listeners_of(&key);
        let value: Arc<Mutex<Option<V>>> = Arc::default();
        let evaluate = Arc::new(evaluate);
        let subscription = listeners.add({
            let (value, evaluate) = (Arc::clone(&value), Arc::clone(&evaluate));
            move |()| {
                // Without a value the first evaluation is still under way. It is followed by another call.
                let Some(old_value) = value.lock().clone() else { return };
                let new_value = evaluate();
                if old_value != new_value {
                    *value.lock() = Some(new_value.clone());
                    listener(FlagValueChange::new(&key, old_value, new_value));
                }
            }
        });
        self.0.begin();
        let looks = self.0.state.lock().looks;
        let first = evaluate();
        *value.lock() = Some(first);
        // What has changed during the first evaluation may or may not be in it.
        if self.0.state.lock().looks != looks {
            listeners.tell(&());
        }
        subscription
    }

    /// Stops calling the listener: the same as dropping it.
    pub fn remove_listener(&self, subscription: Subscription) {
        drop(subscription);
    }

    /// Announces what has changed by a write to this item that has just ended.
    pub(crate) fn item_written(&self, kind: &Kind, key: &str) {
        let Some(kind) = Tracked::of(kind) else { return };
        if self.0.is_listened_to.load(Ordering::Acquire) && self.0.look_at_item(kind, key).is_err() {
            self.0.look_later(&[kind], Looks::Once);
        }
    }

    /// Announces what has changed by a write to these kinds that has just ended.
    pub(crate) fn kinds_written<'a>(&self, kinds: impl IntoIterator<Item = &'a Kind>) {
        if self.0.is_listened_to.load(Ordering::Acquire) {
            let kinds: BTreeSet<_> = kinds.into_iter().filter_map(Tracked::of).collect();
            let kinds: Vec<_> = kinds.into_iter().collect();
            if self.0.look_at_kinds(&kinds).is_err() {
                self.0.look_later(&kinds, Looks::Once);
            }
        }
    }

    /// Has the store looked at in the background, because nobody can say what has changed.
    pub(crate) fn look(&self) {
        self.0.look_later(&Tracked::ALL, Looks::Twice);
    }
}

impl Shared {
    fn listeners_of(&self, key: &Arc<str>) -> Arc<Listeners<()>> {
        let by_flag = &mut self.state.lock().by_flag;
        by_flag.retain(|_, listeners| is_held(listeners));
        Arc::clone(by_flag.entry(Arc::clone(key)).or_insert_with(|| Arc::new(Listeners::new())))
    }

    /// Makes sure that what there is now is known, so that what comes can be compared with it.
    fn begin(&self) {
        loop {
            let looks = {
                let state = self.state.lock();
                // Before anything is read, so that every write which that may not show leads to another look.
                self.is_listened_to.store(true, Ordering::Release);
                if state.known.is_some() {
                    return;
                }
                state.looks
            };
            let read = self.read(&Tracked::ALL);
            let mut state = self.state.lock();
            if state.looks != looks || state.known.is_some() {
                continue;
            }
            let mut known = Known::default();
            match &read {
                Ok(kinds) => kinds.iter().for_each(|(kind, live)| drop(known.take_all(*kind, live))),
                Err(error) => tracing::debug!("flags count as new when the store is back: {error}"),
            }
            state.known = Some(known);
            drop(state);
            if read.is_err() {
                self.look_later(&Tracked::ALL, Looks::Once);
            }
            return;
        }
    }

    fn read(&self, kinds: &[Tracked]) -> Result<Vec<(Tracked, LiveItems)>, StoreError> {
        kinds.iter().map(|kind| Ok((*kind, self.store.all(&kind.kind())?))).collect()
    }

    fn look_at_item(&self, kind: Tracked, key: &str) -> Result<(), StoreError> {
        self.compare(
            || self.store.get(&kind.kind(), key),
            |known, item| known.take_item(kind, key, item.as_ref()).into_iter().collect(),
        )
    }

    fn look_at_kinds(&self, kinds: &[Tracked]) -> Result<(), StoreError> {
        self.compare(
            || self.read(kinds),
            |known, read| read.iter().flat_map(|(kind, live)| known.take_all(*kind, live)).collect(),
        )
    }

    /// Reads, compares with what is known, and tells the listeners. What others have found out while it read is
    /// newer, and then it reads again.
    fn compare<T>(
        &self,
        read: impl Fn() -> Result<T, StoreError>,
        take: impl Fn(&mut Known, &T) -> Vec<Node>,
    ) -> Result<(), StoreError> {
        loop {
            let looks = {
                let mut state = self.state.lock();
                state.by_flag.retain(|_, listeners| is_held(listeners));
                if self.listeners.count() == 0 && state.by_flag.is_empty() {
                    self.is_listened_to.store(false, Ordering::Release);
                    state.known = None;
                    return Ok(());
                }
                state.looks
            };
            let found = read()?;
            let mut state = self.state.lock();
            if state.looks != looks {
                continue;
            }
            state.looks += 1;
            let State { known, by_flag, .. } = &mut *state;
            // Whoever is about to know what there is reads it again, since this is another look.
            let Some(known) = known else { return Ok(()) };
            let changed = take(known, &found);
            if !changed.is_empty() {
                for flag in known.affected_flags(changed) {
                    self.listeners.tell(&FlagChange::new(&flag));
                    if let Some(listeners) = by_flag.get(&flag) {
                        listeners.tell(&());
                    }
                }
            }
            return Ok(());
        }
    }

    fn look_later(&self, kinds: &[Tracked], looks: Looks) {
        if self.is_listened_to.load(Ordering::Acquire) {
            self.unseen.lock().add(kinds.iter().map(|kind| (*kind, looks)));
            self.looks.wake();
        }
    }

    fn look_at_unseen(&self) -> Next {
        let unseen = std::mem::take(&mut self.unseen.lock().kinds);
        if unseen.is_empty() {
            return Next::Rest;
        }
        let looked = self.look_at_kinds(&unseen.keys().copied().collect::<Vec<_>>());
        let mut left = self.unseen.lock();
        match looked {
            Ok(()) => {
                left.failed = 0;
                left.add(
                    unseen
                        .iter()
                        .filter(|(_, looks)| **looks == Looks::Twice)
                        .map(|(kind, _)| (*kind, Looks::Once)),
                );
                if left.kinds.is_empty() { Next::Rest } else { Next::After(BETWEEN_LOOKS) }
            }
            Err(error) => {
                tracing::debug!("changes of flags cannot be seen at the moment: {error}");
                left.add(unseen);
                let pause = PAUSES.0 * 2_u32.saturating_pow(left.failed.min(8));
                left.failed += 1;
                Next::After(pause.min(PAUSES.1))
            }
        }
    }
}

impl Unseen {
    fn add(&mut self, kinds: impl IntoIterator<Item = (Tracked, Looks)>) {
        for (kind, looks) in kinds {
            let known = self.kinds.entry(kind).or_insert(looks);
            *known = looks.max(*known);
        }
    }
}

/// Whether somebody listens to them, or is about to.
fn is_held(listeners: &Arc<Listeners<()>>) -> bool {
    listeners.count() > 0 || Arc::strong_count(listeners) > 1
}

/// Configures a [`FlagTracker`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct FlagTrackerBuilder {
    store: Arc<dyn FeatureStore>,
    changes: Option<Arc<dyn ChangeSource>>,
    store_status: Option<DataStoreStatusProvider>,
}

impl FlagTrackerBuilder {
    /// Sets where to learn of what others write. The store must have learned of it before: if that has a cache, it
    /// is [from there](crate::CachingStoreWrapper::changes). Defaults to nowhere.
    pub fn changes(self, changes: impl ChangeSource) -> Self {
        Self { changes: Some(Arc::new(changes)), ..self }
    }

    /// Sets where the store says how its database does. When that is back after an outage, the store is looked at:
    /// meanwhile a cache may have answered with what it had. Defaults to nowhere.
    pub fn store_status(self, store_status: DataStoreStatusProvider) -> Self {
        Self { store_status: Some(store_status), ..self }
    }

    /// Makes the tracker. The store is not asked for anything.
    #[must_use]
    pub fn build(self) -> FlagTracker {
        let Self { store, changes, store_status } = self;
        let shared = Arc::new_cyclic(|this: &Weak<Shared>| {
            let this = Weak::clone(this);
            Shared {
                store,
                is_listened_to: AtomicBool::new(false),
                listeners: Listeners::new(),
                state: Mutex::default(),
                unseen: Mutex::default(),
                looks: Background::new("flagstore-flags", move || {
                    this.upgrade().map_or(Next::Rest, |shared| shared.look_at_unseen())
                }),
                watch: OnceLock::new(),
                store_listener: OnceLock::new(),
            }
        });
        if let Some(store_status) = store_status {
            let this = Arc::downgrade(&shared);
            let listener = store_status.add_listener(move |status| {
                if let Some(shared) = this.upgrade().filter(|_| status.available) {
                    shared.look_later(&Tracked::ALL, Looks::Twice);
                }
            });
            // Set here, and nowhere else.
            let _ = shared.store_listener.set(listener);
        }
        if let Some(changes) = changes {
            let this = Arc::downgrade(&shared);
            let watch = changes.watch(Box::new(move |change| {
                let Some(shared) = this.upgrade() else { return };
                match change {
                    Change::Kind(kind) => {
                        if let Some(kind) = Tracked::of(&kind) {
                            shared.look_later(&[kind], Looks::Twice);
                        }
                    }
                    Change::Anything => shared.look_later(&Tracked::ALL, Looks::Twice),
                }
            }));
            // Set here, and nowhere else.
            let _ = shared.watch.set(watch);
        }
        FlagTracker(shared)
    }
}

/// Such as `FlagTracker(Cached(15s, SQLite(flags.db)), 2 listeners)`.
impl fmt::Debug for FlagTracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlagTracker({}, {:?})", self.0.store, self.0.listeners)
    }
}
