use std::any::type_name;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
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
        (self.run)(&Database { fixture, prefix: random_prefix() })
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
