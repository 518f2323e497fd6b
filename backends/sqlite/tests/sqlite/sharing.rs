use std::sync::{Arc, Barrier};
use std::thread;

use flagstore_core::{FeatureStoreCore, Kind};

use crate::{Folder, flags, upsert, version};

/// What was written is there for the next store, and the log does not stay behind.
#[test]
fn the_file_works_after_it_was_closed() {
    let folder = Folder::new();
    folder.store().init(&flags(10, 1)).unwrap();
    assert_eq!(std::fs::read_dir(folder.0.path()).unwrap().count(), 1, "the log is merged into the file");
    let store = folder.store();
    assert!(store.is_initialized().unwrap());
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 10);
}

/// Reads go on beside a writer that is half-way, and see the data of before.
#[test]
fn a_writer_does_not_block_readers() {
    let folder = Folder::new();
    let store = folder.store();
    upsert(&store, 1).unwrap();
    let writer = folder.other();
    writer.execute_batch("BEGIN IMMEDIATE; UPDATE items SET version = 2").unwrap();

    assert_eq!(version(&store), Some(1));
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 1);
    assert!(store.is_available() && !store.is_initialized().unwrap());
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(version(&store), Some(2));
}

/// A read has nothing to write, whatever its thread has written before: it would wait for whoever writes.
#[test]
fn a_read_writes_nothing() {
    let folder = Folder::new();
    let number =
        || folder.other().query_row("SELECT number FROM checkpoints", [], |row| row.get::<_, i64>(0));
    let store = folder.store();
    for version in 1..3 {
        upsert(&store, version).unwrap();
        let before = number().unwrap();
        assert_eq!(crate::version(&store), Some(version));
        assert_eq!(number().unwrap(), before);
    }
}

/// Writes go on beside a read that is half-way, and the read sees the data of before.
#[test]
fn a_reader_does_not_block_the_writer() {
    let folder = Folder::new();
    let store = folder.store();
    store.init(&flags(100, 1)).unwrap();
    let reader = folder.other();
    let mut select = reader.prepare("SELECT version FROM items").unwrap();
    let mut rows = select.query([]).unwrap();
    rows.next().unwrap().unwrap();

    store.init(&flags(100, 2)).unwrap();
    upsert(&store, 1).unwrap();
    while let Some(row) = rows.next().unwrap() {
        assert_eq!(row.get::<_, i64>(0).unwrap(), 1);
    }
}

/// Any number of stores may start at once on a file that is not there yet.
#[test]
fn stores_that_start_at_once_claim_the_file_together() {
    const STORES: usize = 16;
    let folder = Folder::new();
    let start = Barrier::new(STORES);
    thread::scope(|scope| {
        for n in 0..STORES {
            let (folder, start) = (&folder, &start);
            scope.spawn(move || {
                start.wait();
                let store = folder.builder().prefix(n.to_string()).build().unwrap();
                upsert(&store, n as u64).unwrap();
                assert_eq!(version(&store), Some(n as u64));
            });
        }
    });
}

/// Stores that are opened, used and closed all the time, so that now and then one is opened just while the last of the
/// others is closed, which deletes the log: none of it is an error, and nothing is lost.
#[test]
fn stores_that_come_and_go_do_not_disturb_each_other() {
    let folder = Folder::new();
    let come_and_go = &|prefix: &str| {
        for round in 1..=150 {
            let store = folder.builder().prefix(prefix).build().unwrap();
            assert_eq!(version(&store), (round > 1).then_some(round - 1));
            upsert(&store, round).unwrap();
        }
    };
    let running = Arc::new(());
    thread::scope(|scope| {
        // The processor is taken away from them all the time.
        for _ in 0..4 {
            let running = Arc::downgrade(&running);
            scope.spawn(move || {
                while running.strong_count() > 0 {
                    std::hint::spin_loop();
                }
            });
        }
        // Few, so that the file is often closed by all.
        for prefix in ["a", "b"] {
            let running = Arc::clone(&running);
            scope.spawn(move || {
                let _running = running;
                come_and_go(prefix);
            });
        }
        drop(running);
    });
}
