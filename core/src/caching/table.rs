//! What is known of the database.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use moka::sync::Cache as Bounded;
use parking_lot::Mutex;

use super::room::{Place, PlaceRef, Room, missing};
use super::state::{ByKey, KindState, Pending, PendingInit, Span, State};
use super::statistics::Counters;
use crate::known::{Circumstances, Known, Learnt, Moment, News, merge};
use crate::{AllData, ErrorKind, Item, Items, Kind, LiveItems, StoreError, Upsert};

/// What is known of the database: the state now, and how news makes the next one.
pub(super) struct Table {
    state: ArcSwap<State>,
    /// Held while a change is made, and never while the database is asked or anything is dropped.
    changing: Mutex<()>,
    rules: Rules,
    is_caching: AtomicBool,
    /// Keys under which nothing is. Anybody can ask for any number of them, so they are limited.
    missing: Bounded<Place, Learnt>,
    /// Which values have to make room, where there is a limit.
    room: Option<Room>,
}

/// What the builder's settings mean for the table.
pub(super) struct Rules {
    pub(super) time_to_live: Option<Duration>,
    /// Whether readers go on with what the database has not taken.
    pub(super) is_lasting: bool,
    /// Whether everything is kept that an empty database needs to be filled.
    pub(super) keeps_everything: bool,
    pub(super) capacity: Option<u64>,
    pub(super) missing_capacity: u64,
}

/// What is known of something.
pub(super) enum Look<T> {
    Fresh(T),
    /// Known for this long, and so to be asked for again.
    Stale(T, Duration),
    Unknown,
}

impl Table {
    pub(super) fn new(rules: Rules, is_caching: bool, counters: &Arc<Counters>) -> Self {
        Self {
            state: ArcSwap::default(),
            changing: Mutex::default(),
            missing: missing(rules.missing_capacity, counters),
            room: rules.capacity.map(|capacity| Room::new(capacity, counters)),
            is_caching: AtomicBool::new(is_caching),
            rules,
        }
    }

    /// What `read` makes of the live item of that key; `Fresh(None)` if it is known that there is none.
    pub(super) fn look<T>(
        &self,
        kind: &Kind,
        key: &str,
        mut read: impl FnMut(&Known, &Item) -> T,
    ) -> Look<Option<T>> {
        if !self.is_caching() {
            return Look::Unknown;
        }
        let state = self.state.load();
        let of_kind = state.kind(kind);
        let place = PlaceRef { kind, key };
        if let Some(of_kind) = of_kind
            && let Some(known) = of_kind.items.known(key)
        {
            if let Some(item) = known.item() {
                if let Some(room) = &self.room {
                    room.touch(&place);
                }
                let value = (!item.is_deleted()).then(|| read(known, item));
                return match known.learnt().is_stale(of_kind.aged_at, self.rules.time_to_live) {
                    None => Look::Fresh(value),
                    Some(age) => Look::Stale(value, age),
                };
            }
            if known.is_evicted() {
                return Look::Unknown;
            }
        }
        let doubted_at = of_kind.map_or(state.all_aged_at, |of_kind| of_kind.doubted_at);
        match self.missing.get(&place) {
            Some(learnt) => match learnt.is_stale(doubted_at, self.rules.time_to_live) {
                None => Look::Fresh(None),
                Some(age) => Look::Stale(None, age),
            },
            None => Look::Unknown,
        }
    }

    /// All live items of a kind, if they are known.
    pub(super) fn look_at_all(&self, kind: &Kind) -> Look<LiveItems> {
        if !self.is_caching() {
            return Look::Unknown;
        }
        let state = self.state.load();
        let Some(of_kind) = state.kind(kind) else { return Look::Unknown };
        let Some(all) = &of_kind.all else { return Look::Unknown };
        match all.is_stale(of_kind.aged_at, self.rules.time_to_live) {
            None => Look::Fresh(of_kind.items.clone()),
            Some(age) => Look::Stale(of_kind.items.clone(), age),
        }
    }

    /// The moment now, to be asked for before the database is, and handed to what takes the answer.
    pub(super) fn moment(&self) -> Moment {
        self.state.load().moment
    }

    /// Whether an answer for which the database was asked at that moment counts for whoever asks for this key, or for
    /// all, now. Not if something was learnt of it since.
    pub(super) fn is_settled_since(&self, kind: &Kind, key: Option<&str>, since: Moment) -> bool {
        let state = self.state.load();
        let Some(of_kind) = state.kind(kind) else { return state.all_aged_at <= since };
        let changed_at = match key {
            Some(key) => of_kind.items.known(key).map_or(0, |known| known.learnt().at),
            None => of_kind.changed_at,
        };
        self.is_caching() && of_kind.doubted_at <= since && changed_at <= since
    }

    /// An init sets out. Each ends with [`init_ended`](Self::init_ended), or with [`refused`](Self::refused).
    pub(super) fn begin_init(&self) -> Moment {
        self.change(|state| {
            state.inits += 1;
            state.moment
        })
    }

    /// An init has changed nothing.
    pub(super) fn refused(&self) {
        self.change(|state| state.inits -= 1);
    }

    /// The database has this under the key, or nothing. The answer for whoever has asked: that, or what readers are
    /// shown although the database has not taken it.
    pub(super) fn read(&self, kind: &Kind, key: &str, item: Option<Item>, since: Moment) -> Option<Item> {
        if !self.is_caching() {
            return item;
        }
        if item.is_none() && self.is_unknown(kind, key, since) {
            // Counts as learnt just after the database was asked.
            self.missing.insert(Place::new(kind, key), Learnt::at(since + 1));
            return None;
        }
        let answer = self.change(|state| {
            let (now, overlaps_init) = (state.now(), state.overlaps_init(kind, since));
            let of_kind = state.kind_mut(kind);
            let item = item.map(|item| of_kind.as_known(key, item));
            let is_unwritten = self.shows_what_is_unwritten(of_kind, key, since);
            if overlaps_init {
                // Newer than what is known, perhaps, and older than what comes next.
                of_kind.doubt(key, now);
            } else {
                self.merge(of_kind, key, News::Read(item.clone()), since, now);
            }
            self.answer(of_kind, key, item, is_unwritten)
        });
        self.make_room_for(kind, key);
        answer
    }

    /// Whether nothing is known of the key, and no init has put in doubt what was read since then.
    fn is_unknown(&self, kind: &Kind, key: &str, since: Moment) -> bool {
        let state = self.state.load();
        let is_known = state.kind(kind).is_some_and(|of_kind| of_kind.items.known(key).is_some());
        !is_known && !state.overlaps_init(kind, since)
    }

    /// The database has these, and no others. The answer as for [`read`](Self::read).
    pub(super) fn read_all(&self, kind: &Kind, items: Items, since: Moment) -> LiveItems {
        if !self.is_caching() {
            return items.by_key.into_iter().collect();
        }
        let all = self.change(|state| {
            let (now, overlaps_init) = (state.now(), state.overlaps_init(kind, since));
            let of_kind = state.kind_mut(kind);
            let mut differ = Vec::new();
            let mut take = |of_kind: &mut KindState, key: &str, item: Option<Item>| {
                let item = item.map(|item| of_kind.as_known(key, item));
                let is_unwritten = self.shows_what_is_unwritten(of_kind, key, since);
                if !overlaps_init {
                    self.merge(of_kind, key, News::Read(item.clone()), since, now);
                }
                let answer = self.answer(of_kind, key, item, is_unwritten);
                if of_kind.items.known(key).and_then(|known| known.item()) != answer.as_ref() {
                    differ.push((key.to_owned(), answer));
                }
            };
            let mut read = items.by_key;
            for (key, _) in of_kind.items.clone().all_known() {
                take(of_kind, key, read.remove(&**key));
            }
            for (key, item) in read {
                take(of_kind, &key, Some(item));
            }
            if overlaps_init {
                // Each may be newer than what is known of it, and older than what comes next.
                of_kind.age(now.at);
            } else {
                of_kind.knows_all(Learnt { is_aged: now.is_aged || of_kind.doubted_at > since, ..now });
            }
            let mut all = of_kind.items.clone();
            for (key, answer) in differ {
                match answer {
                    Some(item) => all.put_at(&key, Arc::new(Known::from(item))),
                    None => all.remove(&key),
                }
            }
            all
        });
        self.make_room_for_all(kind);
        all
    }

    /// An update has ended like this. False if something of it is left for a recovery that has to look for it.
    pub(super) fn upsert_ended(
        &self,
        kind: &Kind,
        key: &str,
        item: &Item,
        result: &Result<Upsert, StoreError>,
        since: Moment,
    ) -> bool {
        match result {
            Ok(Upsert::Applied) => self.written(kind, key, item, true, since),
            Ok(Upsert::Stale(current)) => self.written(kind, key, current, false, since),
            Err(error) if error.is_away() => {
                self.unwritten(kind, key, item, since);
                false
            }
            Err(_) => true,
        }
    }

    /// The database has this item: it took the update, or has refused it for this. False if a recovery that ended
    /// meanwhile may have put something older in its place, so that it is pending.
    fn written(&self, kind: &Kind, key: &str, item: &Item, is_applied: bool, since: Moment) -> bool {
        let restoring = self.change(|state| {
            let (now, restoring) = (state.now(), state.restoring);
            let before = state.kind(kind).and_then(|of_kind| of_kind.items.known(key)).cloned();
            let of_kind = self.has_written(state, kind, key, item, since);
            // An init from before it that is to be written, or was written meanwhile, takes it away again.
            let follows_init = of_kind.pending_init.as_ref().is_some_and(|init| init.at <= since);
            let known = of_kind.items.known(key);
            let is_lost = if is_applied {
                follows_init || restoring.overlaps(since)
            } else {
                follows_init && known.is_some_and(|known| known.is_of(item))
            };
            if is_lost {
                let known = match before {
                    Some(before) if before.pending() == Some(item) => before.pending_over(known, now),
                    _ => Known::to_be_written(known, item, of_kind.init_at(), now),
                };
                of_kind.items.put_at(key, known);
            }
            restoring
        });
        self.make_room_for(kind, key);
        restoring.is_under_way || !restoring.overlaps(since)
    }

    /// The same of a recovery's own update, which no init has to bring back.
    pub(super) fn written_back(&self, kind: &Kind, key: &str, item: &Item, since: Moment) {
        self.change(|state| _ = self.has_written(state, kind, key, item, since));
        self.make_room_for(kind, key);
    }

    fn has_written<'a>(
        &self,
        state: &'a mut State,
        kind: &Kind,
        key: &str,
        item: &Item,
        since: Moment,
    ) -> &'a mut KindState {
        let (now, overlaps_init) = (state.now(), state.overlaps_init(kind, since));
        let of_kind = state.kind_mut(kind);
        let now = Learnt { is_aged: now.is_aged || overlaps_init, ..now };
        let item = of_kind.as_known(key, item.clone());
        self.merge(of_kind, key, News::Written(item), since, now);
        if overlaps_init {
            of_kind.doubt(key, now);
        }
        of_kind
    }

    /// The database may not have this item, and has to be given it once it is back.
    fn unwritten(&self, kind: &Kind, key: &str, item: &Item, since: Moment) {
        self.change(|state| {
            let (now, overlaps_init) = (state.now(), state.overlaps_init(kind, since));
            let of_kind = state.kind_mut(kind);
            self.merge(of_kind, key, News::Unwritten(item.clone()), now.at, now);
            if overlaps_init {
                // It may have come after an init that has removed what is newer.
                of_kind.doubt(key, now);
            }
        });
        self.make_room_for(kind, key);
    }

    /// An init has ended like this. False as for [`upsert_ended`](Self::upsert_ended).
    pub(super) fn init_ended(
        &self,
        all_data: &AllData,
        result: &Result<(), StoreError>,
        since: Moment,
    ) -> bool {
        match result {
            Ok(()) => self.initialized(all_data, &[], since),
            // All others were stored.
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                self.initialized(all_data, error.items(), since)
            }
            Err(error) if error.is_away() => {
                self.uninitialized(all_data);
                false
            }
            Err(_) => {
                self.refused();
                true
            }
        }
    }

    /// The database has the data of an init, but for what was too large: of that it has what it had before. False as for
    /// [`written`](Self::written).
    fn initialized(&self, all_data: &AllData, too_large: &[(Kind, String)], since: Moment) -> bool {
        let is_safe = self.change(|state| {
            state.inits -= 1;
            let (now, recovery) = (state.now(), state.recovery);
            for (kind, _) in all_data.kinds() {
                let of_kind = state.kind_mut(kind);
                self.replace(of_kind, kind, all_data, too_large, since, now);
                if recovery.overlaps(since) {
                    let init = PendingInit::of(all_data, kind, now.at);
                    of_kind.pending_init = Some(PendingInit { is_overwritten: true, ..init });
                }
            }
            state.has_init(since, self.is_caching());
            if recovery.overlaps(since) {
                state.pending_init_at = Some(now.at);
            }
            recovery.is_under_way || !recovery.overlaps(since)
        });
        all_data.kinds().for_each(|(kind, _)| self.make_room_for_all(kind));
        is_safe
    }

    /// The database has the data that a recovery has written, but for what was too large.
    pub(super) fn restored(&self, all_data: &AllData, too_large: &[(Kind, String)], since: Moment) {
        self.change(|state| {
            // It is over for readers, who need not ask again for what it has brought.
            let now = Learnt { is_aged: state.inits > 0, ..state.now() };
            for (kind, _) in all_data.kinds() {
                let of_kind = state.kind_mut(kind);
                // The init that was pending has come after what was pending before it.
                let init = of_kind.pending_init.as_ref().filter(|init| init.at <= since);
                let init_at = init.map_or(0, |init| init.at);
                let is_pending = |(_, known): &(_, &Arc<Known>)| known.is_pending_since(init_at);
                let pending = of_kind.items.all_known().filter(is_pending);
                let pending: Vec<_> =
                    pending.map(|(key, known)| (Arc::clone(key), Arc::clone(known))).collect();
                self.replace(of_kind, kind, all_data, too_large, since, now);
                // What is pending and newer has to be written all the same.
                for (key, before) in pending {
                    let stored = of_kind.items.known(&key);
                    let certain = stored.filter(|stored| !stored.learnt().is_aged);
                    let is_newer = certain.and_then(|stored| stored.item()).map(Item::version)
                        < before.pending().map(Item::version);
                    if is_newer {
                        let known = before.pending_over(stored, now);
                        of_kind.items.put(key, known);
                    }
                }
            }
            state.has_init(since, self.is_caching());
        });
        all_data.kinds().for_each(|(kind, _)| self.make_room_for_all(kind));
    }

    /// The database may not have the data of an init, and has to be given it once it is back.
    fn uninitialized(&self, all_data: &AllData) {
        let is_shown = self.is_lasting();
        self.change(|state| {
            state.inits -= 1;
            let (now, since) = (state.now(), state.moment);
            for (kind, items) in all_data.kinds() {
                let of_kind = state.kind_mut(kind);
                let kept: HashSet<&str> = items.map(|(key, _)| key).collect();
                let known = of_kind.items.all_known().map(|(key, _)| key);
                let removes = known.filter(|key| !kept.contains(&***key)).cloned().collect();
                if is_shown {
                    self.replace(of_kind, kind, all_data, &[], since, now);
                }
                let init = PendingInit::of(all_data, kind, now.at);
                of_kind.pending_init = Some(PendingInit { removes, ..init });
            }
            state.pending_init_at = Some(now.at);
            state.is_initialized |= is_shown;
            state.had_init |= is_shown;
        });
        all_data.kinds().for_each(|(kind, _)| self.make_room_for_all(kind));
    }

    /// Puts the items of an init in place of all that is known of a kind. What came in since the init set out may
    /// have come before it or after it, so it stays, in doubt; and so does what the database had before in place of
    /// what was too large.
    fn replace(
        &self,
        of_kind: &mut KindState,
        kind: &Kind,
        all_data: &AllData,
        too_large: &[(Kind, String)],
        since: Moment,
        now: Learnt,
    ) {
        let before = std::mem::take(&mut of_kind.items);
        let is_too_large = |key: &str| too_large.iter().any(|(of, left)| of == kind && left == key);
        let mut is_doubted =
            now.is_aged || of_kind.doubted_at > since || too_large.iter().any(|(of, _)| of == kind);
        let learnt = Learnt { is_aged: now.is_aged || of_kind.doubted_at > since, ..now };
        let items = all_data.shared_items(kind);
        for (key, item) in items.filter(|(key, _)| self.is_caching() && !is_too_large(key)) {
            of_kind.items.put(Arc::clone(key), Known::initial(item.clone(), learnt));
        }
        let given = Circumstances::plain(since, learnt);
        for (key, known) in before.all_known() {
            if let Some(known) = known.part_since(since) {
                let initial = of_kind.items.known(key);
                let known = if known.is_overtaken(since) {
                    let initial = initial.and_then(|known| known.item()).cloned();
                    merge(Some(&known), News::Read(initial), &given).unwrap_or(known)
                } else {
                    known.pending_over(initial, learnt)
                };
                of_kind.items.put(Arc::clone(key), known.aged());
                is_doubted = true;
            } else if is_too_large(key) {
                of_kind.items.put(Arc::clone(key), known.aged());
            }
        }
        of_kind.knows_all(Learnt { is_aged: is_doubted, ..now });
        (of_kind.doubted_at, of_kind.replaced_at) = (now.at, now.at);
        of_kind.pending_init.take_if(|pending| pending.at <= since);
        of_kind.had_init = self.is_caching();
    }

    /// What is known of this key has to be asked for again.
    pub(super) fn age(&self, kind: &Kind, key: &str) {
        self.missing.invalidate(&PlaceRef { kind, key });
        self.change(|state| {
            let now = state.now();
            let of_kind = state.kind_mut(kind);
            of_kind.doubt(key, now);
        });
    }

    /// What is known of this kind has to be asked for again.
    pub(super) fn age_kind(&self, kind: &Kind) {
        self.change(|state| {
            let now = state.now();
            state.kind_mut(kind).age(now.at);
        });
    }

    /// Everything that is known has to be asked for again.
    pub(super) fn age_all(&self) {
        self.change(|state| {
            let now = state.now();
            state.all_aged_at = now.at;
            state.kinds.iter_mut().for_each(|(_, of_kind)| of_kind.age(now.at));
        });
    }

    pub(super) fn is_caching(&self) -> bool {
        self.is_caching.load(Ordering::Acquire)
    }

    /// Forgets everything but what is pending, and caches nothing from now on.
    pub(super) fn disable(&self) {
        self.is_caching.store(false, Ordering::Release);
        self.change(|state| {
            for (_, of_kind) in &mut state.kinds {
                let before = std::mem::take(&mut of_kind.items);
                for (key, known) in before.all_known() {
                    if let Some(known) = known.only_pending() {
                        of_kind.items.put(Arc::clone(key), known);
                    }
                }
                (of_kind.all, of_kind.had_init) = (None, false);
            }
            state.had_init = false;
        });
        self.missing.invalidate_all();
    }

    pub(super) fn is_initialized(&self) -> bool {
        self.state.load().is_initialized
    }

    pub(super) fn is_known_not_to_be_initialized(&self) -> bool {
        self.is_caching()
            && self.state.load().not_initialized_until.is_some_and(|until| Instant::now() < until)
    }

    /// Remembers a yes for good, and a no for a while.
    pub(super) fn set_initialized(&self, is_initialized: bool, no_for: Duration) {
        self.change(|state| {
            state.is_initialized = is_initialized;
            state.not_initialized_until = (!is_initialized).then(|| Instant::now() + no_for);
        });
    }

    /// What the database has not taken.
    pub(super) fn pending(&self) -> Pending {
        self.state.load().pending()
    }

    /// Everything of the kinds that were initialized here, enough to fill an empty database. `None` if a part of it
    /// is not known: a part must not pass for the whole.
    pub(super) fn everything(&self) -> Option<Vec<(Kind, ByKey)>> {
        self.state.load().everything().filter(|_| self.rules.keeps_everything)
    }

    /// Whether everything is kept, so that what is not pending is known to be in the database.
    pub(super) fn keeps_everything(&self) -> bool {
        self.everything().is_some()
    }

    /// From now on, until it is over, a recovery writes: an init that is acknowledged meanwhile is to be written again.
    pub(super) fn recovering(&self, is_under_way: bool) {
        self.change(|state| state.recovery = Span { is_under_way, ended_at: state.moment });
    }

    /// The same of a recovery that writes an init: all that is acknowledged meanwhile is to be written again.
    pub(super) fn restoring(&self, is_under_way: bool) {
        self.change(|state| state.restoring = Span { is_under_way, ended_at: state.moment });
    }

    /// The database shows this init, and so something else than what is known from before it.
    pub(super) fn init_is_there(&self, kind: &Kind, init: &PendingInit) {
        self.change(|state| {
            let now = state.now();
            let of_kind = state.kind_mut(kind);
            of_kind.pending_init.take_if(|pending| pending.at == init.at);
            of_kind.age(now.at);
        });
    }

    /// The database shows all inits, except for those that have become pending since.
    pub(super) fn inits_are_there(&self) {
        self.change(|state| {
            let is_left = state.kinds.iter().any(|(_, of_kind)| of_kind.pending_init.is_some());
            state.pending_init_at.take_if(|_| !is_left);
            state.is_initialized = true;
        });
    }

    /// The database refuses this item for what it is, so it is no longer pending. It may have it all the same: an
    /// earlier attempt to which it did not answer may have been taken.
    pub(super) fn give_up(&self, kind: &Kind, key: &str, item: &Item) {
        self.change(|state| {
            let now = state.now();
            let of_kind = state.kind_mut(kind);
            let Some(known) = of_kind.items.known(key).filter(|known| known.pending() == Some(item)) else {
                return;
            };
            match known.settled(now.at) {
                Some(known) => of_kind.items.put_at(key, known),
                None => of_kind.items.remove(key),
            }
            of_kind.doubt(key, now);
        });
    }

    /// Notes whether somebody was asked to read the key, or all keys, anew. True if that is new.
    pub(super) fn ask_for(&self, kind: &Kind, key: Option<&str>, is_asked: bool) -> bool {
        let state = self.state.load();
        let of_kind = state.kind(kind);
        let flag = of_kind.and_then(|of_kind| match key {
            Some(key) => of_kind.items.known(key).map(|known| known.is_asked_for()),
            None => Some(&*of_kind.is_all_asked_for),
        });
        // Looked at first, because writing would make the other threads wait for the memory.
        flag.is_none_or(|flag| {
            flag.load(Ordering::Relaxed) != is_asked && flag.swap(is_asked, Ordering::Relaxed) != is_asked
        })
    }

    /// How many items and tombstones are cached, and how many keys without an item.
    pub(super) fn counts(&self) -> (u64, u64) {
        self.missing.run_pending_tasks();
        self.make_room();
        let state = self.state.load();
        let known = state.kinds.iter().flat_map(|(_, of_kind)| of_kind.items.all_known());
        (known.filter(|(_, known)| known.item().is_some()).count() as u64, self.missing.entry_count())
    }

    fn merge(&self, of_kind: &mut KindState, key: &str, news: News, since: Moment, now: Learnt) {
        let given = self.circumstances(of_kind, since, now);
        let heard = match &news {
            News::Read(item) => Some(item.clone()),
            News::Written(item) => Some(Some(item.clone())),
            News::Unwritten(_) => None,
        };
        let known = merge(of_kind.items.known(key), news, &given);
        let is_pending = |known: Option<&Arc<Known>>| known.is_some_and(|known| known.pending().is_some());
        if is_pending(of_kind.items.known(key)) && !is_pending(known.as_ref()) {
            of_kind.settled_at = now.at;
        }
        match known.and_then(|known| if self.is_caching() { Some(known) } else { known.only_pending() }) {
            Some(known) => of_kind.items.put_at(key, known),
            None => of_kind.items.remove(key),
        }
        let known = of_kind.items.known(key);
        let is_aged = known.is_some_and(|known| known.learnt().is_aged);
        let differs = |heard: Option<Item>| known.and_then(|known| known.item()) != heard.as_ref();
        let is_contradicted = (is_aged || given.now.is_aged) && heard.is_some_and(differs);
        if is_aged {
            of_kind.all = of_kind.all.map(Learnt::aged);
        }
        if is_contradicted {
            // Whoever asks from now on must not be told by a read that set out before this was heard.
            of_kind.doubt(key, now);
        }
    }

    fn circumstances(&self, of_kind: &KindState, since: Moment, now: Learnt) -> Circumstances {
        // Now is in doubt where an init is under way, or was.
        let (is_lasting, may_be_undone) = (self.is_lasting(), now.is_aged || of_kind.pending_init.is_some());
        let is_behind = is_lasting && of_kind.pending_init.is_some();
        let now = Learnt { is_aged: now.is_aged || of_kind.doubted_at > since, ..now };
        let (init_at, aged_at) = (of_kind.init_at(), of_kind.aged_at);
        Circumstances { since, now, is_lasting, is_behind, may_be_undone, init_at, aged_at }
    }

    /// Whether readers go on with what the database has not taken.
    fn is_lasting(&self) -> bool {
        self.rules.is_lasting && self.is_caching()
    }

    /// What somebody is told who has read this under the key.
    fn answer(&self, of_kind: &KindState, key: &str, item: Option<Item>, is_unwritten: bool) -> Option<Item> {
        match of_kind.items.known(key) {
            Some(known) if is_unwritten => known.newest().or(item),
            // The init that the database lacks has removed it.
            None if self.is_behind(of_kind) => None,
            _ => item,
        }
    }

    /// Whether readers of this key are shown what the database has not taken, or had not at that moment.
    fn shows_what_is_unwritten(&self, of_kind: &KindState, key: &str, since: Moment) -> bool {
        let is_pending = || of_kind.items.known(key).is_some_and(|known| known.pending().is_some());
        self.is_behind(of_kind) || self.is_lasting() && (of_kind.settled_at > since || is_pending())
    }

    /// Whether readers are shown an init of this kind that the database has not taken.
    fn is_behind(&self, of_kind: &KindState) -> bool {
        self.is_lasting() && of_kind.pending_init.is_some()
    }

    /// Makes the next state. What is not needed any more is dropped after the lock: a decoded value is the user's.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changing = self.changing.lock();
        let mut next = State::clone(&self.state.load());
        next.moment += 1;
        let result = change(&mut next);
        let before = self.state.swap(Arc::new(next));
        drop(changing);
        drop(before);
        result
    }

    fn make_room_for(&self, kind: &Kind, key: &str) {
        let Some(room) = &self.room else { return };
        if self.state.load().kind(kind).is_some_and(|of_kind| of_kind.items.known(key).is_some()) {
            room.take(Place::new(kind, key));
        }
        self.make_room();
    }

    fn make_room_for_all(&self, kind: &Kind) {
        let Some(room) = &self.room else { return };
        let state = self.state.load();
        let known = state.kind(kind).into_iter().flat_map(|of_kind| of_kind.items.all_known());
        for (key, _) in known.filter(|(_, known)| known.item().is_some()) {
            room.take(Place { kind: kind.clone(), key: Arc::clone(key) });
        }
        drop(state);
        self.make_room();
    }

    /// Lets go of the values that have to make room.
    fn make_room(&self) {
        let evicted = self.room.as_ref().map(Room::evicted).unwrap_or_default();
        if evicted.is_empty() {
            return;
        }
        self.change(|state| {
            for place in evicted.iter().filter(|place| !self.holds(place)) {
                let of_kind = state.kind_mut(&place.kind);
                if let Some(known) = of_kind.items.known(&place.key).map(|known| known.evicted()) {
                    of_kind.items.put(Arc::clone(&place.key), known);
                    of_kind.all = None;
                }
            }
        });
    }

    fn holds(&self, place: &Place) -> bool {
        self.room.as_ref().is_none_or(|room| room.holds(place))
    }
}
