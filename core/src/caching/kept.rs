use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::entries::Place;
use super::{newer, put_newer};
use crate::{AllData, Item, Kind};

pub(super) type ByKey = HashMap<Arc<str>, Item>;

/// Everything of these kinds, tombstones included: enough to fill an empty database.
pub(super) type Snapshot = HashMap<Kind, ByKey>;

/// The data of the inits that came through here, with all that was written or seen since, for whoever may want
/// to write it back; and what of it the database has not taken.
#[derive(Default)]
pub(super) struct Kept {
    is_keeping: bool,
    /// From the first init on.
    snapshot: Option<Snapshot>,
    /// Kinds of which the database still has what it had before the last init.
    uninitialized: HashSet<Kind>,
    /// How many writes the database has not taken, and how many of these it has caught up with.
    failed: u64,
    caught_up: u64,
}

/// How far a write-back gets: to the writes that had failed when it began.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u64);

impl Kept {
    pub(super) fn new(is_keeping: bool) -> Self {
        Self { is_keeping, ..Self::default() }
    }

    pub(super) fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// Kinds of which the database has not taken the init.
    pub(super) fn uninitialized(&self) -> &HashSet<Kind> {
        &self.uninitialized
    }

    /// An item that was written.
    pub(super) fn put(&mut self, place: &Place, item: &Item) {
        if let Some(snapshot) = &mut self.snapshot {
            let items = snapshot.entry(place.kind.clone()).or_default();
            put_newer(items, Arc::clone(&place.key), item.clone());
        }
    }

    /// An item that the database has not taken. By version, as the database would have done it.
    pub(super) fn put_unwritten(&mut self, place: &Place, item: &Item) {
        self.failed += 1;
        let known = self.snapshot.as_ref().and_then(|all| all.get(&place.kind)?.get(&place.key));
        if known.is_none_or(|known| known.version() < item.version()) {
            self.put(place, item);
        }
    }

    /// An init of these kinds, which the database may have taken or not. Without any it is an init too.
    pub(super) fn put_init(&mut self, kinds: Snapshot, is_written: bool) {
        self.failed += u64::from(!is_written);
        if !self.is_keeping {
            return;
        }
        let snapshot = self.snapshot.get_or_insert_default();
        for (kind, items) in kinds {
            if is_written {
                self.uninitialized.remove(&kind);
            } else {
                self.uninitialized.insert(kind.clone());
            }
            snapshot.insert(kind, items);
        }
    }

    /// An item that was read. What others have written belongs to what is known, and what an init has removed
    /// does not, although the database may still have it.
    pub(super) fn learn(&mut self, place: &Place, item: &Item) {
        let items = self.snapshot.as_ref().and_then(|snapshot| snapshot.get(&place.kind));
        let is_removed =
            |items: &ByKey| self.uninitialized.contains(&place.kind) && !items.contains_key(&place.key);
        if items.is_some_and(|items| !is_removed(items)) {
            self.put(place, item);
        }
    }

    /// What counts in place of what was read, while the database has not taken everything.
    pub(super) fn instead_of(&self, place: &Place, loaded: Option<Item>) -> Option<Item> {
        let Some(items) = self.unwritten(&place.kind) else { return loaded };
        match items.get(&place.key) {
            Some(known) => newer(loaded, Some(known.clone())),
            None if self.uninitialized.contains(&place.kind) => None,
            None => loaded,
        }
    }

    /// The same for all items of a kind.
    pub(super) fn correct(&self, kind: &Kind, loaded: &mut ByKey) {
        let Some(items) = self.unwritten(kind) else { return };
        if self.uninitialized.contains(kind) {
            loaded.retain(|key, _| items.contains_key(key));
        }
        for (key, item) in items {
            put_newer(loaded, Arc::clone(key), item.clone());
        }
    }

    fn unwritten(&self, kind: &Kind) -> Option<&ByKey> {
        let snapshot = self.snapshot.as_ref().filter(|_| self.caught_up < self.failed);
        snapshot.and_then(|snapshot| snapshot.get(kind))
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.failed)
    }

    /// The database has taken everything up to the mark. False if more has failed since.
    pub(super) fn catch_up(&mut self, mark: Mark) -> bool {
        self.caught_up = mark.0;
        self.failed == mark.0
    }
}

/// The data of an init, except for what is `unknown`.
pub(super) fn snapshot_of(all_data: &AllData, unknown: &[(Kind, String)]) -> Snapshot {
    let known = |kind: &Kind, key: &str| !unknown.iter().any(|(k, u)| k == kind && u == key);
    let kinds = all_data.kinds().map(|(kind, items)| {
        let items = items.filter(|(key, _)| known(kind, key));
        (kind.clone(), items.map(|(key, item)| (key.into(), item.clone())).collect())
    });
    kinds.collect()
}
