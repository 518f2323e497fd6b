//! What is known of one key, and how news of it changes that.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::Item;
use crate::stripe::stripe;

/// A number that every change of a table raises, by which one can tell what came before what.
pub(crate) type Moment = u64;

/// When something was learnt, and whether it was put in doubt since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Learnt {
    pub(crate) at: Moment,
    pub(crate) on: Instant,
    pub(crate) is_aged: bool,
}

impl Learnt {
    pub(crate) fn at(at: Moment) -> Self {
        Self { at, on: Instant::now(), is_aged: false }
    }

    /// The same, in doubt.
    pub(crate) fn aged(self) -> Self {
        Self { is_aged: true, ..self }
    }

    /// For how long it has been known, if that is too long: longer than the time to live, or since before the
    /// moment at which everything like it was put in doubt.
    pub(crate) fn is_stale(&self, aged_at: Moment, time_to_live: Option<Duration>) -> Option<Duration> {
        if self.is_aged || self.at <= aged_at {
            return Some(self.on.elapsed());
        }
        // What never expires needs no clock.
        let age = time_to_live.map(|time_to_live| (self.on.elapsed(), time_to_live));
        age.filter(|(age, time_to_live)| age >= time_to_live).map(|(age, _)| age)
    }
}

/// What is known of a key: what readers are shown, since when, and what the database has not taken yet.
///
/// It never changes; [`merge`] makes another one.
#[derive(Debug)]
pub(crate) struct Known {
    value: Value,
    learnt: Learnt,
    /// An update that the database has not taken, and that has to be written once it is back.
    pending: Option<PendingItem>,
    /// Whether somebody was asked to read it anew.
    is_asked_for: AtomicBool,
    copies: OnceLock<Copies>,
}

/// An update that the database has not taken, and since when that is known.
#[derive(Debug, Clone)]
struct PendingItem {
    item: Item,
    at: Moment,
}

/// The same item for other threads than the first, each with a reference count of its own: threads that take the
/// same item at the same time would otherwise spend most of it on fighting for its count.
type Copies = Box<[OnceLock<Item>; 3]>;

#[derive(Debug, Clone)]
enum Value {
    Item(Item),
    /// It had to make room. Its version is known all the same.
    Evicted(u64),
    /// Only an update that is pending is known.
    Nothing,
}

impl Known {
    pub(crate) fn learnt(&self) -> &Learnt {
        &self.learnt
    }

    pub(crate) fn pending(&self) -> Option<&Item> {
        self.pending.as_ref().map(|pending| &pending.item)
    }

    /// Whether anything was learnt of the key since then.
    pub(crate) fn is_overtaken(&self, since: Moment) -> bool {
        self.learnt.at > since
    }

    /// Whether the database has left an update unanswered since then.
    pub(crate) fn is_pending_since(&self, since: Moment) -> bool {
        self.pending_since(since).is_some()
    }

    fn pending_since(&self, since: Moment) -> Option<&PendingItem> {
        self.pending.as_ref().filter(|pending| pending.at > since)
    }

    /// The item or tombstone.
    pub(crate) fn item(&self) -> Option<&Item> {
        match &self.value {
            Value::Item(item) => Some(item),
            Value::Evicted(_) | Value::Nothing => None,
        }
    }

    /// The item, unless it is a tombstone.
    pub(crate) fn live(&self) -> Option<&Item> {
        self.item().filter(|item| !item.is_deleted())
    }

    /// The same item as [`item`](Self::item), in this thread's own copy.
    pub(crate) fn own_copy<'a>(&'a self, item: &'a Item) -> &'a Item {
        match stripe() % 4 {
            0 => item,
            copy => self.copies.get_or_init(Copies::default)[copy - 1].get_or_init(|| item.counted_apart()),
        }
    }

    pub(crate) fn is_evicted(&self) -> bool {
        matches!(self.value, Value::Evicted(_))
    }

    /// Whether readers are shown this item, or were, before it had to make room.
    pub(crate) fn is_of(&self, item: &Item) -> bool {
        match &self.value {
            Value::Item(known) => known == item,
            Value::Evicted(version) => *version == item.version(),
            Value::Nothing => false,
        }
    }

    fn version(&self) -> Option<u64> {
        match &self.value {
            Value::Item(item) => Some(item.version()),
            Value::Evicted(version) => Some(*version),
            Value::Nothing => None,
        }
    }

    /// The newest item of which anything is known, if it is known: what is pending, or what readers are shown.
    pub(crate) fn newest(&self) -> Option<Item> {
        let is_out_of_sight = self.is_evicted() && self.pending().map(Item::version) < self.version();
        newer(self.item(), self.pending()).filter(|_| !is_out_of_sight).cloned()
    }

    /// Whether somebody was asked to read it anew.
    pub(crate) fn is_asked_for(&self) -> &AtomicBool {
        &self.is_asked_for
    }

    fn new(value: Value, learnt: Learnt, pending: Option<PendingItem>) -> Arc<Self> {
        let (is_asked_for, copies) = (AtomicBool::new(false), OnceLock::new());
        Arc::new(Self { value, learnt, pending, is_asked_for, copies })
    }

    /// The same, in doubt.
    pub(crate) fn aged(&self) -> Arc<Self> {
        Self::new(self.value.clone(), self.learnt.aged(), self.pending.clone())
    }

    /// The same without its value. What is pending is kept, because nobody else has it.
    pub(crate) fn evicted(&self) -> Arc<Self> {
        let value = self.version().map_or(Value::Nothing, Value::Evicted);
        Self::new(value, self.learnt, self.pending.clone())
    }

    /// Only what is pending, if there is something.
    pub(crate) fn only_pending(&self) -> Option<Arc<Self>> {
        self.pending.is_some().then(|| Self::new(Value::Nothing, self.learnt, self.pending.clone()))
    }

    /// The same without the pending update, which the database has, or will never take. What set out before is overtaken.
    pub(crate) fn settled(&self, at: Moment) -> Option<Arc<Self>> {
        let learnt = Learnt { at, is_aged: true, ..self.learnt };
        (!matches!(self.value, Value::Nothing)).then(|| Self::new(self.value.clone(), learnt, None))
    }

    /// An item, whatever was there before.
    pub(crate) fn initial(item: Item, learnt: Learnt) -> Arc<Self> {
        Self::new(Value::Item(item), learnt, None)
    }

    /// What of it came in since then.
    pub(crate) fn part_since(&self, since: Moment) -> Option<Arc<Self>> {
        let pending = self.pending_since(since).cloned();
        if self.is_overtaken(since) && !matches!(self.value, Value::Nothing) {
            return Some(Self::new(self.value.clone(), self.learnt, pending));
        }
        let learnt = Learnt { at: self.learnt.at.min(since), ..self.learnt };
        pending.map(|pending| Self::new(Value::Nothing, learnt, Some(pending)))
    }

    /// What is known of a key now, and what was pending here still is.
    pub(crate) fn pending_over(&self, known: Option<&Arc<Self>>, now: Learnt) -> Arc<Self> {
        Self::with_pending(known, self.pending.clone(), now)
    }

    /// What is known of a key, and that this item has to be written there once more, unless an update is pending that
    /// is newer: not one from before the init of that moment, which takes it away.
    pub(crate) fn to_be_written(
        known: Option<&Arc<Self>>,
        item: &Item,
        init_at: Moment,
        now: Learnt,
    ) -> Arc<Self> {
        let pending = known.and_then(|known| known.pending_since(init_at)).cloned();
        let pending = pending.filter(|pending| pending.item.version() >= item.version());
        let pending = pending.or_else(|| Some(PendingItem { item: item.clone(), at: now.at }));
        Self::with_pending(known, pending, now)
    }

    /// What is known of a key, with this pending.
    fn with_pending(known: Option<&Arc<Self>>, pending: Option<PendingItem>, now: Learnt) -> Arc<Self> {
        let (value, learnt) =
            known.map_or((Value::Nothing, now), |known| (known.value.clone(), known.learnt));
        Self::new(value, learnt, pending)
    }
}

impl From<Item> for Known {
    fn from(item: Item) -> Self {
        let learnt = Learnt::at(0);
        let (is_asked_for, copies) = (AtomicBool::new(false), OnceLock::new());
        Self { value: Value::Item(item), learnt, pending: None, is_asked_for, copies }
    }
}

/// What somebody has heard of a key.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// The database has this, or nothing.
    Read(Option<Item>),
    /// The database has this: it took an update, or it has refused one for it.
    Written(Item),
    /// The database has not answered to this update.
    Unwritten(Item),
}

/// Under which circumstances news came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances {
    /// When the database was asked.
    pub(crate) since: Moment,
    pub(crate) now: Learnt,
    /// Whether readers are shown what the database has not taken.
    pub(crate) is_lasting: bool,
    /// Whether the database is known to lack an init that readers are shown.
    pub(crate) is_behind: bool,
    /// Whether an init may take away what the database has, or may have: one is to be written, or was under way.
    pub(crate) may_be_undone: bool,
    /// When an init became pending, which takes away what was pending before it; 0 if none is.
    pub(crate) init_at: Moment,
    /// What was learnt until then is in doubt.
    pub(crate) aged_at: Moment,
}

impl Circumstances {
    /// Nothing but the news: no init and no doubt is about.
    pub(crate) fn plain(since: Moment, now: Learnt) -> Self {
        let (is_lasting, is_behind, may_be_undone) = (false, false, false);
        Self { since, now, is_lasting, is_behind, may_be_undone, init_at: 0, aged_at: 0 }
    }
}

/// What is known of a key after this news. The one place where versions are compared.
///
/// The database's word counts whatever its version, with two exceptions, where only a higher version counts: if
/// something was learnt since the database was asked, its answer may be older than that; and what readers are
/// shown although the database has not taken it stays until the database has something newer.
pub(crate) fn merge(known: Option<&Arc<Known>>, news: News, given: &Circumstances) -> Option<Arc<Known>> {
    if given.is_behind && known.is_none() && matches!(news, News::Read(_)) {
        // The init that the database lacks has removed it.
        return None;
    }
    let pending = known.and_then(|known| known.pending.as_ref());
    let is_overtaken = known.is_some_and(|known| known.is_overtaken(given.since));
    let is_unwritten = given.is_lasting && (given.is_behind || pending.is_some());
    let version = known.and_then(|known| known.version());
    let (item, is_stored) = match news {
        News::Read(item) => (item, true),
        News::Written(item) => (Some(item), true),
        News::Unwritten(item) => (Some(item), false),
    };
    // No version at all is lower than any.
    let compared = item.as_ref().map(Item::version).cmp(&version);
    if !is_stored {
        let is_certain = !given.may_be_undone
            && known.is_some_and(|known| {
                known.pending.is_none() && known.learnt.is_stale(given.aged_at, None).is_none()
            });
        if compared.is_le() && is_certain {
            return known.cloned();
        }
        // Readers go on with what is newer, also if it is in doubt.
        let shows_it = given.is_lasting && compared.is_gt();
        let shown = item.clone().filter(|_| shows_it).map(|item| Known::initial(item, given.now));
        let pending = known
            .and_then(|known| known.pending_since(given.init_at))
            .filter(|pending| Some(pending.item.version()) > item.as_ref().map(Item::version))
            .cloned()
            .or_else(|| item.map(|item| PendingItem { item, at: given.now.at }));
        return Some(Known::with_pending(shown.as_ref().or(known), pending, given.now));
    }
    // What the database has, and keeps, it need not be given again.
    let is_there = |pending: &PendingItem| {
        !given.may_be_undone && item.as_ref().is_some_and(|item| item.version() >= pending.item.version())
    };
    let still_pending = pending.filter(|pending| !is_there(pending)).cloned();
    let counts = compared.is_gt() || !is_overtaken && (compared.is_eq() || !is_unwritten);
    match (counts, item) {
        (true, Some(item)) => Some(Known::new(Value::Item(item), given.now, still_pending)),
        (true, None) => still_pending.map(|pending| Known::new(Value::Nothing, given.now, Some(pending))),
        (false, _) if pending.is_some() && still_pending.is_none() => {
            known.and_then(|known| known.settled(given.now.at))
        }
        (false, _) => known.cloned(),
    }
}

/// Of two the one with the higher version; the first if they are equal.
fn newer<'a>(one: Option<&'a Item>, other: Option<&'a Item>) -> Option<&'a Item> {
    match (one, other) {
        (Some(one), Some(other)) if other.version() > one.version() => Some(other),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(version: u64) -> Item {
        Item::from_parts(version, false, format!("v{version}")).unwrap()
    }

    fn given(since: Moment, now: Moment) -> Circumstances {
        Circumstances::plain(since, Learnt::at(now))
    }

    fn read(version: u64) -> News {
        News::Read(Some(item(version)))
    }

    fn shown(known: Option<&Arc<Known>>) -> Option<u64> {
        known.and_then(|known| known.item()).map(Item::version)
    }

    fn pending(known: Option<&Arc<Known>>) -> Option<u64> {
        known.and_then(|known| known.pending()).map(Item::version)
    }

    /// What the database says counts, also if it is lower than what was known before it was asked.
    #[test]
    fn the_database_is_right() {
        let known = merge(None, read(5), &given(0, 1));
        assert_eq!(shown(merge(known.as_ref(), read(3), &given(1, 2)).as_ref()), Some(3));
        assert!(merge(known.as_ref(), News::Read(None), &given(1, 2)).is_none());
    }

    /// If something was learnt since it was asked, only a higher version counts, whichever the way it came.
    #[test]
    fn what_was_overtaken_counts_only_if_it_is_newer() {
        let known = merge(None, News::Written(item(5)), &given(1, 2));
        for since in [0, 1] {
            for news in [read(4), read(5), News::Read(None), News::Written(item(4))] {
                assert_eq!(shown(merge(known.as_ref(), news, &given(since, 3)).as_ref()), Some(5));
            }
            assert_eq!(shown(merge(known.as_ref(), read(6), &given(since, 3)).as_ref()), Some(6));
        }
    }

    /// What had to make room is still known by its version.
    #[test]
    fn an_evicted_value_keeps_its_version() {
        let known = merge(None, News::Written(item(5)), &given(1, 2)).map(|known| known.evicted());
        let late = merge(known.as_ref(), News::Written(item(4)), &given(0, 3));
        assert_eq!((shown(late.as_ref()), late.map(|known| known.is_evicted())), (None, Some(true)));
        let unwritten = merge(known.as_ref(), News::Unwritten(item(4)), &given(3, 3));
        assert_eq!(pending(unwritten.as_ref()), None);
    }

    /// What the database has not taken is pending, and shown where it lasts; the highest version is kept.
    #[test]
    fn an_unwritten_update_is_pending() {
        for is_lasting in [false, true] {
            let given = |since, now| Circumstances { is_lasting, ..given(since, now) };
            let known = merge(None, News::Written(item(1)), &given(0, 1));
            let known = merge(known.as_ref(), News::Unwritten(item(3)), &given(1, 2));
            let known = merge(known.as_ref(), News::Unwritten(item(2)), &given(2, 3));
            assert_eq!(pending(known.as_ref()), Some(3));
            assert_eq!(shown(known.as_ref()), Some(if is_lasting { 3 } else { 1 }));
            // What the database has in the meantime is older, so the update is still to be written.
            let still = merge(known.as_ref(), read(2), &given(3, 4));
            assert_eq!(
                (shown(still.as_ref()), pending(still.as_ref())),
                (Some(if is_lasting { 3 } else { 2 }), Some(3))
            );
            let done = merge(known.as_ref(), News::Written(item(4)), &given(3, 4));
            assert_eq!((shown(done.as_ref()), pending(done.as_ref())), (Some(4), None));
        }
    }

    /// A newer version that is in doubt may be gone, and then the older update is what there is to be.
    #[test]
    fn what_is_in_doubt_spares_no_update() {
        let known = merge(None, News::Written(item(5)), &given(0, 1));
        let unwritten = |aged_at| {
            let given = Circumstances { aged_at, ..given(2, 2) };
            pending(merge(known.as_ref(), News::Unwritten(item(3)), &given).as_ref())
        };
        assert_eq!((unwritten(0), unwritten(1)), (None, Some(3)));
    }

    /// An init that has to be written takes away what was pending before it, whatever its version.
    #[test]
    fn what_was_pending_before_an_init_spares_no_update() {
        let known = merge(None, News::Unwritten(item(6)), &given(1, 1));
        for (init_at, expected) in [(0, 6), (2, 4)] {
            let given = Circumstances { init_at, ..given(3, 3) };
            let unwritten = merge(known.as_ref(), News::Unwritten(item(4)), &given);
            assert_eq!(pending(unwritten.as_ref()), Some(expected));
            let undone = Known::to_be_written(known.as_ref(), &item(4), init_at, given.now);
            assert_eq!(undone.pending().map(Item::version), Some(expected));
        }
    }

    /// What the init that the database lacks has removed does not come back by being read.
    #[test]
    fn what_a_pending_init_removed_stays_removed() {
        let given = Circumstances { is_lasting: true, is_behind: true, ..given(1, 2) };
        assert!(merge(None, read(7), &given).is_none());
        let known = merge(None, News::Written(item(1)), &given);
        assert_eq!(shown(merge(known.as_ref(), News::Read(None), &given).as_ref()), Some(1));
        assert_eq!(shown(known.as_ref()), Some(1), "an update that the database has taken since then");
    }
}
