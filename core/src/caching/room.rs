//! What is limited: values where there is a capacity, and keys without an item.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use equivalent::Equivalent;
use moka::notification::RemovalCause;
use moka::sync::Cache as Bounded;
use parking_lot::Mutex;

use super::statistics::Counters;
use crate::Kind;
use crate::known::Learnt;

/// Which values are held where there is a limit. What has to make room is something that moka is good at.
pub(super) struct Room {
    holds: Bounded<Place, ()>,
    evicted: Arc<Mutex<Vec<Place>>>,
}

impl Room {
    pub(super) fn new(capacity: u64, counters: &Arc<Counters>) -> Self {
        let (evicted, counters): (Arc<Mutex<Vec<Place>>>, _) = (Arc::default(), Arc::clone(counters));
        let queue = Arc::clone(&evicted);
        let listener = move |place: Arc<Place>, (), cause| {
            if cause == RemovalCause::Size {
                counters.eviction();
                queue.lock().push(Place::clone(&place));
            }
        };
        Self { holds: Bounded::builder().max_capacity(capacity).eviction_listener(listener).build(), evicted }
    }

    /// Tells that the value was used.
    pub(super) fn touch(&self, place: &PlaceRef<'_>) {
        self.holds.get(place);
    }

    pub(super) fn take(&self, place: Place) {
        self.holds.insert(place, ());
    }

    pub(super) fn holds(&self, place: &Place) -> bool {
        self.holds.contains_key(&place.as_ref())
    }

    /// What has to go.
    pub(super) fn evicted(&self) -> Vec<Place> {
        self.holds.run_pending_tasks();
        std::mem::take(&mut self.evicted.lock())
    }
}

/// Keys without an item. A long key counts for several, so that their size is limited too.
pub(super) fn missing(capacity: u64, counters: &Arc<Counters>) -> Bounded<Place, Learnt> {
    const SHORT: usize = 100;
    let counters = Arc::clone(counters);
    let evicted = move |_, _, cause| {
        if cause == RemovalCause::Size {
            counters.eviction();
        }
    };
    let weigh = |place: &Place, _: &Learnt| u32::try_from(1 + place.key.len() / SHORT).unwrap_or(u32::MAX);
    Bounded::builder().max_capacity(capacity).weigher(weigh).eviction_listener(evicted).build()
}

/// A kind and a key, as one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) key: Arc<str>,
}

/// The same, borrowed, so that looking something up allocates nothing.
#[derive(Hash)]
pub(super) struct PlaceRef<'a> {
    pub(super) kind: &'a Kind,
    pub(super) key: &'a str,
}

impl Place {
    pub(super) fn new(kind: &Kind, key: &str) -> Self {
        Self { kind: kind.clone(), key: key.into() }
    }

    pub(super) fn as_ref(&self) -> PlaceRef<'_> {
        PlaceRef { kind: &self.kind, key: &self.key }
    }
}

/// The hash of its [`PlaceRef`], as [`Equivalent`] requires.
impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl Equivalent<Place> for PlaceRef<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        *self.kind == place.kind && *self.key == *place.key
    }
}
