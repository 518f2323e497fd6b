use std::any::type_name;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{AllData, FeatureStoreCore, Item, Kind};

use crate::Fixture;

/// One rule of the contract, as a test of one idea.
pub struct Case {
    name: &'static str,
    run: Run,
}

type Run = Box<dyn Fn(&Database<'_>) -> Result<(), Skip> + Send + Sync>;

impl Case {
    /// A case named after the function, which panics where the store breaks the rule.
    pub(crate) fn new<F, R>(run: F) -> Self
    where
        F: Fn(&Database<'_>) -> R + Send + Sync + 'static,
        R: IntoOutcome,
    {
        let path = type_name::<F>();
        let name = path.split_once("::cases::").map_or(path, |(_, name)| name);
        Self { name, run: Box::new(move |database| run(database).into_outcome()) }
    }

    /// A case of somebody else's, which is given the fixture and a prefix that nobody else uses, and panics where the
    /// store breaks the rule.
    pub fn of(
        name: &'static str,
        run: impl Fn(&dyn Fixture, &str) -> Result<(), Skip> + Send + Sync + 'static,
    ) -> Self {
        Self { name, run: Box::new(move |database| run(database.fixture, &database.prefix)) }
    }

    /// The name, `module::rule_as_a_sentence`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs it on a prefix of its own.
    ///
    /// # Errors
    ///
    /// Why it does not apply to this fixture.
    ///
    /// # Panics
    ///
    /// When the store breaks the rule.
    pub fn run(&self, fixture: &dyn Fixture) -> Result<(), Skip> {
        let database = Database { fixture, prefix: random_prefix() };
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.run)(&database)));
        // Whatever became of the case. Should this panic too, it is the next thing to be said.
        fixture.clean_up(&database.prefix);
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Why a case does not apply to a fixture.
#[derive(Debug, Clone)]
pub struct Skip(pub &'static str);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Skip {}

/// Lets the many cases that always apply return nothing.
pub(crate) trait IntoOutcome {
    fn into_outcome(self) -> Result<(), Skip>;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Result<(), Skip> {
        Ok(())
    }
}

impl IntoOutcome for Result<(), Skip> {
    fn into_outcome(self) -> Self {
        self
    }
}

/// The database under test, with a prefix that nobody else uses.
pub(crate) struct Database<'a> {
    pub(crate) fixture: &'a dyn Fixture,
    pub(crate) prefix: String,
}

impl Database<'_> {
    /// A new handle on the case's own prefix.
    pub(crate) fn open(&self) -> Arc<dyn FeatureStoreCore> {
        self.open_prefix(&self.prefix)
    }

    /// A new handle on another prefix.
    pub(crate) fn open_prefix(&self, prefix: &str) -> Arc<dyn FeatureStoreCore> {
        open(self.fixture, prefix)
    }
}

pub(crate) fn open(fixture: &dyn Fixture, prefix: &str) -> Arc<dyn FeatureStoreCore> {
    fixture.open(prefix).unwrap_or_else(|error| panic!("cannot open the store: {error}"))
}

fn random_prefix() -> String {
    // Each hasher is keyed randomly, so this is a random number without a crate for it.
    format!("flagstore-test-{:016x}", RandomState::new().build_hasher().finish())
}

/// A small live item. Its text tells items of one key and version apart by `note`.
pub(crate) fn item(key: &str, version: u64, note: &str) -> Item {
    parse(&format!(r#"{{"key":{key:?},"version":{version},"on":true,"note":{note:?}}}"#))
}

/// The tombstone of that key.
pub(crate) fn tombstone(key: &str, version: u64) -> Item {
    Item::tombstone(key, version).unwrap_or_else(|error| panic!("the suite's own tombstone: {error}"))
}

pub(crate) fn parse(json: &str) -> Item {
    Item::parse(json).unwrap_or_else(|error| panic!("the suite's own item {json}: {error}"))
}

/// Flags alone, as data for an init.
pub(crate) fn flags<'a>(items: impl IntoIterator<Item = (&'a str, Item)>) -> AllData {
    AllData::new().with(Kind::FEATURES, items)
}

/// What the contract's methods return, without the error: a case that expects one asks the store itself.
pub(crate) trait Succeed<T> {
    fn succeed(self) -> T;
}

impl<T> Succeed<T> for Result<T, flagstore_core::StoreError> {
    #[track_caller]
    fn succeed(self) -> T {
        self.unwrap_or_else(|error| panic!("unexpected error: {error}"))
    }
}

/// Waits until something holds, and no longer than that.
pub(crate) fn wait_for(patience: Duration, what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use flagstore_core::{MemoryStore, StoreError};

    use super::*;

    #[derive(Default)]
    struct Tidy(Mutex<Vec<String>>);

    impl Fixture for Tidy {
        fn name(&self) -> &str {
            "tidy"
        }

        fn open(&self, _: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
            Ok(Arc::new(MemoryStore::new()))
        }

        fn init_is_atomic(&self) -> bool {
            true
        }

        fn clean_up(&self, prefix: &str) {
            self.0.lock().unwrap().push(prefix.to_owned());
        }
    }

    /// Somebody else's case gets the fixture and a prefix, which is cleaned up whatever becomes of the case.
    #[test]
    fn a_case_is_cleaned_up_after() {
        let tidy = Tidy::default();
        let passing =
            Case::of("own::passes", |fixture, prefix| fixture.open(prefix).map(drop).map_err(|_| Skip("")));
        assert_eq!((passing.name(), passing.run(&tidy).is_ok()), ("own::passes", true));
        let failing = Case::of("own::fails", |_, prefix| panic!("{prefix}"));
        let panic = catch_unwind(AssertUnwindSafe(|| failing.run(&tidy))).unwrap_err();
        let cleaned = tidy.0.lock().unwrap();
        assert_eq!((cleaned.len(), panic.downcast_ref::<String>()), (2, cleaned.last()));
    }
}
