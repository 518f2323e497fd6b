//! The contract once more, through a cache.

use std::collections::HashMap;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use flagstore_core::{
    AllData, CacheMode, CachingStoreWrapper, FeatureStore, FeatureStoreCore, Item, Items, Kind, StoreError,
    Upsert,
};
use parking_lot::Mutex;

use crate::cases;
use crate::{Case, Fixture, run};

/// Another fixture with a cache above its stores, for the cases of the contract: a cache must not break them.
///
/// It is named `<name>_uncached`, `<name>_cached` or `<name>_cached_forever`, and all handles of a prefix share
/// one [`CachingStoreWrapper`], as the threads of one process do. A cache does not see what other processes
/// write until an entry's time is over, so the cases between processes run only without one.
///
/// With [`CacheMode::Forever`] a write that the database has not taken stays in the cache. That is what this
/// mode is for, and not what the contract of a store says, so the cases of unreachable databases and of items
/// that are too large do not run with it.
pub fn cached(fixture: impl Fixture, mode: CacheMode) -> impl Fixture {
    let suffix = match mode {
        CacheMode::Off => "uncached",
        CacheMode::For(_) => "cached",
        _ => "cached_forever",
    };
    let name = format!("{}_{suffix}", fixture.name());
    Cached { fixture, mode, name, wrappers: Mutex::default() }
}

/// Runs a fixture as it is, and the cases of the contract once more under a cache in each of its modes.
///
/// As [`run()`], this is a test's `main`.
#[must_use]
pub fn run_in_every_mode<F: Fixture>(fixture: impl Fn() -> F) -> ExitCode {
    let cached = |mode| Box::new(cached(fixture(), mode)) as Box<dyn Fixture>;
    run([
        Box::new(fixture()),
        cached(CacheMode::Off),
        cached(CacheMode::For(Duration::from_secs(15))),
        cached(CacheMode::Forever),
    ])
}

struct Cached<F> {
    fixture: F,
    mode: CacheMode,
    name: String,
    wrappers: Mutex<HashMap<String, CachingStoreWrapper>>,
}

impl<F: Fixture> Cached<F> {
    fn wrap(&self, core: Arc<dyn FeatureStoreCore>) -> Result<CachingStoreWrapper, StoreError> {
        // The polls of one case must not outlive it by much.
        CachingStoreWrapper::builder(core).mode(self.mode).poll_interval(Duration::from_millis(50)).build()
    }

    /// For a store that no other handle shares.
    fn adapt(&self, core: Arc<dyn FeatureStoreCore>) -> Arc<dyn FeatureStoreCore> {
        let wrapper = self.wrap(core);
        Arc::new(Adapter(wrapper.unwrap_or_else(|error| panic!("cannot wrap the store: {error}"))))
    }

    fn writes_may_fail(&self) -> bool {
        self.mode != CacheMode::Forever
    }
}

impl<F: Fixture> Fixture for Cached<F> {
    fn name(&self) -> &str {
        &self.name
    }

    fn cases(&self) -> Vec<Case> {
        let brings_a_cache = |case: &Case| case.name().starts_with("changes::");
        // Of an outage the wrapper's log tells, so that no store has to.
        let tells = |case: &Case| case.name() == "errors::unreachable_store_logs_nothing_above_debug";
        // A lasting cache goes on with what it had.
        let may_fail = |case: &Case| {
            case.name().starts_with("size::too_large")
                || case.name() == "unreadable::item_is_an_error_that_names_it"
        };
        let is_kept = |case: &Case| {
            !brings_a_cache(case) && !tells(case) && (self.writes_may_fail() || !may_fail(case))
        };
        cases::core().into_iter().filter(is_kept).collect()
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        let mut wrappers = self.wrappers.lock();
        if let Some(wrapper) = wrappers.get(prefix) {
            return Ok(Arc::new(Adapter(wrapper.clone())));
        }
        let wrapper = self.wrap(self.fixture.open(prefix)?)?;
        wrappers.insert(prefix.to_owned(), wrapper.clone());
        Ok(Arc::new(Adapter(wrapper)))
    }

    fn init_is_atomic(&self) -> bool {
        self.fixture.init_is_atomic()
    }

    fn ready(&self) -> Result<(), String> {
        self.fixture.ready()
    }

    fn shared_by(&self) -> Option<(&'static str, String)> {
        if self.mode == CacheMode::Off { self.fixture.shared_by() } else { None }
    }

    fn open_unreachable(&self) -> Option<Arc<dyn FeatureStoreCore>> {
        if !self.writes_may_fail() {
            return None;
        }
        Some(self.adapt(self.fixture.open_unreachable()?))
    }

    fn open_silent(&self) -> Option<(Arc<dyn FeatureStoreCore>, Duration)> {
        if !self.writes_may_fail() {
            return None;
        }
        let (store, deadline) = self.fixture.open_silent()?;
        Some((self.adapt(store), deadline))
    }

    fn corrupt(&self, prefix: &str, kind: &Kind, key: &str) -> Option<()> {
        self.fixture.corrupt(prefix, kind, key)?;
        if let Some(wrapper) = self.wrappers.lock().get(prefix) {
            wrapper.invalidate_all();
        }
        Some(())
    }

    fn too_large(&self) -> Option<usize> {
        self.fixture.too_large()
    }

    fn secrets(&self) -> Vec<String> {
        self.fixture.secrets()
    }

    fn clean_up(&self, prefix: &str) {
        self.wrappers.lock().retain(|opened, _| !opened.starts_with(prefix));
        self.fixture.clean_up(prefix);
    }

    fn deadline(&self) -> Duration {
        self.fixture.deadline()
    }

    fn patience(&self) -> Duration {
        self.fixture.patience()
    }
}

/// A cache as a store: what it hides or leaves out, the store below adds.
struct Adapter(CachingStoreWrapper);

impl FeatureStoreCore for Adapter {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        self.0.init(all_data)
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        match self.0.get(kind, key)? {
            Some(item) => Ok(Some(item)),
            None => Ok(self.0.core().get(kind, key)?.filter(Item::is_deleted)),
        }
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        let live = self.0.all(kind)?;
        let Items { by_key, unreadable } = self.0.core().get_all(kind)?;
        let tombstones = by_key.into_iter().filter(|(_, item)| item.is_deleted());
        let live = live.iter().map(|(key, item)| (key.to_owned(), item.clone()));
        Ok(Items { by_key: tombstones.chain(live).collect(), unreadable })
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        self.0.upsert(kind, key, item)
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        // The wrapper takes an error for no, and this contract does not.
        if self.0.initialized() { Ok(true) } else { self.0.core().is_initialized() }
    }

    fn is_available(&self) -> bool {
        self.0.core().is_available()
    }

    fn describe(&self) -> &'static str {
        self.0.core().describe()
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
