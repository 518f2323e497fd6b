//! The write-ahead log: when it is moved into the database file, and how to tell whether that file is still the one
//! that the log belongs to.
//!
//! SQLite would move the log by itself. Here it is done by hand, because only so can it be known what the file has to
//! look like. The one row of `checkpoints` has a number that goes up before each checkpoint. So a file that was
//! written to is as SQLite left it if its number is between the one that was seen last and the one that the log says.
//! One with a lower number is an older copy, and one of another database has another name.

use std::cell::Cell;
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags};

/// As many pages in the log as SQLite's own checkpoints wait for: 4 MB.
const LONG: i32 = 1000;

/// To what length a log is cut that begins anew, in bytes.
const LIMIT: i64 = 4 << 20;

thread_local! {
    /// How many pages the log had after the last commit of this thread, or 0 if there was none since it was asked.
    static PAGES: Cell<i32> = const { Cell::new(0) };
}

/// Takes the checkpoints of this connection into our hands.
pub(crate) fn take_over(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_size_limit", LIMIT, |_| Ok(()))?;
    connection.wal_hook(Some(|_: &Wal, pages| {
        PAGES.set(pages);
        Ok(())
    }));
    Ok(())
}

/// What this thread's commits have left to do, since the last call.
pub(crate) fn take_pages() -> Pages {
    Pages(PAGES.take())
}

/// How many pages the log had after a commit.
#[derive(Clone, Copy)]
pub(crate) struct Pages(i32);

impl Pages {
    pub(crate) fn any(self) -> bool {
        self.0 > 0
    }

    pub(crate) fn are_many(self) -> bool {
        self.0 >= LONG
    }
}

/// Moves the log into the database file, as far as nobody is in the way just now, and begins it anew.
///
/// Only for who has made sure that the file is still the one that the log belongs to.
pub(crate) fn checkpoint(connection: &Connection) {
    // Nothing depends on success: the next checkpoint moves what this one has left.
    let _ = connection.busy_timeout(Duration::ZERO);
    let _ = count(connection);
    let _ = connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
    // The first commit in the new log cuts off what it has more than its limit. The rest stays: on a disk that is
    // full it is the room in which an init can be written that makes room.
    let _ = count(connection);
}

/// Raises the number. By the clock, so that the number of a database that SQLite itself has restored from a backup
/// does not stay below the one that others have seen.
pub(crate) fn count(connection: &Connection) -> rusqlite::Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_micros()).unwrap_or_default();
    let mut update = connection.prepare_cached("UPDATE checkpoints SET number = max(number + 1, ?1)")?;
    let counted = update.execute([now]).map(drop);
    // It leaves nothing more to do.
    PAGES.take();
    counted
}

/// Which database it is, and the number of its last checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    database: i64,
    number: i64,
}

impl Mark {
    pub(crate) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let mut select = connection.prepare_cached("SELECT database, number FROM checkpoints")?;
        select.query_row([], |row| Ok(Self { database: row.get(0)?, number: row.get(1)? }))
    }

    pub(crate) fn is_of_the_database_of(self, other: Self) -> bool {
        self.database == other.database
    }

    /// Whether a checkpoint can have led from `before` to this, when the log says `latest`, if it can be read.
    pub(crate) fn can_follow(self, before: Self, latest: Option<Self>) -> bool {
        let latest = latest.unwrap_or(self);
        self.is_of_the_database_of(before)
            && self.is_of_the_database_of(latest)
            && (before.number..=latest.number).contains(&self.number)
    }
}

/// Opens what is in the database file alone, without its log, without locks, and without any file beside it.
pub(crate) fn open_without_log(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(immutable(path), flags)
}

fn immutable(path: &Path) -> OsString {
    let mut uri = "file:".to_owned();
    let bytes = path.as_os_str().as_encoded_bytes();
    if !bytes.starts_with(b"/") {
        uri.push_str("///");
    }
    for byte in bytes {
        match byte {
            b'\\' if cfg!(windows) => uri.push('/'),
            b'/' | b':' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    uri.into()
}
