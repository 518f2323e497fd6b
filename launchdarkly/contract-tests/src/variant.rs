//! How this run of the service differs from others.

use std::env::var;

/// What the environment asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) store: StoreChoice,
    pub(crate) cache: CacheChoice,
}

/// The store of each client: `CONTRACT_TESTS_STORE`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum StoreChoice {
    /// The one that the harness asks for, and memory where it asks for none: ours, or with its cache the SDK's.
    Asked,
    /// Where the harness asks for none, one of these.
    Sqlite,
    Redis,
    DynamoDb,
}

/// Which cache is above the store: `CONTRACT_TESTS_CACHE`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum CacheChoice {
    Ours,
    /// The SDK's.
    Sdk,
    /// The SDK's over ours.
    Both,
    /// Ours, in a data system: our sources fill it, and the client is in daemon mode.
    DataSystem,
}

impl Variant {
    pub(crate) fn from_env() -> Result<Self, String> {
        let store = choose(
            "CONTRACT_TESTS_STORE",
            &[
                ("asked", StoreChoice::Asked),
                ("sqlite", StoreChoice::Sqlite),
                ("redis", StoreChoice::Redis),
                ("dynamodb", StoreChoice::DynamoDb),
            ],
        )?;
        let cache = choose(
            "CONTRACT_TESTS_CACHE",
            &[
                ("ours", CacheChoice::Ours),
                ("sdk", CacheChoice::Sdk),
                ("both", CacheChoice::Both),
                ("system", CacheChoice::DataSystem),
            ],
        )?;
        Ok(Self { store, cache })
    }
}

/// The first is the default.
fn choose<T: Copy>(variable: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let Ok(asked) = var(variable) else { return Ok(choices[0].1) };
    let found = choices.iter().find(|(name, _)| *name == asked);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("{variable} is {asked:?}, and has to be one of: {}", names.join(", "))
    })
}
