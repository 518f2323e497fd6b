//! What is particular to SQLite. What holds for every store is in the conformance suite.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

mod big_segments;
mod changes;
mod configuration;
mod files;
mod read_only;
mod sharing;
mod situations;
mod stored;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flagstore_core::{AllData, ErrorKind, FeatureStoreCore, Item, Kind, StoreError};
use flagstore_sqlite::rusqlite::Connection;
use flagstore_sqlite::{SqliteStore, SqliteStoreBuilder};
use tempfile::TempDir;

/// A folder that is deleted at the end of the test, and the database in it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("flags.db")
    }

    fn builder(&self) -> SqliteStoreBuilder {
        SqliteStore::builder(self.path())
    }

    fn store(&self) -> SqliteStore {
        self.builder().build().unwrap()
    }

    /// A connection that is not the store's.
    fn other(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }
}

fn flag(version: u64) -> Item {
    Item::parse(format!(r#"{{"key":"dark-mode","version":{version},"on":true}}"#)).unwrap()
}

/// So many flags of this version, about 1 KB each.
fn flags(count: usize, version: u64) -> AllData {
    let filler = "x".repeat(1000);
    let item = Item::parse(format!(r#"{{"version":{version},"filler":"{filler}"}}"#)).unwrap();
    AllData::new().with(Kind::FEATURES, (0..count).map(|n| (format!("flag-{n}"), item.clone())))
}

fn upsert(store: &SqliteStore, version: u64) -> Result<(), StoreError> {
    store.upsert(&Kind::FEATURES, "dark-mode", &flag(version)).map(drop)
}

fn version(store: &SqliteStore) -> Option<u64> {
    store.get(&Kind::FEATURES, "dark-mode").unwrap().map(|item| item.version())
}

fn delete(path: &Path) {
    for ending in ["", "-wal", "-shm"] {
        let mut path = path.as_os_str().to_owned();
        path.push(ending);
        // There is not always a log.
        let _ = std::fs::remove_file(path);
    }
}

/// Waits until it is so.
fn eventually(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "it did not come about");
        std::thread::yield_now();
    }
}

fn assert_kind<T: std::fmt::Debug>(result: Result<T, StoreError>, kind: ErrorKind, says: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

/// Whether this user may not write what is marked as read-only.
#[cfg(unix)]
fn permissions_bind() -> bool {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o444)).unwrap();
    std::fs::OpenOptions::new().append(true).open(file.path()).is_err()
}

/// Permissions do not bind root, who therefore has the test run by somebody whom they bind.
#[cfg(unix)]
fn passes_for_nobody(test: &str) {
    let program = Folder::new();
    let output = run_by_nobody(&program, test).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// The test, run by somebody who has no rights, by a copy of this program that is put into the folder.
#[cfg(unix)]
fn run_by_nobody(folder: &Folder, test: &str) -> std::process::Command {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    let program = folder.0.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(folder.0.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = std::process::Command::new(program);
    command.args(["--exact", test]).current_dir("/").uid(NOBODY).gid(NOBODY);
    command
}
