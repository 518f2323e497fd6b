//! The connections of a store: one that writes, some that read, and the file that they are all on.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::ErrorKind;
use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use crate::error::Failure;
use crate::log::{self, Mark};
use crate::open_file::{CloseIdle, Found, Identity, Look, Lost, OpenFile};
use crate::slots::Slots;
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

pub(crate) struct Connections {
    options: Options,
    writer: Slots<Open>,
    /// `None` in memory, where one connection is the whole database and has to do both.
    readers: Option<Slots<Open>>,
    /// Connections are opened one at a time, so that all agree on the file.
    opening: Mutex<()>,
    /// Whether data was lost, as some other store or connection has found, and no call has said so yet.
    has_lost: AtomicBool,
    myself: Weak<dyn CloseIdle>,
}

impl Connections {
    pub(crate) fn new(options: Options, readers: usize) -> Arc<Self> {
        Arc::new_cyclic(|myself: &Weak<Self>| Self {
            readers: options.path.is_some().then(|| Slots::new(readers)),
            options,
            writer: Slots::new(1),
            opening: Mutex::default(),
            has_lost: AtomicBool::new(false),
            myself: Weak::clone(myself) as Weak<dyn CloseIdle>,
        })
    }

    /// Writes: what succeeded is in the file that has the path now, not in one that was deleted.
    pub(crate) fn write<T>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if self.options.read_only {
            return Err(Failure::ReadOnly);
        }
        self.run(&self.writer, deadline, Look::Always, |open| work(&mut open.connection))
    }

    /// Reads, beside any number of other readers and the writer.
    pub(crate) fn read<T>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let slots = self.readers.as_ref().unwrap_or(&self.writer);
        self.run(slots, deadline, Look::WhenDue, |open| work(&mut open.connection))
    }

    /// Reads, and looks whether the file is still there.
    pub(crate) fn probe<T>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let slots = self.readers.as_ref().unwrap_or(&self.writer);
        self.run(slots, deadline, Look::Always, |open| work(&mut open.connection))
    }

    /// Opens the connection that writes, or in a store that is read-only the one that could.
    pub(crate) fn start(&self, deadline: Instant) -> Result<(), Failure> {
        self.run(&self.writer, deadline, Look::Always, |_| Ok(()))
    }

    /// Whether anybody else has committed anything since the last call. Also true if nobody can know: the first
    /// time, and with every new connection. In memory there is nobody else.
    pub(crate) fn has_changed(&self, deadline: Instant) -> Result<bool, Failure> {
        if self.readers.is_none() {
            return Ok(false);
        }
        // Asked of the connection that writes, because each is told of the commits of all others.
        self.run(&self.writer, deadline, Look::Always, |open| {
            let mut select = open.connection.prepare_cached("PRAGMA data_version")?;
            let now: i64 = select.query_row([], |row| row.get(0))?;
            Ok(open.data_version.replace(now) != Some(now))
        })
    }

    fn run<T>(
        &self,
        slots: &Slots<Open>,
        deadline: Instant,
        look: Look,
        work: impl FnOnce(&mut Open) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut lease = slots.take(deadline).ok_or(Failure::NoConnection)?;
        lease.take_if(|open| open.is_gone() || open.is_outdated());
        let open = match &mut *lease {
            Some(open) => open,
            none => none.insert(self.open(deadline)?),
        };
        open.finish_by(deadline)?;
        let result = work(open);

        // A connection in memory holds the data, so it is never given up.
        if open.file.is_none() {
            return result;
        }
        let look = if result.is_err() { Look::Always } else { look };
        if let Some(lost) = self.what_is_lost(open, look) {
            open.abandon(lost);
            *lease = None;
            self.has_lost.store(false, Ordering::Release);
            return Err(Failure::FileGone);
        }
        match &result {
            Ok(_) => open.tend_the_log(),
            Err(failure) if failure.spares_the_connection() => {}
            Err(failure) => {
                // What the log takes comes free by moving it into the file, which may have room for it.
                if failure.is_disk_full() {
                    log::checkpoint(&open.connection);
                }
                // What was read made no sense. It may, to who opens the files anew.
                if failure.condemns_the_file() {
                    open.abandon(Lost::Memory);
                }
                *lease = None;
            }
        }
        result
    }

    /// Opens a connection, and claims the database if it is new.
    fn open(&self, deadline: Instant) -> Result<Open, Failure> {
        let _one_at_a_time = self.opening.try_lock_until(deadline).ok_or(Failure::NoConnection)?;
        let Some(path) = &self.options.path else {
            return self.prepare(deadline, Connection::open_in_memory()?, None);
        };
        if !self.options.read_only {
            create(path, self.options.file_mode);
        }
        let Some(identity) = Identity::of(path) else {
            // SQLite says in its own words why it is not there.
            return self.connect(path).map_or_else(|error| Err(error.into()), |_| Err(Failure::FileGone));
        };
        let share =
            |without_log| OpenFile::share(path, identity, without_log, &self.myself).ok_or(Failure::FileGone);
        let file = share(false)?;
        if self.has_lost.swap(false, Ordering::AcqRel) {
            return Err(Failure::FileGone);
        }
        if !self.options.read_only {
            file.may_be_written();
        }
        let opened = self.connect(path).map_err(Failure::from);
        let opened =
            opened.and_then(|connection| self.prepare(deadline, connection, Some(Arc::clone(&file))));
        if opened.as_ref().is_err_and(Failure::condemns_the_file) {
            file.abandon(Lost::Memory);
        }
        match opened {
            // SQLite reads a database with a log only where it can make the files beside it. Where there is no log
            // nobody writes, and the file can be read as it is, until somebody does.
            Err(failure) if self.options.read_only && failure.wants_files_beside() && !file.has_log() => {
                self.prepare(deadline, log::open_without_log(path)?, Some(share(true)?))
            }
            opened => opened,
        }
    }

    fn connect(&self, path: &Path) -> rusqlite::Result<Connection> {
        // Without SQLITE_OPEN_URI, and an absolute path: no name of a file means anything else.
        let flags = match self.options.read_only {
            true => OpenFlags::SQLITE_OPEN_READ_ONLY,
            false => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        };
        Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
    }

    fn prepare(
        &self,
        deadline: Instant,
        mut connection: Connection,
        file: Option<Arc<OpenFile>>,
    ) -> Result<Open, Failure> {
        connection.busy_timeout(deadline.saturating_duration_since(Instant::now()))?;
        self.configure(&connection)?;
        let clock = Arc::new(Mutex::new(deadline));
        let handler_clock = Arc::clone(&clock);
        let is_late = move || Instant::now() >= *handler_clock.lock();
        connection.progress_handler(INSTRUCTIONS_PER_LOOK, Some(is_late))?;
        if self.options.read_only {
            schema::check(&mut connection)?;
        } else {
            connection.pragma_update(None, "synchronous", self.options.synchronous)?;
            codec::define_is_item(&connection)?;
            schema::claim(&mut connection, deadline)?;
            log::take_over(&connection)?;
        }
        if let Some(file) = &file {
            file.note_files_beside();
            if file.mark().is_none() {
                if !self.options.read_only && self.mark_in_file().is_err() {
                    // It was just claimed, and has nothing but a log.
                    log::checkpoint(&connection);
                }
                self.mark_in_file().into_iter().for_each(|mark| file.set_mark(mark));
            }
        }
        Ok(Open { connection, deadline: clock, data_version: None, writes: Writes::None, file })
    }

    fn configure(&self, connection: &Connection) -> Result<(), Failure> {
        let Some(configure) = &self.options.configure else { return Ok(()) };
        configure(connection).map_err(|error| match Failure::from(error) {
            error if error.kind() == ErrorKind::Other => {
                Failure::Refused { field: "configure", reason: error.to_string() }
            }
            error => error,
        })
    }

    /// What of the open files is not at the path any more, if anything.
    fn what_is_lost(&self, open: &Open, look: Look) -> Option<Lost> {
        let file = open.file.as_ref()?;
        match file.look(look) {
            Found::Same => None,
            Found::Gone(lost) => Some(lost),
            Found::Written => self.was_overwritten(file, &open.connection).then_some(Lost::Database),
        }
    }

    /// Whether what was written to the database file was something else than a checkpoint.
    fn was_overwritten(&self, file: &OpenFile, connection: &Connection) -> bool {
        for _ in 0..LOOKS {
            let now = match self.mark_in_file() {
                Ok(now) => Some(now),
                Err(error) if is_senseless(&error) => None,
                Err(_) => {
                    // It could not be read at all, so nothing is known.
                    file.look_again();
                    return false;
                }
            };
            match (file.mark(), now) {
                // Nobody knows what it was before, because all that it held was in the log.
                (None, None) => return false,
                (before, Some(now))
                    if before.is_none_or(|before| now.can_follow(before, Mark::of(connection).ok())) =>
                {
                    file.set_mark(now);
                    return false;
                }
                // It looks overwritten, or a checkpoint is just writing to it.
                _ => thread::sleep(BETWEEN_LOOKS),
            }
        }
        true
    }

    /// What the database file says of itself, without its log.
    fn mark_in_file(&self) -> rusqlite::Result<Mark> {
        let path = self.options.path.as_deref().unwrap_or(Path::new(""));
        let connection = log::open_without_log(path)?;
        self.options.configure.iter().try_for_each(|configure| configure(&connection))?;
        Mark::of(&connection)
    }
}

/// Whether what was read is not a database with our mark, rather than not to be read.
fn is_senseless(error: &rusqlite::Error) -> bool {
    use ErrorCode::{DatabaseCorrupt, NotADatabase, Unknown};
    match error {
        rusqlite::Error::SqliteFailure(error, _) => {
            matches!(error.code, DatabaseCorrupt | NotADatabase | Unknown)
                || error.extended_code == ffi::SQLITE_IOERR_SHORT_READ
        }
        rusqlite::Error::SqlInputError { .. } | rusqlite::Error::QueryReturnedNoRows => true,
        _ => false,
    }
}

/// Creates the file, empty as SQLite would, but with the permissions that were asked for. SQLite gives the same to
/// the files beside it. Where it cannot be created, SQLite says why.
fn create(path: &Path, mode: u32) {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        options.mode(mode);
        if let Ok(file) = options.open(path) {
            // Again, since the process may have a mask that takes some away.
            let _ = file.set_permissions(std::fs::Permissions::from_mode(mode));
        }
    }
    #[cfg(not(unix))]
    let _ = (mode, options.open(path));
}

impl CloseIdle for Connections {
    fn close_idle(&self, lost: Lost) {
        if lost != Lost::Memory {
            self.has_lost.store(true, Ordering::Release);
        }
        for slots in self.readers.iter().chain([&self.writer]) {
            drop(slots.take_out(Open::is_gone));
        }
    }
}

impl Drop for Connections {
    /// The last connection to be closed moves the log into the file. Before that, a look whether it still is ours.
    fn drop(&mut self) {
        let mut open = self.writer.take_out(|_| true);
        open.extend(self.readers.iter().flat_map(|readers| readers.take_out(|_| true)));
        if let Some(first) = open.first_mut() {
            match self.what_is_lost(first, Look::Always) {
                Some(lost) => first.abandon(lost),
                None => first.close_the_log(),
            }
        }
    }
}

/// An open connection.
struct Open {
    // Before `file`, so that it is closed first.
    connection: Connection,
    /// What the progress handler compares the clock with.
    deadline: Arc<Mutex<Instant>>,
    /// What a watcher has seen last.
    data_version: Option<i64>,
    /// What it has written: nothing yet, or something since the log was moved last.
    writes: Writes,
    file: Option<Arc<OpenFile>>,
}

#[derive(PartialEq, Eq)]
enum Writes {
    None,
    InLog,
    Moved,
}

impl Open {
    fn finish_by(&self, deadline: Instant) -> rusqlite::Result<()> {
        *self.deadline.lock() = deadline;
        self.connection.busy_timeout(deadline.saturating_duration_since(Instant::now()))
    }

    fn is_gone(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.is_gone())
    }

    fn is_outdated(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.is_outdated())
    }

    fn abandon(&self, lost: Lost) {
        if let Some(file) = &self.file {
            file.abandon(lost);
        }
    }

    /// Moves the log into the file when it has become long. To be called when the file is known to be well.
    fn tend_the_log(&mut self) {
        let pages = log::take_pages();
        if !pages.any() {
            return;
        }
        if self.writes == Writes::None {
            // Others may move the log from now on, and what they move has to have a number of its own.
            let _ = log::count(&self.connection);
        }
        self.writes = Writes::InLog;
        if pages.are_many() {
            log::checkpoint(&self.connection);
            self.writes = Writes::Moved;
        }
    }

    fn close_the_log(&self) {
        if self.writes == Writes::InLog {
            log::checkpoint(&self.connection);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.is_gone() {
            // What it has in its log is no part of the file that is there now.
            let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use flagstore_core::{FeatureStoreCore, Item, Kind};
    use tempfile::TempDir;

    use crate::SqliteStore;

    use super::*;

    /// What the store itself writes is no news to it, and what another writes is.
    #[test]
    fn own_commits_are_no_changes() {
        let folder = TempDir::new().unwrap();
        let store = || SqliteStore::builder(folder.path().join("flags.db")).build().unwrap();
        let (store, other) = (store(), store());
        let upsert = |store: &SqliteStore, version| {
            let item = Item::tombstone("dark-mode", version).unwrap();
            drop(store.upsert(&Kind::FEATURES, "dark-mode", &item).unwrap());
        };
        let has_changed = || store.connections.has_changed(Instant::now() + Duration::from_secs(60)).unwrap();

        assert!(has_changed(), "nobody knows, the first time");
        for version in 1..10 {
            upsert(&store, version);
            assert!(!has_changed());
        }
        upsert(&other, 10);
        assert!(has_changed());
        assert!(!has_changed());
    }
}
