use flagstore_core::{
    BigSegmentMembership, BigSegmentPatch, BigSegmentStore, BigSegmentUpdates, PatchOutcome, StoreError,
    UnixMillis,
};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::SqliteStore;
use crate::error::Failure;

impl BigSegmentStore for SqliteStore {
    fn get_metadata(&self) -> Result<Option<UnixMillis>, StoreError> {
        let synchronized_on = self.connections.read(self.deadline(), |connection| {
            let mut select = connection
                .prepare_cached("SELECT synchronized_on FROM big_segments_metadata WHERE prefix = ?1")?;
            let stored: Option<Option<i64>> =
                select.query_row([&self.prefix], |row| row.get(0)).optional()?;
            stored.flatten().map(time_of).transpose()
        });
        synchronized_on.map_err(|failure| failure.during("get_metadata"))
    }

    fn get_membership(&self, context_hash: &str) -> Result<Option<BigSegmentMembership>, StoreError> {
        let membership = self.connections.read(self.deadline(), |connection| {
            let mut select = connection.prepare_cached(
                "SELECT segment_ref, included FROM big_segments_members
                 WHERE prefix = ?1 AND context_hash = ?2 ORDER BY segment_ref",
            )?;
            let rows = select.query_map([self.prefix.as_str(), context_hash], |row| {
                Ok((Box::<str>::from(row.get_ref(0)?.as_str()?), row.get(1)?))
            })?;
            Ok(rows.collect::<Result<BigSegmentMembership, _>>()?)
        });
        let membership = membership.map_err(|failure| failure.during("get_membership"))?;
        Ok(Some(membership).filter(|membership| !membership.is_empty()))
    }

    /// There is nothing to end: the store has no threads, and its connections may hold feature flags too.
    fn stop(&self) {}
}

impl BigSegmentUpdates for SqliteStore {
    fn get_version(&self) -> Result<String, StoreError> {
        let version = self
            .connections
            .read(self.deadline(), |connection| Ok(select_version(connection, &self.prefix)?));
        version.map_err(|failure| failure.during("get_version"))
    }

    fn set_metadata(&self, synchronized_on: UnixMillis) -> Result<(), StoreError> {
        let set = self.connections.write(self.deadline(), |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO big_segments_metadata (prefix, synchronized_on) VALUES (?1, ?2)
                     ON CONFLICT (prefix) DO UPDATE SET synchronized_on = excluded.synchronized_on",
                )?
                // Beyond the year 292 million, SQLite's numbers end.
                .execute(params![self.prefix, i64::try_from(synchronized_on.0).unwrap_or(i64::MAX)])?;
            Ok(())
        });
        set.map_err(|failure| failure.during("set_metadata"))
    }

    fn apply_patch(&self, patch: &BigSegmentPatch) -> Result<PatchOutcome, StoreError> {
        let applied = self.connections.write(self.deadline(), |connection| {
            // Applied where the version is the one at which the patch begins. The transaction has the write
            // lock from its beginning, so two writers cannot both pass the comparison.
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let version = select_version(&transaction, &self.prefix)?;
            if version != patch.previous_version {
                return Ok(PatchOutcome::OutOfOrder(version));
            }
            write_members(&transaction, &self.prefix, patch)?;
            transaction
                .prepare_cached(
                    "INSERT INTO big_segments_metadata (prefix, version) VALUES (?1, ?2)
                     ON CONFLICT (prefix) DO UPDATE SET version = excluded.version",
                )?
                .execute([&self.prefix, &patch.version])?;
            transaction.commit()?;
            Ok(PatchOutcome::Applied)
        });
        applied.map_err(|failure| failure.during("apply_patch"))
    }
}

fn select_version(connection: &Connection, prefix: &str) -> rusqlite::Result<String> {
    let mut select =
        connection.prepare_cached("SELECT version FROM big_segments_metadata WHERE prefix = ?1")?;
    Ok(select.query_row([prefix], |row| row.get(0)).optional()?.unwrap_or_default())
}

fn write_members(
    transaction: &Transaction<'_>,
    prefix: &str,
    patch: &BigSegmentPatch,
) -> Result<(), Failure> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO big_segments_members (prefix, context_hash, segment_ref, included)
         VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?;
    let mut delete = transaction.prepare_cached(
        "DELETE FROM big_segments_members
         WHERE prefix = ?1 AND context_hash = ?2 AND segment_ref = ?3 AND included = ?4",
    )?;
    for (context_hash, change) in patch.by_context() {
        for (included, is_in_it) in [(true, change.included), (false, change.excluded)] {
            let row = params![prefix, context_hash, patch.segment_ref, included];
            match is_in_it {
                Some(true) => drop(insert.execute(row)?),
                Some(false) => drop(delete.execute(row)?),
                None => {}
            }
        }
    }
    Ok(())
}

fn time_of(stored: i64) -> Result<UnixMillis, Failure> {
    let time = u64::try_from(stored).map(UnixMillis);
    time.map_err(|_| rusqlite::Error::from(FromSqlError::OutOfRange(stored)).into())
}
