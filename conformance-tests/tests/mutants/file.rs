use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flagstore_conformance::Fixture;
use flagstore_core::{
    AllData, CachingStoreBuilder, CachingStoreWrapper, Change, ChangeSource, ChangeWatch, ErrorKind,
    FeatureStoreCore, Item, Items, Kind, StoreError, Upsert,
};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::fault::Fault;

const DIRECTORY: &str = "FLAGSTORE_MUTANT_DIRECTORY";

/// A directory with a file for each item, and no thought given to other processes.
pub(crate) struct FileFixture {
    fault: Fault,
    name: String,
    directory: TempDir,
}

impl FileFixture {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { fault, name: format!("{fault:?}"), directory: TempDir::new().unwrap() }
    }
}

impl Fixture for FileFixture {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        let directory = std::env::var_os(DIRECTORY).map_or(self.directory.path().to_owned(), PathBuf::from);
        Ok(Arc::new(FileStore {
            fault: self.fault,
            directory: directory.join(prefix),
            unwritten: Mutex::default(),
        }))
    }

    fn init_is_atomic(&self) -> bool {
        true
    }

    /// They are there, and never tell.
    fn told_of_changes(&self, prefix: &str) -> Option<CachingStoreBuilder> {
        Some(CachingStoreWrapper::builder(self.open(prefix).ok()?).changes(NoChanges))
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn shared_by(&self) -> Option<(&'static str, String)> {
        Some((DIRECTORY, self.directory.path().to_str().unwrap().to_owned()))
    }
}

#[derive(Debug)]
struct NoChanges;

impl ChangeSource for NoChanges {
    fn watch(&self, _on_change: Box<dyn Fn(Change) + Send + Sync>) -> ChangeWatch {
        ChangeWatch::new(())
    }
}

#[derive(Debug)]
struct FileStore {
    fault: Fault,
    directory: PathBuf,
    unwritten: Mutex<Vec<(Kind, String, Item)>>,
}

impl FileStore {
    fn path(&self, kind: &Kind, key: &str) -> PathBuf {
        self.directory.join(kind.as_str()).join(key)
    }

    fn read(&self, kind: &Kind, key: &str) -> Option<Item> {
        Item::parse(fs::read_to_string(self.path(kind, key)).ok()?).ok()
    }

    /// A file is replaced as a whole, so that nothing but the fault goes wrong.
    fn write(&self, kind: &Kind, key: &str, item: &Item) {
        let path = self.path(kind, key);
        let directory = path.parent().unwrap();
        fs::create_dir_all(directory).unwrap();
        let temporary = self.directory.join(format!("{key}.{}", std::process::id()));
        fs::write(&temporary, item.json()).unwrap();
        fs::rename(temporary, path).unwrap();
    }
}

impl FeatureStoreCore for FileStore {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        for (kind, items) in all_data.kinds() {
            items.for_each(|(key, item)| self.write(kind, key, item));
        }
        fs::write(self.directory.join("initialized"), "")
            .map_err(|error| StoreError::new(ErrorKind::Unavailable, "file", "init", error))
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        Ok(self.read(kind, key))
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        let files = fs::read_dir(self.directory.join(kind.as_str())).into_iter().flatten().flatten();
        let keys = files.filter_map(|file| file.file_name().into_string().ok());
        Ok(Items {
            by_key: keys.filter_map(|key| Some((key.clone(), self.read(kind, &key)?))).collect(),
            ..Items::default()
        })
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        if self.fault == Fault::AcknowledgesBeforeItWrites {
            let mut unwritten = self.unwritten.lock();
            unwritten.push((kind.clone(), key.to_owned(), item.clone()));
            if unwritten.len() > 20 {
                unwritten.drain(..).for_each(|(kind, key, item)| self.write(&kind, &key, &item));
            }
            return Ok(Upsert::Applied);
        }
        match self.read(kind, key) {
            Some(current) if current.version() >= item.version() => Ok(Upsert::Stale(current)),
            _ => {
                self.write(kind, key, item);
                Ok(Upsert::Applied)
            }
        }
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        Ok(self.directory.join("initialized").exists())
    }

    fn is_available(&self) -> bool {
        true
    }

    fn describe(&self) -> &'static str {
        "files"
    }
}

impl fmt::Display for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Files")
    }
}
