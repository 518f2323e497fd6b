use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use equivalent::Equivalent;
use moka::notification::RemovalCause;
use moka::sync::Cache as Bounded;

use super::statistics::Counters;
use crate::{Item, Kind};

/// A kind and a key, as one key.
#[derive(Clone, PartialEq, Eq)]
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

/// A cached item, and until when it can be taken for what is stored. `None` is forever.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) item: Item,
    pub(super) fresh_until: Option<Instant>,
}

/// Items and tombstones by place.
///
/// Without a limit they are in a lock-free map: reads write nothing that another thread has to wait for. That
/// is why they are not in moka, which notes down every read for its eviction policy: measured with two threads
/// on two cores, moka answers fewer reads than with one thread (0.4 to 0.8 times as many), this map nearly
/// twice as many. With a limit something has to decide what makes room, and that is what moka is good at.
pub(super) enum Entries {
    Unlimited(papaya::HashMap<Place, Entry>),
    Limited(Bounded<Place, Entry>),
}

impl Entries {
    pub(super) fn new(capacity: Option<u64>, counters: &Arc<Counters>) -> Self {
        match capacity {
            None => Self::Unlimited(papaya::HashMap::new()),
            Some(capacity) => Self::Limited(bounded(capacity, counters)),
        }
    }

    /// What `read` makes of the entry.
    pub(super) fn read<T>(&self, place: &PlaceRef<'_>, read: impl FnOnce(&Entry) -> T) -> Option<T> {
        match self {
            Self::Unlimited(map) => map.pin().get(place).map(read),
            Self::Limited(cache) => cache.get(place).as_ref().map(read),
        }
    }

    pub(super) fn insert(&self, place: Place, entry: Entry) {
        match self {
            Self::Unlimited(map) => drop(map.pin().insert(place, entry).is_some()),
            Self::Limited(cache) => cache.insert(place, entry),
        }
    }

    pub(super) fn remove(&self, place: &PlaceRef<'_>) {
        match self {
            Self::Unlimited(map) => drop(map.pin().remove(place).is_some()),
            Self::Limited(cache) => cache.invalidate(place),
        }
    }

    /// Removes all entries but these.
    pub(super) fn retain(&self, keep: impl Fn(&Place) -> bool) {
        match self {
            Self::Unlimited(map) => map.pin().retain(|place, _| keep(place)),
            Self::Limited(cache) => {
                let gone = cache.iter().filter(|(place, _)| !keep(place));
                gone.for_each(|(place, _)| cache.invalidate(&*place));
            }
        }
    }

    /// Visits the items of a kind.
    pub(super) fn for_each(&self, kind: &Kind, mut visit: impl FnMut(&Arc<str>, &Item)) {
        let mut visit = |place: &Place, entry: &Entry| {
            if place.kind == *kind {
                visit(&place.key, &entry.item);
            }
        };
        match self {
            Self::Unlimited(map) => map.pin().iter().for_each(|(place, entry)| visit(place, entry)),
            Self::Limited(cache) => cache.iter().for_each(|(place, entry)| visit(&place, &entry)),
        }
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Unlimited(map) => map.len() as u64,
            Self::Limited(cache) => {
                cache.run_pending_tasks();
                cache.entry_count()
            }
        }
    }
}

/// A cache that never holds more than so many entries, and counts those that make room.
pub(super) fn bounded<V: Clone + Send + Sync + 'static>(
    capacity: u64,
    counters: &Arc<Counters>,
) -> Bounded<Place, V> {
    let counters = Arc::clone(counters);
    let evicted = move |_, _, cause| {
        if cause == RemovalCause::Size {
            counters.eviction();
        }
    };
    Bounded::builder().max_capacity(capacity).eviction_listener(evicted).build()
}
