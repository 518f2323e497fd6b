use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use flagstore_conformance::{BigSegments, BigSegmentsFixture, BigSegmentsSettings};
use flagstore_core::{
    BigSegmentMembership, BigSegmentPatch, BigSegmentStore, BigSegmentUpdates, ErrorKind, PatchOutcome,
    StoreError, UnixMillis,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Builder;

use crate::big_segments_fault::BigSegmentsFault;
use crate::faulty_big_segments_wrapper::wrap;

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Big Segments in memory that can also be out of reach, be unreadable, and have a password: all that a case
/// can ask for. With a fault they break exactly one rule.
pub(crate) struct FaultyBigSegments {
    database: Arc<Mutex<Database>>,
    fault: Option<BigSegmentsFault>,
}

/// Everything by what its key would be in a database that has one table.
#[derive(Debug, Default)]
struct Database {
    /// `None` is unreadable, here and below.
    times: BTreeMap<String, Option<u64>>,
    versions: BTreeMap<String, String>,
    contexts: BTreeMap<String, Option<Lists>>,
    is_stopped: bool,
}

#[derive(Debug, Default)]
struct Lists {
    included: BTreeSet<String>,
    excluded: BTreeSet<String>,
}

struct FaultyStore {
    database: Arc<Mutex<Database>>,
    prefix: String,
    fault: Option<BigSegmentsFault>,
    is_reachable: AtomicBool,
}

impl FaultyBigSegments {
    pub(crate) fn new(fault: Option<BigSegmentsFault>) -> Self {
        Self { database: Arc::default(), fault }
    }

    fn store(&self, prefix: &str) -> FaultyStore {
        let is_island = self.fault == Some(BigSegmentsFault::HandlesAreIslands);
        let ignores_it = self.fault == Some(BigSegmentsFault::IgnoresThePrefix);
        FaultyStore {
            database: if is_island { Arc::default() } else { Arc::clone(&self.database) },
            prefix: if ignores_it { String::new() } else { prefix.to_owned() },
            fault: self.fault,
            is_reachable: AtomicBool::new(true),
        }
    }
}

impl BigSegmentsFixture for FaultyBigSegments {
    fn open(&self, prefix: &str) -> Result<Arc<dyn BigSegmentUpdates>, StoreError> {
        Ok(Arc::new(self.store(prefix)))
    }

    fn put_membership(&self, prefix: &str, context_hash: &str, included: &[&str], excluded: &[&str]) {
        let store = self.store(prefix);
        let mut database = store.database.lock();
        let lists = database.contexts.entry(store.context(context_hash)).or_default().get_or_insert_default();
        lists.included.extend(included.iter().map(|segment_ref| (*segment_ref).to_owned()));
        lists.excluded.extend(excluded.iter().map(|segment_ref| (*segment_ref).to_owned()));
    }

    fn put_metadata(&self, prefix: &str, synchronized_on: UnixMillis) {
        let store = self.store(prefix);
        store.database.lock().times.insert(store.prefix.clone(), Some(synchronized_on.0));
    }

    fn open_unreachable(&self) -> Option<Arc<dyn BigSegmentUpdates>> {
        let store = self.store("unreachable");
        store.is_reachable.store(false, Ordering::Relaxed);
        Some(Arc::new(store))
    }

    fn corrupt(&self, prefix: &str, context_hash: &str) -> Option<()> {
        let store = self.store(prefix);
        store.database.lock().contexts.insert(store.context(context_hash), None);
        Some(())
    }

    fn corrupt_metadata(&self, prefix: &str) -> Option<()> {
        let store = self.store(prefix);
        store.database.lock().times.insert(store.prefix.clone(), None);
        Some(())
    }

    fn wrap(
        &self,
        store: Arc<dyn BigSegmentStore>,
        settings: &BigSegmentsSettings,
    ) -> Result<Arc<dyn BigSegments>, StoreError> {
        wrap(store, settings, self.fault)
    }
}

impl FaultyStore {
    fn has(&self, fault: BigSegmentsFault) -> bool {
        self.fault == Some(fault)
    }

    /// Every call begins here.
    fn database(&self, operation: &'static str) -> Result<MutexGuard<'_, Database>, StoreError> {
        if self.has(BigSegmentsFault::BlocksOnARuntime) {
            Builder::new_current_thread().build().unwrap().block_on(async {});
        }
        let database = self.database.lock();
        let is_reachable =
            self.is_reachable.load(Ordering::Relaxed) || self.has(BigSegmentsFault::UnreachableIsEmpty);
        if is_reachable && !database.is_stopped {
            return Ok(database);
        }
        let reason = if self.has(BigSegmentsFault::ShowsThePassword) { PASSWORD } else { "out of reach" };
        Err(StoreError::new(ErrorKind::Unavailable, "faulty", operation, reason))
    }

    fn context(&self, context_hash: &str) -> String {
        match self.fault {
            Some(BigSegmentsFault::RunsPrefixAndHashTogether) => format!("{}{context_hash}", self.prefix),
            Some(BigSegmentsFault::LowercasesHashes) => {
                format!("{}:{}", self.prefix, context_hash.to_lowercase())
            }
            _ => format!("{}:{context_hash}", self.prefix),
        }
    }

    fn membership(&self, lists: &Lists) -> BigSegmentMembership {
        use BigSegmentsFault as Fault;
        let included = lists.included.iter().cloned();
        let excluded = lists.excluded.iter().cloned();
        match self.fault {
            Some(Fault::TakesExcludedForIncluded) => {
                BigSegmentMembership::new(included.chain(excluded), Vec::new())
            }
            Some(Fault::ExclusionWins) => {
                let included = included.filter(|segment_ref| !lists.excluded.contains(segment_ref));
                BigSegmentMembership::new(included, excluded)
            }
            Some(Fault::IgnoresGenerations) => {
                let every = |segment_ref: String| {
                    let key = segment_ref.split('.').next().unwrap_or_default().to_owned();
                    (0..=10).map(move |generation| format!("{key}.g{generation}"))
                };
                BigSegmentMembership::new(included.flat_map(every), excluded.flat_map(every))
            }
            Some(Fault::StopsAtAThousand) => BigSegmentMembership::new(included.take(1000), excluded),
            _ => BigSegmentMembership::new(included, excluded),
        }
    }

    fn write(&self, database: &mut Database, patch: &BigSegmentPatch, context_hash: &str) {
        use BigSegmentsFault as Fault;
        let Some(change) = patch.by_context().get(context_hash).copied() else { return };
        let lists = database.contexts.entry(self.context(context_hash)).or_default().get_or_insert_default();
        let removes = change.included == Some(false) || change.excluded == Some(false);
        for (list, is_in_it) in
            [(&mut lists.included, change.included), (&mut lists.excluded, change.excluded)]
        {
            match is_in_it {
                Some(true) => drop(list.insert(patch.segment_ref.clone())),
                Some(false) if self.has(Fault::RemovesNobody) => {}
                Some(false) if self.has(Fault::RemovesFromAllSegments) => list.clear(),
                Some(false) => drop(list.remove(&patch.segment_ref)),
                None if removes && self.has(Fault::RemovesFromBothLists) => {
                    list.remove(&patch.segment_ref);
                }
                None => {}
            }
        }
    }
}

impl BigSegmentStore for FaultyStore {
    fn get_metadata(&self) -> Result<Option<UnixMillis>, StoreError> {
        use BigSegmentsFault as Fault;
        let database = self.database("get_metadata")?;
        let time = match database.times.get(&self.prefix) {
            Some(None) if !self.has(Fault::UnreadableTimeIsNone) => {
                return Err(StoreError::new(ErrorKind::Corrupt, "faulty", "get_metadata", "unreadable"));
            }
            time => time.copied().flatten(),
        };
        let version = || database.versions.get(&self.prefix)?.parse().ok();
        Ok(match self.fault {
            Some(Fault::CutsTimesToSeconds) => time.map(|time| time / 1000 * 1000),
            Some(Fault::TakesNoTimeForZero) => time.or(Some(0)),
            Some(Fault::TakesTheVersionForATime) => time.or_else(version),
            _ => time,
        }
        .map(UnixMillis))
    }

    fn get_membership(&self, context_hash: &str) -> Result<Option<BigSegmentMembership>, StoreError> {
        use BigSegmentsFault as Fault;
        let database = self.database("get_membership")?;
        let failed = |reason| Err(StoreError::new(ErrorKind::Corrupt, "faulty", "get_membership", reason));
        match database.contexts.get(&self.context(context_hash)) {
            Some(None) if !self.has(Fault::UnreadableIsUnknown) => failed("unreadable"),
            Some(Some(lists)) => Ok(Some(self.membership(lists)).filter(|membership| !membership.is_empty())),
            None if self.has(Fault::UnknownIsAnError) => failed("nothing there"),
            _ => Ok(None),
        }
    }

    fn stop(&self) {
        self.database.lock().is_stopped = self.has(BigSegmentsFault::StopEndsEverybody);
    }
}

impl BigSegmentUpdates for FaultyStore {
    fn get_version(&self) -> Result<String, StoreError> {
        let database = self.database("get_version")?;
        if self.has(BigSegmentsFault::ForgetsVersions) {
            return Ok(String::new());
        }
        Ok(database.versions.get(&self.prefix).cloned().unwrap_or_default())
    }

    fn set_metadata(&self, synchronized_on: UnixMillis) -> Result<(), StoreError> {
        self.database("set_metadata")?.times.insert(self.prefix.clone(), Some(synchronized_on.0));
        Ok(())
    }

    fn apply_patch(&self, patch: &BigSegmentPatch) -> Result<PatchOutcome, StoreError> {
        use BigSegmentsFault as Fault;
        let mut database = self.database("apply_patch")?;
        let version = database.versions.get(&self.prefix).cloned().unwrap_or_default();
        let is_repeated = patch.version == version && self.has(Fault::RefusesTheSameVersion);
        let is_in_order = version == patch.previous_version || self.has(Fault::AppliesOutOfOrder);
        if !is_in_order || is_repeated && !version.is_empty() {
            return Ok(PatchOutcome::OutOfOrder(version));
        }
        let contexts: Vec<String> = patch.by_context().into_keys().map(str::to_owned).collect();
        if contexts.is_empty() && self.has(Fault::SkipsEmptyPatches) {
            return Ok(PatchOutcome::Applied);
        }
        if self.has(Fault::ChecksThenActs) {
            drop(database);
            thread::sleep(Duration::from_millis(1));
            database = self.database("apply_patch")?;
        }
        let limit = if self.has(Fault::StopsAtAHundred) { 100 } else { usize::MAX };
        for context_hash in contexts.iter().take(limit) {
            self.write(&mut database, patch, context_hash);
            if self.has(Fault::PatchesInPieces) {
                MutexGuard::bump(&mut database);
            }
        }
        if self.has(Fault::PatchesChangeTheTime) {
            database.times.remove(&self.prefix);
        }
        database.versions.insert(self.prefix.clone(), patch.version.clone());
        Ok(PatchOutcome::Applied)
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.prefix)
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
