//! Plugs the store into the suite.

mod big_segments;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flagstore_conformance::{BigSegmentsFixture, Fixture, run_in_every_mode};
use flagstore_core::{CachingStoreBuilder, CachingStoreWrapper, FeatureStoreCore, Kind, StoreError};
use flagstore_sqlite::rusqlite::{Connection, limits::Limit};
use flagstore_sqlite::{SqliteStore, SqliteStoreBuilder};
use tempfile::TempDir;

const FILE: &str = "FLAGSTORE_SQLITE_FILE";
const LIMIT: i32 = 2_000_000;
/// The deadline of calls to a database that is locked.
const SHORT: Duration = Duration::from_millis(200);

/// One file, in a folder of its own or that of the process that started this one.
struct Sqlite {
    folder: TempDir,
    /// Connections that keep databases for themselves, in folders of their own.
    locks: Mutex<Vec<(Connection, TempDir)>>,
}

impl Sqlite {
    fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder"), locks: Mutex::default() }
    }

    fn file(&self) -> String {
        std::env::var(FILE).unwrap_or_else(|_| self.folder.path().join("flags.db").display().to_string())
    }

    fn builder(&self, prefix: &str) -> SqliteStoreBuilder {
        SqliteStore::builder(self.file()).prefix(prefix)
    }
}

impl Fixture for Sqlite {
    fn name(&self) -> &str {
        "sqlite"
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        let limit = |to: &Connection| to.set_limit(Limit::SQLITE_LIMIT_LENGTH, LIMIT).map(drop);
        Ok(Arc::new(self.builder(prefix).configure(limit).build()?))
    }

    fn init_is_atomic(&self) -> bool {
        true
    }

    fn shared_by(&self) -> Option<(&'static str, String)> {
        Some((FILE, self.file()))
    }

    fn told_of_changes(&self, prefix: &str) -> Option<CachingStoreBuilder> {
        let store = self.builder(prefix).build().expect("a store");
        let changes = store.changes(Duration::from_millis(5));
        Some(CachingStoreWrapper::builder(store).changes(changes))
    }

    fn open_unreachable(&self) -> Option<Arc<dyn FeatureStoreCore>> {
        let folder = TempDir::new().expect("a temporary folder");
        let store = SqliteStore::builder(folder.path().join("flags.db")).build().expect("a store");
        folder.close().expect("the folder is gone");
        Some(Arc::new(store))
    }

    fn open_silent(&self) -> Option<(Arc<dyn FeatureStoreCore>, Duration)> {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("flags.db");
        let builder = SqliteStore::builder(&file).timeout(SHORT).init_timeout(SHORT);
        let store = builder.build().expect("a store");
        // Whoever has the database for himself has to be the first to open it, so it is another one by now.
        for suffix in ["", "-wal", "-shm"] {
            std::fs::remove_file(format!("{}{suffix}", file.display())).expect("the file was there");
        }
        let lock = Connection::open(file).expect("a database");
        lock.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").expect("a lock");
        self.locks.lock().expect("nobody panics with it").push((lock, folder));
        Some((Arc::new(store), SHORT))
    }

    fn open_refused(&self, prefix: &str, kind: &Kind) -> Option<Arc<dyn FeatureStoreCore>> {
        // A temporary trigger is its connection's own.
        let trigger = format!(
            "CREATE TEMP TRIGGER refuse BEFORE INSERT ON main.items WHEN NEW.kind = '{kind}'
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        );
        let refuse = move |to: &Connection| to.execute_batch(&trigger);
        Some(Arc::new(self.builder(prefix).configure(refuse).build().expect("a store")))
    }

    fn corrupt(&self, prefix: &str, kind: &Kind, key: &str) -> Option<()> {
        let set = "UPDATE items SET json = CAST(x'80' AS TEXT) WHERE prefix = ?1 AND kind = ?2 AND key = ?3";
        let connection = Connection::open(self.file()).expect("the database");
        connection.busy_timeout(Duration::from_secs(60)).expect("a timeout");
        assert_eq!(connection.execute(set, [prefix, kind.as_str(), key]), Ok(1));
        Some(())
    }

    fn big_segments(&self) -> Option<&dyn BigSegmentsFixture> {
        Some(self)
    }

    fn too_large(&self) -> Option<usize> {
        Some(LIMIT as usize)
    }
}

fn main() -> ExitCode {
    run_in_every_mode(Sqlite::new)
}
