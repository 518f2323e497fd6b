//! Plugs the store into the suite.

use std::process::ExitCode;
use std::sync::Arc;

use flagstore_conformance::{Fixture, run_in_every_mode};
use flagstore_core::{FeatureStoreCore, Kind, StoreError};
use flagstore_sqlite::SqliteStore;
use flagstore_sqlite::rusqlite::{Connection, limits::Limit};
use tempfile::TempDir;

const FILE: &str = "FLAGSTORE_SQLITE_FILE";
const LIMIT: i32 = 2_000_000;

/// One file, in a folder of its own or that of the process that started this one.
struct Sqlite(TempDir);

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

    fn open_unreachable(&self) -> Option<Arc<dyn FeatureStoreCore>> {
        let folder = TempDir::new().ok()?; // It ends with this function, and the database with it.
        Some(Arc::new(SqliteStore::builder(folder.path().join("flags.db")).build().ok()?))
    }

    fn corrupt(&self, prefix: &str, kind: &Kind, key: &str) -> Option<()> {
        let set = "UPDATE items SET json = CAST(x'80' AS TEXT) WHERE prefix = ?1 AND kind = ?2 AND key = ?3";
        let changed = Connection::open(self.file()).ok()?.execute(set, [prefix, kind.as_str(), key]);
        (changed == Ok(1)).then_some(())
    }

    fn too_large(&self) -> Option<usize> {
        usize::try_from(LIMIT).ok()
    }
}

fn main() -> ExitCode {
    run_in_every_mode(|| Sqlite(TempDir::new().expect("a temporary folder")))
}
