//! The connections of a store: one that writes, some that read, and the file that they are all on.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Instant;

use flagstore_core::ErrorKind;
use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, OpenFlags};

use crate::error::Failure;
use crate::open_file::{Identity, Look, OpenFile};
use crate::{Synchronous, schema, store};

/// How many of its own instructions SQLite executes between two looks at the clock: some 20 microseconds.
const INSTRUCTIONS_PER_LOOK: i32 = 1000;

pub(crate) type Configure = dyn Fn(&Connection) -> rusqlite::Result<()> + Send + Sync;

/// What a new connection needs.
pub(crate) struct Options {
    /// The absolute path, since the process may change its directory; `None` for a database in memory.
    pub(crate) path: Option<PathBuf>,
    pub(crate) synchronous: Synchronous,
    pub(crate) configure: Option<Arc<Configure>>,
}

pub(crate) struct Connections {
    options: Options,
    writer: Slots,
    /// `None` in memory, where one connection is the whole database and has to do both.
    readers: Option<Slots>,
    /// Sees what all others commit, and so does nothing else.
    watcher: Slots,
    /// The file that connections are open on, which lives as long as the last of them.
    file: Mutex<Weak<OpenFile>>,
}

impl Connections {
    pub(crate) fn new(options: Options, readers: usize) -> Self {
        let readers = options.path.is_some().then(|| Slots::new(readers));
        Self { options, writer: Slots::new(1), readers, watcher: Slots::new(1), file: Mutex::default() }
    }

    /// Writes: what succeeded is in the file that has the path now, not in one that was deleted.
    pub(crate) fn write<T>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
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

    /// Whether anybody has committed anything since the last call. Also true if nobody can know: the first
    /// time, and with every new connection. In memory there is nobody else.
    pub(crate) fn has_changed(&self, deadline: Instant) -> Result<bool, Failure> {
        if self.readers.is_none() {
            return Ok(false);
        }
        self.run(&self.watcher, deadline, Look::Always, |open| {
            let mut select = open.connection.prepare_cached("PRAGMA data_version")?;
            let now: i64 = select.query_row([], |row| row.get(0))?;
            Ok(open.data_version.replace(now) != Some(now))
        })
    }

    fn run<T>(
        &self,
        slots: &Slots,
        deadline: Instant,
        look: Look,
        work: impl FnOnce(&mut Open) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut lease = slots.take(deadline)?;
        let open = match &mut lease.open {
            Some(open) => open,
            none => none.insert(self.open(deadline)?),
        };
        open.finish_by(deadline)?;
        let result = work(open);

        let file = open.file.as_ref();
        let look = if result.is_err() { Look::Always } else { look };
        if let Some(file) = file.filter(|file| !file.is_there(look)) {
            self.abandon(file);
            return Err(Failure::FileGone);
        }
        // A connection in memory holds the data, so it is never given up.
        if file.is_some() && result.as_ref().is_err_and(|failure| !failure.spares_the_connection()) {
            lease.open = None;
        }
        result
    }

    /// Opens a connection, and claims the database if it is new.
    fn open(&self, deadline: Instant) -> Result<Open, Failure> {
        // One at a time, so that all agree on the file.
        let mut current = self.file.try_lock_until(deadline).ok_or(Failure::NoConnection)?;
        let Some(path) = &self.options.path else {
            return self.connect(deadline, Connection::open_in_memory()?, None);
        };
        // Not while connections to an older file are open: SQLite would reset the memory they share.
        let before = Identity::of(path);
        if let Some(file) = current.upgrade().filter(|file| file.is_gone() || !file.is(before)) {
            self.abandon(&file);
            return Err(Failure::FileGone);
        }
        // Without SQLITE_OPEN_URI, and an absolute path: no name of a file means anything else.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        let file = match current.upgrade() {
            Some(file) => file,
            None => OpenFile::new(path, before.or_else(|| Identity::of(path)).ok_or(Failure::FileGone)?),
        };
        *current = Arc::downgrade(&file);
        self.connect(deadline, connection, Some(file))
    }

    fn connect(
        &self,
        deadline: Instant,
        mut connection: Connection,
        file: Option<Arc<OpenFile>>,
    ) -> Result<Open, Failure> {
        connection.busy_timeout(deadline.saturating_duration_since(Instant::now()))?;
        if let Some(configure) = &self.options.configure {
            configure(&connection).map_err(|error| match Failure::from(error) {
                error if error.kind() == ErrorKind::Other => {
                    Failure::Refused { field: "configure", reason: error.to_string() }
                }
                error => error,
            })?;
        }
        let clock = Arc::new(Mutex::new(deadline));
        let handler_clock = Arc::clone(&clock);
        let is_late = move || Instant::now() >= *handler_clock.lock();
        connection.progress_handler(INSTRUCTIONS_PER_LOOK, Some(is_late))?;
        connection.pragma_update(None, "synchronous", self.options.synchronous.as_sql())?;
        store::define_is_item(&connection)?;
        schema::claim(&mut connection, deadline)?;
        Ok(Open { connection, deadline: clock, data_version: None, file })
    }

    /// Closes every idle connection to a file that is gone. The others are closed when they are given back.
    fn abandon(&self, file: &OpenFile) {
        file.mark_gone();
        for slots in self.readers.iter().chain([&self.writer, &self.watcher]) {
            slots.close_gone();
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
    file: Option<Arc<OpenFile>>,
}

impl Open {
    fn finish_by(&self, deadline: Instant) -> rusqlite::Result<()> {
        *self.deadline.lock() = deadline;
        self.connection.busy_timeout(deadline.saturating_duration_since(Instant::now()))
    }

    fn is_gone(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.is_gone())
    }
}

/// Places for connections. A connection is opened when there is no open one left and a place is free.
struct Slots {
    /// The one used last is at the end and is used next: its caches are warm, and few are ever opened.
    free: Mutex<Vec<Option<Open>>>,
    given_back: Condvar,
}

impl Slots {
    fn new(places: usize) -> Self {
        Self { free: Mutex::new((0..places).map(|_| None).collect()), given_back: Condvar::new() }
    }

    fn take(&self, deadline: Instant) -> Result<Lease<'_>, Failure> {
        let mut free = self.free.lock();
        self.given_back.wait_while_until(&mut free, |free| free.is_empty(), deadline);
        let open = free.pop().ok_or(Failure::NoConnection)?;
        Ok(Lease { slots: self, open })
    }

    fn give_back(&self, open: Option<Open>) {
        let mut free = self.free.lock();
        let place = if open.is_some() { free.len() } else { 0 };
        free.insert(place, open);
        drop(free);
        self.given_back.notify_one();
    }

    fn close_gone(&self) {
        let mut free = self.free.lock();
        for place in free.iter_mut() {
            if place.as_ref().is_some_and(Open::is_gone) {
                *place = None;
            }
        }
    }
}

/// A place that is in use. It is given back on drop, so also when a panic unwinds; by then statements and
/// transactions have ended themselves.
struct Lease<'a> {
    slots: &'a Slots,
    open: Option<Open>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let open = self.open.take().filter(|open| !open.is_gone());
        self.slots.give_back(open);
    }
}
