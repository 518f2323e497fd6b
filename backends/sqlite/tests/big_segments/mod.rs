//! Plugs Big Segments into the suite.

use std::sync::Arc;

use flagstore_conformance::BigSegmentsFixture;
use flagstore_core::{BigSegmentUpdates, StoreError, UnixMillis};
use flagstore_sqlite::SqliteStore;
use flagstore_sqlite::rusqlite::{Connection, Params};
use tempfile::TempDir;

use crate::Sqlite;

impl Sqlite {
    fn write(&self, sql: &str, params: impl Params) {
        drop(SqliteStore::builder(self.file()).build().expect("the tables"));
        let connection = Connection::open(self.file()).expect("the database");
        connection.busy_timeout(std::time::Duration::from_secs(60)).expect("a timeout");
        connection.execute(sql, params).expect("a write");
    }
}

impl BigSegmentsFixture for Sqlite {
    fn open(&self, prefix: &str) -> Result<Arc<dyn BigSegmentUpdates>, StoreError> {
        Ok(Arc::new(SqliteStore::builder(self.file()).prefix(prefix).build()?))
    }

    fn put_membership(&self, prefix: &str, context_hash: &str, included: &[&str], excluded: &[&str]) {
        let lists = [(included, 1), (excluded, 0)];
        let rows = lists.iter().flat_map(|(list, included)| list.iter().map(move |item| (item, included)));
        let values: Vec<_> = rows.map(|(item, included)| format!("(?1, ?2, '{item}', {included})")).collect();
        let sql = format!("INSERT OR IGNORE INTO big_segments_members VALUES {}", values.join(", "));
        self.write(&sql, [prefix, context_hash]);
    }

    fn put_metadata(&self, prefix: &str, synchronized_on: UnixMillis) {
        let sql = "INSERT INTO big_segments_metadata (prefix, synchronized_on) VALUES (?1, ?2)
                   ON CONFLICT DO UPDATE SET synchronized_on = excluded.synchronized_on";
        self.write(sql, (prefix, i64::try_from(synchronized_on.0).expect("a time")));
    }

    fn open_unreachable(&self) -> Option<Arc<dyn BigSegmentUpdates>> {
        let folder = TempDir::new().expect("a temporary folder");
        let store = SqliteStore::builder(folder.path().join("flags.db")).build().expect("a store");
        folder.close().expect("the folder is gone");
        Some(Arc::new(store))
    }

    fn corrupt(&self, prefix: &str, context_hash: &str) -> Option<()> {
        let sql = "INSERT INTO big_segments_members VALUES (?1, ?2, CAST(x'80' AS TEXT), 1)";
        self.write(sql, [prefix, context_hash]);
        Some(())
    }
    fn corrupt_metadata(&self, prefix: &str) -> Option<()> {
        let sql = "INSERT INTO big_segments_metadata (prefix, synchronized_on) VALUES (?1, -5)";
        self.write(sql, [prefix]);
        Some(())
    }
}
