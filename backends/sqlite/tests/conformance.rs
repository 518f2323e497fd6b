//! Plugs the store into the suite.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use flagstore_conformance::{Fixture, run};
use flagstore_core::{FeatureStoreCore, Kind, StoreError};
use flagstore_sqlite::SqliteStore;
use flagstore_sqlite::rusqlite::{Connection, limits::Limit};
use tempfile::TempDir;

const DIRECTORY: &str = "FLAGSTORE_SQLITE_DIRECTORY";
const LIMIT: i32 = 2_000_000;

/// One file, in a directory of its own or of the process that started this one.
struct Sqlite(TempDir);

impl Sqlite {
    fn file(&self) -> PathBuf {
        std::env::var_os(DIRECTORY).map_or(self.0.path().to_owned(), PathBuf::from).join("flags.db")
    }
}

impl Fixture for Sqlite {
    fn name(&self) -> &str {
        "sqlite"
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        let limit =
            |connection: &Connection| connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LIMIT).map(drop);
        Ok(Arc::new(SqliteStore::builder(self.file()).prefix(prefix).configure(limit).build()?))
    }

    fn init_is_atomic(&self) -> bool {
        true
    }

    fn shared_by(&self) -> Option<(&'static str, String)> {
        Some((DIRECTORY, self.0.path().to_str()?.to_owned()))
    }

    fn open_unreachable(&self) -> Option<Arc<dyn FeatureStoreCore>> {
        let directory = TempDir::new().unwrap();
        // The directory goes with the end of this function, and the database with it.
        Some(Arc::new(SqliteStore::builder(directory.path().join("flags.db")).build().unwrap()))
    }

    fn corrupt(&self, prefix: &str, kind: &Kind, key: &str) -> Option<()> {
        let update =
            "UPDATE items SET json = CAST(x'80' AS TEXT) WHERE prefix = ?1 AND kind = ?2 AND key = ?3";
        let changed = Connection::open(self.file()).unwrap().execute(update, [prefix, kind.as_str(), key]);
        (changed.unwrap() == 1).then_some(())
    }

    fn too_large(&self) -> Option<usize> {
        usize::try_from(LIMIT).ok()
    }
}

fn main() -> ExitCode {
    run([Box::new(Sqlite(TempDir::new().unwrap())) as Box<dyn Fixture>])
}
