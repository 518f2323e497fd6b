use flagstore_core::{ErrorKind, StoreError};
use rusqlite::ErrorCode;

/// The store's one-word name in errors.
pub(crate) const STORE: &str = "sqlite";

/// Why a call did not succeed, before it is known which call it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}{advice}", advice = advice(.0))]
    Sqlite(#[from] rusqlite::Error),

    /// The configuration or the file has to change before the database can be opened.
    #[error("{field}: {reason}")]
    Refused { field: &'static str, reason: String },

    #[error("no connection was free within the timeout: others are using all of them")]
    NoConnection,

    #[error(
        "the database file or its log was deleted or replaced while it was open; \
         the next call opens what is there then, or creates it anew"
    )]
    FileGone,

    #[error(
        "the memory that processes share (-shm) or another of the database's files was deleted or replaced \
         while this was written, so it may be in the database or not"
    )]
    InDoubt,

    #[error("the store is read_only: build one without it to write")]
    ReadOnly,

    #[error("other processes replaced the item again and again; try again")]
    Raced,
}

impl Failure {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Sqlite(error) => classify(error),
            // Only a builder says `Config`. Later it means that somebody else changed the file.
            Self::Refused { .. } | Self::NoConnection | Self::FileGone | Self::Raced => {
                ErrorKind::Unavailable
            }
            Self::InDoubt => ErrorKind::Timeout,
            Self::ReadOnly => ErrorKind::Other,
        }
    }

    /// The failure as an error of this operation.
    pub(crate) fn during(self, operation: &'static str) -> StoreError {
        StoreError::new(self.kind(), STORE, operation, self)
    }

    /// Whether what was read makes no sense, which it may to who opens all files anew.
    pub(crate) fn condemns_the_file(&self) -> bool {
        use ErrorCode::{DatabaseCorrupt, NotADatabase, SystemIoFailure};
        let Self::Sqlite(error) = self else { return false };
        matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase | SystemIoFailure))
    }

    /// Whether what was read is no database of ours.
    pub(crate) fn makes_no_sense(&self) -> bool {
        let Self::Sqlite(error) = self else { return false };
        // The latter where there is no such table.
        let is_damaged =
            matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
        is_damaged || matches!(error, rusqlite::Error::SqlInputError { .. })
    }

    pub(crate) fn is_disk_full(&self) -> bool {
        let Self::Sqlite(error) = self else { return false };
        error.sqlite_error_code() == Some(ErrorCode::DiskFull)
    }

    /// Whether SQLite could not make its files beside the database.
    pub(crate) fn wants_files_beside(&self) -> bool {
        let Self::Sqlite(error) = self else { return false };
        matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
    }

    /// Whether a connection can go on after it. Any other is closed, and the next call opens a new one.
    pub(crate) fn spares_the_connection(&self) -> bool {
        use ErrorCode::{DatabaseBusy, DatabaseLocked, OperationInterrupted, TooBig};
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => {
                matches!(error.code, DatabaseBusy | DatabaseLocked | OperationInterrupted | TooBig)
            }
            Self::Sqlite(error) => classify(error) == ErrorKind::Corrupt,
            Self::Raced | Self::ReadOnly => true,
            Self::Refused { .. } | Self::NoConnection | Self::FileGone | Self::InDoubt => false,
        }
    }
}

/// What a caller can do about an error of SQLite.
pub(crate) fn classify(error: &rusqlite::Error) -> ErrorKind {
    use rusqlite::Error as E;
    let code = match error {
        // The row is there, and what is in its columns is not an item.
        E::FromSqlConversionFailure(..) | E::IntegralValueOutOfRange(..) | E::Utf8Error(..) => {
            return ErrorKind::Corrupt;
        }
        E::InvalidColumnType(..) => return ErrorKind::Corrupt,
        E::SqliteFailure(error, _) => error.code,
        _ => return ErrorKind::Other,
    };
    match code {
        // Somebody holds the lock, and held it until the deadline. Nothing was written.
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => ErrorKind::Unavailable,
        // Processes got into each other's way while setting up the write-ahead log.
        ErrorCode::FileLockingProtocolFailed => ErrorKind::Unavailable,
        // Our progress handler, at the deadline.
        ErrorCode::OperationInterrupted => ErrorKind::Timeout,
        // The disk or the file's page limit.
        ErrorCode::DiskFull => ErrorKind::Unavailable,
        // Permissions of the file, its folder or its file system; `query_only`.
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => ErrorKind::Unavailable,
        // The folder is gone, is not ours to open, or holds a folder of that name.
        ErrorCode::CannotOpen => ErrorKind::Unavailable,
        // The disk, or a file that was cut off or removed.
        ErrorCode::SystemIoFailure => ErrorKind::Unavailable,
        // The file was overwritten by something else, or is damaged as a whole.
        ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => ErrorKind::Unavailable,
        // It may work when others have given memory back.
        ErrorCode::OutOfMemory => ErrorKind::Unavailable,
        // SQLITE_LIMIT_LENGTH: one item is too long.
        ErrorCode::TooBig => ErrorKind::TooLarge,
        _ => ErrorKind::Other,
    }
}

/// What to do next, where that is clear.
fn advice(error: &rusqlite::Error) -> &'static str {
    let rusqlite::Error::SqliteFailure(error, _) = error else { return "" };
    match error.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            "; another connection held the lock for longer than the timeout"
        }
        ErrorCode::OperationInterrupted => "; it took longer than the timeout",
        ErrorCode::DiskFull => "; free some disk space, or raise max_page_count",
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
            "; check that this user may write the file and its folder"
        }
        ErrorCode::CannotOpen => "; check that the folder exists and that this user may write to it",
        ErrorCode::NotADatabase => {
            "; the file is not an SQLite database, or is encrypted: move it away, or configure its key"
        }
        ErrorCode::DatabaseCorrupt => "; move the file away and it is created anew, or restore a copy",
        ErrorCode::TooBig => "; make the item smaller, or raise SQLITE_LIMIT_LENGTH",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn of(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    /// Each code that `classify` names has the kind by which callers can act on it.
    #[test]
    fn every_named_code_has_its_kind() {
        let table = [
            (ffi::SQLITE_BUSY, ErrorKind::Unavailable),
            (ffi::SQLITE_BUSY_SNAPSHOT, ErrorKind::Unavailable),
            (ffi::SQLITE_LOCKED, ErrorKind::Unavailable),
            (ffi::SQLITE_PROTOCOL, ErrorKind::Unavailable),
            (ffi::SQLITE_INTERRUPT, ErrorKind::Timeout),
            (ffi::SQLITE_FULL, ErrorKind::Unavailable),
            (ffi::SQLITE_READONLY, ErrorKind::Unavailable),
            (ffi::SQLITE_PERM, ErrorKind::Unavailable),
            (ffi::SQLITE_CANTOPEN, ErrorKind::Unavailable),
            (ffi::SQLITE_IOERR, ErrorKind::Unavailable),
            (ffi::SQLITE_IOERR_SHORT_READ, ErrorKind::Unavailable),
            (ffi::SQLITE_NOTADB, ErrorKind::Unavailable),
            (ffi::SQLITE_CORRUPT, ErrorKind::Unavailable),
            (ffi::SQLITE_NOMEM, ErrorKind::Unavailable),
            (ffi::SQLITE_TOOBIG, ErrorKind::TooLarge),
            (ffi::SQLITE_ERROR, ErrorKind::Other),
            (ffi::SQLITE_MISUSE, ErrorKind::Other),
        ];
        for (code, kind) in table {
            assert_eq!(classify(&of(code)), kind, "{}", of(code));
        }
    }

    /// A value that cannot be converted is about one item, not about the database.
    #[test]
    fn values_that_are_no_item_are_corrupt() {
        let out_of_range = rusqlite::Error::IntegralValueOutOfRange(0, -1);
        assert_eq!(classify(&out_of_range), ErrorKind::Corrupt);
        let not_text: rusqlite::Error = rusqlite::types::FromSqlError::InvalidType.into();
        assert_eq!(classify(&not_text), ErrorKind::Corrupt);
    }

    /// A message ends with what to do next.
    #[test]
    fn a_message_says_what_to_do_next() {
        let error = Failure::from(of(ffi::SQLITE_FULL)).during("upsert");
        assert!(error.to_string().ends_with("free some disk space, or raise max_page_count"), "{error}");
    }

    /// A connection goes on after what concerns one call, and not after what may concern the file.
    #[test]
    fn only_passing_failures_spare_the_connection() {
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_INTERRUPT, ffi::SQLITE_TOOBIG] {
            assert!(Failure::from(of(code)).spares_the_connection());
        }
        for code in [ffi::SQLITE_IOERR, ffi::SQLITE_READONLY, ffi::SQLITE_CORRUPT] {
            assert!(!Failure::from(of(code)).spares_the_connection());
        }
    }
}
