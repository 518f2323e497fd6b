//! Reading what is not known, or no longer, from the database.

use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::flight::{Boarding, Flight, Flights};
use super::room::Place;
use super::statistics::Counters;
use super::table::{Look, Table};
use crate::known::Moment;
use crate::watched::WatchedStore;
use crate::{ErrorKind, FeatureStoreCore, Item, Kind, LiveItems, StoreError};

/// The reads of the database that are under way, and what they need.
pub(super) struct Loads {
    core: Arc<WatchedStore>,
    table: Arc<Table>,
    counters: Arc<Counters>,
    ones: Flights<Place, Option<Item>>,
    alls: Flights<Kind, LiveItems>,
}

impl Loads {
    pub(super) fn new(core: &Arc<WatchedStore>, table: &Arc<Table>, counters: &Arc<Counters>) -> Self {
        let (core, table, counters) = (Arc::clone(core), Arc::clone(table), Arc::clone(counters));
        Self { core, table, counters, ones: Flights::new(), alls: Flights::new() }
    }

    /// The answer of the database. Any number of threads that miss the same thing at once make one call.
    pub(super) fn load<S: Subject>(&self, subject: &S) -> Result<S::Answer, StoreError> {
        if !self.table.is_caching() {
            return subject.ask(self, self.table.moment());
        }
        match self.board(subject) {
            Boarding::Join(flight) => flight.wait(),
            Boarding::Lead(flight) => {
                self.fly(subject, &flight);
                flight.wait()
            }
        }
    }

    /// Joins whoever is reading it, or begins to.
    pub(super) fn board<S: Subject>(&self, subject: &S) -> Boarding<S::Answer> {
        let counts = |since| self.table.is_settled_since(subject.kind(), subject.key(), since);
        S::flights(self).board(subject, self.table.moment(), counts)
    }

    /// Asks the database, unless somebody has brought it since the caller looked.
    pub(super) fn fly<S: Subject>(&self, subject: &S, flight: &Arc<Flight<S::Answer>>) {
        let answer = match subject.look(&self.table) {
            Look::Fresh(known) => Ok(Ok(known)),
            Look::Stale(..) | Look::Unknown => {
                let began = Instant::now();
                let answer = catch_unwind(AssertUnwindSafe(|| subject.ask(self, flight.since)));
                self.counters.load(began, matches!(answer, Ok(Ok(_))));
                answer
            }
        };
        let land = |answer| S::flights(self).land(subject, flight, answer);
        match answer {
            Ok(answer) => land(answer),
            Err(panic) => {
                // It must not leave the others waiting.
                land(Err(StoreError::new(ErrorKind::Other, "cache", "load", "the store panicked")));
                resume_unwind(panic)
            }
        }
    }
}

/// What can be read: an item, or all items of a kind.
pub(super) trait Subject: Hash + Eq + Clone {
    type Answer: Clone;

    fn kind(&self) -> &Kind;

    /// `None` where it is about all items.
    fn key(&self) -> Option<&str>;

    fn flights(loads: &Loads) -> &Flights<Self, Self::Answer>;

    fn look(&self, table: &Table) -> Look<Self::Answer>;

    /// Asks the database, and has the answer merged into the table.
    fn ask(&self, loads: &Loads, since: Moment) -> Result<Self::Answer, StoreError>;
}

impl Subject for Place {
    type Answer = Option<Item>;

    fn kind(&self) -> &Kind {
        &self.kind
    }

    fn key(&self) -> Option<&str> {
        Some(&self.key)
    }

    fn flights(loads: &Loads) -> &Flights<Self, Option<Item>> {
        &loads.ones
    }

    fn look(&self, table: &Table) -> Look<Option<Item>> {
        table.look(&self.kind, &self.key, |_, item| item.clone())
    }

    fn ask(&self, loads: &Loads, since: Moment) -> Result<Option<Item>, StoreError> {
        let item = loads.core.get(&self.kind, &self.key)?;
        Ok(loads.table.read(&self.kind, &self.key, item, since))
    }
}

impl Subject for Kind {
    type Answer = LiveItems;

    fn kind(&self) -> &Kind {
        self
    }

    fn key(&self) -> Option<&str> {
        None
    }

    fn flights(loads: &Loads) -> &Flights<Self, LiveItems> {
        &loads.alls
    }

    fn look(&self, table: &Table) -> Look<LiveItems> {
        table.look_at_all(self)
    }

    fn ask(&self, loads: &Loads, since: Moment) -> Result<LiveItems, StoreError> {
        let items = loads.core.get_all(self)?;
        items.unreadable.iter().for_each(|error| tracing::warn!("left out: {error}"));
        Ok(loads.table.read_all(self, items, since))
    }
}
