//! From one store into another.

use crate::{AllData, ErrorKind, FeatureStoreCore, Kind, StoreError, Upsert};

/// What became of the items that were to be [copied](copy).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Copied {
    /// How many items and tombstones the other store has taken.
    pub written: usize,
    /// How many it already had, in the same version or a newer one.
    pub kept: usize,
    /// What could not be read, or was too large for the other store. Everything else was copied.
    pub left_out: Vec<StoreError>,
}

/// Copies all items of these kinds, tombstones included, from one store into another.
///
/// A store that was never initialized is initialized with them, in one step where it can. In one that was, each item
/// counts by its version: what is newer there stays, and what is there alone stays too.
///
/// ```
/// use flagstore_core::{AllData, FeatureStoreCore, Kind, MemoryStore, copy};
///
/// let (from, to) = (MemoryStore::new(), MemoryStore::new());
/// from.init(&AllData::from_json(r#"{"flags":{"dark-mode":{"version":3}}}"#)?)?;
/// assert_eq!(copy(&from, &to, &[Kind::SEGMENTS, Kind::FEATURES])?.written, 1);
/// assert!(to.is_initialized()? && to.get(&Kind::FEATURES, "dark-mode")?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Those of either store, after which a part may be copied; doing it again goes on where it ended.
pub fn copy(
    from: &dyn FeatureStoreCore,
    to: &dyn FeatureStoreCore,
    kinds: &[Kind],
) -> Result<Copied, StoreError> {
    let (mut copied, mut all_data) = (Copied::default(), AllData::new());
    for kind in kinds {
        let items = from.get_all(kind)?;
        copied.left_out.extend(items.unreadable);
        all_data = all_data.with(kind.clone(), items.by_key);
    }
    let all_data = all_data.in_dependency_order();
    if !to.is_initialized()? {
        copied.written = all_data.len();
        match to.init(&all_data) {
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                copied.written -= error.items().len();
                copied.left_out.push(error);
            }
            initialized => initialized?,
        }
        return Ok(copied);
    }
    for (kind, key, item) in all_data.dependency_levels().into_iter().flatten() {
        match to.upsert(kind, key, item) {
            Ok(Upsert::Applied) => copied.written += 1,
            Ok(Upsert::Stale(_)) => copied.kept += 1,
            Err(error) if error.kind() == ErrorKind::TooLarge => copied.left_out.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Item, MemoryStore};

    const KINDS: [Kind; 2] = [Kind::SEGMENTS, Kind::FEATURES];

    fn item(version: u64) -> Item {
        Item::from_parts(version, false, format!(r#"{{"version":{version}}}"#)).unwrap()
    }

    fn source() -> MemoryStore {
        let store = MemoryStore::new();
        let flags = [("a", item(2)), ("gone", Item::tombstone("gone", 5).unwrap())];
        store
            .init(&AllData::new().with(Kind::FEATURES, flags).with(Kind::SEGMENTS, [("s", item(1))]))
            .unwrap();
        store
    }

    /// A new store has everything then, deleted items included, and is initialized.
    #[test]
    fn a_new_store_gets_everything() {
        let to = MemoryStore::new();
        let copied = copy(&source(), &to, &KINDS).unwrap();
        assert_eq!((copied.written, copied.kept, copied.left_out.len()), (3, 0, 0));
        assert!(to.is_initialized().unwrap());
        for kind in &KINDS {
            assert_eq!(to.get_all(kind).unwrap().by_key, source().get_all(kind).unwrap().by_key);
        }
    }

    /// In a store that is in use versions count, and nothing is removed.
    #[test]
    fn versions_count_in_a_store_that_is_in_use() {
        let to = MemoryStore::new();
        to.init(&AllData::new().with(Kind::FEATURES, [("a", item(7)), ("gone", item(4)), ("own", item(1))]))
            .unwrap();
        let copied = copy(&source(), &to, &KINDS).unwrap();
        assert_eq!((copied.written, copied.kept), (2, 1));
        let version =
            |key| to.get(&Kind::FEATURES, key).unwrap().map(|item| (item.version(), item.is_deleted()));
        assert_eq!(["a", "gone", "own"].map(version), [Some((7, false)), Some((5, true)), Some((1, false))]);
    }
}
