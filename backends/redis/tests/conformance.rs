//! Plugs the store into the suite.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

mod big_segments;
mod service;

use std::{process::ExitCode, sync::Arc};

use flagstore_conformance::{BigSegmentsFixture, Fixture, run_in_every_mode};
use flagstore_core::{CachingStoreBuilder, CachingStoreWrapper, FeatureStoreCore, Kind, StoreError};
use flagstore_redis::RedisStore;
use flagstore_redis::redis::{Client, cmd};
use service::{Service, URL};

impl Fixture for Service {
    fn name(&self) -> &str {
        "redis"
    }

    fn ready(&self) -> Result<(), String> {
        self.url.clone().map(drop)
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        let url = self.url.as_deref().unwrap();
        Ok(Arc::new(RedisStore::builder().url(url).prefix(prefix).build()?))
    }

    fn init_is_atomic(&self) -> bool {
        true
    }

    fn shared_by(&self) -> Option<(&'static str, String)> {
        Some((URL, self.url.clone().ok()?))
    }

    fn told_of_changes(&self, prefix: &str) -> Option<CachingStoreBuilder> {
        let store = RedisStore::builder().url(self.url.as_deref().ok()?).prefix(prefix).build().ok()?;
        let changes = store.changes();
        Some(CachingStoreWrapper::builder(store).changes(changes))
    }

    fn open_unreachable(&self) -> Option<Arc<dyn FeatureStoreCore>> {
        Some(Arc::new(RedisStore::builder().url("redis://:pa55@127.0.0.1:1").build().unwrap()))
    }

    fn corrupt(&self, prefix: &str, kind: &Kind, key: &str) -> Option<()> {
        let mut connection = Client::open(self.url.as_deref().ok()?).unwrap().get_connection().unwrap();
        let mut hset = cmd("HSET");
        hset.arg(format!("{prefix}:{kind}")).arg(key).arg(b"{\"version\":5,\x80").exec(&mut connection).ok()
    }

    fn big_segments(&self) -> Option<&dyn BigSegmentsFixture> {
        Some(self)
    }

    fn secrets(&self) -> Vec<String> {
        vec!["pa55".to_owned()]
    }
}

fn main() -> ExitCode {
    run_in_every_mode(Service::find)
}
