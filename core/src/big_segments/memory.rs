use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::{
    BigSegmentMembership, BigSegmentPatch, BigSegmentStore, BigSegmentUpdates, PatchOutcome, StoreError,
    UnixMillis,
};

/// A [`BigSegmentStore`] in memory: the contract in its plainest code, and the reference for every other.
///
/// A clone is another handle to the same data. It never fails, and it forgets everything with its last handle.
///
/// ```
/// use flagstore_core::{
///     BigSegmentPatch, BigSegmentStore, BigSegmentUpdates, MemoryBigSegmentStore, PatchOutcome, context_hash,
/// };
///
/// let store = MemoryBigSegmentStore::new();
/// let mut patch = BigSegmentPatch::new("beta-testers.g1", "", "version-1");
/// patch.included.add.push(context_hash("user-key"));
/// assert_eq!(store.apply_patch(&patch)?, PatchOutcome::Applied);
/// assert_eq!(store.apply_patch(&patch)?, PatchOutcome::OutOfOrder("version-1".to_owned()));
///
/// let membership = store.get_membership(&context_hash("user-key"))?.unwrap_or_default();
/// assert_eq!(membership.check_membership("beta-testers.g1"), Some(true));
/// # Ok::<(), flagstore_core::StoreError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryBigSegmentStore(Arc<RwLock<Data>>);

#[derive(Debug, Default)]
struct Data {
    synchronized_on: Option<UnixMillis>,
    version: String,
    contexts: HashMap<String, Lists>,
}

/// The references of the segments of a context.
#[derive(Debug, Default)]
struct Lists {
    included: HashSet<String>,
    excluded: HashSet<String>,
}

impl MemoryBigSegmentStore {
    /// An empty store, which was never synchronized.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl BigSegmentStore for MemoryBigSegmentStore {
    fn get_metadata(&self) -> Result<Option<UnixMillis>, StoreError> {
        Ok(self.0.read().synchronized_on)
    }

    fn get_membership(&self, context_hash: &str) -> Result<Option<BigSegmentMembership>, StoreError> {
        let data = self.0.read();
        let membership = data.contexts.get(context_hash).map(|Lists { included, excluded }| {
            BigSegmentMembership::new(
                included.iter().map(String::as_str),
                excluded.iter().map(String::as_str),
            )
        });
        Ok(membership.filter(|membership| !membership.is_empty()))
    }

    fn stop(&self) {}
}

impl BigSegmentUpdates for MemoryBigSegmentStore {
    fn get_version(&self) -> Result<String, StoreError> {
        Ok(self.0.read().version.clone())
    }

    fn set_metadata(&self, synchronized_on: UnixMillis) -> Result<(), StoreError> {
        self.0.write().synchronized_on = Some(synchronized_on);
        Ok(())
    }

    fn apply_patch(&self, patch: &BigSegmentPatch) -> Result<PatchOutcome, StoreError> {
        let mut data = self.0.write();
        if data.version != patch.previous_version {
            return Ok(PatchOutcome::OutOfOrder(data.version.clone()));
        }
        data.version.clone_from(&patch.version);
        for (context_hash, change) in patch.by_context() {
            let lists = data.contexts.entry(context_hash.to_owned()).or_default();
            for (list, is_in_it) in
                [(&mut lists.included, change.included), (&mut lists.excluded, change.excluded)]
            {
                match is_in_it {
                    Some(true) => drop(list.insert(patch.segment_ref.clone())),
                    Some(false) => drop(list.remove(&patch.segment_ref)),
                    None => {}
                }
            }
        }
        Ok(PatchOutcome::Applied)
    }
}

impl fmt::Display for MemoryBigSegmentStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}
