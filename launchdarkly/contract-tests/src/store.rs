//! The data store of a client: which of ours, and below which cache.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use flagstore_core::{CacheMode, CachingStoreWrapper, FeatureStoreCore, MemoryStore};
use flagstore_dynamodb::DynamoDbStore;
use flagstore_dynamodb::aws_sdk_dynamodb::config::Credentials;
use flagstore_launchdarkly::{DataSystem, DataSystemBuilder, cached_data_store, data_store};
use flagstore_redis::RedisStore;
use flagstore_sqlite::SqliteStore;
use launchdarkly_server_sdk::PersistentDataStoreBuilder;

use crate::config::{self, PersistentDataStore};
use crate::variant::{CacheChoice, StoreChoice, Variant};

/// The harness' table for DynamoDB.
const TABLE: &str = "sdk-contract-tests";
/// Where the harness expects its databases, and so where they are in every variant.
const REDIS: &str = "redis://localhost:6379";
const DYNAMODB: &str = "http://localhost:8000";

/// The store that the harness asks for, or that the variant wants where it asks for none, and the mode of the caches
/// above it. `None` for the SDK's own.
pub(crate) fn choose(
    variant: Variant,
    asked: Option<&PersistentDataStore>,
) -> Result<Option<Chosen>, String> {
    match asked {
        Some(PersistentDataStore { store, cache }) => {
            let prefix = store.prefix.as_deref().unwrap_or_default();
            Ok(Some(Chosen { store: open(&store.r#type, &store.dsn, prefix)?, mode: mode(cache)? }))
        }
        None => Ok(forced(variant.store)?.map(Chosen::unasked)),
    }
}

/// A store, bare, and how it is to be cached.
pub(crate) struct Chosen {
    store: Arc<dyn FeatureStoreCore>,
    mode: CacheMode,
}

impl Chosen {
    /// With the mode that is the default of all caches.
    fn unasked(store: Arc<dyn FeatureStoreCore>) -> Self {
        Self { store, mode: CacheMode::For(Duration::from_secs(15)) }
    }

    pub(crate) fn memory() -> Self {
        Self::unasked(Arc::new(MemoryStore::new()))
    }

    /// In a data system. Where nobody asked for a mode, it is the one of data systems.
    pub(crate) fn data_system(self, asked: bool) -> DataSystemBuilder {
        let builder = DataSystem::builder(self.store);
        if asked { builder.cache(move |cache| cache.mode(self.mode)) } else { builder }
    }

    /// Below our cache.
    pub(crate) fn cached(self) -> Result<CachingStoreWrapper, String> {
        CachingStoreWrapper::builder(self.store).mode(self.mode).build().map_err(|error| error.to_string())
    }

    /// Below the SDK's cache, and ours too if both are wanted.
    pub(crate) fn data_store(self, cache: CacheChoice) -> Result<PersistentDataStoreBuilder, String> {
        let mode = self.mode;
        let mut builder = if cache == CacheChoice::Both {
            cached_data_store(self.cached()?)
        } else {
            data_store(self.store)
        };
        match mode {
            CacheMode::Off => builder.no_caching(),
            CacheMode::For(time) => builder.cache_time(time),
            CacheMode::Forever => builder.cache_forever(),
            mode => return Err(format!("the SDK's cache has no mode {mode:?}")),
        };
        Ok(builder)
    }
}

fn mode(cache: &config::Cache) -> Result<CacheMode, String> {
    Ok(match (cache.mode, cache.ttl) {
        (config::CacheMode::Off, _) => CacheMode::Off,
        (config::CacheMode::Infinite, _) => CacheMode::Forever,
        (config::CacheMode::Ttl, Some(seconds)) => CacheMode::For(Duration::from_secs(seconds)),
        (config::CacheMode::Ttl, None) => return Err("cache mode ttl without a ttl".to_owned()),
    })
}

/// A store that nobody has asked for shares its data with none.
fn forced(choice: StoreChoice) -> Result<Option<Arc<dyn FeatureStoreCore>>, String> {
    let prefix = format!("forced-{:016x}", RandomState::new().hash_one(0));
    Ok(Some(match choice {
        StoreChoice::Asked => return Ok(None),
        StoreChoice::Sqlite => Arc::new(SqliteStore::in_memory().build().map_err(|error| error.to_string())?),
        StoreChoice::Redis => open("redis", REDIS, &prefix)?,
        StoreChoice::DynamoDb => open("dynamodb", DYNAMODB, &prefix)?,
    }))
}

fn open(kind: &str, dsn: &str, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, String> {
    match kind {
        "redis" => {
            let store = RedisStore::builder().url(dsn).prefix(prefix).build();
            Ok(Arc::new(store.map_err(|error| error.to_string())?))
        }
        "dynamodb" => {
            let store = DynamoDbStore::builder(TABLE)
                .endpoint(dsn)
                .region("us-east-1")
                .credentials_provider(Credentials::new(
                    "dummy",
                    "dummy",
                    Some("dummy".to_owned()),
                    None,
                    "tests",
                ))
                .prefix(prefix)
                .build()
                .map_err(|error| error.to_string())?;
            store.create_table_if_missing().map_err(|error| error.to_string())?;
            Ok(Arc::new(store))
        }
        other => Err(format!("there is no store of the type {other:?}")),
    }
}
