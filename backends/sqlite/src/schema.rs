//! What is in the database, and how a database becomes ours.
//!
//! ```text
//! application_id  1179404115, which is "FLGS" in ASCII     user_version  3     journal_mode  WAL
//!
//! items                  one row for each item and each tombstone
//!   prefix    TEXT  \
//!   kind      TEXT   > together unique
//!   key       TEXT  /
//!   version   INTEGER    0 to 2^53
//!   deleted   INTEGER    0 or 1
//!   json      TEXT       byte for byte as given
//!
//! initialized            one row for each prefix that was initialized
//!   prefix    TEXT
//!
//! checkpoints            one row
//!   database  INTEGER    made up when the database was claimed
//!   number    INTEGER    goes up before each checkpoint
//!
//! big_segments_members   one row for each context and each list of a Big Segment that it is in
//!   prefix        TEXT     \
//!   context_hash  TEXT      \  together
//!   segment_ref   TEXT      /  unique
//!   included      INTEGER  /   1 in the list of those who are included, 0 in that of the excluded
//!
//! big_segments_metadata  one row for each prefix that has Big Segments
//!   prefix           TEXT
//!   synchronized_on  INTEGER  milliseconds since 1970, or NULL
//!   version          TEXT     to which the patches have led
//! ```
//!
//! A database without tables and without an application's marks is claimed. One that another application
//! marked or filled is refused as it is, and so is one with a newer schema than the newest here.

use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::error::Failure;

/// Marks a database as one of ours, for us and for tools such as `file`.
pub(crate) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"FLGS");

const MOMENT: Duration = Duration::from_millis(1);

/// What leads from each schema to the next: the database's `user_version` is how many of them it has had.
///
/// To change the schema, add a step. Never edit one that was released.
const STEPS: [&str; 3] = [
    // An ordinary table with a unique index, not WITHOUT ROWID: that one holds 1000 bytes of a row inside its
    // tree and moves the rest to pages of its own. Measured with 10 000 items of 3 KB, it takes 3.5 times as
    // long for a get and an upsert, and is no faster for a get_all. At 0.5 KB, the size of the smallest flags,
    // its get is equal and its get_all better.
    "CREATE TABLE items (
        id INTEGER PRIMARY KEY,
        prefix TEXT NOT NULL,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        version INTEGER NOT NULL,
        deleted INTEGER NOT NULL,
        json TEXT NOT NULL,
        UNIQUE (prefix, kind, key)
    ) STRICT;
    CREATE TABLE initialized (prefix TEXT PRIMARY KEY NOT NULL) STRICT, WITHOUT ROWID;",
    "CREATE TABLE checkpoints (database INTEGER NOT NULL, number INTEGER NOT NULL) STRICT;
    INSERT INTO checkpoints VALUES (random(), 1);",
    // Here WITHOUT ROWID is right: the rows are short, and what a context is in lies side by side.
    "CREATE TABLE big_segments_members (
        prefix TEXT NOT NULL,
        context_hash TEXT NOT NULL,
        segment_ref TEXT NOT NULL,
        included INTEGER NOT NULL,
        PRIMARY KEY (prefix, context_hash, segment_ref, included)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE big_segments_metadata (
        prefix TEXT PRIMARY KEY NOT NULL,
        synchronized_on INTEGER,
        version TEXT NOT NULL DEFAULT ''
    ) STRICT, WITHOUT ROWID;",
];

const NEWEST: i32 = STEPS.len() as i32;

/// Makes sure that the database is ours and holds something that can be read. Changes nothing.
pub(crate) fn check(connection: &mut Connection) -> Result<(), Failure> {
    match steps_done(&connection.transaction()?)? {
        0 => {
            let reason = "nothing was written to the database yet, and a store that is read_only does not \
                          claim it";
            Err(Failure::Refused { field: "path", reason: reason.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Makes sure that the database is ours and has the newest schema: claims it if it is empty, brings it up
/// to date if it is older. Safe while other processes do the same.
pub(crate) fn claim(connection: &mut Connection, deadline: Instant) -> Result<(), Failure> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        connection.busy_timeout(left)?;
        match claim_now(connection) {
            // SQLite waits for every lock but those of the change to WAL, where two could wait for each
            // other. So whoever starts at the same moment as another looks again.
            Err(Failure::Sqlite(error)) if is_busy(&error) && !left.is_zero() => thread::sleep(MOMENT),
            outcome => return outcome,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

fn claim_now(connection: &mut Connection) -> Result<(), Failure> {
    let steps_done = steps_done(&connection.transaction()?)?;
    // Before the claim, since it is not possible inside a transaction, and after the check, since it stays
    // in the file. A database that has it already is not touched.
    let journal: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if journal != "wal" && journal != "memory" {
        let reason = format!("the write-ahead log cannot be used there (journal_mode is {journal})");
        return Err(Failure::Refused { field: "path", reason });
    }
    if steps_done < STEPS.len() {
        migrate(connection)?;
    }
    Ok(())
}

fn migrate(connection: &mut Connection) -> Result<(), Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Read again under the lock: another process may have been first.
    for step in &STEPS[steps_done(&transaction)?..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", NEWEST)?;
    Ok(transaction.commit()?)
}

/// How many of [`STEPS`] the database has had. Inside a transaction, because the three answers must be of
/// one moment.
fn steps_done(transaction: &Transaction<'_>) -> Result<usize, Failure> {
    let pragma = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, schema) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;

    let reason = match (application, schema) {
        (0, 0) if tables == 0 => return Ok(0),
        (APPLICATION_ID, 1..=NEWEST) => return Ok(schema as usize),
        (APPLICATION_ID, newer) if newer > NEWEST => format!(
            "the database has schema {newer}, and this version of flagstore knows only those up to {NEWEST}: \
             upgrade flagstore, or give another path"
        ),
        _ => "the database belongs to another application: give another path".to_owned(),
    };
    Err(Failure::Refused { field: "path", reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        claim_now(&mut connection).unwrap();
        connection
    }

    /// The marks are part of the format: other versions and tools look for exactly these.
    #[test]
    fn the_marks_are_pinned() {
        let connection = claimed();
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).unwrap();
        assert_eq!(pragma("application_id"), 1_179_404_115);
        assert_eq!(pragma("user_version"), 3);
    }

    /// The tables and columns are part of the format, and a change needs a new step.
    #[test]
    fn the_tables_are_pinned() {
        let connection = claimed();
        let columns = "SELECT group_concat(t.name || '.' || c.name || ' ' || c.type, ', ')
                       FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'";
        let columns: String = connection.query_row(columns, [], |row| row.get(0)).unwrap();
        assert_eq!(
            columns,
            "items.id INTEGER, items.prefix TEXT, items.kind TEXT, items.key TEXT, items.version INTEGER, \
             items.deleted INTEGER, items.json TEXT, initialized.prefix TEXT, \
             checkpoints.database INTEGER, checkpoints.number INTEGER, \
             big_segments_members.prefix TEXT, big_segments_members.context_hash TEXT, \
             big_segments_members.segment_ref TEXT, big_segments_members.included INTEGER, \
             big_segments_metadata.prefix TEXT, big_segments_metadata.synchronized_on INTEGER, \
             big_segments_metadata.version TEXT"
        );
    }

    /// A database of the first schema, which had no Big Segments, keeps what it has and gets the rest.
    #[test]
    fn an_older_schema_is_brought_up_to_date() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(STEPS[0]).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        connection.execute("INSERT INTO initialized VALUES ('kept')", []).unwrap();
        claim_now(&mut connection).unwrap();
        let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT count(*) FROM initialized"), 1);
        assert_eq!(count("SELECT count(*) FROM big_segments_members"), 0);
        assert_eq!(count("PRAGMA user_version"), 3);
    }

    /// A claimed database is left as it is.
    #[test]
    fn claiming_twice_changes_nothing() {
        let mut connection = claimed();
        let before = connection.total_changes();
        claim_now(&mut connection).unwrap();
        assert_eq!(connection.total_changes(), before);
    }

    /// Our mark with a schema that never was is not our work.
    #[test]
    fn our_mark_without_a_schema_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        assert!(matches!(claim_now(&mut connection), Err(Failure::Refused { field: "path", .. })));
    }
}
