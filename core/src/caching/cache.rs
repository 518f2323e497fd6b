use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache as Bounded;
use parking_lot::{Mutex, RwLock};

use super::entries::{Entries, Entry, Place, PlaceRef, bounded};
use super::flight::{Boarding, Flight, Flights};
use super::statistics::{CacheStatistics, Counters};
use crate::{AllData, ErrorKind, Item, Items, Kind, LiveItems, StoreError};

/// What is known of the database, and the one place where that changes.
///
/// Reads of what is known take no lock that a change holds for longer than a moment, and none at all for a
/// single item. Every change is made under the lock of [`Changes`], which nobody holds while the database is
/// asked. Versions only go up, because a database read that is under way collects what is written meanwhile,
/// and when it is back, the newer of the two counts; after an init or an invalidation it no longer counts.
pub(super) struct Cache {
    entries: Entries,
    /// Places where nothing is. Limited, because anybody can ask for any number of them.
    missing: Bounded<Place, ()>,
    all: RwLock<HashMap<Kind, All>>,
    changes: Mutex<Changes>,
    time_to_live: Option<Duration>,
    pub(super) counters: Arc<Counters>,
}

/// All live items of a kind.
struct All {
    live: LiveItems,
    fresh_until: Option<Instant>,
}

/// Everything of these kinds, tombstones included: enough to fill an empty database.
pub(super) type Snapshot = HashMap<Kind, ByKey>;

pub(super) type ByKey = HashMap<Arc<str>, Item>;

#[derive(Default)]
struct Changes {
    one: Flights<Place, Option<Item>, Option<Item>>,
    all: Flights<Kind, LiveItems, ByKey>,
    /// Kept from the first init on, where somebody may want to write it back.
    snapshot: Option<Snapshot>,
    keeps_snapshot: bool,
    is_disabled: bool,
}

/// What the cache says of something.
pub(super) enum Found<T> {
    Fresh(T),
    /// Too old to be taken for what is stored, by this much.
    Stale(T, Duration),
    Unknown,
}

impl<T> Found<T> {
    fn of(value: T, fresh_until: Option<Instant>) -> Self {
        match fresh_until.and_then(|until| Instant::now().checked_duration_since(until)) {
            Some(late) => Self::Stale(value, late),
            None => Self::Fresh(value),
        }
    }
}

pub(super) struct Options {
    pub(super) time_to_live: Option<Duration>,
    pub(super) capacity: Option<u64>,
    pub(super) missing_capacity: u64,
    pub(super) keeps_snapshot: bool,
}

impl Cache {
    pub(super) fn new(options: &Options) -> Self {
        let counters = Arc::new(Counters::default());
        Self {
            entries: Entries::new(options.capacity, &counters),
            missing: bounded(options.missing_capacity, options.time_to_live, &counters),
            all: RwLock::default(),
            changes: Mutex::new(Changes { keeps_snapshot: options.keeps_snapshot, ..Changes::default() }),
            time_to_live: options.time_to_live,
            counters,
        }
    }

    /// What `read` makes of the live item of that key; `Fresh(None)` if it is known that there is none.
    pub(super) fn peek<T>(&self, kind: &Kind, key: &str, read: impl Fn(&Item) -> T) -> Found<Option<T>> {
        let place = PlaceRef { kind, key };
        let live = |item: &Item| (!item.is_deleted()).then(|| read(item));
        match self.entries.read(&place, |entry| Found::of(live(&entry.item), entry.fresh_until)) {
            Some(found) => found,
            None if self.missing.get(&place).is_some() => Found::Fresh(None),
            None => Found::Unknown,
        }
    }

    /// All live items of a kind, if they are known.
    pub(super) fn peek_all(&self, kind: &Kind) -> Found<LiveItems> {
        let all = self.all.read();
        all.get(kind).map_or(Found::Unknown, |all| Found::of(Arc::clone(&all.live), all.fresh_until))
    }

    /// Asks the database for one item, or waits for somebody who does. A tombstone is `None`.
    pub(super) fn load(
        &self,
        kind: &Kind,
        key: &str,
        ask: impl FnOnce() -> Result<Option<Item>, StoreError>,
    ) -> Result<Option<Item>, StoreError> {
        let place = Place::new(kind, key);
        let mut changes = self.changes.lock();
        // Somebody may have brought it since the caller looked.
        if let Found::Fresh(item) = self.peek(kind, key, Item::clone) {
            return Ok(item);
        }
        let flight = match changes.one.board(place.clone()) {
            Boarding::Lead(flight) => flight,
            Boarding::Wait(flight) => {
                drop(changes);
                return flight.wait();
            }
        };
        drop(changes);
        self.lead(
            &flight,
            ask,
            |changes| changes.one.take(&place, &flight),
            |changes, loaded, written| {
                let newest = match written {
                    Some(written) => self.put_loaded(changes, place.clone(), newer(loaded, written)),
                    None => loaded,
                };
                newest.filter(|item| !item.is_deleted())
            },
        )
    }

    /// Asks the database for all items of a kind, or waits for somebody who does.
    pub(super) fn load_all(
        &self,
        kind: &Kind,
        ask: impl FnOnce() -> Result<Items, StoreError>,
    ) -> Result<LiveItems, StoreError> {
        let mut changes = self.changes.lock();
        if let Found::Fresh(live) = self.peek_all(kind) {
            return Ok(live);
        }
        let flight = match changes.all.board(kind.clone()) {
            Boarding::Lead(flight) => flight,
            Boarding::Wait(flight) => {
                drop(changes);
                return flight.wait();
            }
        };
        drop(changes);
        self.lead(
            &flight,
            || ask().map(|items| shared_keys(items.by_key)),
            |changes| changes.all.take(kind, &flight),
            |changes, mut loaded, written| match written {
                Some(written) => {
                    written.into_iter().for_each(|(key, item)| put_newer(&mut loaded, key, item));
                    self.put_all_loaded(changes, kind, loaded)
                }
                None => live(&loaded),
            },
        )
    }

    /// Reads the database, and hands everybody who waits what `arrive` makes of the answer and of what was
    /// written meanwhile, which is `None` where the answer no longer counts.
    fn lead<L, T: Clone, W>(
        &self,
        flight: &Flight<T>,
        ask: impl FnOnce() -> Result<L, StoreError>,
        end: impl FnOnce(&mut Changes) -> Option<W>,
        arrive: impl FnOnce(&mut Changes, L, Option<W>) -> T,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        // A store that panics must not leave the others waiting.
        let asked = catch_unwind(AssertUnwindSafe(ask));
        self.counters.load(began, matches!(asked, Ok(Ok(_))));

        let mut changes = self.changes.lock();
        let written = end(&mut changes);
        match asked {
            Ok(answer) => {
                let answer = answer.map(|loaded| arrive(&mut changes, loaded, written));
                flight.land(answer.clone());
                answer
            }
            Err(panic) => {
                flight.land(Err(StoreError::new(ErrorKind::Other, "cache", "load", "the store panicked")));
                resume_unwind(panic)
            }
        }
    }

    /// What the database says of one place, with what was written there since it was asked.
    fn put_loaded(&self, changes: &mut Changes, place: Place, item: Option<Item>) -> Option<Item> {
        if changes.is_disabled {
            return item;
        }
        let version = item.as_ref().filter(|item| !item.is_deleted()).map(Item::version);
        let among_all =
            self.all.read().get(&place.kind).map(|all| all.live.get(&place.key).map(Item::version));
        if among_all.is_some_and(|among_all| among_all != version) {
            // All items were read earlier than this one.
            self.all.write().remove(&place.kind);
        }
        match item.clone() {
            None => {
                self.missing.insert(place.clone(), ());
                self.entries.remove(&place.as_ref());
            }
            Some(item) => {
                if let Some(written) = changes.all.written_during(&place.kind) {
                    put_newer(written, Arc::clone(&place.key), item.clone());
                }
                self.missing.invalidate(&place.as_ref());
                self.entries.insert(place, Entry { item, fresh_until: self.fresh_until() });
            }
        }
        item
    }

    /// What the database says of a kind, with what was written since it was asked.
    fn put_all_loaded(&self, changes: &mut Changes, kind: &Kind, mut items: ByKey) -> LiveItems {
        if self.time_to_live.is_none() {
            // What never expires may be newer than the database, where a write has failed.
            self.entries.for_each(kind, |key, known| put_newer(&mut items, Arc::clone(key), known.clone()));
        }
        let live = live(&items);
        if changes.is_disabled {
            return live;
        }
        let fresh_until = self.fresh_until();
        for (key, item) in items {
            let place = Place { kind: kind.clone(), key };
            if let Some(written) = changes.one.written_during(&place) {
                *written = newer(written.take(), Some(item.clone()));
            }
            self.entries.insert(place, Entry { item, fresh_until });
        }
        self.missing.invalidate_all();
        self.all.write().insert(kind.clone(), All { live: Arc::clone(&live), fresh_until });
        live
    }

    /// An item that was written, unless something newer is known.
    pub(super) fn put_written(&self, kind: &Kind, key: &str, item: &Item) {
        let mut changes = self.changes.lock();
        let place = Place::new(kind, key);
        let known = self.entries.read(&place.as_ref(), |entry| entry.item.version());
        if changes.is_disabled || known.is_some_and(|known| known > item.version()) {
            return;
        }
        if let Some(written) = changes.one.written_during(&place) {
            *written = newer(written.take(), Some(item.clone()));
        }
        if let Some(written) = changes.all.written_during(kind) {
            put_newer(written, Arc::clone(&place.key), item.clone());
        }
        if let Some(snapshot) = &mut changes.snapshot {
            put_newer(snapshot.entry(kind.clone()).or_default(), Arc::clone(&place.key), item.clone());
        }
        if let Some(all) = self.all.write().get_mut(kind) {
            // Copies the map only while somebody else still holds it.
            let live = Arc::make_mut(&mut all.live);
            if item.is_deleted() {
                live.remove(key);
            } else {
                live.insert(Arc::clone(&place.key), item.clone());
            }
        }
        self.missing.invalidate(&place.as_ref());
        self.entries.insert(place, Entry { item: item.clone(), fresh_until: self.fresh_until() });
    }

    /// What an init has put in place of everything else, except for `unknown`, which has to be looked up.
    pub(super) fn put_init(&self, all_data: &AllData, unknown: &[(Kind, String)]) {
        let mut changes = self.changes.lock();
        if changes.is_disabled {
            return;
        }
        let fresh_until = self.fresh_until();
        let is_unknown = |kind: &Kind, key: &str| unknown.iter().any(|(k, u)| k == kind && u == key);
        for (kind, items) in all_data.kinds() {
            changes.discard_flights(|place_kind, _| place_kind == kind);
            let items: ByKey = items
                .filter(|(key, _)| !is_unknown(kind, key))
                .map(|(key, item)| (key.into(), item.clone()))
                .collect();
            for (key, item) in &items {
                let place = Place { kind: kind.clone(), key: Arc::clone(key) };
                self.entries.insert(place, Entry { item: item.clone(), fresh_until });
            }
            // After the new ones are there, so that readers of what stays find it all the time.
            self.entries.retain(|place| place.kind != *kind || items.contains_key(&place.key));
            let mut all = self.all.write();
            if unknown.iter().any(|(unknown, _)| unknown == kind) {
                all.remove(kind);
            } else {
                all.insert(kind.clone(), All { live: live(&items), fresh_until });
            }
            if changes.keeps_snapshot {
                changes.snapshot.get_or_insert_default().insert(kind.clone(), items);
            }
        }
        self.missing.invalidate_all();
    }

    /// Forgets one place.
    pub(super) fn invalidate(&self, kind: &Kind, key: &str) {
        let mut changes = self.changes.lock();
        changes.discard_flights(|place_kind, place_key| {
            place_kind == kind && place_key.is_none_or(|k| k == key)
        });
        let place = PlaceRef { kind, key };
        self.entries.remove(&place);
        self.missing.invalidate(&place);
        self.all.write().remove(kind);
    }

    /// Forgets a kind.
    pub(super) fn invalidate_kind(&self, kind: &Kind) {
        let mut changes = self.changes.lock();
        changes.discard_flights(|place_kind, _| place_kind == kind);
        self.entries.retain(|place| place.kind != *kind);
        self.missing.invalidate_all();
        self.all.write().remove(kind);
    }

    /// Forgets everything.
    pub(super) fn invalidate_all(&self) {
        self.clear(&mut self.changes.lock());
    }

    /// Forgets everything, for good.
    pub(super) fn disable(&self) {
        let mut changes = self.changes.lock();
        changes.is_disabled = true;
        changes.snapshot = None;
        self.clear(&mut changes);
    }

    fn clear(&self, changes: &mut Changes) {
        changes.discard_flights(|_, _| true);
        self.entries.retain(|_| false);
        self.missing.invalidate_all();
        self.all.write().clear();
    }

    /// Everything that was ever initialized here, as it is now. `None` if that is nothing, or not kept.
    pub(super) fn snapshot(&self) -> Option<Snapshot> {
        self.changes.lock().snapshot.clone()
    }

    pub(super) fn statistics(&self) -> CacheStatistics {
        self.missing.run_pending_tasks();
        self.counters.statistics(self.entries.len(), self.missing.entry_count())
    }

    fn fresh_until(&self) -> Option<Instant> {
        self.time_to_live.map(|time_to_live| Instant::now() + time_to_live)
    }
}

impl Changes {
    /// Reads that are under way and that this concerns bring nothing into the cache any more. The key is
    /// `None` for a read of all keys.
    fn discard_flights(&mut self, which: impl Fn(&Kind, Option<&str>) -> bool) {
        self.one.discard(|place| which(&place.kind, Some(&place.key)));
        self.all.discard(|kind| which(kind, None));
    }
}

fn shared_keys(items: HashMap<String, Item>) -> ByKey {
    items.into_iter().map(|(key, item)| (key.into(), item)).collect()
}

fn live(items: &ByKey) -> LiveItems {
    let live = items.iter().filter(|(_, item)| !item.is_deleted());
    Arc::new(live.map(|(key, item)| (Arc::clone(key), item.clone())).collect())
}

/// Of two the one with the higher version; the second if they are equal.
fn newer(one: Option<Item>, other: Option<Item>) -> Option<Item> {
    match (one, other) {
        (Some(one), Some(other)) if one.version() > other.version() => Some(one),
        (one, other) => other.or(one),
    }
}

fn put_newer(items: &mut ByKey, key: Arc<str>, item: Item) {
    match items.entry(key) {
        MapEntry::Occupied(mut known) if known.get().version() <= item.version() => drop(known.insert(item)),
        MapEntry::Occupied(_) => {}
        MapEntry::Vacant(free) => drop(free.insert(item)),
    }
}
