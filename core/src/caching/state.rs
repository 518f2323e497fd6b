//! One state of what is known: the items of each kind, what is pending, and what is under way.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::known::{Learnt, Moment};
use crate::{AllData, Item, Kind, LiveItems};

/// All that is known at a moment. The table never changes it, and makes the next one.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) moment: Moment,
    pub(super) kinds: Vec<(Kind, KindState)>,
    pub(super) is_initialized: bool,
    pub(super) not_initialized_until: Option<Instant>,
    /// When everything was put in doubt the last time. A kind that appears later begins with it.
    pub(super) all_aged_at: Moment,
    /// An init that the database has not taken, whatever it brought.
    pub(super) pending_init_at: Option<Moment>,
    /// Whether an init went through here, so that everything is known where everything is kept.
    pub(super) had_init: bool,
    /// How many inits are under way. What comes in meanwhile may have come before them or after them.
    pub(super) inits: usize,
    /// When a recovery writes. An init that is acknowledged meanwhile may be undone by it.
    pub(super) recovery: Span,
    /// When a recovery writes an init, which may overwrite whatever is acknowledged meanwhile.
    pub(super) restoring: Span,
}

/// A time in which something is done that nobody waits for.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    pub(super) is_under_way: bool,
    pub(super) ended_at: Moment,
}

impl Span {
    /// Whether it has anything in common with the time since then.
    pub(super) fn overlaps(self, since: Moment) -> bool {
        self.is_under_way || self.ended_at > since
    }
}

/// All that is known of a kind.
#[derive(Clone, Default)]
pub(super) struct KindState {
    pub(super) items: LiveItems,
    /// Since when all items of the kind are known.
    pub(super) all: Option<Learnt>,
    /// What was learnt until then has to be asked for again.
    pub(super) aged_at: Moment,
    /// What set out before that may have been overtaken by something that nobody here knows.
    pub(super) doubted_at: Moment,
    /// When the database was last known to have what readers were shown before it had it.
    pub(super) settled_at: Moment,
    /// When an init replaced everything. What was read before that is of no use any more.
    pub(super) replaced_at: Moment,
    /// When anything of it changed.
    pub(super) changed_at: Moment,
    pub(super) pending_init: Option<PendingInit>,
    /// Whether an init of it went through here.
    pub(super) had_init: bool,
    pub(super) is_all_asked_for: Arc<AtomicBool>,
}

/// An init of a kind that the database has not taken.
#[derive(Clone)]
pub(super) struct PendingInit {
    pub(super) at: Moment,
    pub(super) items: Arc<[(Arc<str>, Item)]>,
    /// The keys that it removes, as far as they were known.
    pub(super) removes: Arc<[Arc<str>]>,
    /// Whether the database had taken it, and a recovery may have put something else in its place.
    pub(super) is_overwritten: bool,
}

impl PendingInit {
    pub(super) fn of(all_data: &AllData, kind: &Kind, at: Moment) -> Self {
        let items = all_data.shared_items(kind).map(|(key, item)| (Arc::clone(key), item.clone()));
        Self { at, items: items.collect(), removes: Arc::default(), is_overwritten: false }
    }
}

/// Items with their keys, each once.
pub(super) type ByKey = Vec<(Arc<str>, Item)>;

/// Everything that the database has not taken.
#[derive(Default)]
pub(super) struct Pending {
    /// Whether there is an init among it, of no kind at all perhaps.
    pub(super) has_init: bool,
    pub(super) inits: Vec<(Kind, PendingInit)>,
    pub(super) items: Vec<(Kind, Arc<str>, Item)>,
}

impl State {
    pub(super) fn kind(&self, kind: &Kind) -> Option<&KindState> {
        // There are two of them, or a few more.
        self.kinds.iter().find(|(of, _)| of == kind).map(|(_, of_kind)| of_kind)
    }

    pub(super) fn kind_mut(&mut self, kind: &Kind) -> &mut KindState {
        let index = self.kinds.iter().position(|(of, _)| of == kind).unwrap_or_else(|| {
            let at = self.all_aged_at;
            self.kinds
                .push((kind.clone(), KindState { aged_at: at, doubted_at: at, ..KindState::default() }));
            self.kinds.len() - 1
        });
        let of_kind = &mut self.kinds[index].1;
        of_kind.changed_at = self.moment;
        of_kind
    }

    /// Whether an init was under way at the same time as a call that set out at that moment. Nobody knows which of the
    /// two was first, and the higher version need not be the newer one.
    pub(super) fn overlaps_init(&self, kind: &Kind, since: Moment) -> bool {
        self.inits > 0
            || self.restoring.overlaps(since)
            || self.kind(kind).is_some_and(|of_kind| of_kind.replaced_at > since)
    }

    /// The database has an init that set out at that moment.
    pub(super) fn has_init(&mut self, since: Moment, is_caching: bool) {
        (self.is_initialized, self.had_init) = (true, is_caching);
        self.pending_init_at.take_if(|at| *at <= since);
    }

    /// What the database has not taken.
    pub(super) fn pending(&self) -> Pending {
        let mut pending = Pending { has_init: self.pending_init_at.is_some(), ..Pending::default() };
        for (kind, of_kind) in &self.kinds {
            pending.inits.extend(of_kind.pending_init.clone().map(|init| (kind.clone(), init)));
            let items = of_kind.pending_items();
            pending.items.extend(items.map(|(key, item)| (kind.clone(), Arc::clone(key), item.clone())));
        }
        pending
    }

    /// Everything of the kinds that were initialized here, if all of it is known.
    pub(super) fn everything(&self) -> Option<Vec<(Kind, ByKey)>> {
        let kinds = self.kinds.iter().filter(|(_, of_kind)| of_kind.had_init);
        let kinds = kinds.map(|(kind, of_kind)| {
            let items =
                of_kind.items.all_known().map(|(key, known)| Some((Arc::clone(key), known.newest()?)));
            Some((kind.clone(), items.collect::<Option<_>>()?))
        });
        kinds.collect::<Option<_>>().filter(|_| self.had_init)
    }

    pub(super) fn now(&self) -> Learnt {
        Learnt { is_aged: self.inits > 0 || self.restoring.is_under_way, ..Learnt::at(self.moment) }
    }
}

impl KindState {
    pub(super) fn pending_items(&self) -> impl Iterator<Item = (&Arc<str>, &Item)> {
        self.items.all_known().filter_map(|(key, known)| Some((key, known.pending()?)))
    }

    /// All items are known, unless one of them had to make room meanwhile.
    pub(super) fn knows_all(&mut self, learnt: Learnt) {
        let is_complete = !self.items.all_known().any(|(_, known)| known.is_evicted());
        self.all = is_complete.then_some(learnt);
        self.is_all_asked_for = Arc::default();
    }

    /// The same item, with what was decoded of it if it is known already.
    pub(super) fn as_known(&self, key: &str, item: Item) -> Item {
        let known = self.items.known(key).and_then(|known| known.item());
        known.filter(|known| **known == item).cloned().unwrap_or(item)
    }

    /// When an init became pending; 0 if none is.
    pub(super) fn init_at(&self) -> Moment {
        self.pending_init.as_ref().map_or(0, |init| init.at)
    }

    pub(super) fn age(&mut self, at: Moment) {
        (self.aged_at, self.doubted_at) = (at, at);
    }

    /// What is known of this key, alone or among all, has to be asked for again.
    pub(super) fn doubt(&mut self, key: &str, now: Learnt) {
        self.doubted_at = now.at;
        self.all = self.all.map(Learnt::aged);
        if let Some(known) = self.items.known(key).map(|known| known.aged()) {
            self.items.put_at(key, known);
        }
    }
}
