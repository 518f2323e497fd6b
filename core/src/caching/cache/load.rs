//! What the database is asked for, and how its answers come into the cache.

use std::collections::HashMap;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::{All, Cache, Changes, Found, live};
use crate::caching::entries::Place;
use crate::caching::flight::{Boarding, Flights};
use crate::caching::kept::ByKey;
use crate::caching::{newer, put_newer};
use crate::{ErrorKind, Item, Items, Kind, LiveItems, StoreError};

impl Cache {
    /// Asks the database for one item, or waits for somebody who does. A tombstone is `None`.
    pub(in crate::caching) fn load(
        &self,
        kind: &Kind,
        key: &str,
        ask: impl FnOnce() -> Result<Option<Item>, StoreError>,
    ) -> Result<Option<Item>, StoreError> {
        self.fly(
            |changes| &mut changes.one,
            Place::new(kind, key),
            || self.peek(kind, key, Item::clone),
            ask,
            |changes, place, loaded, written, counts| {
                let newest = newer(loaded, written);
                let newest = if counts { self.put_loaded(changes, place, newest) } else { newest };
                newest.filter(|item| !item.is_deleted())
            },
        )
    }

    /// Asks the database for all items of a kind, or waits for somebody who does.
    pub(in crate::caching) fn load_all(
        &self,
        kind: &Kind,
        ask: impl FnOnce() -> Result<Items, StoreError>,
    ) -> Result<LiveItems, StoreError> {
        self.fly(
            |changes| &mut changes.all,
            kind.clone(),
            || self.peek_all(kind),
            || ask().map(|items| shared_keys(items.by_key)),
            |changes, kind, mut loaded, written, counts| {
                written.into_iter().for_each(|(key, item)| put_newer(&mut loaded, key, item));
                if counts { self.put_all_loaded(changes, &kind, loaded) } else { live(&loaded) }
            },
        )
    }

    /// Reads the database, and hands everybody who waits what `arrive` makes of the answer, of what was written
    /// meanwhile, and of whether the answer still counts.
    fn fly<K: Hash + Eq + Clone, L, T: Clone, W: Default>(
        &self,
        flights: impl Fn(&mut Changes) -> &mut Flights<K, T, W>,
        to: K,
        peek: impl FnOnce() -> Found<T>,
        ask: impl FnOnce() -> Result<L, StoreError>,
        arrive: impl FnOnce(&mut Changes, K, L, W, bool) -> T,
    ) -> Result<T, StoreError> {
        let mut changes = self.changes.lock();
        // Somebody may have brought it since the caller looked.
        if let Found::Fresh(known) = peek() {
            return Ok(known);
        }
        let boarding = flights(&mut changes).board(to.clone());
        drop(changes);
        let flight = match boarding {
            Boarding::Lead(flight) => flight,
            Boarding::Wait(flight) => return flight.wait(),
        };

        let began = Instant::now();
        // A store that panics must not leave the others waiting.
        let asked = catch_unwind(AssertUnwindSafe(ask));
        self.counters.load(began, matches!(asked, Ok(Ok(_))));

        let mut changes = self.changes.lock();
        let counts = flights(&mut changes).end(&to, &flight);
        match asked {
            Ok(answer) => {
                let answer = answer.map(|loaded| arrive(&mut changes, to, loaded, flight.written(), counts));
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
        let item = if self.is_lasting() { changes.kept.instead_of(&place, item) } else { item };
        let Some(item) = item else {
            self.patch_all(&place, None);
            self.missing.insert(place.clone(), self.fresh_until());
            self.entries.remove(&place.as_ref());
            return None;
        };
        changes.kept.learn(&place, &item);
        changes.all.note(&place.kind, |written| put_newer(written, Arc::clone(&place.key), item.clone()));
        self.patch_all(&place, Some(&item));
        self.insert(place, item.clone());
        Some(item)
    }

    /// What the database says of a kind, with what was written since it was asked.
    fn put_all_loaded(&self, changes: &mut Changes, kind: &Kind, mut items: ByKey) -> LiveItems {
        if changes.is_disabled {
            return live(&items);
        }
        if self.is_lasting() {
            // What never expires may be newer than the database, where a write has failed.
            self.entries.for_each(kind, |key, known| put_newer(&mut items, Arc::clone(key), known.clone()));
            changes.kept.correct(kind, &mut items);
        }
        let live = live(&items);
        let fresh_until = self.fresh_until();
        for (key, item) in items {
            let place = Place { kind: kind.clone(), key };
            changes.kept.learn(&place, &item);
            changes.one.note(&place, |written| *written = newer(written.take(), Some(item.clone())));
            self.insert(place, item);
        }
        self.all.write().insert(kind.clone(), All { live: live.clone(), fresh_until });
        live
    }
}

fn shared_keys(items: HashMap<String, Item>) -> ByKey {
    items.into_iter().map(|(key, item)| (key.into(), item)).collect()
}
