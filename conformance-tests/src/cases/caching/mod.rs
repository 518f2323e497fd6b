//! The cache above a store: what it may keep, what it must not, and what it does when the database fails.
//!
//! Every case runs over the fixture's database, with a [`Controlled`] store between the two that fails, waits
//! and loses its data when the case says so.

mod bounds;
mod coalescing;
mod data_loss;
mod disable;
mod expiry;
mod failures;
mod incidents;
mod initialized;
mod listeners;
mod races;
mod reading;
mod recovery;
mod stale;
mod statistics;
mod status;
mod stress;
mod writing;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flagstore_core::{CacheMode, DataStoreStatus, ErrorKind, FeatureStoreCore, Item, Kind, Upsert};

use crate::case::{Case, Database, Succeed, item, wait_for};
use crate::controlled::{Controlled, Gate, Operation};
use crate::{CacheSettings, CachingStore};

pub(super) fn cases() -> Vec<Case> {
    [
        reading::cases(),
        expiry::cases(),
        coalescing::cases(),
        writing::cases(),
        failures::cases(),
        bounds::cases(),
        initialized::cases(),
        statistics::cases(),
        disable::cases(),
        stale::cases(),
        races::cases(),
        stress::cases(),
        status::cases(),
        listeners::cases(),
        recovery::cases(),
        data_loss::cases(),
        incidents::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const HEALTHY: DataStoreStatus = DataStoreStatus { available: true, stale: false };
const UNAVAILABLE: DataStoreStatus = DataStoreStatus { available: false, stale: false };
const STALE: DataStoreStatus = DataStoreStatus { available: true, stale: true };

/// A cache above a database of its own.
struct Setup {
    core: Arc<Controlled>,
    store: Arc<dyn CachingStore>,
    settings: CacheSettings,
    patience: Duration,
}

impl Setup {
    fn new(database: &Database<'_>, settings: CacheSettings) -> Self {
        Self::over(database, settings, empty(database))
    }

    /// The cache above this store.
    fn over(database: &Database<'_>, settings: CacheSettings, inner: Arc<dyn FeatureStoreCore>) -> Self {
        let core = Controlled::new(inner);
        let store = database
            .fixture
            .cache(Arc::new(Arc::clone(&core)), &settings)
            .unwrap_or_else(|error| panic!("cannot build the cache: {error}"));
        Self { core, store, settings, patience: database.fixture.patience() }
    }

    fn get(&self, key: &str) -> Option<Item> {
        self.store.get(&Kind::FEATURES, key).succeed()
    }

    /// The version of a live item.
    fn version(&self, key: &str) -> Option<u64> {
        self.get(key).map(|item| item.version())
    }

    /// The versions of all live items, ordered by key.
    fn all(&self) -> Vec<(String, u64)> {
        let all = self.store.all(&Kind::FEATURES).succeed();
        let mut all: Vec<_> = all.iter().map(|(key, item)| (key.to_string(), item.version())).collect();
        all.sort_unstable();
        all
    }

    /// The version of one item among all.
    fn version_among_all(&self, key: &str) -> Option<u64> {
        self.store.all(&Kind::FEATURES).succeed().get(key).map(Item::version)
    }

    fn upsert(&self, key: &str, version: u64) -> Upsert {
        self.store.upsert(&Kind::FEATURES, key, &item(key, version, "ours")).succeed()
    }

    /// An update that is applied, because nobody has written that version yet.
    fn update(&self, key: &str, version: u64) {
        assert_eq!(self.upsert(key, version), Upsert::Applied, "{self}: {key} {version}");
    }

    /// An update that fails with the error that the store was told to.
    fn upsert_in_vain(&self, key: &str, version: u64) {
        let result = self.store.upsert(&Kind::FEATURES, key, &item(key, version, "ours"));
        assert!(result.is_err(), "{self}: the update cannot have succeeded");
    }

    /// Another process writes to the database.
    fn another_writes(&self, key: &str, version: u64) {
        let written = self.core.inner().upsert(&Kind::FEATURES, key, &item(key, version, "another's"));
        assert_eq!(written.succeed(), Upsert::Applied, "{self}");
    }

    /// The version of what the database has, live or not.
    fn stored(&self, key: &str) -> Option<u64> {
        self.core.inner().get(&Kind::FEATURES, key).succeed().map(|item| item.version())
    }

    /// Does something for which the database must not be asked.
    fn without_the_database<T>(&self, run: impl FnOnce() -> T) -> T {
        let before = self.core.all_calls();
        let result = run();
        assert_eq!(self.core.all_calls(), before, "{self}: the database was asked");
        result
    }

    /// The gate that holds the next call of this operation.
    fn hold(&self, operation: Operation) -> Gate {
        self.core.hold(operation, self.patience)
    }

    /// The database fails, and the cache notices.
    fn begin_outage(&self) {
        self.core.fail(ErrorKind::Unavailable);
        assert!(self.store.get(&Kind::FEATURES, "nobody-has-asked-for-this").is_err(), "{self}");
        assert_eq!(self.store.status(), UNAVAILABLE, "{self}");
    }

    /// The database is back, and the cache has noticed.
    fn end_outage(&self, expected: DataStoreStatus) {
        self.core.heal();
        self.wait_for_status(expected);
    }

    fn wait_for_status(&self, expected: DataStoreStatus) {
        self.wait_for(&format!("status {expected:?}"), || self.store.status() == expected);
    }

    fn wait_for(&self, what: &str, condition: impl Fn() -> bool) {
        wait_for(self.patience, &format!("{self}: {what}"), condition);
    }
}

impl std::fmt::Display for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}

/// A store under a prefix that nobody has used: each mode of a case has its own, and so has what is left after
/// a loss of data.
fn empty(database: &Database<'_>) -> Arc<dyn FeatureStoreCore> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    database.open_prefix(&format!("{}-cache-{number}", database.prefix))
}

fn off() -> CacheSettings {
    CacheSettings::new(CacheMode::Off)
}

/// For so long that nothing expires during a case.
fn finite() -> CacheSettings {
    CacheSettings::new(CacheMode::For(Duration::from_secs(3600)))
}

/// For so short that a case can wait for the end of it.
fn short() -> CacheSettings {
    CacheSettings::new(CacheMode::For(Duration::from_millis(20)))
}

fn forever() -> CacheSettings {
    CacheSettings::new(CacheMode::Forever)
}

fn with_refill() -> CacheSettings {
    CacheSettings { refill: true, ..finite() }
}

/// The modes in which something is cached.
fn caching(database: &Database<'_>) -> [Setup; 2] {
    [finite(), forever()].map(|settings| Setup::new(database, settings))
}

fn every_mode(database: &Database<'_>) -> [Setup; 3] {
    [off(), finite(), forever()].map(|settings| Setup::new(database, settings))
}

/// The modes in which the data is kept for a recovery.
fn keeping(database: &Database<'_>) -> [Setup; 2] {
    [forever(), with_refill()].map(|settings| Setup::new(database, settings))
}
