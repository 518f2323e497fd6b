//! From a row to an item, and back.

use flagstore_core::{ErrorKind, Item, Kind, MAX_VERSION, StoreError};
use rusqlite::functions::FunctionFlags;
use rusqlite::types::{FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, Row};

use crate::error::Failure;

/// The item in a row's first three columns. They are trusted: no JSON is parsed on reads.
pub(crate) fn item_in(row: &Row<'_>) -> rusqlite::Result<Item> {
    let json = row.get_ref(2)?.as_str()?;
    let (version, deleted) = (version_in(row.get_ref(0)?)?, row.get(1)?);
    Item::from_parts(version, deleted, json)
        .map_err(|_| FromSqlError::OutOfRange(version_column(version)).into())
}

fn version_in(column: ValueRef<'_>) -> FromSqlResult<u64> {
    let version = column.as_i64()?;
    let known = u64::try_from(version).ok().filter(|version| *version <= MAX_VERSION);
    known.ok_or(FromSqlError::OutOfRange(version))
}

/// No item has a version that SQLite's integers do not reach.
pub(crate) fn version_column(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// The report of a row that is not an item, if that is what is wrong.
pub(crate) fn unreadable(error: rusqlite::Error, kind: &Kind, row: &Row<'_>) -> Result<StoreError, Failure> {
    let failure = Failure::from(error);
    if failure.kind() != ErrorKind::Corrupt {
        return Err(failure);
    }
    let key = String::from_utf8_lossy(row.get_ref(3)?.as_bytes().unwrap_or_default()).into_owned();
    Ok(failure.during("get_all").about([(kind.clone(), key)]))
}

/// Defines the function by which an upsert finds out whether what is stored may be overwritten.
///
/// SQLite's own `json_valid` does not do: it accepts text that is not UTF-8, and JSON that is not an object.
pub(crate) fn define_is_item(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("is_item", 3, flags, |columns| {
        let (version, json) = (version_in(columns.get_raw(0)), columns.get_raw(2).as_str());
        let deleted: bool = columns.get(1)?;
        // The columns say all there is about a tombstone.
        Ok(version.is_ok() && json.is_ok_and(|json| deleted || Item::parse(json).is_ok()))
    })
}
