//! Stores that only read, and the permissions of the files.

#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use flagstore_core::{ErrorKind, FeatureStoreCore, Kind};
use flagstore_sqlite::SqliteStore;

use crate::{
    Folder, assert_kind, eventually, flags, passes_for_nobody, permissions_bind, run_by_nobody, upsert,
    version,
};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A file and a folder that nobody can write, as in an image, with all that the file needs in it.
fn baked() -> Folder {
    let folder = Folder::new();
    let store = folder.store();
    store.init(&flags(10, 1)).unwrap();
    upsert(&store, 1).unwrap();
    drop(store);
    set_mode(&folder.path(), 0o444);
    set_mode(folder.0.path(), 0o555);
    folder
}

/// A baked image serves reads, and stays as it is.
#[test]
fn a_file_and_folder_that_nobody_can_write() {
    if !permissions_bind() {
        return passes_for_nobody("read_only::a_file_and_folder_that_nobody_can_write");
    }
    let folder = baked();
    let store = folder.builder().read_only(true).build().unwrap();
    assert_eq!(version(&store), Some(1));
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 11);
    assert!(store.is_initialized().unwrap() && store.is_available());
    assert_kind(upsert(&store, 2), ErrorKind::Other, "read_only");
    assert_kind(store.init(&flags(1, 1)), ErrorKind::Other, "read_only");
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 1);
    set_mode(folder.0.path(), 0o755);
}

/// A writer that was killed leaves data in the log. Whoever may make no file beside it cannot read that, and is told.
#[test]
fn a_log_that_nobody_can_read_is_named() {
    if !permissions_bind() {
        return passes_for_nobody("read_only::a_log_that_nobody_can_read_is_named");
    }
    let (written, left) = (Folder::new(), Folder::new());
    let writer = written.store();
    upsert(&writer, 1).unwrap();
    for ending in ["", "-wal"] {
        let named = |folder: &Folder| format!("{}{ending}", folder.path().display());
        fs::copy(named(&written), named(&left)).unwrap();
        set_mode(Path::new(&named(&left)), 0o444);
    }
    set_mode(left.0.path(), 0o555);
    assert_kind(
        left.builder().read_only(true).build(),
        ErrorKind::Config,
        "read_only: the log beside the file",
    );
    set_mode(left.0.path(), 0o755);
    assert_eq!(version(&left.builder().read_only(true).build().unwrap()), Some(1));
}

/// When somebody begins to write a file that was read as it is, that is seen.
#[test]
fn a_writer_that_comes_later_is_seen() {
    if !permissions_bind() {
        return passes_for_nobody("read_only::a_writer_that_comes_later_is_seen");
    }
    let folder = baked();
    let reader = folder.builder().read_only(true).build().unwrap();
    assert_eq!(version(&reader), Some(1));

    set_mode(folder.0.path(), 0o755);
    set_mode(&folder.path(), 0o644);
    let writer = folder.store();
    for round in 2..10 {
        upsert(&writer, round).unwrap();
        assert_eq!(version(&reader), Some(round));
    }
    drop(writer);
    assert_eq!(version(&reader), Some(9));
}

/// Beside a writer it reads what the writer writes, and does not write.
#[test]
fn beside_a_writer() {
    let folder = Folder::new();
    let writer = folder.store();
    upsert(&writer, 1).unwrap();
    let reader = folder.builder().read_only(true).build().unwrap();
    for round in 2..10 {
        upsert(&writer, round).unwrap();
        assert_eq!(version(&reader), Some(round));
    }
    writer.init(&flags(5000, 10)).unwrap();
    assert_eq!(reader.get_all(&Kind::FEATURES).unwrap().by_key.len(), 5000);
    assert_kind(upsert(&reader, 11), ErrorKind::Other, "read_only");
    drop(writer);
    assert_eq!(reader.get_all(&Kind::FEATURES).unwrap().by_key.len(), 5000);
}

/// By which the process of the other user finds the file.
const OF_ANOTHER: &str = "FLAGSTORE_SQLITE_OF_ANOTHER";

/// A user who may read the file, and write neither it nor the folder, reads what the writer writes, and what is there
/// when the writer has gone. Only root can be two users.
#[test]
fn beside_a_writer_of_another_user() {
    if let Ok(path) = std::env::var(OF_ANOTHER) {
        return read_as_another(Path::new(&path));
    }
    if permissions_bind() {
        return;
    }
    let folder = Folder::new();
    set_mode(folder.0.path(), 0o755);
    let writer = folder.builder().file_mode(0o644).build().unwrap();
    upsert(&writer, 1).unwrap();
    let program = Folder::new();
    let mut reader = run_by_nobody(&program, "read_only::beside_a_writer_of_another_user");
    reader.arg("--nocapture").env(OF_ANOTHER, folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut reader = reader.spawn().unwrap();
    let mut said = BufReader::new(reader.stdout.take().unwrap()).lines().map(Result::unwrap);
    for version in 1..=3 {
        upsert(&writer, version).unwrap();
        assert!(said.any(|line| line == format!("saw {version}")));
    }
    drop(writer);
    drop(reader.stdin.take());
    let rest: Vec<_> = said.collect();
    assert!(reader.wait().unwrap().success(), "{rest:?}");
}

fn read_as_another(path: &Path) {
    assert!(fs::OpenOptions::new().append(true).open(path).is_err(), "it may not write");
    let open = || SqliteStore::builder(path).read_only(true).build().unwrap();
    let store = open();
    for expected in 1..=3 {
        eventually(|| version(&store) == Some(expected));
        println!("saw {expected}");
    }
    // Until the writer has gone.
    std::io::stdin().read_line(&mut String::new()).unwrap();
    assert_eq!(version(&store), Some(3));
    drop(store);
    assert_eq!(version(&open()), Some(3));
}

/// A file that is deleted under a store that only reads is an error, until there is one again.
#[test]
fn deleted_and_written_anew() {
    let folder = Folder::new();
    upsert(&folder.store(), 1).unwrap();
    let reader = folder.builder().read_only(true).build().unwrap();
    assert_eq!(version(&reader), Some(1));
    crate::delete(&folder.path());
    eventually(|| reader.get(&Kind::FEATURES, "dark-mode").is_err());
    assert!(!reader.is_available() && !folder.path().exists());
    upsert(&folder.store(), 2).unwrap();
    eventually(|| reader.get(&Kind::FEATURES, "dark-mode").is_ok());
    assert_eq!(version(&reader), Some(2));
}

/// What is not there is not created, and what is empty is not claimed.
#[test]
fn nothing_is_made() {
    let folder = Folder::new();
    let store = || folder.builder().read_only(true).build();
    assert_kind(store(), ErrorKind::Config, "path: ");
    assert!(!folder.path().exists());
    fs::write(folder.path(), "").unwrap();
    assert_kind(store(), ErrorKind::Config, "path: nothing was written");
    assert_eq!(fs::read(folder.path()).unwrap(), b"");
    let in_memory = SqliteStore::in_memory().read_only(true).build();
    assert_kind(in_memory, ErrorKind::Config, "read_only: ");
}

/// A new file is for its user alone unless the permissions are set, and the files beside it are as it is.
#[test]
fn file_mode_is_that_of_new_files() {
    for (set, is) in [(None, 0o600), (Some(0o640), 0o640), (Some(0o666), 0o666)] {
        let folder = Folder::new();
        let builder = folder.builder();
        let store = set.map_or(builder.clone(), |mode| builder.file_mode(mode)).build().unwrap();
        upsert(&store, 1).unwrap();
        let files: Vec<_> = fs::read_dir(folder.0.path()).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 3);
        for file in files {
            assert_eq!(mode(&file), is, "{}", file.display());
        }
    }
    let folder = Folder::new();
    let target = folder.0.path().join("elsewhere.db");
    std::os::unix::fs::symlink("elsewhere.db", folder.path()).unwrap();
    drop(folder.store());
    assert_eq!(mode(&target), 0o600, "where a link leads to");
    let folder = Folder::new();
    fs::write(folder.path(), "").unwrap();
    set_mode(&folder.path(), 0o644);
    drop(folder.store());
    assert_eq!(mode(&folder.path()), 0o644, "what is there keeps its own");
    assert_kind(folder.builder().file_mode(0o1000).build(), ErrorKind::Config, "file_mode: ");
}
