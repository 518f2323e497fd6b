//! What a membership costs above bare rusqlite: `cargo bench -p flagstore-sqlite --bench big_segments`.
//!
//! The raw side is what one would write by hand: a cached statement, its rows as owned texts in two lists.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set itself up may as well panic")]

use flagstore_conformance::ratio::Comparison;
use flagstore_core::{BigSegmentPatch, BigSegmentStore, BigSegmentUpdates, context_hash};
use flagstore_sqlite::SqliteStore;
use flagstore_sqlite::rusqlite::Connection;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.db");
    let store = SqliteStore::builder(&path).build().unwrap();
    let raw = Connection::open(&path).unwrap();
    for segments in [0, 10, 1_000] {
        let hash = context_hash(&format!("member-of-{segments}"));
        for segment in 0..segments {
            let mut patch = BigSegmentPatch::new(format!("customers-in-beta-{segment:03}.g1"), "", "");
            let list = if segment % 2 == 0 { &mut patch.included } else { &mut patch.excluded };
            list.add.push(hash.clone());
            drop(store.apply_patch(&patch).unwrap());
        }
        Comparison::new(format!("get_membership, {segments} references"), 1.25)
            .rounds(300)
            .repeat(if segments > 100 { 20 } else { 200 })
            .measure(|_| select(&raw, &hash), |_| store.get_membership(&hash).unwrap())
            .print();
    }
}

fn select(raw: &Connection, hash: &str) -> (Vec<String>, Vec<String>) {
    let mut select = raw
        .prepare_cached(
            "SELECT segment_ref, included FROM big_segments_members WHERE prefix = ?1 AND context_hash = ?2",
        )
        .unwrap();
    let mut rows = select.query(["", hash]).unwrap();
    let (mut included, mut excluded) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next().unwrap() {
        let list = if row.get(1).unwrap() { &mut included } else { &mut excluded };
        list.push(row.get(0).unwrap());
    }
    (included, excluded)
}
