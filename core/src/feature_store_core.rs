use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::sync::Arc;

use crate::{AllData, Item, Kind, StoreError};

/// What a database has to do to hold feature flags: the contract between a backend and everything above it.
///
/// A backend implements this and nothing else. Caching, status, recovery and the plug into the SDK are
/// built on it, once, for all backends. The names are those of LaunchDarkly's own SDKs.
///
/// # Data
///
/// An item is a versioned JSON object or a tombstone, found by [`Kind`] and key. Kinds and keys are opaque
/// strings: any text is a valid key, and no kind or prefix ever sees the data of another. The JSON is
/// stored byte for byte as given.
///
/// # Missing and deleted items
///
/// Missing is not an error, and deleted is not missing: a deletion is an [`upsert`](Self::upsert) of a
/// tombstone, and the tombstone stays, is returned, and has a version that later writes must beat.
///
/// # Versions
///
/// An update counts only if its version is higher than the stored one. Equal is not higher. Whatever the
/// number of threads, processes and languages that write at once, in the end the highest version is there,
/// and no write that was acknowledged is lost to an older one. Only [`init`](Self::init) ignores versions.
/// (Within one database: where one replicates itself between regions and keeps the last write, as DynamoDB's
/// global tables do, versions hold in each region only.)
///
/// # Atomicity
///
/// An upsert is atomic: its comparison and its write are one step. So is an init where the database can do
/// it (SQLite, Redis): readers see the old data or the new, never a mixture. Where it cannot (DynamoDB), an
/// init writes dependencies before their dependents, removes what is left over after that, and marks the
/// store initialized last.
///
/// # Concurrency
///
/// Methods take `&self` and are called from any number of threads at once, from inside and outside of any
/// async runtime. Every call returns within the deadline that the store was configured with, if need be
/// with an error; an unreachable database never hangs a caller. The one exception is a system call that
/// the operating system itself does not return from.
///
/// # Errors
///
/// An error's [kind](crate::ErrorKind) says what to do about it. After
/// [`Timeout`](crate::ErrorKind::Timeout) a write may have happened; after every other error an upsert has
/// not. A store neither caches nor polls nor retries a failure, and logs none above debug level: whoever
/// calls it decides.
///
/// # What the suite checks
///
/// All of the above. `flagstore-conformance` runs every case of the contract against any implementation.
pub trait FeatureStoreCore: Debug + Display + Send + Sync + 'static {
    /// Replaces the contents of every kind that is given, regardless of versions, and marks the store
    /// initialized.
    ///
    /// - Kinds that are not given stay as they are. A kind that is given without items becomes empty.
    /// - Without any data at all the store still becomes initialized.
    /// - Half-way, others see what *Atomicity* above says.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](crate::ErrorKind::TooLarge) names [all items](StoreError::items) that do not fit.
    /// Everything else was stored then, what was stored under their keys before is still there, and the
    /// store is initialized. After any other error an atomic store has changed nothing.
    fn init(&self, all_data: &AllData) -> Result<(), StoreError>;

    /// The item of that key, or `None` if the key was never written.
    ///
    /// A deleted item is not missing: its tombstone is returned.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if something is stored there that is not an item.
    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError>;

    /// All items of a kind, tombstones included; none if the kind was never written.
    ///
    /// What cannot be read is left out and reported beside the items, and spoils no other.
    ///
    /// # Errors
    ///
    /// Only where nothing can be read at all.
    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError>;

    /// Stores the item if nothing is stored under its key, or something older.
    ///
    /// - On an equal or older version nothing changes, and the answer carries what is stored.
    /// - Version 0 is stored where nothing is.
    /// - A stored item that cannot be read may be overwritten by any version.
    /// - Others see the old item or the new one, never something between.
    ///
    /// # Errors
    ///
    /// Nothing has changed, except possibly after [`Timeout`](crate::ErrorKind::Timeout).
    /// [`TooLarge`](crate::ErrorKind::TooLarge) if the database cannot hold an item of that size.
    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError>;

    /// Whether any process ever called [`init`](Self::init) on this database and prefix.
    ///
    /// Looks at the database each time, so another process's init is seen.
    ///
    /// # Errors
    ///
    /// When the database cannot tell.
    fn is_initialized(&self) -> Result<bool, StoreError>;

    /// Whether the database answers at all: the cheapest round trip there is.
    fn is_available(&self) -> bool;

    /// The kind of database, as LaunchDarkly calls it in diagnostics: `"Redis"`, `"DynamoDB"`, `"SQLite"`.
    fn describe(&self) -> &'static str;
}

/// What became of an [upsert](FeatureStoreCore::upsert).
// Exhaustive on purpose: there is no third outcome, and a caller should not have to invent one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a stale write changed nothing, and brings the newer item"]
pub enum Upsert {
    /// The item is stored.
    Applied,
    /// Nothing has changed, because this item is stored, and its version is equal or higher.
    Stale(Item),
}

/// What [`get_all`](FeatureStoreCore::get_all) found.
#[derive(Debug, Clone, Default)]
pub struct Items {
    /// The items and tombstones, by key.
    pub by_key: HashMap<String, Item>,
    /// One [`Corrupt`](crate::ErrorKind::Corrupt) error for each stored thing that is not an item.
    pub unreadable: Vec<StoreError>,
}

#[deny(clippy::missing_trait_methods)]
impl<S: FeatureStoreCore + ?Sized> FeatureStoreCore for Arc<S> {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        (**self).init(all_data)
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        (**self).get(kind, key)
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        (**self).get_all(kind)
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        (**self).upsert(kind, key, item)
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        (**self).is_initialized()
    }

    fn is_available(&self) -> bool {
        (**self).is_available()
    }

    fn describe(&self) -> &'static str {
        (**self).describe()
    }
}
