//! Plugs the store into the suite.

mod big_segments;

use std::{process::ExitCode, sync::Arc, time::Duration};

use flagstore_conformance::{BigSegmentsFixture, Fixture, run_in_every_mode};
use flagstore_core::{CachingStoreBuilder, CachingStoreWrapper, FeatureStoreCore, Kind, StoreError};
use flagstore_sqlite::{SqliteStore, rusqlite::Connection, rusqlite::limits::Limit};

const FILE: &str = "FLAGSTORE_SQLITE_FILE";
const LIMIT: i32 = 2_000_000;
/// One file, in a folder of its own or that of the process that started this one.
struct Sqlite(tempfile::TempDir);
impl Sqlite {
    fn file(&self) -> String {
        std::env::var(FILE).unwrap_or_else(|_| self.0.path().join("flags.db").display().to_string())
    }
}

impl Fixture for Sqlite {
    fn name(&self) -> &str {
        "sqlite"
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        let limit = |to: &Connection| to.set_limit(Limit::SQLITE_LIMIT_LENGTH, LIMIT).map(drop);
        Ok(Arc::new(SqliteStore::builder(self.file()).prefix(prefix).configure(limit).build()?))
    }

    fn init_is_atomic(&self) -> bool {
        true
    }

    fn shared_by(&self) -> Option<(&'static str, String)> {
        Some((FILE, self.file()))
    }

    fn told_of_changes(&self, prefix: &str) -> Option<CachingStoreBuilder> {
        let store = SqliteStore::builder(self.file()).prefix(prefix).build().ok()?;
        let changes = store.changes(Duration::from_millis(5));
        Some(CachingStoreWrapper::builder(store).changes(changes))
    }

    fn open_unreachable(&self) -> Option<Arc<dyn FeatureStoreCore>> {
        Some(Arc::new(SqliteStore::builder("/no/such/folder/flags.db").build().ok()?))
    }

    fn corrupt(&self, prefix: &str, kind: &Kind, key: &str) -> Option<()> {
        let set = "UPDATE items SET json = CAST(x'80' AS TEXT) WHERE prefix = ?1 AND kind = ?2 AND key = ?3";
        let changed = Connection::open(self.file()).ok()?.execute(set, [prefix, kind.as_str(), key]);
        (changed == Ok(1)).then_some(())
    }

    fn big_segments(&self) -> Option<&dyn BigSegmentsFixture> {
        Some(self)
    }

    fn too_large(&self) -> Option<usize> {
        usize::try_from(LIMIT).ok()
    }
}

fn main() -> ExitCode {
    run_in_every_mode(|| Sqlite(tempfile::TempDir::new().expect("a temporary folder")))
}
