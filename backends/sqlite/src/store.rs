use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flagstore_core::{AllData, ErrorKind, FeatureStoreCore, Item, Items, Kind, StoreError, Upsert};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::SqliteChanges;
use crate::codec::{item_in, unreadable, version_column};
use crate::connections::Connections;
use crate::error::{Failure, STORE};

/// How often an upsert may lose the race between its two statements. Losing once is rare.
const ROUNDS: usize = 5;

/// Feature flags in an SQLite database.
///
/// Made by [`SqliteStore::builder`] or [`SqliteStore::in_memory`]. Any number of stores, threads and
/// processes can work on one file; a store's last connection is closed when it is dropped.
pub struct SqliteStore {
    pub(crate) connections: Arc<Connections>,
    /// The path as it was given, or `memory`.
    pub(crate) location: String,
    pub(crate) prefix: String,
    pub(crate) timeout: Duration,
    pub(crate) init_timeout: Duration,
}

impl SqliteStore {
    /// Tells a [cache](flagstore_core::CachingStoreWrapper) above this store that somebody has written to the
    /// database, within about this interval.
    #[must_use]
    pub fn changes(&self, interval: Duration) -> SqliteChanges {
        SqliteChanges::new(&self.connections, interval, self.timeout)
    }

    /// Replaces all items of the kinds given, in one transaction, and returns those that are too large.
    fn replace(&self, all_data: &AllData, deadline: Instant) -> Result<Vec<(Kind, String)>, Failure> {
        self.connections.write_all(deadline, |connection| {
            // Immediate: a transaction that reads first could find that others wrote since, and not go on.
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut too_large = Vec::new();
            // First of all, so that what comes has the room of what goes.
            for (kind, items) in all_data.kinds() {
                let kept = items.map(|(key, _)| key.as_bytes()).collect();
                delete_others(&transaction, &self.prefix, kind, &kept)?;
            }
            for (kind, items) in all_data.kinds() {
                write_items(&transaction, &self.prefix, kind, items, &mut too_large)?;
            }
            transaction
                .prepare_cached("INSERT INTO initialized (prefix) VALUES (?1) ON CONFLICT DO NOTHING")?
                .execute([&self.prefix])?;
            transaction.commit()?;
            release_cache(connection);
            Ok(too_large)
        })
    }

    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }
}

impl FeatureStoreCore for SqliteStore {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        let deadline = Instant::now() + self.init_timeout;
        let too_large = match self.replace(all_data, deadline) {
            // There is more room now, if there was a log. The new data may be smaller than what it replaces.
            Err(failure) if failure.is_disk_full() => self.replace(all_data, deadline),
            replaced => replaced,
        };
        match too_large.map_err(|failure| failure.during("init"))? {
            none if none.is_empty() => Ok(()),
            items => {
                let reason = "too large for the database; all other items were stored";
                Err(StoreError::new(ErrorKind::TooLarge, STORE, "init", reason).about(items))
            }
        }
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        let item = self
            .connections
            .read(self.deadline(), |connection| Ok(select(connection, &self.prefix, kind, key)?));
        item.map_err(|failure| failure.during("get").about([(kind.clone(), key.to_owned())]))
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        let items = self.connections.read(self.deadline(), |connection| {
            let mut select = connection.prepare_cached(
                "SELECT version, deleted, json, key FROM items WHERE prefix = ?1 AND kind = ?2",
            )?;
            let mut rows = select.query([&self.prefix, kind.as_str()])?;
            let mut items = Items::default();
            while let Some(row) = rows.next()? {
                match item_in(row).and_then(|item| Ok((row.get(3)?, item))) {
                    Ok((key, item)) => drop(items.by_key.insert(key, item)),
                    Err(error) => items.unreadable.push(unreadable(error, kind, row)?),
                }
            }
            release_cache(connection);
            Ok(items)
        });
        items.map_err(|failure| failure.during("get_all"))
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        let upserted = self.connections.write(self.deadline(), |connection| {
            for _ in 0..ROUNDS {
                // Applied where nothing is stored, or something older, or something that is not an item.
                // One statement, so two writers cannot both pass the comparison.
                let mut upsert = connection.prepare_cached(
                    "INSERT INTO items (prefix, kind, key, version, deleted, json)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT (prefix, kind, key) DO UPDATE
                     SET version = excluded.version, deleted = excluded.deleted, json = excluded.json
                     WHERE excluded.version > items.version
                        OR NOT is_item(items.version, items.deleted, items.json)",
                )?;
                let (version, deleted) = (version_column(item.version()), item.is_deleted());
                let values = params![self.prefix, kind.as_str(), key, version, deleted, item.json()];
                if upsert.execute(values)? == 1 {
                    return Ok(Upsert::Applied);
                }
                // Between the two statements an init can have put something older there, or nothing. Then
                // the upsert was not stale, and is done again: not the retry of a failure.
                match select(connection, &self.prefix, kind, key)? {
                    Some(current) if current.version() >= item.version() => {
                        return Ok(Upsert::Stale(current));
                    }
                    _ => {}
                }
            }
            Err(Failure::Raced)
        });
        upserted.map_err(|failure| failure.during("upsert").about([(kind.clone(), key.to_owned())]))
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        let initialized = self.connections.read(self.deadline(), |connection| {
            let mut select =
                connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM initialized WHERE prefix = ?1)")?;
            Ok(select.query_row([&self.prefix], |row| row.get(0))?)
        });
        initialized.map_err(|failure| failure.during("is_initialized"))
    }

    fn is_available(&self) -> bool {
        // Stands in the first page of the file, so it takes a read lock and a page and nothing else.
        let answer = self.connections.probe(self.deadline(), |connection| {
            Ok(connection.prepare_cached("PRAGMA user_version")?.query_row([], |_| Ok(()))?)
        });
        answer.is_ok()
    }

    fn describe(&self) -> &'static str {
        "SQLite"
    }
}

/// Writes the items that differ from what is stored. What is too large for the database is left as it was.
fn write_items<'a>(
    transaction: &Transaction<'_>,
    prefix: &str,
    kind: &Kind,
    items: impl Iterator<Item = (&'a str, &'a Item)>,
    too_large: &mut Vec<(Kind, String)>,
) -> Result<(), Failure> {
    // Regardless of versions, but only where something differs: most inits of a running system bring what is
    // there already, and need not write anything. One statement for each, inside the init's transaction.
    let mut write = transaction.prepare_cached(
        "INSERT INTO items (prefix, kind, key, version, deleted, json) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (prefix, kind, key) DO UPDATE
         SET version = excluded.version, deleted = excluded.deleted, json = excluded.json
         WHERE (items.version, items.deleted, items.json)
            IS NOT (excluded.version, excluded.deleted, excluded.json)",
    )?;
    for (key, item) in items {
        let (version, deleted) = (version_column(item.version()), item.is_deleted());
        match write.execute(params![prefix, kind.as_str(), key, version, deleted, item.json()]) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::TooBig) => {
                too_large.push((kind.clone(), key.to_owned()));
            }
            written => drop(written?),
        }
    }
    Ok(())
}

/// Deletes what is stored under other keys. They are compared as bytes, since a damaged key may not be text.
fn delete_others(
    transaction: &Transaction<'_>,
    prefix: &str,
    kind: &Kind,
    kept: &HashSet<&[u8]>,
) -> Result<(), Failure> {
    let mut select =
        transaction.prepare_cached("SELECT id, key FROM items WHERE prefix = ?1 AND kind = ?2")?;
    let mut rows = select.query([prefix, kind.as_str()])?;
    let mut others: Vec<i64> = Vec::new();
    while let Some(row) = rows.next()? {
        if !row.get_ref(1)?.as_bytes().is_ok_and(|key| kept.contains(key)) {
            others.push(row.get(0)?);
        }
    }
    // Page by page, so that pages become empty instead of many being changed a little: those would have to be
    // written to the log, for which a full disk has no room.
    others.sort_unstable();
    let mut delete = transaction.prepare_cached("DELETE FROM items WHERE id = ?1")?;
    for id in others {
        delete.execute([id])?;
    }
    Ok(())
}

fn select(connection: &Connection, prefix: &str, kind: &Kind, key: &str) -> rusqlite::Result<Option<Item>> {
    connection
        .prepare_cached(
            "SELECT version, deleted, json FROM items WHERE prefix = ?1 AND kind = ?2 AND key = ?3",
        )?
        .query_row([prefix, kind.as_str(), key], item_in)
        .optional()
}

/// Frees the pages that a walk over the whole table has cached and that nobody will need soon.
///
/// The bundled SQLite has one limit for the caches of all connections in the process. One that is full, even
/// if idle, leaves the others without any: measured, their inits then take 2.5 times as long.
fn release_cache(connection: &Connection) {
    // Nothing depends on it.
    let _ = connection.execute_batch("PRAGMA shrink_memory");
}

impl fmt::Display for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix.as_str() {
            "" => write!(f, "SQLite({})", self.location),
            prefix => write!(f, "SQLite({}, {prefix})", self.location),
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
