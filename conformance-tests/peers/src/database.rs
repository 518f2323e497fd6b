//! The databases that are shared.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use flagstore_core::{BigSegmentStore, BigSegmentUpdates, FeatureStoreCore, Kind};
use flagstore_dynamodb::DynamoDbStore;
use flagstore_dynamodb::aws_sdk_dynamodb::config::Credentials;
use flagstore_redis::{RedisChanges, RedisStore};

use crate::wait::{PATIENCE, wait_for};

/// A part of a database that belongs to one test: everything under a prefix of its own.
#[derive(Debug, Clone)]
pub struct Database {
    /// Which of the two it is.
    pub kind: DatabaseKind,
    /// Of the server.
    pub url: String,
    /// Of no meaning for Redis.
    pub table: String,
    /// What belongs to this test alone.
    pub prefix: String,
}

/// The databases that LaunchDarkly's SDKs and the Relay know, and that we do too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum DatabaseKind {
    Redis,
    DynamoDb,
}

impl DatabaseKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Redis, Self::DynamoDb];

    /// The name of the backend.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::DynamoDb => "dynamodb",
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Self::Redis => "FLAGSTORE_REDIS_URL",
            Self::DynamoDb => "FLAGSTORE_DYNAMODB_ENDPOINT",
        }
    }

    /// The server that the environment names, with a new table if it has tables.
    ///
    /// # Errors
    ///
    /// What to do to have one.
    pub fn find(self) -> Result<Database, String> {
        let advice = format!("Run: eval \"$(scripts/services up {})\"", self.name());
        let url = std::env::var(self.variable())
            .map_err(|_| format!("{} is not set. {advice}", self.variable()))?;
        let database = Database { kind: self, url, table: random_name(), prefix: random_name() };
        if self == Self::DynamoDb {
            let created = database.dynamodb().create_table_if_missing();
            created.map_err(|error| format!("{error}. {advice}"))?;
        }
        Ok(database)
    }
}

impl Database {
    /// Another part of the same database, where nothing is yet.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self { prefix: random_name(), ..self.clone() }
    }

    /// Our store, bare.
    #[must_use]
    pub fn store(&self) -> Arc<dyn FeatureStoreCore> {
        match self.kind {
            DatabaseKind::Redis => Arc::new(self.redis()),
            DatabaseKind::DynamoDb => Arc::new(self.dynamodb()),
        }
    }

    /// Our store of Big Segments, bare.
    #[must_use]
    pub fn big_segments(&self) -> Arc<dyn BigSegmentStore> {
        self.big_segment_updates()
    }

    /// The same, for who writes them.
    #[must_use]
    pub fn big_segment_updates(&self) -> Arc<dyn BigSegmentUpdates> {
        match self.kind {
            DatabaseKind::Redis => Arc::new(self.redis()),
            DatabaseKind::DynamoDb => Arc::new(self.dynamodb()),
        }
    }

    /// What Redis tells of the writes of others.
    #[must_use]
    pub fn redis_changes(&self) -> RedisChanges {
        self.redis().changes()
    }

    fn redis(&self) -> RedisStore {
        RedisStore::builder().url(&*self.url).prefix(&*self.prefix).timeout(PATIENCE).build().unwrap()
    }

    fn dynamodb(&self) -> DynamoDbStore {
        DynamoDbStore::builder(&*self.table)
            .endpoint(&*self.url)
            .region("us-east-1")
            .credentials_provider(Credentials::new("dummy", "dummy", None, None, "tests"))
            .prefix(&*self.prefix)
            .timeout(PATIENCE)
            .build()
            .unwrap()
    }

    /// Waits until this version of an item is there, or a higher one.
    ///
    /// # Errors
    ///
    /// That it did not come.
    pub fn wait_for_item(&self, kind: &Kind, key: &str, version: u64) -> Result<(), String> {
        let store = self.store();
        wait_for(&format!("version {version} of {kind}/{key} in {}", self.kind.name()), || {
            let found = store.get(kind, key).ok()??;
            (found.version() >= version).then_some(())
        })
    }
}

/// Of letters and digits, as a table's has to be.
fn random_name() -> String {
    format!("flagstore-peers-{:016x}", RandomState::new().hash_one(0))
}
