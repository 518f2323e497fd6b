use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use flagstore_conformance::{BigSegmentsFixture, Fixture};
use flagstore_core::{AllData, ErrorKind, FeatureStoreCore, Item, Items, Kind, StoreError, Upsert};
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::fault::Fault;
use crate::faulty_big_segments::{FaultyBigSegments, PASSWORD};

const TOO_LARGE: usize = 100_000;

/// A store in memory that also has a size limit, can be corrupted and out of reach, and has a password:
/// all that a case can ask for. With a fault it breaks exactly one rule.
struct FaultyStore {
    database: Arc<Mutex<Rows>>,
    prefix: String,
    fault: Option<Fault>,
    inits_in_pieces: bool,
    health: Health,
    initialized_here: AtomicBool,
    all: Mutex<HashMap<Kind, Items>>,
    reads: AtomicUsize,
    before: Mutex<HashMap<String, Item>>,
    runtime: Option<Runtime>,
}

/// How the database behaves.
#[derive(Clone, PartialEq)]
enum Health {
    Healthy,
    Unreachable,
    /// It accepts and never answers.
    Silent,
    /// It takes no items of this kind.
    Refuses(Kind),
}

/// The deadline of calls.
const DEADLINE: Duration = Duration::from_millis(10);

/// What is stored: an item, or something that is none.
#[derive(Debug, Default)]
struct Rows {
    rows: BTreeMap<(String, Kind, String), Option<Item>>,
    initialized: BTreeSet<String>,
}

pub(crate) struct FaultyFixture {
    database: Arc<Mutex<Rows>>,
    fault: Option<Fault>,
    inits_in_pieces: bool,
    big_segments: FaultyBigSegments,
}

impl FaultyFixture {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        Self {
            database: Arc::default(),
            fault,
            inits_in_pieces: fault.is_some_and(Fault::is_of_inits_in_pieces),
            big_segments: FaultyBigSegments::new(None),
        }
    }

    /// Sound, though inits are not atomic.
    pub(crate) fn in_pieces() -> Self {
        Self { inits_in_pieces: true, ..Self::new(None) }
    }

    fn store(&self, prefix: &str, health: Health) -> Arc<dyn FeatureStoreCore> {
        let prefix = if self.fault == Some(Fault::IgnoresThePrefix) { "" } else { prefix };
        let database = if self.fault == Some(Fault::HandlesAreIslands) {
            Arc::default()
        } else {
            Arc::clone(&self.database)
        };
        let runtime = || Builder::new_multi_thread().worker_threads(1).build().unwrap();
        Arc::new(FaultyStore {
            database,
            prefix: prefix.to_owned(),
            fault: self.fault,
            inits_in_pieces: self.inits_in_pieces,
            health,
            initialized_here: AtomicBool::default(),
            all: Mutex::default(),
            reads: AtomicUsize::default(),
            before: Mutex::default(),
            runtime: (self.fault == Some(Fault::OwnsARuntime)).then(runtime),
        })
    }
}

impl Fixture for FaultyFixture {
    fn name(&self) -> &str {
        "faulty"
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        Ok(self.store(prefix, Health::Healthy))
    }

    fn init_is_atomic(&self) -> bool {
        !self.inits_in_pieces || self.fault == Some(Fault::InitsInPieces)
    }

    fn open_unreachable(&self) -> Option<Arc<dyn FeatureStoreCore>> {
        Some(self.store("unreachable", Health::Unreachable))
    }

    fn open_silent(&self) -> Option<(Arc<dyn FeatureStoreCore>, Duration)> {
        Some((self.store("silent", Health::Silent), DEADLINE))
    }

    fn open_refused(&self, prefix: &str, kind: &Kind) -> Option<Arc<dyn FeatureStoreCore>> {
        Some(self.store(prefix, Health::Refuses(kind.clone())))
    }

    fn corrupt(&self, prefix: &str, kind: &Kind, key: &str) -> Option<()> {
        self.database.lock().rows.insert((prefix.to_owned(), kind.clone(), key.to_owned()), None);
        Some(())
    }

    fn too_large(&self) -> Option<usize> {
        Some(TOO_LARGE)
    }

    fn big_segments(&self) -> Option<&dyn BigSegmentsFixture> {
        Some(&self.big_segments)
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.to_owned()]
    }
}

impl FaultyStore {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn error(kind: ErrorKind, operation: &'static str, items: &[(&Kind, &str)]) -> StoreError {
        let items = items.iter().map(|(kind, key)| ((*kind).clone(), (*key).to_owned()));
        StoreError::new(kind, "faulty", operation, "it is faulty").about(items)
    }

    /// Every call begins here.
    fn rows(&self, operation: &'static str) -> Result<MutexGuard<'_, Rows>, StoreError> {
        if self.has(Fault::NeedsARuntime) {
            let _ = Handle::current();
        }
        if self.has(Fault::BlocksOnARuntime) {
            Builder::new_current_thread().build().unwrap().block_on(async {});
        }
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async {});
        }
        match self.health {
            Health::Unreachable if self.has(Fault::UnreachableIsEmpty) => {}
            Health::Unreachable => {
                if self.has(Fault::LogsFailures) {
                    tracing::warn!("cannot reach the database");
                }
                return Err(Self::error(ErrorKind::Unavailable, operation, &[]));
            }
            Health::Silent if self.has(Fault::SilenceIsNoError) => {}
            Health::Silent => {
                let late =
                    if self.has(Fault::WaitsPastItsDeadline) { Duration::from_secs(3) } else { DEADLINE };
                thread::sleep(late);
                return Err(Self::error(ErrorKind::Timeout, operation, &[]));
            }
            Health::Healthy | Health::Refuses(_) => {}
        }
        Ok(self.database.lock())
    }

    fn refuses(&self, kind: &Kind) -> bool {
        matches!(&self.health, Health::Refuses(refused) if refused == kind)
    }

    fn row(&self, kind: &Kind, key: &str) -> (String, Kind, String) {
        let kind = if self.has(Fault::MixesKinds) { Kind::new("any") } else { kind.clone() };
        let key = if self.has(Fault::LowercasesKeys) { key.to_lowercase() } else { key.to_owned() };
        (self.prefix.clone(), kind, key)
    }

    /// What is written in place of the item.
    fn written(&self, item: &Item) -> Item {
        let json = item.json();
        match self.fault {
            Some(Fault::LosesTheText) => Item::from_parts(item.version(), item.is_deleted(), "{}").unwrap(),
            Some(Fault::Reformats) => {
                Item::from_parts(item.version(), item.is_deleted(), json.replace(' ', "")).unwrap()
            }
            Some(Fault::CutsLargeItems) if json.len() > 10_000 => {
                Item::from_parts(item.version(), item.is_deleted(), &json[..10_000]).unwrap()
            }
            Some(Fault::KeepsVersionsIn32Bits) => {
                Item::from_parts(item.version() & u64::from(u32::MAX), item.is_deleted(), json).unwrap()
            }
            Some(Fault::TakesGoTombstonesForLive) if json.contains(r#""rules""#) => {
                Item::from_parts(item.version(), false, json).unwrap()
            }
            _ => item.clone(),
        }
    }

    /// Whether `item` may take the place of what is stored.
    fn may_replace(&self, current: Option<&Option<Item>>, item: &Item) -> bool {
        let Some(current) = current else {
            return match self.fault {
                Some(Fault::RefusesNewKeys) => false,
                Some(Fault::TakesMissingForVersionZero) => item.version() > 0,
                Some(Fault::IgnoresDeletionOfUnknown) => !item.is_deleted(),
                _ => true,
            };
        };
        let Some(current) = current else { return !self.has(Fault::UnreadableIsForever) };
        let (old, new) = (current.version(), item.version());
        match self.fault {
            Some(Fault::ComparesVersionsAsText) => old.to_string() < new.to_string(),
            Some(Fault::IgnoresVersions) => true,
            Some(Fault::AcceptsEqualVersions) => old <= new,
            Some(Fault::DeletesWhateverTheVersion) if item.is_deleted() => true,
            Some(Fault::ForgetsVersionsOfTombstones) if current.is_deleted() => true,
            Some(Fault::TombstonesAreForever) if current.is_deleted() => false,
            _ => old < new,
        }
    }

    /// Item by item, instead of all under one lock: what is new before what refers to it, then removals, then the
    /// mark.
    fn init_in_pieces(&self, all_data: &AllData) -> Result<(), StoreError> {
        let step = |change: &dyn Fn(&mut Rows)| {
            let changed = self.rows("init").map(|mut rows| change(&mut rows));
            thread::sleep(Duration::from_micros(20));
            changed
        };
        let mark = || step(&|rows| rows.initialized.extend([self.prefix.clone()]));
        let remove_others = || {
            for (kind, items) in all_data.kinds() {
                let kept: BTreeSet<_> = items.map(|(key, _)| self.row(kind, key)).collect();
                step(&|rows| {
                    rows.rows.retain(|row, _| row.0 != self.prefix || row.1 != *kind || kept.contains(row));
                })?;
            }
            Ok(())
        };
        if self.has(Fault::MarksFirst) {
            mark()?;
        }
        if self.has(Fault::RemovesFirst) {
            remove_others()?;
        }
        let ordered = all_data.clone().in_dependency_order();
        let mut kinds: Vec<_> =
            ordered.kinds().map(|(kind, items)| (kind, items.collect::<Vec<_>>())).collect();
        if self.has(Fault::PutsFlagsBeforeSegments) {
            kinds.reverse();
        }
        for (kind, mut items) in kinds {
            let is_reversed = match self.fault {
                Some(Fault::PutsFlagsBeforeTheirPrerequisites) => *kind == Kind::FEATURES,
                Some(Fault::PutsSegmentsBeforeThoseInTheirRules) => *kind == Kind::SEGMENTS,
                _ => false,
            };
            if is_reversed {
                items.reverse();
            }
            for (key, item) in items {
                step(&|rows| drop(rows.rows.insert(self.row(kind, key), Some(item.clone()))))?;
            }
        }
        remove_others()?;
        mark()
    }
}

impl FeatureStoreCore for FaultyStore {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        if self.inits_in_pieces {
            return self.init_in_pieces(all_data);
        }
        let mut rows = self.rows("init")?;
        if self.has(Fault::LogsInits) {
            tracing::info!("initializes the store");
        }
        let refused = || Self::error(ErrorKind::Other, "init", &[]);
        if all_data.kinds().any(|(kind, _)| self.refuses(kind)) && !self.has(Fault::RefusedInitIsHalfDone) {
            if self.has(Fault::RefusedInitIsMarked) {
                rows.initialized.insert(self.prefix.clone());
            }
            return Err(refused());
        }
        let is_empty = all_data.kinds().all(|(_, items)| items.len() == 0);
        let was_initialized = rows.initialized.contains(&self.prefix);
        if self.has(Fault::InitClearsEverything) {
            rows.rows.clear();
        }
        let mut too_large = Vec::new();
        for (kind, items) in all_data.kinds() {
            if self.refuses(kind) {
                return Err(refused());
            }
            let mut items: BTreeMap<_, _> = items.map(|(key, item)| (self.row(kind, key), item)).collect();
            if self.has(Fault::InitStopsAtFiveThousand) {
                items = items.into_iter().take(5_000).collect();
            }
            if self.has(Fault::SecondInitClears) && was_initialized {
                items.clear();
            }
            let (_, kind, _) = self.row(kind, "");
            rows.rows.retain(|row, stored| {
                let is_mine = row.0 == self.prefix && row.1 == kind;
                let begins_with_mine =
                    self.has(Fault::ClearsPrefixesThatBeginWithIts) && row.0.starts_with(&self.prefix);
                let kept = items.contains_key(row)
                    || self.has(Fault::InitKeepsOldItems)
                    || self.has(Fault::UnreadableIsForever) && stored.is_none();
                !(is_mine || begins_with_mine) || kept
            });
            for (row, item) in items {
                if item.json().len() >= TOO_LARGE {
                    if self.has(Fault::TooLargeSpoilsTheInit) {
                        rows.rows.remove(&row);
                    }
                    too_large.push((row.1, row.2));
                } else if !self.has(Fault::InitComparesVersions)
                    || self.may_replace(rows.rows.get(&row), item)
                {
                    rows.rows.insert(row, Some(self.written(item)));
                }
            }
        }
        self.initialized_here.store(true, Ordering::SeqCst);
        if !(self.has(Fault::ForgetsTheMark) || self.has(Fault::MarksOnlyWithItems) && is_empty) {
            rows.initialized.insert(self.prefix.clone());
        }
        if too_large.is_empty() {
            return Ok(());
        }
        Err(Self::error(ErrorKind::TooLarge, "init", &[]).about(too_large))
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        let rows = self.rows("get")?;
        match rows.rows.get(&self.row(kind, key)) {
            Some(Some(item)) if self.has(Fault::HidesTombstones) && item.is_deleted() => Ok(None),
            Some(Some(item)) if self.has(Fault::ReadsAreStale) => {
                let item = item.clone();
                let is_stale = self.reads.fetch_add(1, Ordering::SeqCst) % 3 == 2;
                let before = self.before.lock().insert(key.to_owned(), item.clone());
                Ok(before.filter(|_| is_stale).or(Some(item)))
            }
            Some(Some(item)) => Ok(Some(item.clone())),
            Some(None) if self.has(Fault::UnreadableIsMissing) => Ok(None),
            Some(None) => Err(Self::error(ErrorKind::Corrupt, "get", &[(kind, key)])),
            None if self.has(Fault::MissingIsAnError) => {
                Err(Self::error(ErrorKind::Other, "get", &[(kind, key)]))
            }
            None => Ok(None),
        }
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        if let Some(all) = self.all.lock().get(kind).filter(|_| self.has(Fault::CachesAll)) {
            return Ok(all.clone());
        }
        let rows = self.rows("get_all")?;
        let (_, stored_kind, _) = self.row(kind, "");
        let mut all = Items::default();
        for ((_, _, key), item) in
            rows.rows.iter().filter(|(row, _)| row.0 == self.prefix && row.1 == stored_kind)
        {
            match item {
                Some(item) if self.has(Fault::HidesTombstonesAmongAll) && item.is_deleted() => {}
                Some(item) => drop(all.by_key.insert(key.clone(), item.clone())),
                None => all.unreadable.push(Self::error(ErrorKind::Corrupt, "get_all", &[(kind, key)])),
            }
        }
        if self.has(Fault::UnreadableSpoilsAll) && !all.unreadable.is_empty() {
            return Err(all.unreadable.remove(0));
        }
        if self.has(Fault::EmptyKindIsAnError) && all.by_key.is_empty() {
            return Err(Self::error(ErrorKind::Other, "get_all", &[]));
        }
        self.all.lock().insert(kind.clone(), all.clone());
        Ok(all)
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        let row = self.row(kind, key);
        let mut rows = self.rows("upsert")?;
        if self.has(Fault::NeedsAnInit) && !rows.initialized.contains(&self.prefix) {
            return Err(Self::error(ErrorKind::Other, "upsert", &[(kind, key)]));
        }
        if item.json().len() >= TOO_LARGE {
            if self.has(Fault::TooLargeDeletesTheOld) {
                rows.rows.remove(&row);
            }
            return Err(Self::error(ErrorKind::TooLarge, "upsert", &[(kind, key)]));
        }
        let current = rows.rows.get(&row).cloned();
        if self.has(Fault::ChecksThenActs) {
            drop(rows);
            thread::sleep(Duration::from_micros(200));
            rows = self.rows("upsert")?;
        }
        if !self.may_replace(current.as_ref(), item) {
            let lie = self.has(Fault::LiesAboutStale);
            return Ok(Upsert::Stale(current.flatten().filter(|_| !lie).unwrap_or_else(|| item.clone())));
        }
        if self.has(Fault::MarksOnUpsert) {
            rows.initialized.insert(self.prefix.clone());
        }
        if self.refuses(kind) {
            if self.has(Fault::RefusedUpdateIsStored) {
                rows.rows.insert(row, Some(item.clone()));
            }
            return Err(Self::error(ErrorKind::Other, "upsert", &[(kind, key)]));
        }
        if self.has(Fault::DeletesTheRow) && item.is_deleted() {
            rows.rows.remove(&row);
        } else {
            rows.rows.insert(row, Some(self.written(item)));
        }
        Ok(Upsert::Applied)
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        let rows = self.rows("is_initialized")?;
        Ok(match self.fault {
            Some(Fault::AlwaysInitialized) => true,
            Some(Fault::KeepsTheMarkToItself) => self.initialized_here.load(Ordering::SeqCst),
            _ => rows.initialized.contains(&self.prefix),
        })
    }

    fn is_available(&self) -> bool {
        match self.fault {
            Some(Fault::NeverAvailable) => false,
            Some(Fault::AlwaysAvailable) if self.health == Health::Unreachable => true,
            Some(Fault::SilentIsAvailable) if self.health == Health::Silent => true,
            _ => !matches!(self.health, Health::Unreachable | Health::Silent),
        }
    }

    fn describe(&self) -> &'static str {
        if self.has(Fault::HasNoName) { "" } else { "faulty" }
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.prefix)
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = if self.has(Fault::ShowsThePassword) { PASSWORD } else { "***" };
        write!(f, "Faulty({}, {password})", self.prefix)
    }
}
