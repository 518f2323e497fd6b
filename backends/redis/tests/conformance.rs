//! Plugs the store into the suite.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

mod big_segments;
mod service;

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use flagstore_conformance::{BigSegmentsFixture, Fixture, run_in_every_mode};
use flagstore_core::{CachingStoreBuilder, CachingStoreWrapper, FeatureStoreCore, Kind, StoreError};
use flagstore_redis::RedisStore;
use flagstore_redis::redis::cmd;
use service::{Service, URL};

/// The deadline of calls to a database that is silent.
const SHORT: Duration = Duration::from_millis(300);

/// The system accepts connections for it, and nobody ever reads from them.
static SILENT: LazyLock<TcpListener> = LazyLock::new(|| TcpListener::bind("127.0.0.1:0").unwrap());

impl Service {
    fn url(&self) -> &str {
        self.url.as_deref().unwrap()
    }
}

impl Fixture for Service {
    fn name(&self) -> &str {
        "redis"
    }

    fn ready(&self) -> Result<(), String> {
        self.url.clone().map(drop)
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        Ok(Arc::new(RedisStore::builder().url(self.url()).prefix(prefix).build()?))
    }

    fn init_is_atomic(&self) -> bool {
        true
    }

    fn shared_by(&self) -> Option<(&'static str, String)> {
        Some((URL, self.url().to_owned()))
    }

    fn told_of_changes(&self, prefix: &str) -> Option<CachingStoreBuilder> {
        let store = RedisStore::builder().url(self.url()).prefix(prefix).build().unwrap();
        let changes = store.changes();
        Some(CachingStoreWrapper::builder(store).changes(changes))
    }

    fn open_unreachable(&self) -> Option<Arc<dyn FeatureStoreCore>> {
        Some(Arc::new(RedisStore::builder().url("redis://:pa55@127.0.0.1:1").build().unwrap()))
    }

    fn open_silent(&self) -> Option<(Arc<dyn FeatureStoreCore>, Duration)> {
        let url = format!("redis://{}", SILENT.local_addr().unwrap());
        let builder = RedisStore::builder().url(url).timeout(SHORT).connect_timeout(SHORT);
        Some((Arc::new(builder.init_timeout(SHORT).build().unwrap()), SHORT))
    }

    fn open_refused(&self, prefix: &str, kind: &Kind) -> Option<Arc<dyn FeatureStoreCore>> {
        // A user for each prefix and kind, who may read and write the other one and the mark.
        let user = format!("{prefix}-{kind}");
        let other = if *kind == Kind::FEATURES { Kind::SEGMENTS } else { Kind::FEATURES };
        let mut set_user = cmd("ACL");
        set_user.arg(&["SETUSER", &user, "reset", "on", ">pa55", "+@all"]);
        self.run(set_user.arg(format!("~{prefix}:{other}")).arg(format!("~{prefix}:$inited")));
        let (_, server) = self.url().split_once("://").unwrap();
        let server = server.rsplit_once('@').map_or(server, |(_, server)| server);
        let url = format!("redis://{user}:pa55@{server}");
        Some(Arc::new(RedisStore::builder().url(url).prefix(prefix).build().unwrap()))
    }

    fn clean_up(&self, prefix: &str) {
        let users = [Kind::FEATURES, Kind::SEGMENTS].map(|kind| format!("{prefix}-{kind}"));
        self.run(cmd("ACL").arg("DELUSER").arg(&users));
    }

    fn corrupt(&self, prefix: &str, kind: &Kind, key: &str) -> Option<()> {
        self.run(cmd("HSET").arg(format!("{prefix}:{kind}")).arg(key).arg(b"{\"version\":5,\x80"));
        Some(())
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
