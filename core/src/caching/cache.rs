mod load;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache as Bounded;
use parking_lot::{Mutex, RwLock};

use super::entries::{Entries, Entry, Place, PlaceRef, bounded};
use super::flight::Flights;
use super::kept::{ByKey, Kept, Mark, Snapshot, snapshot_of};
use super::statistics::{CacheStatistics, Counters};
use super::{newer, put_newer};
use crate::{AllData, Item, Kind, LiveItems};

/// What is known of the database, and the one place where that changes.
///
/// Reads of what is known take no lock that a change holds for longer than a moment, and none at all for a
/// single item. Every change is made under the lock of [`Changes`], which nobody holds while the database is
/// asked. Versions only go up, because a database read that is under way collects what is written meanwhile,
/// and when it is back, the newer of the two counts; after an init or an invalidation it no longer counts.
pub(super) struct Cache {
    entries: Entries,
    /// Places where nothing is, and until when that counts. Limited, because anybody can ask for any number of
    /// them.
    missing: Bounded<Place, Option<Instant>>,
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

#[derive(Default)]
struct Changes {
    one: Flights<Place, Option<Item>, Option<Item>>,
    all: Flights<Kind, LiveItems, ByKey>,
    kept: Kept,
    /// How often something was forgotten because somebody else may have changed it.
    invalidations: u64,
    is_disabled: bool,
}

/// A moment before a write, as [`Cache::before_a_write`] tells it.
#[derive(Clone, Copy)]
pub(super) struct Before {
    invalidations: u64,
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
    pub(super) is_disabled: bool,
}

impl Cache {
    pub(super) fn new(options: &Options) -> Self {
        let counters = Arc::new(Counters::default());
        Self {
            entries: Entries::new(options.capacity, &counters),
            missing: bounded(options.missing_capacity, &counters),
            all: RwLock::default(),
            changes: Mutex::new(Changes {
                kept: Kept::new(options.keeps_snapshot),
                is_disabled: options.is_disabled,
                ..Changes::default()
            }),
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
            None => self.missing.get(&place).map_or(Found::Unknown, |until| Found::of(None, until)),
        }
    }

    /// All live items of a kind, if they are known.
    pub(super) fn peek_all(&self, kind: &Kind) -> Found<LiveItems> {
        let all = self.all.read();
        all.get(kind).map_or(Found::Unknown, |all| Found::of(all.live.clone(), all.fresh_until))
    }

    /// To be asked before the database is, and handed to what puts the outcome into the cache.
    pub(super) fn before_a_write(&self) -> Before {
        Before { invalidations: self.changes.lock().invalidations }
    }

    /// An item that the database has, unless something newer is known.
    pub(super) fn put_written(&self, kind: &Kind, key: &str, item: &Item, before: Before) {
        let mut changes = self.changes.lock();
        let place = Place::new(kind, key);
        changes.kept.put(&place, item);
        let known = self.version(&place);
        if changes.is_disabled || known.is_some_and(|known| known > item.version()) {
            return;
        }
        self.put(&changes, &place, item);
        if known.is_some() || changes.invalidations == before.invalidations {
            self.insert(place, item.clone());
        }
        // Else somebody may have changed it after this write, and before it was forgotten.
    }

    /// An item that the database has not taken. A lasting cache takes it by version.
    pub(super) fn put_unwritten(&self, kind: &Kind, key: &str, item: &Item) {
        let mut changes = self.changes.lock();
        let place = Place::new(kind, key);
        changes.kept.put_unwritten(&place, item);
        let is_newer = self.version(&place).is_none_or(|known| known < item.version());
        if self.is_lasting() && !changes.is_disabled && is_newer {
            self.put(&changes, &place, item);
            self.insert(place, item.clone());
        }
    }

    /// Adds the item to everything but the single items.
    fn put(&self, changes: &Changes, place: &Place, item: &Item) {
        changes.one.note(place, |written| *written = newer(written.take(), Some(item.clone())));
        changes.all.note(&place.kind, |written| put_newer(written, Arc::clone(&place.key), item.clone()));
        self.patch_all(place, Some(item));
        self.missing.invalidate(&place.as_ref());
    }

    fn insert(&self, place: Place, item: Item) {
        self.missing.invalidate(&place.as_ref());
        self.entries.insert(place, Entry { item, fresh_until: self.fresh_until() });
    }

    /// Makes the item one of all, or, if there is none any more, takes it out.
    fn patch_all(&self, place: &Place, item: Option<&Item>) {
        let live = item.filter(|item| !item.is_deleted());
        let is_as_before = |all: &All| all.live.get(&place.key) == live;
        if self.all.read().get(&place.kind).is_none_or(is_as_before) {
            return;
        }
        if let Some(all) = self.all.write().get_mut(&place.kind) {
            // Copies the map only while somebody else still holds it.
            all.live.patch(&place.key, live);
        }
    }

    /// What an init has put in place of everything else, except for `unknown`, which has to be looked up.
    pub(super) fn put_init(&self, all_data: &AllData, unknown: &[(Kind, String)], before: Before) {
        let (levels, kinds) = (all_data.dependency_levels(), snapshot_of(all_data, unknown));
        let mut changes = self.changes.lock();
        if changes.invalidations == before.invalidations {
            self.replace(&mut changes, &levels, &kinds, unknown);
        } else {
            // Somebody may have changed it after this init, and before it was forgotten.
            kinds.keys().for_each(|kind| self.forget_kind(&mut changes, kind));
        }
        self.missing.invalidate_all();
        changes.kept.put_init(kinds, true);
    }

    /// An init that the database has not taken. A lasting cache takes it.
    pub(super) fn put_unwritten_init(&self, all_data: &AllData) {
        let (levels, kinds) = (all_data.dependency_levels(), snapshot_of(all_data, &[]));
        let mut changes = self.changes.lock();
        if self.is_lasting() {
            self.replace(&mut changes, &levels, &kinds, &[]);
            self.missing.invalidate_all();
        }
        changes.kept.put_init(kinds, false);
    }

    /// Puts the items of these kinds in place of all others, level by level: an init of the database may be
    /// atomic, this is one item after another, and whoever sees a flag has to see what it refers to.
    fn replace(
        &self,
        changes: &mut Changes,
        levels: &[Vec<(&Kind, &str, &Item)>],
        kinds: &Snapshot,
        unknown: &[(Kind, String)],
    ) {
        if changes.is_disabled {
            return;
        }
        changes.discard_flights(|kind, _| kinds.contains_key(kind));
        let fresh_until = self.fresh_until();
        for (kind, key, _) in levels.iter().flatten() {
            if let Some((key, item)) = kinds[*kind].get_key_value(*key) {
                let place = Place { kind: (*kind).clone(), key: Arc::clone(key) };
                self.entries.insert(place, Entry { item: item.clone(), fresh_until });
            }
        }
        // After the new ones are there, so that readers of what stays find it all the time.
        self.entries
            .retain(|place| kinds.get(&place.kind).is_none_or(|items| items.contains_key(&place.key)));
        let mut all = self.all.write();
        for (kind, items) in kinds {
            if unknown.iter().any(|(unknown, _)| unknown == kind) {
                all.remove(kind);
            } else {
                all.insert(kind.clone(), All { live: live(items), fresh_until });
            }
        }
    }

    /// Forgets one place.
    pub(super) fn invalidate(&self, kind: &Kind, key: &str) {
        let mut changes = self.changes.lock();
        changes.invalidations += 1;
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
        changes.invalidations += 1;
        self.forget_kind(&mut changes, kind);
    }

    fn forget_kind(&self, changes: &mut Changes, kind: &Kind) {
        changes.discard_flights(|place_kind, _| place_kind == kind);
        self.entries.retain(|place| place.kind != *kind);
        self.missing.invalidate_all();
        self.all.write().remove(kind);
    }

    /// Forgets everything.
    pub(super) fn invalidate_all(&self) {
        let mut changes = self.changes.lock();
        changes.invalidations += 1;
        self.clear(&mut changes);
    }

    /// Forgets everything, for good.
    pub(super) fn disable(&self) {
        let mut changes = self.changes.lock();
        changes.is_disabled = true;
        changes.kept = Kept::default();
        self.clear(&mut changes);
    }

    fn clear(&self, changes: &mut Changes) {
        changes.discard_flights(|_, _| true);
        self.entries.retain(|_| false);
        self.missing.invalidate_all();
        self.all.write().clear();
    }

    /// Everything that was ever initialized here, as it is now, with the mark to [catch up](Self::catch_up) to.
    /// `None` if that is nothing, or not kept.
    pub(super) fn snapshot(&self) -> (Option<Snapshot>, Mark) {
        let changes = self.changes.lock();
        (changes.kept.snapshot().cloned(), changes.kept.mark())
    }

    pub(super) fn has_snapshot(&self) -> bool {
        self.changes.lock().kept.snapshot().is_some()
    }

    /// The kinds of which the database has not taken the last init.
    pub(super) fn uninitialized(&self) -> HashSet<Kind> {
        self.changes.lock().kept.uninitialized().clone()
    }

    /// The database has everything that was known at the mark. False if it has failed to take more since.
    pub(super) fn catch_up(&self, mark: Mark) -> bool {
        self.changes.lock().kept.catch_up(mark)
    }

    pub(super) fn statistics(&self) -> CacheStatistics {
        self.missing.run_pending_tasks();
        self.counters.statistics(self.entries.len(), self.missing.entry_count())
    }

    fn version(&self, place: &Place) -> Option<u64> {
        self.entries.read(&place.as_ref(), |entry| entry.item.version())
    }

    /// Whether entries never expire. Then they go on where the database has not taken a write.
    fn is_lasting(&self) -> bool {
        self.time_to_live.is_none()
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

fn live(items: &ByKey) -> LiveItems {
    items.iter().map(|(key, item)| (Arc::clone(key), item.clone())).collect()
}
