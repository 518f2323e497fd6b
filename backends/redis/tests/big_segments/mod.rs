//! Plugs Big Segments into the suite.

use std::sync::Arc;

use flagstore_conformance::BigSegmentsFixture;
use flagstore_core::{BigSegmentUpdates, StoreError, UnixMillis};
use flagstore_redis::RedisStore;
use flagstore_redis::redis::{Client, Cmd, cmd};

use crate::service::Service;

impl Service {
    pub(crate) fn run(&self, command: &Cmd) {
        let client = Client::open(self.url.as_deref().unwrap()).unwrap();
        command.exec(&mut client.get_connection().unwrap()).unwrap();
    }
}

impl BigSegmentsFixture for Service {
    fn open(&self, prefix: &str) -> Result<Arc<dyn BigSegmentUpdates>, StoreError> {
        Ok(Arc::new(RedisStore::builder().url(self.url.as_deref().unwrap()).prefix(prefix).build()?))
    }

    fn put_membership(&self, prefix: &str, context_hash: &str, included: &[&str], excluded: &[&str]) {
        for (list, name) in [(included, "include"), (excluded, "exclude")] {
            if !list.is_empty() {
                self.run(cmd("SADD").arg(format!("{prefix}:big_segment_{name}:{context_hash}")).arg(list));
            }
        }
    }

    fn put_metadata(&self, prefix: &str, synchronized_on: UnixMillis) {
        let key = format!("{prefix}:big_segments_synchronized_on");
        self.run(cmd("SET").arg(key).arg(synchronized_on.to_string()));
    }

    fn open_unreachable(&self) -> Option<Arc<dyn BigSegmentUpdates>> {
        Some(Arc::new(RedisStore::builder().url("redis://:pa55@127.0.0.1:1").build().unwrap()))
    }

    fn corrupt(&self, prefix: &str, context_hash: &str) -> Option<()> {
        self.run(cmd("SADD").arg(format!("{prefix}:big_segment_include:{context_hash}")).arg(b"\x80"));
        Some(())
    }
    fn corrupt_metadata(&self, prefix: &str) -> Option<()> {
        self.run(cmd("SET").arg(format!("{prefix}:big_segments_synchronized_on")).arg(""));
        Some(())
    }
}
