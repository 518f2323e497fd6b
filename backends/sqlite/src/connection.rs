//! One connection: how it comes about, what file it is on, and what it has left in the log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::ErrorKind;
use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::Failure;
use crate::log::{self, Mark, Pages};
use crate::open_file::{Found, Look, Lost, OpenFile};
use crate::{codec, schema};

/// How many of its own instructions SQLite executes between two looks at the clock: some 20 microseconds.
const INSTRUCTIONS_PER_LOOK: i32 = 1000;

/// How often a file must look as if it had been overwritten: a checkpoint may be writing to it.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

pub(crate) type Configure = dyn Fn(&Connection) -> rusqlite::Result<()> + Send + Sync;

/// What a new connection needs.
pub(crate) struct Options {
    /// The absolute path, since the process may change its directory; `None` for a database in memory.
    pub(crate) path: Option<PathBuf>,
    pub(crate) synchronous: &'static str,
    pub(crate) configure: Option<Arc<Configure>>,
    pub(crate) file_mode: u32,
    pub(crate) read_only: bool,
}

impl Options {
    pub(crate) fn connect(&self, path: &Path) -> rusqlite::Result<Connection> {
        // Without SQLITE_OPEN_URI, and an absolute path: no name of a file means anything else.
        let flags = match self.read_only {
            true => OpenFlags::SQLITE_OPEN_READ_ONLY,
            false => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        };
        Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
    }

    fn configure(&self, connection: &Connection) -> Result<(), Failure> {
        let Some(configure) = &self.configure else { return Ok(()) };
        configure(connection).map_err(|error| {
            let reason = match &error {
                // What it has said to SQLite may hold a key, and so may what SQLite says of that.
                rusqlite::Error::SqlInputError { error, .. } => error.to_string(),
                error => error.to_string(),
            };
            match Failure::from(error) {
                failure if failure.kind() == ErrorKind::Other => {
                    Failure::Refused { field: "configure", reason }
                }
                failure => failure,
            }
        })
    }

    /// What the database file says of itself, without its log; `None` if it is no database of ours.
    ///
    /// A checkpoint that is under way, or was interrupted, leaves the file shorter than it says, and damaged but
    /// for its log. The mark is there all the same. So an error means that nothing is known.
    pub(crate) fn mark_in_file(&self) -> rusqlite::Result<Option<Mark>> {
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        let connection = log::open_without_log(path)?;
        self.configure.iter().try_for_each(|configure| configure(&connection))?;
        // Else SQLite does not look into a file that is shorter than it says.
        connection.pragma_update(None, "writable_schema", true)?;
        match connection.pragma_query_value(None, "application_id", |row| row.get::<_, i32>(0)) {
            Ok(schema::APPLICATION_ID) => Mark::of(&connection).map(Some),
            Ok(_) => Ok(None),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// An open connection.
pub(crate) struct Open {
    // Before `file`, so that it is closed first.
    pub(crate) connection: Connection,
    /// What the progress handler compares the clock with.
    deadline: Arc<Mutex<Instant>>,
    /// What a watcher has seen last.
    pub(crate) data_version: Option<i64>,
    writes: Writes,
    pub(crate) file: Option<Arc<OpenFile>>,
}

/// What a connection has written.
#[derive(PartialEq, Eq)]
enum Writes {
    None,
    Some,
    /// All the data, in this very call.
    All,
}

impl Open {
    /// Makes the connection ours, and the database if it is new.
    pub(crate) fn prepare(
        options: &Options,
        deadline: Instant,
        mut connection: Connection,
        file: Option<Arc<OpenFile>>,
    ) -> Result<Self, Failure> {
        connection.busy_timeout(deadline.saturating_duration_since(Instant::now()))?;
        options.configure(&connection)?;
        if let Some(file) = &file
            && file.mark().is_none()
            && has_foreign_log(options, file, &connection)
        {
            // Whoever reads it would read a mixture, and whoever moves it would spoil what is there.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            drop(connection);
            file.abandon_with_log();
            return Err(Failure::FileGone);
        }
        let clock = Arc::new(Mutex::new(deadline));
        let handler_clock = Arc::clone(&clock);
        let is_late = move || Instant::now() >= *handler_clock.lock();
        connection.progress_handler(INSTRUCTIONS_PER_LOOK, Some(is_late))?;
        if options.read_only {
            schema::check(&mut connection)?;
        } else {
            connection.pragma_update(None, "synchronous", options.synchronous)?;
            codec::define_is_item(&connection)?;
            schema::claim(&mut connection, deadline)?;
            log::take_over(&connection)?;
        }
        if let Some(file) = &file {
            file.hold_files_beside();
            if file.mark().is_none() {
                if !options.read_only && !matches!(options.mark_in_file(), Ok(Some(_))) {
                    // It was just claimed, and has nothing but a log.
                    log::checkpoint(&connection);
                }
                if let Ok(Some(mark)) = options.mark_in_file() {
                    file.set_mark(mark);
                }
            }
        }
        Ok(Self { connection, deadline: clock, data_version: None, writes: Writes::None, file })
    }

    /// What of the open files is not at the path any more, if anything.
    pub(crate) fn what_is_lost(&self, options: &Options, look: Look) -> Option<Lost> {
        let file = self.file.as_ref()?;
        match file.look(look) {
            Found::Same => None,
            Found::Gone(lost) => Some(lost),
            Found::Written => was_overwritten(options, file, &self.connection).then_some(Lost::Database),
        }
    }

    pub(crate) fn finish_by(&self, deadline: Instant) -> rusqlite::Result<()> {
        *self.deadline.lock() = deadline;
        self.connection.busy_timeout(deadline.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.is_gone())
    }

    pub(crate) fn is_outdated(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.is_outdated())
    }

    pub(crate) fn abandon(&self, lost: Lost) {
        if let Some(file) = &self.file {
            file.abandon(lost);
        }
    }

    /// Moves the log into the file when it has become long. To be called when the file is known to be well.
    pub(crate) fn tend_the_log(&mut self, pages: Pages) {
        if !pages.any() {
            return;
        }
        if self.writes == Writes::None {
            // Others may move the log from now on, and what they move has to have a number of its own.
            let _ = log::count(&self.connection);
        }
        let has_all = std::mem::replace(&mut self.writes, Writes::Some) == Writes::All;
        if has_all || pages.are_many() {
            log::checkpoint(&self.connection);
        }
    }

    /// What is written now is all there is, so it is not left in the log.
    pub(crate) fn writes_all(&mut self) {
        self.writes = Writes::All;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.is_gone() {
            // What it has in its log is no part of the file that is there now.
            let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
        if let Some(file) = &self.file {
            file.release_files_beside();
        }
    }
}

/// Whether the log beside a file that is just opened is that of another database: somebody has put the file in the
/// place of that, and has left its log. Only what is certain counts.
fn has_foreign_log(options: &Options, file: &OpenFile, connection: &Connection) -> bool {
    let looks_foreign = |look| {
        if look > 0 {
            thread::sleep(BETWEEN_LOOKS);
        }
        let Ok(Some(now)) = options.mark_in_file() else { return false };
        match Mark::of(connection) {
            Ok(latest) => !now.is_of_the_database_of(latest),
            // What makes sense by itself, and none with the log.
            Err(error) => Failure::from(error).makes_no_sense(),
        }
    };
    file.has_log() && (0..LOOKS).all(looks_foreign)
}

/// Whether what was written to the database file was something else than a checkpoint. Only what is certain counts:
/// the log of a file that was overwritten is thrown away.
fn was_overwritten(options: &Options, file: &OpenFile, connection: &Connection) -> bool {
    for _ in 0..LOOKS {
        match (file.mark(), options.mark_in_file()) {
            (before, Ok(Some(now)))
                if before.is_none_or(|before| now.can_follow(before, Mark::of(connection).ok())) =>
            {
                file.set_mark(now);
                return false;
            }
            // It looks overwritten. Or it was read just while a page was being written.
            (Some(_), Ok(_)) => thread::sleep(BETWEEN_LOOKS),
            // All that it holds is in the log, or it could not be read.
            _ => {
                file.look_again();
                return false;
            }
        }
    }
    true
}
