//! A table, its database, and whatever goes on between them, one step after the other.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::call::{Before, Call, of_init};
use super::due::Due;
use super::{Case, KEYS, KIND};
use crate::caching::recovery::recover;
use crate::caching::statistics::Counters;
use crate::caching::table::{Look, Table};
use crate::{
    AllData, ErrorKind, FeatureStoreCore, Item, Items, Kind, LiveItems, MemoryStore, StoreError, Upsert,
};

/// From one new version to the next, which leaves room for updates whose versions are old.
const STEP: u64 = 64;

/// A table, its database, and what goes on between them.
pub(super) struct World {
    case: Case,
    table: Table,
    database: Mutex<MemoryStore>,
    /// With the moment of the database at which it did it.
    calls: Mutex<Vec<(Call, Option<usize>)>>,
    /// The versions that the database has had, moment by moment, 0 for none.
    history: Mutex<Vec<[u64; 2]>>,
    decisions: Mutex<std::vec::IntoIter<[u8; 3]>>,
    next_version: Mutex<u64>,
    /// How many updates had an old version.
    older: Mutex<u64>,
    /// When others have done what we were not told yet, and whether it may have lowered a version.
    notices: Mutex<VecDeque<(usize, bool)>>,
    /// Whether the monitor has to look.
    is_reported: Mutex<bool>,
    /// What has happened so far, for whoever has to find a fault.
    story: Mutex<Vec<String>>,
    /// The highest version that was answered to anybody, by key.
    heard: Mutex<[u64; 2]>,
    due: Mutex<Due>,
    /// The first answer that was older than one before.
    fault: Mutex<Option<String>>,
}

impl World {
    pub(super) fn new(case: Case) -> Self {
        Self {
            table: Table::new(case.rules(), true, &Arc::new(Counters::default())),
            database: Mutex::default(),
            calls: Mutex::default(),
            history: Mutex::new(vec![[0, 0]]),
            decisions: Mutex::new(case.decisions.clone().into_iter()),
            next_version: Mutex::new(STEP),
            older: Mutex::new(0),
            notices: Mutex::default(),
            is_reported: Mutex::new(false),
            story: Mutex::default(),
            heard: Mutex::default(),
            due: Mutex::default(),
            fault: Mutex::default(),
            case,
        }
    }

    fn tell(&self, what: String) {
        self.story.lock().push(what);
    }

    /// What has happened so far.
    pub(super) fn story(&self) -> String {
        self.story.lock().join("\n")
    }

    fn database(&self) -> MemoryStore {
        self.database.lock().clone()
    }

    /// The database has done something.
    fn happened(&self) {
        let stored = self.stored();
        let version = |key: &str| stored.iter().find(|(of, _)| of == key).map_or(0, |(_, version)| *version);
        self.history.lock().push(KEYS.map(version));
    }

    fn before(&self) -> Before {
        let latest = self.history.lock().len() - 1;
        let unnoticed = self.notices.lock().iter().map(|(happened_at, _)| *happened_at).min();
        let calls = self.calls.lock();
        let oldest = KEYS.map(|key| {
            let writes = calls.iter().filter(|(call, _)| call.writes(key));
            let open = writes.filter_map(|(_, happened_at)| *happened_at).chain(unnoticed);
            open.map(|happened_at| happened_at - 1).fold(latest, usize::min)
        });
        Before { heard: *self.heard.lock(), oldest }
    }

    /// A read that set out when this was so has this answer.
    fn answered(&self, key: &str, version: Option<u64>, before: &Before) {
        let (version, key) = (version.unwrap_or(0), number(key));
        let may_be = if self.case.may_fail {
            // What was shown before the database had it, and had to make room since, nobody can show again.
            self.case.has_inits
                || self.case.has_accidents
                || self.case.has_capacity
                || before.heard[key] <= version
        } else {
            let is_lowered = self.notices.lock().iter().any(|(_, may_lower)| *may_lower);
            is_lowered
                || self.history.lock()[before.oldest[key]..].iter().any(|stored| stored[key] == version)
        };
        if !may_be {
            let fault = format!("v{version} of {} is an answer too old", KEYS[key]);
            self.fault.lock().get_or_insert(fault);
        }
        self.hear(key, version);
    }

    fn answered_all(&self, all: &LiveItems, before: &Before) {
        for key in KEYS {
            self.answered(key, all.get(key).map(|item| item.version()), before);
        }
    }

    fn hear(&self, key: usize, version: u64) {
        let heard = &mut self.heard.lock()[key];
        *heard = version.max(*heard);
    }

    fn decide(&self) -> Option<[usize; 3]> {
        self.decisions.lock().next().map(|decision| decision.map(usize::from))
    }

    fn next_item(&self) -> Item {
        let mut next = self.next_version.lock();
        *next += STEP;
        item(*next)
    }

    /// An item whose version is older than the newest, and that no other update has.
    fn older_item(&self, age: usize) -> Item {
        let (newest, mut older) = (*self.next_version.lock(), self.older.lock());
        *older += 1;
        item(age as u64 % (newest / STEP) * STEP + *older % STEP)
    }

    /// What a database does with a write: it takes it, it is away, it takes it and does not answer, or it refuses it.
    fn write<T>(
        &self,
        what: &str,
        decision: usize,
        write: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let error = |kind| Err(StoreError::new(kind, "test", "write", "as it was decided"));
        let (what_happens, result) = match decision % 8 {
            5 if self.case.may_fail => ("is away for", error(ErrorKind::Unavailable)),
            6 if self.case.may_fail => ("takes in silence", write().and(error(ErrorKind::Timeout))),
            7 if self.case.may_fail && self.case.has_accidents => ("refuses", error(ErrorKind::Other)),
            _ => ("takes", write()),
        };
        self.happened();
        self.tell(format!("    database {what_happens} {what}: {:?}", self.stored()));
        result
    }

    /// An init, of which one item may be too large: of that the database keeps what it had.
    fn init_but_for(&self, all_data: &AllData, outcome: usize) -> Result<(), StoreError> {
        let too_large = (self.case.has_accidents && outcome % 8 == 4).then_some(KEYS[0]);
        let database = self.database();
        let mut items: Vec<_> =
            all_data.shared_items(&KIND).map(|(key, item)| (key.to_string(), item.clone())).collect();
        let Some(too_large) = too_large.filter(|key| items.iter().any(|(of, _)| of == key)) else {
            return database.init(all_data);
        };
        items.retain(|(key, _)| key != too_large);
        items.extend(database.get(&KIND, too_large)?.map(|item| (too_large.to_owned(), item)));
        database.init(&AllData::new().with(KIND, items))?;
        let error = StoreError::new(ErrorKind::TooLarge, "test", "init", "as it was decided");
        Err(error.about([(KIND, too_large.to_owned())]))
    }

    /// One step of anything but the recovery. False if there are no more decisions.
    fn step(&self) -> bool {
        let Some([action, which, outcome]) = self.decide() else { return false };
        let under_way = self.calls.lock().len();
        let key = KEYS[which % KEYS.len()];
        match action % 16 {
            0 => {}
            6 => {
                let before = self.before();
                if let Look::Fresh(version) = self.table.look(&KIND, key, |_, item| item.version()) {
                    self.tell(format!("a hit of {key}: {version:?}"));
                    self.answered(key, version, &before);
                } else {
                    self.begin(Call::Read { key, since: self.table.moment(), before, answer: None });
                }
            }
            1 => {
                let before = self.before();
                if let Look::Fresh(all) = self.table.look_at_all(&KIND) {
                    self.tell(format!("a hit of all: {:?}", versions(&all)));
                    self.answered_all(&all, &before);
                } else {
                    self.begin(Call::ReadAll { since: self.table.moment(), before, answer: None });
                }
            }
            2 | 3 => {
                let is_old = action % 16 == 3 && self.case.has_inits && outcome % 2 == 1;
                let item = if is_old { self.older_item(outcome / 2) } else { self.next_item() };
                let inits = self.due.lock().inits();
                self.begin(Call::Upsert { key, item, since: self.table.moment(), inits, answer: None });
            }
            4 if self.case.has_inits => {
                let all_data = self.next_init(which, outcome);
                let mut due = self.due.lock();
                let (inits, before) = (due.inits(), due.ended.clone());
                due.begin_init();
                drop(due);
                self.begin(Call::Init {
                    all_data,
                    since: self.table.begin_init(),
                    inits,
                    before,
                    answer: None,
                });
            }
            5 => {
                let item = self.next_item();
                self.tell(format!("others write {key} v{}", item.version()));
                let _ = self.database().upsert(&KIND, key, &item);
                self.happened_elsewhere(false);
            }
            7 => self.notice(),
            8 if which % 4 == 0 => {
                self.tell(format!("{key} is put in doubt"));
                self.table.age(&KIND, key);
            }
            8 if which % 4 == 1 => {
                self.tell("all are put in doubt".to_owned());
                self.table.age_kind(&KIND);
            }
            8 if which % 4 == 2 && self.case.has_accidents => {
                let all_data = self.next_init(outcome, outcome / 4);
                self.tell(format!("others do an init of {:?}", of_init(&all_data)));
                self.database().init(&all_data).expect("it is in memory");
                self.happened_elsewhere(true);
            }
            8 if which % 4 == 3 && self.case.has_accidents && self.case.may_fail => {
                self.tell("the database loses its data".to_owned());
                *self.database.lock() = MemoryStore::new();
                self.happened_elsewhere(true);
            }
            _ if under_way > 0 => self.proceed(which % under_way, outcome),
            _ => {}
        }
        true
    }

    /// An init of some keys, with a new version or an old one.
    fn next_init(&self, which: usize, age: usize) -> AllData {
        let next = self.next_item();
        let item = if age.is_multiple_of(2) { next } else { item(1 + age as u64 % next.version()) };
        let keys = KEYS.iter().enumerate().filter(|(index, _)| which >> index & 1 == 1);
        let items: Vec<_> = keys.map(|(_, key)| ((*key).to_owned(), item.clone())).collect();
        AllData::new().with(KIND, items)
    }

    fn happened_elsewhere(&self, may_lower: bool) {
        self.happened();
        self.notices.lock().push_back((self.history.lock().len() - 1, may_lower));
    }

    /// We are told of something that others have done, or of a loss.
    fn notice(&self) {
        if self.notices.lock().pop_front().is_some() {
            self.tell("that is noticed".to_owned());
            self.table.age_all();
            self.report_unless(false);
        }
    }

    fn begin(&self, call: Call) {
        self.tell(format!("{} sets out", call.name()));
        self.calls.lock().push((call, None));
    }

    /// The next step of this call.
    fn proceed(&self, index: usize, outcome: usize) {
        let (mut call, _) = self.calls.lock().remove(index);
        let name = call.name();
        let is_there = "it is in memory";
        match &mut call {
            Call::Read { key, since, before, answer } => match answer.take() {
                None => *answer = Some(self.database().get(&KIND, key).expect(is_there)),
                Some(item) => {
                    let answer = self.table.read(&KIND, key, item, *since);
                    self.tell(format!("{name} has its answer: {answer:?}"));
                    self.answered(key, answer.map(|item| item.version()), before);
                    return;
                }
            },
            Call::ReadAll { since, before, answer } => match answer.take() {
                None => *answer = Some(self.database().get_all(&KIND).expect(is_there)),
                Some(items) => {
                    let answer = self.table.read_all(&KIND, items, *since);
                    self.tell(format!("{name} has its answer: {:?}", versions(&answer)));
                    self.answered_all(&answer, before);
                    return;
                }
            },
            Call::Upsert { key, item, since, inits, answer } => match answer.take() {
                None => {
                    let result = self.write(&name, outcome, || self.database().upsert(&KIND, key, item));
                    *answer = Some(result);
                }
                Some(result) => {
                    self.tell(format!("{name} has its answer"));
                    let is_stale = matches!(result, Ok(Upsert::Stale(_)));
                    self.due.lock().end_upsert(number(key), item.version(), is_stale, *inits);
                    if let Ok(upsert) = &result {
                        let stored = match upsert {
                            Upsert::Applied => &*item,
                            Upsert::Stale(current) => current,
                        };
                        self.hear(number(key), stored.version());
                        self.due.lock().hear(number(key), stored.version());
                    }
                    self.report_unless(self.table.upsert_ended(&KIND, key, item, &result, *since));
                    return;
                }
            },
            Call::Init { all_data, since, inits, before, answer } => match answer.take() {
                None => *answer = Some(self.write(&name, outcome, || self.init_but_for(all_data, outcome))),
                Some(result) => {
                    self.tell(format!("{name} has its answer"));
                    let items = of_init(all_data);
                    let version =
                        |key| items.iter().find(|(of, _)| *of == key).map_or(0, |(_, version)| *version);
                    self.due.lock().end_init(KEYS.map(version), result.is_ok(), *inits, before);
                    self.report_unless(self.table.init_ended(all_data, &result, *since));
                    return;
                }
            },
        }
        self.tell(format!("{name} is with the database: {:?}", self.stored()));
        let happened_at = self.history.lock().len() - 1;
        self.calls.lock().insert(index, (call, Some(happened_at)));
    }

    fn report_unless(&self, is_safe: bool) {
        *self.is_reported.lock() |= !is_safe;
    }

    /// Some steps of others, while the recovery waits for the database.
    fn meanwhile(&self) {
        for _ in 0..self.decide().map_or(0, |[steps, ..]| steps % 5) {
            self.step();
        }
    }

    fn recover(&self) {
        *self.is_reported.lock() = false;
        self.tell("a recovery begins".to_owned());
        let result = recover(&self.table, self);
        self.tell(format!("the recovery ends: {result:?}"));
        self.report_unless(result.is_ok());
    }

    fn stored(&self) -> Vec<(String, u64)> {
        let items = self.database().get_all(&KIND).expect("it is in memory").by_key;
        let live = items.into_iter().filter(|(_, item)| !item.is_deleted());
        let mut live: Vec<_> = live.map(|(key, item)| (key, item.version())).collect();
        live.sort();
        live
    }

    /// Everything as it comes, then whatever is left, and then what is known.
    pub(super) fn run(&self) -> Result<(), String> {
        while self.step() {
            if *self.is_reported.lock() && self.decide().is_some_and(|[whether, ..]| whether % 3 == 1) {
                self.recover();
            }
        }
        while !self.calls.lock().is_empty() {
            self.proceed(0, 0);
        }
        while !self.notices.lock().is_empty() {
            self.notice();
        }
        for _ in 0..10 {
            if *self.is_reported.lock() {
                self.recover();
            }
        }
        if *self.is_reported.lock() {
            return Err("the outage does not end".to_owned());
        }
        if let Some(fault) = self.fault.lock().take() {
            return Err(fault);
        }
        let stored = self.stored();
        for key in KEYS {
            let version = stored.iter().find(|(of, _)| of == key).map(|(_, version)| *version);
            let due = self.due.lock();
            let at_least = due.at_least[number(key)];
            if !self.case.has_accidents && version.unwrap_or(0) < at_least {
                return Err(format!("v{at_least} of {key} is lost"));
            }
            let mut removed = due.removed.iter().flat_map(|removed| &removed[number(key)]);
            if !self.case.has_accidents && removed.any(|removed| Some(*removed) == version) {
                return Err(format!("v{version:?} of {key} is back"));
            }
            if let Look::Fresh(known) = self.table.look(&KIND, key, |_, item| item.version())
                && known != version
            {
                return Err(format!("of {key} v{known:?} is known, and stored is v{version:?}"));
            }
        }
        match self.table.look_at_all(&KIND) {
            Look::Fresh(all) if versions(&all) != stored => {
                Err(format!("of all {:?} is known, and stored is {stored:?}", versions(&all)))
            }
            _ => Ok(()),
        }
    }
}

/// The database as the recovery sees it: while it waits, others go on.
impl FeatureStoreCore for World {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        self.meanwhile();
        let outcome = self.decide().map_or(0, |[outcome, ..]| outcome);
        let result = self.write("the recovery's init", outcome, || self.init_but_for(all_data, outcome));
        self.meanwhile();
        result
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        self.database().get(kind, key)
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        self.meanwhile();
        let items = self.database().get_all(kind);
        self.meanwhile();
        items
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        self.meanwhile();
        let what = format!("the recovery's upsert of {key} v{}", item.version());
        let outcome = self.decide().map_or(0, |[outcome, ..]| outcome);
        let result = self.write(&what, outcome, || self.database().upsert(kind, key, item));
        self.meanwhile();
        result
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        self.meanwhile();
        self.database().is_initialized()
    }

    fn is_available(&self) -> bool {
        true
    }

    fn describe(&self) -> &'static str {
        "interleaved"
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

fn number(key: &str) -> usize {
    KEYS.iter().position(|of| *of == key).expect("there are no others")
}

fn item(version: u64) -> Item {
    Item::from_parts(version, false, format!(r#"{{"version":{version}}}"#)).expect("it is small")
}

fn versions(all: &LiveItems) -> Vec<(String, u64)> {
    let mut all: Vec<_> = all.iter().map(|(key, item)| (key.to_owned(), item.version())).collect();
    all.sort();
    all
}
