//! The connections of a store: one that writes, some that read, and the file that they are all on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::Connection;

use crate::connection::{Open, Options};
use crate::error::Failure;
use crate::log;
use crate::open_file::{self, CloseIdle, Identity, Look, Lost, OpenFile};
use crate::slots::Slots;

const MOMENT: Duration = Duration::from_millis(1);

const UNREADABLE_LOG: &str = "the log beside the file (-wal) has data in it, and this user cannot make the file (-shm) \
    by which it is read: let a store that may write open the file and close it, which empties the log, or let this user \
    write to the folder";

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
        self.check_may_write()?;
        self.run(&self.writer, deadline, Look::Write, |open| work(&mut open.connection))
    }

    /// Writes all the data, and leaves little of it in the log.
    pub(crate) fn write_all<T>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.check_may_write()?;
        self.run(&self.writer, deadline, Look::Whole, |open| {
            let written = work(&mut open.connection)?;
            open.writes_all();
            Ok(written)
        })
    }

    fn check_may_write(&self) -> Result<(), Failure> {
        if self.options.read_only { Err(Failure::ReadOnly) } else { Ok(()) }
    }

    /// Reads, beside any number of other readers and the writer.
    pub(crate) fn read<T>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let slots = self.readers.as_ref().unwrap_or(&self.writer);
        self.run(slots, deadline, Look::Read, |open| work(&mut open.connection))
    }

    /// Reads, and looks whether the file is still there.
    pub(crate) fn probe<T>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let slots = self.readers.as_ref().unwrap_or(&self.writer);
        self.run(slots, deadline, Look::Whole, |open| work(&mut open.connection))
    }

    /// Opens the connection that writes, or in a store that is read-only the one that could.
    pub(crate) fn start(&self, deadline: Instant) -> Result<(), Failure> {
        loop {
            match self.run(&self.writer, deadline, Look::Whole, |_| Ok(())) {
                // That others have lost a file is no news to a store that begins. It opens what is there as soon as
                // they have closed theirs.
                Err(Failure::FileGone) if Instant::now() < deadline => thread::sleep(MOMENT),
                started => return started,
            }
        }
    }

    /// Whether anybody else has committed anything since the last call. Also true if nobody can know: the first
    /// time, and with every new connection. In memory there is nobody else.
    pub(crate) fn has_changed(&self, deadline: Instant) -> Result<bool, Failure> {
        if self.readers.is_none() {
            return Ok(false);
        }
        // Asked of the connection that writes, because each is told of the commits of all others. That the file is gone
        // is still to be said to whoever uses the data.
        self.run_untold(&self.writer, deadline, Look::Whole, |open| {
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
        let result = self.run_untold(slots, deadline, look, work);
        if matches!(result, Err(Failure::FileGone | Failure::InDoubt)) {
            self.has_lost.store(false, Ordering::Release);
        }
        result
    }

    fn run_untold<T>(
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
        let pages = log::take_pages();
        let look = match look {
            _ if result.is_err() => Look::Whole,
            // What has written nothing is no more than a read.
            Look::Write if !pages.any() => Look::Read,
            look => look,
        };
        if let Some(lost) = open.what_is_lost(&self.options, look) {
            open.abandon(lost);
            *lease = None;
            // Nothing more than the memory is known to be lost, so what was committed may well be in the log.
            let is_in_doubt = result.is_ok() && pages.any() && lost == Lost::Memory;
            return Err(if is_in_doubt { Failure::InDoubt } else { Failure::FileGone });
        }
        match &result {
            Ok(_) => open.tend_the_log(pages),
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
            return Open::prepare(&self.options, deadline, Connection::open_in_memory()?, None);
        };
        if !self.options.read_only {
            open_file::create(path, self.options.file_mode);
        }
        let Some(identity) = Identity::of(path) else {
            // SQLite says in its own words why it is not there.
            return self
                .options
                .connect(path)
                .map_or_else(|error| Err(error.into()), |_| Err(Failure::FileGone));
        };
        let file = OpenFile::share(path, identity, &self.myself).ok_or(Failure::FileGone)?;
        if self.has_lost.load(Ordering::Acquire) {
            return Err(Failure::FileGone);
        }
        if !self.options.read_only {
            file.may_be_written();
        }
        let opened = self.options.connect(path).map_err(Failure::from);
        let opened = opened.and_then(|connection| {
            Open::prepare(&self.options, deadline, connection, Some(Arc::clone(&file)))
        });
        if opened.as_ref().is_err_and(Failure::condemns_the_file) {
            file.abandon(Lost::Memory);
        }
        match opened {
            // SQLite reads a database with a log only where it can make the files beside it.
            Err(failure) if self.options.read_only && failure.wants_files_beside() => match file.has_log() {
                true if file.has_memory() => Err(failure),
                true => Err(Failure::Refused { field: "read_only", reason: UNREADABLE_LOG.to_owned() }),
                // Nobody writes, so the file can be read as it is, until somebody does.
                false => {
                    let file = OpenFile::without_log(path, identity);
                    Open::prepare(&self.options, deadline, log::open_without_log(path)?, Some(file))
                }
            },
            opened => opened,
        }
    }
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
        if let Some(first) = open.first()
            && let Some(lost) = first.what_is_lost(&self.options, Look::Whole)
        {
            first.abandon(lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::AtomicUsize;

    use flagstore_core::{FeatureStoreCore, Item, Kind};
    use tempfile::TempDir;

    use crate::SqliteStore;

    use super::*;

    /// Has a lost file open until others have asked several times to close it.
    struct Closing {
        file: Mutex<Option<Arc<OpenFile>>>,
        waits: AtomicUsize,
    }

    impl CloseIdle for Closing {
        fn close_idle(&self, _: Lost) {
            if self.waits.fetch_add(1, Ordering::AcqRel) == 5 {
                self.file.lock().take();
            }
        }
    }

    fn share(path: &Path, store: &Weak<dyn CloseIdle>) -> Arc<OpenFile> {
        OpenFile::share(path, Identity::of(path).unwrap(), store).unwrap()
    }

    /// Whoever closes a file last has its log deleted, and that is no loss to who opens it at the same moment.
    #[test]
    fn a_file_that_is_just_closed_is_not_lost() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("flags.db");
        let store = || SqliteStore::builder(&path).build();
        let closing = store().unwrap();
        // SQLite has closed it, and the store has not yet forgotten it: where a busy machine interrupts a close.
        let file = share(&path, &closing.connections.myself);
        drop(closing);
        let opened = store().unwrap();
        assert!(opened.is_available() && !file.is_gone());
    }

    /// A new store waits until all have closed what was lost, as long as its deadline lets it.
    #[test]
    fn a_new_store_waits_for_a_lost_file_to_be_closed() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("flags.db");
        let store = || SqliteStore::builder(&path).build();
        drop(store().unwrap());
        let closing = Arc::new(Closing { file: Mutex::default(), waits: AtomicUsize::new(0) });
        let file = share(&path, &(Arc::downgrade(&closing) as Weak<dyn CloseIdle>));
        file.abandon(Lost::Memory);
        *closing.file.lock() = Some(file);
        assert!(store().unwrap().is_available());
        assert!(closing.file.lock().is_none());
    }

    /// Each connection that reads the file as it is sees that it was written, and not only the first that looks.
    #[test]
    fn all_who_read_without_a_log_see_a_write() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("flags.db");
        let store = || SqliteStore::builder(&path).build().unwrap();
        drop(store());
        let reader = SqliteStore::builder(&path).read_only(true).build().unwrap();
        // It can make a log, and is here for its options alone.
        drop(reader.connections.writer.take_out(|_| true));
        let open = || {
            let file = OpenFile::without_log(&path, Identity::of(&path).unwrap());
            let connection = log::open_without_log(&path).unwrap();
            let deadline = Instant::now() + Duration::from_secs(60);
            Open::prepare(&reader.connections.options, deadline, connection, Some(file)).unwrap()
        };
        let (one, two) = (open(), open());
        assert!(!one.is_outdated() && !two.is_outdated());
        let item = Item::from_parts(1, false, "x".repeat(100_000)).unwrap();
        drop(store().upsert(&Kind::FEATURES, "dark-mode", &item).unwrap());
        assert!(one.is_outdated() && two.is_outdated());
    }

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
