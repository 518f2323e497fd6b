use std::time::Duration;

use flagstore_core::{
    BigSegmentPatch, BigSegmentStore, BigSegmentUpdates, ErrorKind, PatchOutcome, UnixMillis,
};
use flagstore_sqlite::{SqliteStore, rusqlite::params};

use crate::{Folder, assert_kind, upsert, version};

fn patch(from: &str, to: &str) -> BigSegmentPatch {
    let mut patch = BigSegmentPatch::new("seg.g1", from, to);
    patch.included.add = vec!["h".to_owned()];
    patch.excluded.add = vec!["other".to_owned()];
    patch
}

fn applied(store: &SqliteStore, patch: &BigSegmentPatch) {
    assert_eq!(store.apply_patch(patch).unwrap(), PatchOutcome::Applied);
}

/// The rows are part of the format. A patch writes these, and none twice.
#[test]
fn rows_are_those_of_the_schema() {
    let folder = Folder::new();
    let store = folder.builder().prefix("env").build().unwrap();
    applied(&store, &patch("", "v1"));
    applied(&store, &patch("v1", "v2"));
    store.set_metadata(UnixMillis(1_234_567_890)).unwrap();
    let text = |sql| folder.other().query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    let members = "SELECT group_concat(concat_ws(' ', prefix, context_hash, segment_ref, included), ', ')
                   FROM (SELECT * FROM big_segments_members ORDER BY context_hash)";
    assert_eq!(text(members), "env h seg.g1 1, env other seg.g1 0");
    let metadata = "SELECT concat_ws(' ', prefix, synchronized_on, version) FROM big_segments_metadata";
    assert_eq!(text(metadata), "env 1234567890 v2");
}

/// What is in the file is there for the next process.
#[test]
fn all_of_it_survives_the_store() {
    let folder = Folder::new();
    let store = folder.store();
    applied(&store, &patch("", "v1"));
    store.set_metadata(UnixMillis(5)).unwrap();
    drop(store);
    let store = folder.store();
    assert_eq!(store.get_version().unwrap(), "v1");
    assert_eq!(store.get_metadata().unwrap(), Some(UnixMillis(5)));
    assert!(store.get_membership("h").unwrap().is_some());
}

/// A time before 1970 is none, and not read as one far in the future.
#[test]
fn a_negative_time_is_corrupt() {
    let folder = Folder::new();
    let store = folder.store();
    folder.other().execute("INSERT INTO big_segments_metadata VALUES ('', -5, '')", []).unwrap();
    assert_kind(store.get_metadata(), ErrorKind::Corrupt, "get_metadata: ");
    store.set_metadata(UnixMillis(u64::MAX)).unwrap();
    assert_eq!(store.get_metadata().unwrap(), Some(UnixMillis(i64::MAX as u64)));
}

/// Both contracts of one object, in a file and in memory.
#[test]
fn one_store_keeps_flags_and_big_segments() {
    let folder = Folder::new();
    for store in [folder.store(), SqliteStore::in_memory().build().unwrap()] {
        upsert(&store, 1).unwrap();
        applied(&store, &patch("", "v1"));
        store.stop();
        assert_eq!(version(&store), Some(1));
        assert_eq!(store.get_membership("other").unwrap().unwrap().check_membership("seg.g1"), Some(false));
    }
}

/// A locked database is unavailable for writes at the deadline, and can be read.
#[test]
fn locked_by_another_writer() {
    let folder = Folder::new();
    let store = folder.builder().timeout(Duration::from_millis(50)).build().unwrap();
    applied(&store, &patch("", "v1"));
    let other = folder.other();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_kind(
        store.apply_patch(&patch("v1", "v2")),
        ErrorKind::Unavailable,
        "apply_patch: database is locked",
    );
    assert_kind(
        store.set_metadata(UnixMillis(5)),
        ErrorKind::Unavailable,
        "set_metadata: database is locked",
    );
    assert!(!other.is_autocommit(), "the lock is still held");
    assert!(store.get_membership("h").unwrap().is_some());
    other.execute_batch("ROLLBACK").unwrap();
    applied(&store, &patch("v1", "v2"));
}

/// A patch that fails half-way has changed nothing.
#[test]
fn a_full_disk_undoes_the_patch() {
    let folder = Folder::new();
    let store = folder.builder().configure(|connection| connection.pragma_update(None, "max_page_count", 40));
    let store = store.build().unwrap();
    applied(&store, &patch("", "v1"));
    let mut large = patch("v1", "v2");
    large.included.add.extend((0..5_000).map(|n| format!("context-{n}")));
    assert_kind(store.apply_patch(&large), ErrorKind::Unavailable, "full");
    assert_eq!(store.get_version().unwrap(), "v1");
    let rows =
        folder.other().query_row("SELECT count(*) FROM big_segments_members", params![], |row| row.get(0));
    assert_eq!(rows, Ok(2_i64));
}

/// A store that only reads finds what there is, and writes nothing.
#[test]
fn a_store_that_only_reads_reads_them() {
    let folder = Folder::new();
    let store = folder.store();
    applied(&store, &patch("", "v1"));
    let reader = folder.builder().read_only(true).build().unwrap();
    assert!(reader.get_membership("h").unwrap().is_some());
    assert_eq!(reader.get_version().unwrap(), "v1");
    assert!(reader.apply_patch(&patch("v1", "v2")).is_err());
    assert_eq!(store.get_version().unwrap(), "v1");
}
