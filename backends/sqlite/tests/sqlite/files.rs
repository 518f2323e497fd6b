//! What happens to the database's files while they are open: the database itself, its log (`-wal`) and the memory
//! that processes share (`-shm`).

use std::fs;
use std::path::PathBuf;

use flagstore_core::{ErrorKind, FeatureStoreCore, Kind};

use crate::{Folder, assert_kind, delete, eventually, flags, upsert, version};

const SIDECARS: [&str; 2] = ["-wal", "-shm"];

/// To what the log is cut, and the one page and its header with which it begins.
const LOG_LIMIT: u64 = (4 << 20) + 8192;

fn beside(folder: &Folder, ending: &str) -> PathBuf {
    let mut path = folder.path().into_os_string();
    path.push(ending);
    path.into()
}

/// Another database of ours, closed and complete, with this version of the flag.
fn copy_with(version: u64) -> Vec<u8> {
    let folder = Folder::new();
    upsert(&folder.store(), version).unwrap();
    fs::read(folder.path()).unwrap()
}

/// A database that holds version 2, and a copy of it from when it held version 1.
fn with_an_old_copy() -> (Folder, Vec<u8>) {
    let folder = Folder::new();
    upsert(&folder.store(), 1).unwrap();
    let old = fs::read(folder.path()).unwrap();
    upsert(&folder.store(), 2).unwrap();
    (folder, old)
}

/// A log that is removed under an open store is noticed by writes and by reads.
#[cfg(unix)]
#[test]
fn a_removed_log_is_noticed() {
    for removed in [&SIDECARS[..], &["-wal"]] {
        let folder = Folder::new();
        let store = folder.store();
        upsert(&store, 1).unwrap();
        for ending in removed {
            fs::remove_file(beside(&folder, ending)).unwrap();
        }
        eventually(|| upsert(&store, 2).is_err());
        upsert(&store, 3).unwrap();
        assert_eq!((version(&store), version(&folder.store())), (Some(3), Some(3)), "without {removed:?}");

        for ending in removed {
            fs::remove_file(beside(&folder, ending)).unwrap();
        }
        eventually(|| store.get(&Kind::FEATURES, "dark-mode").is_err());
        upsert(&store, 4).unwrap();
        assert_eq!(version(&store), Some(4));
    }
}

/// The shared memory alone can be made anew from the log, and nothing is lost.
#[cfg(unix)]
#[test]
fn removed_shared_memory_costs_nothing() {
    let folder = Folder::new();
    let store = folder.store();
    upsert(&store, 1).unwrap();
    fs::remove_file(beside(&folder, "-shm")).unwrap();
    eventually(|| store.get(&Kind::FEATURES, "dark-mode").is_err());
    assert_eq!((version(&store), version(&folder.store())), (Some(1), Some(1)));
    upsert(&store, 2).unwrap();
    assert_eq!(version(&folder.store()), Some(2));
}

/// A write that finds it gone is in the log, and nobody knows whether others will see it: it may have happened.
#[cfg(unix)]
#[test]
fn a_write_without_shared_memory_is_in_doubt() {
    let folder = Folder::new();
    let store = folder.store();
    upsert(&store, 1).unwrap();
    fs::remove_file(beside(&folder, "-shm")).unwrap();
    // Not each write looks for it.
    let (version, error) = (2..).find_map(|version| Some((version, upsert(&store, version).err()?))).unwrap();
    assert_kind(Err::<(), _>(error), ErrorKind::Timeout, "-shm");
    assert_eq!(crate::version(&store), Some(version));
}

/// A copy that is written over the open file, its log removed: what the copy holds is what there is.
#[cfg(unix)]
#[test]
fn a_copy_over_the_open_file_without_its_log() {
    let (folder, old) = with_an_old_copy();
    let store = folder.store();
    upsert(&store, 5).unwrap();
    for ending in SIDECARS {
        fs::remove_file(beside(&folder, ending)).unwrap();
    }
    fs::write(folder.path(), &old).unwrap();
    assert_kind(upsert(&store, 6), ErrorKind::Unavailable, "deleted or replaced");
    assert_eq!((version(&store), version(&folder.store())), (Some(1), Some(1)));
    upsert(&store, 3).unwrap();
    assert_eq!(version(&folder.store()), Some(3));
}

/// A copy that is written over the open file, its log left where it is: the log is not applied to it.
#[test]
fn a_copy_over_the_open_file_with_its_log() {
    for written in [false, true] {
        let (folder, old) = with_an_old_copy();
        let store = folder.store();
        if written {
            store.init(&flags(100, 5)).unwrap();
            upsert(&store, 5).unwrap();
        }
        fs::write(folder.path(), &old).unwrap();
        assert_kind(upsert(&store, 6), ErrorKind::Unavailable, "deleted or replaced");
        assert_eq!((version(&store), version(&folder.store())), (Some(1), Some(1)), "written: {written}");
        assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 1);
        upsert(&store, 3).unwrap();
        drop(store);
        assert_eq!(version(&folder.store()), Some(3));
    }
}

/// So with a database of ours that has nothing to do with the one that was open, and for who only reads.
#[test]
fn another_database_over_the_open_file() {
    let folder = Folder::new();
    let store = folder.store();
    store.init(&flags(1000, 5)).unwrap();
    fs::write(folder.path(), copy_with(7)).unwrap();
    eventually(|| store.get(&Kind::FEATURES, "dark-mode").is_err());
    assert_eq!((version(&store), version(&folder.store())), (Some(7), Some(7)));
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 1);
}

/// A store that is closed after a copy was written over its file leaves the copy as it is.
#[test]
fn closing_does_not_spoil_a_copy() {
    let (folder, old) = with_an_old_copy();
    let store = folder.store();
    store.init(&flags(100, 5)).unwrap();
    fs::write(folder.path(), &old).unwrap();
    drop(store);
    let store = folder.store();
    assert_eq!(version(&store), Some(1));
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 1);
}

/// All stores of a process are told, each once, also one that is idle and one for another prefix.
#[cfg(unix)]
#[test]
fn all_stores_of_a_process_move_on_together() {
    let (folder, old) = with_an_old_copy();
    let store = folder.store();
    let others: Vec<_> = (0..3).map(|n| folder.builder().prefix(n.to_string()).build().unwrap()).collect();
    for other in &others {
        upsert(other, 1).unwrap();
        assert_eq!(version(other), Some(1));
    }
    for ending in SIDECARS {
        fs::remove_file(beside(&folder, ending)).unwrap();
    }
    fs::write(folder.path(), &old).unwrap();
    assert!(!store.is_available());
    assert_eq!(version(&store), Some(1));
    for other in &others {
        assert_kind(upsert(other, 1), ErrorKind::Unavailable, "deleted or replaced");
        assert_eq!(version(other), None);
        upsert(other, 1).unwrap();
    }
    assert_eq!(version(&folder.builder().prefix("1").build().unwrap()), Some(1));
}

/// A log that is cut off is read as far as it goes, after one failed call.
#[cfg(unix)]
#[test]
fn a_log_that_is_cut_off() {
    let folder = Folder::new();
    let store = folder.store();
    store.init(&flags(100, 1)).unwrap();
    drop(fs::File::options().write(true).truncate(true).open(beside(&folder, "-wal")).unwrap());
    eventually(|| store.get_all(&Kind::FEATURES).is_ok());
    store.init(&flags(100, 2)).unwrap();
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 100);
    assert_eq!(folder.store().get_all(&Kind::FEATURES).unwrap().by_key.len(), 100);
}

/// Writes of others, and the checkpoints that move them from the log to the file, are no replacement.
#[test]
fn checkpoints_of_others_are_no_replacement() {
    let folder = Folder::new();
    let (store, other) = (folder.store(), folder.store());
    let tool = folder.other();
    for round in 1..20 {
        other.init(&flags(2000, round)).unwrap();
        upsert(&store, round).unwrap();
        tool.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        assert_eq!(version(&store), Some(round));
        assert!(store.is_available() && other.is_available());
    }
}

/// What a large init has written does not stay in the log.
#[test]
fn the_log_does_not_stay_large() {
    let folder = Folder::new();
    let store = folder.store();
    store.init(&flags(10_000, 1)).unwrap();
    assert!(fs::metadata(folder.path()).unwrap().len() > 10_000_000);
    assert!(fs::metadata(beside(&folder, "-wal")).unwrap().len() <= LOG_LIMIT);
}

/// Nor when somebody read at that moment: later writes make up for it.
#[test]
fn the_log_does_not_stay_large_after_a_reader() {
    let folder = Folder::new();
    let store = folder.store();
    upsert(&store, 1).unwrap();
    let reader = folder.other();
    reader.execute_batch("BEGIN").unwrap();
    let _: i64 = reader.query_row("SELECT count(*) FROM items", [], |row| row.get(0)).unwrap();
    store.init(&flags(10_000, 1)).unwrap();
    assert!(fs::metadata(beside(&folder, "-wal")).unwrap().len() > 10_000_000);
    reader.execute_batch("COMMIT").unwrap();
    upsert(&store, 2).unwrap();
    assert!(fs::metadata(beside(&folder, "-wal")).unwrap().len() <= LOG_LIMIT);
}

/// A checkpoint that was interrupted leaves a file that is whole only with its log. It is no replacement.
#[test]
fn half_a_checkpoint_is_no_replacement() {
    let folder = Folder::new();
    let store = folder.store();
    upsert(&store, 1).unwrap();
    let before = fs::read(folder.path()).unwrap();
    let reader = folder.other();
    reader.execute_batch("BEGIN").unwrap();
    let _: i64 = reader.query_row("SELECT count(*) FROM items", [], |row| row.get(0)).unwrap();
    // It stays in the log, since the reader is in the way. So what a checkpoint would write is known beforehand.
    store.init(&flags(1000, 2)).unwrap();
    upsert(&store, 2).unwrap();
    let whole = {
        let copy = Folder::new();
        fs::copy(folder.path(), copy.path()).unwrap();
        fs::copy(beside(&folder, "-wal"), beside(&copy, "-wal")).unwrap();
        let _ = copy.other().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        fs::read(copy.path()).unwrap()
    };
    assert!(whole.len() > 2 * before.len());
    let half = &whole[..whole.len() / 8192 * 4096];
    fs::write(folder.path(), half).unwrap();

    assert_eq!(version(&store), Some(2));
    assert!(store.is_available());
    upsert(&store, 3).unwrap();
    reader.execute_batch("COMMIT").unwrap();
    store.init(&flags(1000, 3)).unwrap();
    drop((reader, store));
    assert_eq!(folder.store().get_all(&Kind::FEATURES).unwrap().by_key.len(), 1000);
}

/// A file that takes the place of ours is not mixed with the log that is left of ours.
#[cfg(unix)]
#[test]
fn replaced_with_the_log_left_behind() {
    let (folder, source) = (Folder::new(), Folder::new());
    let store = folder.store();
    store.init(&flags(100, 1)).unwrap();
    upsert(&source.store(), 7).unwrap();
    fs::rename(source.path(), folder.path()).unwrap();
    assert!(!store.is_available(), "it noticed");
    assert_eq!(version(&store), Some(7));
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 1);
    delete(&folder.path());
}

/// A log that was left behind is not applied to a file that took the place of its own, by whoever comes first either.
#[test]
fn a_log_of_another_file_is_not_applied() {
    for (old, new) in [(100, 2000), (2000, 100), (100, 100)] {
        let (folder, source, place) = (Folder::new(), Folder::new(), Folder::new());
        let store = folder.store();
        store.init(&flags(old, 1)).unwrap();
        upsert(&store, 1).unwrap();
        fs::copy(beside(&folder, "-wal"), beside(&place, "-wal")).unwrap();
        let other = source.store();
        other.init(&flags(new, 7)).unwrap();
        upsert(&other, 7).unwrap();
        drop(other);
        fs::copy(source.path(), place.path()).unwrap();

        let store = place.store();
        assert_eq!(version(&store), Some(7));
        assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), new + 1);
        upsert(&store, 8).unwrap();
        drop(store);
        assert_eq!(version(&place.store()), Some(8));
    }
}
