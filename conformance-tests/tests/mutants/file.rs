use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use flagstore_conformance::Fixture;
use flagstore_core::{
    AllData, CachingStoreBuilder, CachingStoreWrapper, Change, ChangeSource, ChangeWatch, FeatureStoreCore,
    Item, Items, Kind, StoreError, Upsert,
};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::fault::Fault;

const DIRECTORY: &str = "FLAGSTORE_MUTANT_DIRECTORY";

/// A directory that other processes share. Without a fault it keeps the contract between them, for flags and segments.
pub(crate) struct FileFixture {
    fault: Option<Fault>,
    name: String,
    directory: TempDir,
}

impl FileFixture {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        let name = fault.map_or("files".to_owned(), |fault| format!("{fault:?}"));
        Self { fault, name, directory: TempDir::new().unwrap() }
    }

    fn store(&self, prefix: &str) -> FileStore {
        let directory = std::env::var_os(DIRECTORY).map_or(self.directory.path().to_owned(), PathBuf::from);
        FileStore { fault: self.fault, file: directory.join(prefix), held: Mutex::default() }
    }
}

impl Fixture for FileFixture {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
        Ok(Arc::new(self.store(prefix)))
    }

    fn init_is_atomic(&self) -> bool {
        true
    }

    fn told_of_changes(&self, prefix: &str) -> Option<CachingStoreBuilder> {
        let store = self.store(prefix);
        let changes = FileChanges { file: store.file.clone(), fault: self.fault };
        Some(CachingStoreWrapper::builder(store).changes(changes))
    }

    /// Short where what is waited for never comes.
    fn patience(&self) -> Duration {
        match self.fault {
            Some(Fault::ReportsNoChanges | Fault::AcknowledgesBeforeItWrites) => Duration::from_secs(1),
            _ => Duration::from_secs(60),
        }
    }

    fn shared_by(&self) -> Option<(&'static str, String)> {
        Some((DIRECTORY, self.directory.path().to_str().unwrap().to_owned()))
    }
}

/// Looks every other millisecond whether the file was written.
#[derive(Debug)]
struct FileChanges {
    file: PathBuf,
    fault: Option<Fault>,
}

impl ChangeSource for FileChanges {
    fn watch(&self, on_change: Box<dyn Fn(Change) + Send + Sync>) -> ChangeWatch {
        let guard = Arc::new(());
        if self.fault != Some(Fault::ReportsNoChanges) {
            let (file, alive) = (self.file.clone(), Arc::downgrade(&guard));
            let mut seen = Contents::number_in(&file);
            thread::spawn(move || {
                while alive.strong_count() > 0 {
                    let now = Contents::number_in(&file);
                    if now != seen {
                        seen = now;
                        on_change(Change::Anything);
                    }
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
        ChangeWatch::new(guard)
    }
}

/// What is in a file: a line with the number of this write and whether there was an init, and the data as JSON.
#[derive(Debug, Default)]
struct Contents {
    number: u64,
    initialized: bool,
    data: AllData,
}

impl Contents {
    fn read(file: &Path) -> Self {
        let Ok(text) = fs::read_to_string(file) else { return Self::default() };
        let (first, json) = text.split_once('\n').unwrap();
        let (number, initialized) = first.split_once(' ').unwrap();
        Self {
            number: number.parse().unwrap(),
            initialized: initialized == "true",
            data: AllData::from_json(json).unwrap(),
        }
    }

    fn number_in(file: &Path) -> Option<String> {
        BufReader::new(File::open(file).ok()?).lines().next()?.ok()
    }

    fn item(&self, kind: &Kind, key: &str) -> Option<Item> {
        self.data.items(kind).find(|(of, _)| *of == key).map(|(_, item)| item.clone())
    }

    fn put(&mut self, kind: &Kind, key: &str, item: &Item) {
        let data = std::mem::take(&mut self.data);
        self.data = data.with(kind.clone(), [(key, item.clone())]);
    }

    fn replace(&mut self, kind: &Kind, items: Vec<(String, Item)>) {
        let mut data = AllData::new().with(kind.clone(), items);
        for (other, items) in self.data.kinds().filter(|(other, _)| *other != kind) {
            data = data.with(other.clone(), items.map(|(key, item)| (key.to_owned(), item.clone())));
        }
        self.data = data;
    }
}

/// One file for each prefix, written under a lock and replaced as a whole.
#[derive(Debug)]
struct FileStore {
    fault: Option<Fault>,
    file: PathBuf,
    held: Mutex<Option<Held>>,
}

/// What a store that acknowledges before it writes keeps to itself, and the lock by which nobody else writes meanwhile.
#[derive(Debug)]
struct Held {
    contents: Contents,
    unwritten: usize,
    _lock: Option<File>,
}

impl FileStore {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// A lock against all other handles, here and in other processes, which ends with the process that has it.
    fn lock(&self) -> Option<File> {
        let file = self.file.with_extension("lock");
        let file = File::options().create(true).truncate(false).write(true).open(file).unwrap();
        file.lock().unwrap();
        Some(file)
    }

    /// Does this to what is stored. How many writes may be held back is a matter of the fault.
    fn change<T>(&self, may_hold_back: usize, change: impl FnOnce(&mut Contents) -> T) -> T {
        let mut held = self.held.lock();
        let mut now = held.take().unwrap_or_else(|| {
            let lock = if self.has(Fault::HasNoLockBetweenProcesses) { None } else { self.lock() };
            Held { contents: Contents::read(&self.file), unwritten: 0, _lock: lock }
        });
        let outcome = change(&mut now.contents);
        now.contents.number += 1;
        now.unwritten += 1;
        if now.unwritten <= may_hold_back {
            *held = Some(now);
        } else {
            self.write(&now.contents);
        }
        outcome
    }

    fn write(&self, contents: &Contents) {
        let writer = format!("{}-{:?}", std::process::id(), thread::current().id());
        let temporary = self.file.with_extension(writer);
        let Contents { number, initialized, data } = contents;
        fs::write(&temporary, format!("{number} {initialized}\n{}", data.to_json())).unwrap();
        fs::rename(temporary, &self.file).unwrap();
    }

    fn read<T>(&self, read: impl FnOnce(&Contents) -> T) -> T {
        match &*self.held.lock() {
            Some(held) => read(&held.contents),
            None => read(&Contents::read(&self.file)),
        }
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        if let Some(held) = self.held.get_mut().take() {
            self.write(&held.contents);
        }
    }
}

impl FeatureStoreCore for FileStore {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        let kinds = || {
            let owned = |(key, item): (&str, &Item)| (key.to_owned(), item.clone());
            all_data.kinds().map(move |(kind, items)| (kind, items.map(owned).collect()))
        };
        if self.has(Fault::InitsKindByKind) {
            for (kind, items) in kinds() {
                self.change(0, |contents| contents.replace(kind, items));
            }
        }
        self.change(0, |contents| {
            kinds().for_each(|(kind, items)| contents.replace(kind, items));
            contents.initialized = true;
        });
        Ok(())
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        Ok(self.read(|contents| contents.item(kind, key)))
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        let by_key = self.read(|contents| {
            let items = contents.data.items(kind);
            items.map(|(key, item)| (key.to_owned(), item.clone())).collect()
        });
        Ok(Items { by_key, ..Items::default() })
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        let may_hold_back = if self.has(Fault::AcknowledgesBeforeItWrites) { 20 } else { 0 };
        Ok(self.change(may_hold_back, |contents| match contents.item(kind, key) {
            Some(current) if current.version() >= item.version() => Upsert::Stale(current),
            _ => {
                contents.put(kind, key, item);
                Upsert::Applied
            }
        }))
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        Ok(self.read(|contents| contents.initialized))
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
