use std::fs;
#[cfg(target_os = "linux")]
use std::io::Write;
use std::time::{Duration, Instant};

use flagstore_core::{AllData, ErrorKind, FeatureStoreCore, Item, Kind};
use flagstore_sqlite::SqliteStore;

use crate::{Folder, assert_kind, delete, flags, passes_for_nobody, permissions_bind, upsert, version};

const SHORT: Duration = Duration::from_millis(50);

/// A locked database is unavailable for writes at the deadline, while the lock is still held.
#[test]
fn locked_by_another_writer() {
    let folder = Folder::new();
    let store = folder.builder().timeout(SHORT).init_timeout(SHORT).build().unwrap();
    let other = folder.other();
    for begin in ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"] {
        other.execute_batch(begin).unwrap();
        assert_kind(upsert(&store, 1), ErrorKind::Unavailable, "features/dark-mode: database is locked");
        assert_kind(store.init(&flags(1, 1)), ErrorKind::Unavailable, "init: database is locked");
        assert!(!other.is_autocommit(), "the lock is still held");
        other.execute_batch("ROLLBACK").unwrap();
    }
    assert_eq!(version(&store), None);
    upsert(&store, 1).unwrap();
}

/// A database that another connection has for itself is unavailable, also for whoever builds a store.
#[test]
fn locked_for_everyone() {
    let folder = Folder::new();
    drop(folder.store());
    let other = folder.other();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT").unwrap();
    assert_kind(folder.builder().timeout(SHORT).build(), ErrorKind::Unavailable, "database is locked");
    drop(other);
    folder.store();
}

/// A full disk is unavailable, and what was stored stays readable.
#[test]
fn disk_full() {
    let folder = Folder::new();
    let store = folder.builder().configure(|connection| connection.pragma_update(None, "max_page_count", 30));
    let store = store.build().unwrap();
    upsert(&store, 1).unwrap();
    assert_kind(store.init(&flags(1000, 2)), ErrorKind::Unavailable, "full; free some disk space");
    assert_eq!(version(&store), Some(1));
    upsert(&store, 2).unwrap();
}

/// An init that brings as much as it takes away needs no room for both.
#[test]
fn disk_full_and_an_init_of_other_items() {
    let folder = Folder::new();
    let store =
        folder.builder().configure(|connection| connection.pragma_update(None, "max_page_count", 400));
    let store = store.build().unwrap();
    let large = Item::parse(format!(r#"{{"version":1,"filler":"{}"}}"#, "x".repeat(1000))).unwrap();
    let renamed = |name: &str| {
        AllData::new().with(Kind::FEATURES, (0..1000).map(|n| (format!("{name}-{n}"), large.clone())))
    };
    store.init(&renamed("old")).unwrap();
    assert_kind(store.init(&flags(2000, 1)), ErrorKind::Unavailable, "full");
    store.init(&renamed("new")).unwrap();
    assert!(store.get(&Kind::FEATURES, "new-1").unwrap().is_some());
    assert!(store.get(&Kind::FEATURES, "old-1").unwrap().is_none());
}

/// A file system of this many megabytes, which ends with the test. Only root can make one, and not in every container.
#[cfg(target_os = "linux")]
struct SmallDisk(Folder);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn new(megabytes: usize) -> Option<Self> {
        let folder = Folder::new();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(folder.0.path());
        mount.output().ok()?.status.success().then_some(Self(folder))
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut filler = fs::File::create(self.0.0.path().join("filler")).unwrap();
        for length in [1 << 16, 1] {
            while filler.write_all(&vec![0; length]).is_ok() {}
        }
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.0.path()).status();
    }
}

/// On a disk without any room an init that brings less works, and then there is room again.
#[cfg(target_os = "linux")]
#[test]
fn an_init_that_brings_less_works_on_a_full_disk() {
    let Some(disk) = SmallDisk::new(16) else { return };
    let store = disk.0.store();
    store.init(&flags(3000, 1)).unwrap();
    disk.fill();
    assert_kind(store.init(&flags(9000, 2)), ErrorKind::Unavailable, "full; free some disk space");
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 3000);
    store.init(&flags(1000, 3)).unwrap();
    let all = store.get_all(&Kind::FEATURES).unwrap().by_key;
    assert!(all.len() == 1000 && all.values().all(|item| item.version() == 3));
    upsert(&store, 1).unwrap();
    drop(store);
    assert_eq!(version(&disk.0.store()), Some(1));
}

/// A connection that must not write serves reads.
#[test]
fn connection_may_not_write() {
    let folder = Folder::new();
    upsert(&folder.store(), 1).unwrap();
    let store = folder.builder().configure(|connection| connection.pragma_update(None, "query_only", true));
    let store = store.build().unwrap();
    assert_kind(upsert(&store, 2), ErrorKind::Unavailable, "readonly database; check that this user may");
    assert_eq!(version(&store), Some(1));
}

/// A file without write permission serves reads, and is written by a store that is opened when it has it again.
#[cfg(unix)]
#[test]
fn file_is_read_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    upsert(&folder.store(), 1).unwrap();
    // Of the log beside the database as well, which SQLite makes with the same permissions.
    let set_mode = |mode| {
        for file in fs::read_dir(folder.0.path()).unwrap() {
            fs::set_permissions(file.unwrap().path(), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    set_mode(0o444);
    if !permissions_bind() {
        return passes_for_nobody("situations::file_is_read_only");
    }
    let store = folder.store();
    assert_eq!(version(&store), Some(1));
    assert_kind(upsert(&store, 2), ErrorKind::Unavailable, "check that this user may");
    drop(store);
    set_mode(0o644);
    upsert(&folder.store(), 2).unwrap();
}

/// A file that is not a database is refused, and left as it is.
#[test]
fn not_a_database() {
    let folder = Folder::new();
    let text = "These are notes, and not a database at all. ".repeat(100);
    fs::write(folder.path(), &text).unwrap();
    assert_kind(folder.builder().build(), ErrorKind::Config, "path: file is not a database; ");
    assert_eq!(fs::read_to_string(folder.path()).unwrap(), text);
}

/// A database with another application's mark, number or tables is refused, and left as it is.
#[test]
fn foreign_database() {
    for claim in ["PRAGMA application_id = 7", "PRAGMA user_version = 1", "CREATE TABLE t (a)"] {
        let folder = Folder::new();
        folder.other().execute_batch(claim).unwrap();
        let before = fs::read(folder.path()).unwrap();
        assert_kind(folder.builder().build(), ErrorKind::Config, "path: the database belongs to another");
        assert_eq!(fs::read(folder.path()).unwrap(), before, "after {claim}");
    }
}

/// A database of a newer schema is refused, and left as it is.
#[test]
fn newer_schema() {
    let folder = Folder::new();
    drop(folder.store());
    folder.other().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(folder.path()).unwrap();
    assert_kind(folder.builder().build(), ErrorKind::Config, "path: the database has schema 99, and");
    assert_eq!(fs::read(folder.path()).unwrap(), before);
}

/// An empty file, as a tool may have made it, is a new database.
#[test]
fn empty_file_is_claimed() {
    let folder = Folder::new();
    fs::write(folder.path(), "").unwrap();
    let store = folder.store();
    assert!(!store.is_initialized().unwrap());
    upsert(&store, 1).unwrap();
    assert_eq!(version(&folder.store()), Some(1));
}

/// A missing folder is a mistake in the configuration, and is not created.
#[test]
fn folder_is_missing() {
    let folder = Folder::new();
    let store = SqliteStore::builder(folder.0.path().join("data/flags.db"));
    assert_kind(store.build(), ErrorKind::Config, "data does not exist: create it first");
    assert!(!folder.0.path().join("data").exists());
}

/// A database whose pages are damaged is unavailable as a whole, unlike one item that cannot be read.
#[test]
fn damaged_pages() {
    let folder = Folder::new();
    folder.store().init(&flags(1000, 1)).unwrap();
    let mut bytes = fs::read(folder.path()).unwrap();
    bytes[4096 * 3..].fill(0xEE);
    fs::write(folder.path(), bytes).unwrap();
    let all = folder.store().get_all(&Kind::FEATURES);
    assert_kind(all, ErrorKind::Unavailable, "malformed; move the file away");
}

/// A write into a deleted file fails, and the next call creates the file anew: empty, to be filled again.
#[cfg(unix)]
#[test]
fn deleted_while_open() {
    let folder = Folder::new();
    let store = folder.store();
    store.init(&flags(10, 1)).unwrap();
    assert!(store.get(&Kind::FEATURES, "flag-1").unwrap().is_some());

    delete(&folder.path());
    assert_kind(upsert(&store, 1), ErrorKind::Unavailable, "deleted or replaced");
    assert!(!store.is_initialized().unwrap());
    store.init(&flags(10, 2)).unwrap();
    assert_eq!(folder.store().get_all(&Kind::FEATURES).unwrap().by_key.len(), 10);
}

/// Where only the database file is deleted, its log and shared memory left behind do no harm.
#[cfg(unix)]
#[test]
fn deleted_without_its_log() {
    let folder = Folder::new();
    let store = folder.store();
    store.init(&flags(100, 1)).unwrap();
    assert!(store.is_initialized().unwrap());

    fs::remove_file(folder.path()).unwrap();
    assert!(!store.is_available());
    assert!(store.is_available() && !store.is_initialized().unwrap());
    store.init(&flags(100, 2)).unwrap();
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 100);
}

/// Reads notice it too, if not at once.
#[cfg(unix)]
#[test]
fn deleted_while_only_reading() {
    let folder = Folder::new();
    let store = folder.store();
    upsert(&store, 1).unwrap();
    delete(&folder.path());
    let deadline = Instant::now() + Duration::from_secs(10);
    let error = loop {
        match store.get(&Kind::FEATURES, "dark-mode") {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < deadline, "still reads a file that was deleted"),
        }
    };
    assert_kind(Err::<(), _>(error), ErrorKind::Unavailable, "deleted or replaced");
    assert_eq!(version(&store), None);
}

/// A store moves over to a file that took the place of its own.
#[cfg(unix)]
#[test]
fn replaced_while_open() {
    let (folder, source) = (Folder::new(), Folder::new());
    let store = folder.store();
    upsert(&store, 1).unwrap();
    upsert(&source.store(), 7).unwrap();

    // With its log: SQLite would take what is left of it for that of the new file.
    delete(&folder.path());
    fs::rename(source.path(), folder.path()).unwrap();
    assert!(!store.is_available(), "it noticed");
    assert_eq!(version(&store), Some(7));
}

/// A file that took the place of ours and is no database of ours is unavailable, and left as it is.
#[cfg(unix)]
#[test]
fn replaced_by_a_foreign_file() {
    let (folder, source) = (Folder::new(), Folder::new());
    let store = folder.store();
    source.other().execute_batch("CREATE TABLE t (a)").unwrap();

    // With its log: SQLite would take what is left of it for that of the new file.
    delete(&folder.path());
    fs::rename(source.path(), folder.path()).unwrap();
    assert!(!store.is_available(), "it noticed");
    assert_kind(upsert(&store, 1), ErrorKind::Unavailable, "belongs to another application");
}

/// A folder that disappears is unavailable, and the store goes on when it is back.
#[cfg(unix)]
#[test]
fn folder_deleted_while_open() {
    let folder = Folder::new();
    let store = folder.store();
    upsert(&store, 1).unwrap();
    fs::remove_dir_all(folder.0.path()).unwrap();
    assert_kind(upsert(&store, 2), ErrorKind::Unavailable, "deleted or replaced");
    assert_kind(upsert(&store, 3), ErrorKind::Unavailable, "check that the folder exists");
    fs::create_dir(folder.0.path()).unwrap();
    upsert(&store, 4).unwrap();
}
