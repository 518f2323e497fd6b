//! An SQLite file of its own.

use std::sync::Arc;

use flagstore_conformance::{BigSegmentsFixture, Case, Fixture};
use flagstore_core::{FeatureStoreCore, StoreError};
use flagstore_sqlite::SqliteStore;
use tempfile::TempDir;

use crate::cases;

pub(crate) struct Sqlite {
    file: String,
    /// Open for as long as the cases run, so that none of them is the last to close the file, which deletes its log.
    _open: SqliteStore,
    _folder: TempDir,
}

impl Sqlite {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("flags.db").display().to_string();
        let open = SqliteStore::builder(&file).build().expect("a new database");
        // The handle is connected only when it is used.
        open.is_initialized().expect("a connection");
        Self { file, _open: open, _folder: folder }
    }

    pub(crate) fn file(&self) -> String {
        self.file.clone()
    }
}

impl Fixture for Sqlite {
    fn name(&self) -> &str {
        "sqlite"
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        Ok(Arc::new(SqliteStore::builder(self.file()).prefix(prefix).build()?))
    }

    fn init_is_atomic(&self) -> bool {
        true
    }

    fn big_segments(&self) -> Option<&dyn BigSegmentsFixture> {
        Some(self)
    }

    fn cases(&self) -> Vec<Case> {
        cases::all()
    }
}
