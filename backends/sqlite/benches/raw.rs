//! What the store costs above bare rusqlite: `cargo bench -p flagstore-sqlite`.
//!
//! The raw side is what one would write by hand for this one purpose: the same file format, pragmas and SQL,
//! cached statements, owned results in the same kind of collection. It also frees its page cache where the
//! store does: in one process the two share it, and one would slow the other down.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set itself up may as well panic")]

use std::collections::{HashMap, HashSet};
use std::path::Path;

use flagstore_conformance::ratio::{Comparison, verdict};
use flagstore_core::{AllData, FeatureStoreCore, Item, Kind};
use flagstore_sqlite::SqliteStore;
use flagstore_sqlite::rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

type Error = Box<dyn std::error::Error>;

/// How many times as long as bare rusqlite the store may take.
const LIMIT: f64 = 1.2;
const FLAGS: u64 = 10_000;
const FEATURES: &str = "features";

fn main() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let (raw_path, store_path) = (folder.path().join("raw.db"), folder.path().join("store.db"));
    let store = SqliteStore::builder(&store_path).build()?;
    peak_memory(&store)?;

    // The store makes both files, so they are alike.
    store.init(&flags(1))?;
    SqliteStore::builder(&raw_path).build()?.init(&flags(1))?;
    let mut raw = Raw::open(&raw_path)?;
    get(&raw, &store);
    upsert(&raw, &store);
    get_all(&raw, &store);
    init(&mut raw, &store);
    Ok(())
}

fn get(raw: &Raw, store: &SqliteStore) {
    for (key, size) in [("half-kb", 500), ("ten-kb", 10_000)] {
        store.upsert(&Kind::FEATURES, key, &flag(1, size)).map(drop).expect("upsert");
        raw.upsert(key, &flag(1, size));
        Comparison::new(format!("get, {key}"), LIMIT)
            .rounds(500)
            .repeat(200)
            .measure(|_| raw.get(key), |_| store.get(&Kind::FEATURES, key).expect("get"))
            .print();
    }
    Comparison::new("get, a miss", LIMIT)
        .rounds(500)
        .repeat(200)
        .measure(|_| raw.get("missing"), |_| store.get(&Kind::FEATURES, "missing").expect("get"))
        .print();
}

fn upsert(raw: &Raw, store: &SqliteStore) {
    Comparison::new("upsert, applied", LIMIT)
        .rounds(300)
        .repeat(50)
        .measure(
            |n| raw.upsert("upserted", &flag(n, 500)),
            |n| store.upsert(&Kind::FEATURES, "upserted", &flag(n, 500)).expect("upsert"),
        )
        .print();
    let stale = flag(1, 500);
    Comparison::new("upsert, stale", LIMIT)
        .rounds(300)
        .repeat(50)
        .measure(
            |_| raw.upsert("upserted", &stale),
            |_| store.upsert(&Kind::FEATURES, "upserted", &stale).expect("upsert"),
        )
        .print();
}

fn get_all(raw: &Raw, store: &SqliteStore) {
    Comparison::new("get_all, 10 000 flags", LIMIT)
        .rounds(50)
        .measure(|_| raw.get_all(), |_| store.get_all(&Kind::FEATURES).expect("get_all"))
        .print();
}

fn init(raw: &mut Raw, store: &SqliteStore) {
    let versions = [flags(1), flags(2)];
    Comparison::new("init, 10 000 changed flags", LIMIT)
        .rounds(30)
        .measure(
            |n| raw.init(&versions[n as usize % 2]),
            |n| store.init(&versions[n as usize % 2]).expect("init"),
        )
        .print();
    Comparison::new("init, nothing changed", LIMIT)
        .rounds(30)
        .measure(|_| raw.init(&versions[0]), |_| store.init(&versions[0]).expect("init"))
        .print();
}

/// Peak memory of a `get_all` over the JSON that it returns. To be called first: memory that the process has
/// used before would be used again, and not be seen.
fn peak_memory(store: &SqliteStore) -> Result<(), Error> {
    for n in 0..FLAGS {
        store.upsert(&Kind::FEATURES, &format!("flag-{n}"), &flag(1, 1000)).map(drop)?;
    }
    let status = |field: &str| -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    };
    // Resets the peak to what is in use now.
    let before = std::fs::write("/proc/self/clear_refs", "5").ok().and_then(|()| status("VmRSS:"));
    let items = store.get_all(&Kind::FEATURES)?;
    let json: usize = items.by_key.values().map(|item| item.json().len()).sum();
    match before.zip(status("VmHWM:")) {
        Some((before, peak)) => {
            println!("{}", verdict("get_all: peak memory / JSON", (peak - before) as f64 / json as f64, 2.0));
        }
        None => println!("get_all: peak memory is measured on Linux only"),
    }
    Ok(())
}

fn flag(version: u64, size: usize) -> Item {
    let filler = "x".repeat(size - 40);
    let json = format!(r#"{{"version":{version:>10},"filler":"{filler}"}}"#);
    Item::from_parts(version, false, json).unwrap()
}

fn flags(version: u64) -> AllData {
    AllData::new().with(Kind::FEATURES, (0..FLAGS).map(|n| (format!("flag-{n}"), flag(version, 1000))))
}

/// Bare rusqlite. An error is a panic, which costs nothing.
struct Raw(Connection);

type Columns = (i64, bool, Box<str>);

impl Raw {
    fn open(path: &Path) -> Result<Self, Error> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(Self(connection))
    }

    fn columns(row: &Row<'_>) -> flagstore_sqlite::rusqlite::Result<Columns> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    }

    fn get(&self, key: &str) -> Option<Columns> {
        let sql = "SELECT version, deleted, json FROM items WHERE prefix = ?1 AND kind = ?2 AND key = ?3";
        let mut select = self.0.prepare_cached(sql).expect("prepare");
        select.query_row(["", FEATURES, key], Self::columns).optional().expect("get")
    }

    fn get_all(&self) -> HashMap<String, Columns> {
        let sql = "SELECT version, deleted, json, key FROM items WHERE prefix = ?1 AND kind = ?2";
        let mut select = self.0.prepare_cached(sql).expect("prepare");
        let rows = select.query_map(["", FEATURES], |row| Ok((row.get(3)?, Self::columns(row)?)));
        let items = rows.expect("get_all").collect::<Result<_, _>>().expect("get_all");
        self.0.execute_batch("PRAGMA shrink_memory").expect("shrink_memory");
        items
    }

    fn upsert(&self, key: &str, item: &Item) -> Option<Columns> {
        // As the store's, with SQLite's own function in place of `is_item`.
        let sql = "INSERT INTO items (prefix, kind, key, version, deleted, json)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (prefix, kind, key) DO UPDATE
             SET version = excluded.version, deleted = excluded.deleted, json = excluded.json
             WHERE excluded.version > items.version OR NOT json_valid(items.json)";
        let mut upsert = self.0.prepare_cached(sql).expect("prepare");
        let values = params!["", FEATURES, key, item.version() as i64, item.is_deleted(), item.json()];
        match upsert.execute(values).expect("upsert") {
            1 => None,
            _ => self.get(key),
        }
    }

    fn init(&mut self, all_data: &AllData) {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate).expect("begin");
        for (kind, items) in all_data.kinds() {
            let sql = "INSERT INTO items (prefix, kind, key, version, deleted, json)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (prefix, kind, key) DO UPDATE
                 SET version = excluded.version, deleted = excluded.deleted, json = excluded.json
                 WHERE (items.version, items.deleted, items.json)
                    IS NOT (excluded.version, excluded.deleted, excluded.json)";
            let mut write = transaction.prepare_cached(sql).expect("prepare");
            let mut kept = HashSet::with_capacity(items.len());
            for (key, item) in items {
                let (version, deleted) = (item.version() as i64, item.is_deleted());
                let values = params!["", kind.as_str(), key, version, deleted, item.json()];
                write.execute(values).expect("write");
                kept.insert(key);
            }
            let sql = "SELECT id, key FROM items WHERE prefix = ?1 AND kind = ?2";
            let mut select = transaction.prepare_cached(sql).expect("prepare");
            let mut rows = select.query(["", kind.as_str()]).expect("select");
            let mut others: Vec<i64> = Vec::new();
            while let Some(row) = rows.next().expect("select") {
                if !kept.contains(row.get_ref(1).expect("key").as_str().expect("key")) {
                    others.push(row.get(0).expect("id"));
                }
            }
            for id in others {
                let mut delete =
                    transaction.prepare_cached("DELETE FROM items WHERE id = ?1").expect("prepare");
                delete.execute([id]).expect("delete");
            }
        }
        let mark = "INSERT INTO initialized (prefix) VALUES ('') ON CONFLICT DO NOTHING";
        transaction.prepare_cached(mark).expect("prepare").execute([]).expect("mark");
        transaction.commit().expect("commit");
        self.0.execute_batch("PRAGMA shrink_memory").expect("shrink_memory");
    }
}
