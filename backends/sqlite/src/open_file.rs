//! Whether the files that connections are open on are still those at the path.
//!
//! A database that is open is three files: itself, its log (`-wal`), and the memory that all processes share
//! (`-shm`). Whoever deletes or replaces one of them leaves the connections with files that nobody else sees, and
//! whoever writes a copy over the database mixes it with a log that belongs to what was there before. SQLite notices
//! neither: it reads old data from there, acknowledges writes that are lost, or applies the log to the copy.

use std::io::ErrorKind::{NotADirectory, NotFound};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

use parking_lot::Mutex;

use crate::log::Mark;

/// How often reads look at the files. A look at one of them costs a fifth of a `get`.
const READS_LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often writes look at the files beside the database. At the database itself each of them looks.
const WRITES_LOOK_EVERY: Duration = Duration::from_millis(5);

/// All files that are open in this process. SQLite shares what it knows of a file among all connections of a
/// process, so they have to be closed together, whichever store they belong to.
static OPEN_FILES: Mutex<Vec<Weak<OpenFile>>> = Mutex::new(Vec::new());

/// Creates the file, empty as SQLite would, but with the permissions that were asked for. SQLite gives the same to
/// the files beside it. Where it cannot be created, SQLite says why.
pub(crate) fn create(path: &Path, mode: u32) {
    // Others in this process wait with opening it: a file that is closed loses the locks of the whole process.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _until_it_is_closed = ONE_AT_A_TIME.lock();
    // A link may lead to where nothing is yet, and then that is what SQLite creates.
    let target = fs::read_link(path).ok().map(|target| path.with_file_name("").join(target));
    let path = target.as_deref().unwrap_or(path);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        options.mode(mode);
        if let Ok(file) = options.open(path) {
            // Again, since the process may have a mask that takes some away.
            let _ = file.set_permissions(fs::Permissions::from_mode(mode));
        }
    }
    #[cfg(not(unix))]
    let _ = (mode, options.open(path));
}

/// The files that connections are open on. It lives as long as the last of them.
pub(crate) struct OpenFile {
    path: PathBuf,
    log: PathBuf,
    memory: PathBuf,
    identity: Identity,
    gone: AtomicBool,
    /// Whether it is read as it is, since it has no log, and this user cannot make one.
    without_log: bool,
    /// Whether any of the stores may write, and so has to clear up.
    is_written: AtomicBool,
    seen: Mutex<Seen>,
    stores: Mutex<Vec<Weak<dyn CloseIdle>>>,
}

/// What has connections on a file.
pub(crate) trait CloseIdle: Send + Sync {
    /// Closes the idle ones among those whose file is gone. The others are closed when they are given back. Where
    /// data was lost, the next call has to say so.
    fn close_idle(&self, lost: Lost);
}

struct Seen {
    looked: Instant,
    /// When the database file was written last, and its length: what a checkpoint changes, and a copy over it.
    written: Option<(SystemTime, u64)>,
    /// What the database file said of itself when it was looked into last.
    mark: Option<Mark>,
    /// The log and the shared memory, once they are known.
    beside: Option<(Option<Identity>, Option<Identity>)>,
    /// How many connections hold the files beside it. SQLite deletes them when the last one of all is closed.
    holders: usize,
}

/// What a look has found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// All is as it was.
    Same,
    /// The database file was written: by a checkpoint, if it is well.
    Written,
    /// What is open is not, or not all, what is at the path.
    Gone(Lost),
}

/// What was lost of an open database, and so what is left without a meaning.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The database itself: deleted, replaced or overwritten. Its log must not be applied to what comes after it.
    Database,
    /// The log. The shared memory speaks of it, and holds no data.
    Log,
    /// The shared memory, which SQLite makes anew from the log, or what was read made no sense.
    Memory,
}

/// What to look at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// All files.
    Whole,
    /// The database, so that no write is acknowledged that went elsewhere, and all files if that is due.
    Write,
    /// All files if that is due.
    Read,
}

impl OpenFile {
    /// The file at this path, shared by all who have it open; `None` while another that was there is in use.
    pub(crate) fn share(path: &Path, identity: Identity, store: &Weak<dyn CloseIdle>) -> Option<Arc<Self>> {
        let new = Self::new(path, identity, false);
        Self::close_others(&new.log, identity);
        let mut files = OPEN_FILES.lock();
        files.retain(|file| file.strong_count() > 0);
        let file = match files.iter().filter_map(Weak::upgrade).find(|file| file.log == new.log) {
            Some(file) if file.is_gone() || file.identity != identity => return None,
            Some(file) => file,
            None => {
                let new = Arc::new(new);
                files.push(Arc::downgrade(&new));
                new
            }
        };
        drop(files);
        let mut stores = file.stores.lock();
        if !stores.iter().any(|other| other.ptr_eq(store)) {
            stores.push(Weak::clone(store));
        }
        drop(stores);
        Some(file)
    }

    /// The same file for one connection that reads it as it is, without a log. SQLite shares nothing of that, so each
    /// sees for itself that somebody has begun to write.
    pub(crate) fn without_log(path: &Path, identity: Identity) -> Arc<Self> {
        Arc::new(Self::new(path, identity, true))
    }

    fn new(path: &Path, identity: Identity, without_log: bool) -> Self {
        // As SQLite does it, which follows links before it appends to the name.
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let beside = |ending| {
            let mut path = real.clone().into_os_string();
            path.push(ending);
            PathBuf::from(path)
        };
        let written = fs::metadata(path).ok().map(|metadata| written(&metadata));
        let seen = Seen { looked: Instant::now(), written, mark: None, beside: None, holders: 0 };
        Self {
            path: path.to_owned(),
            log: beside("-wal"),
            memory: beside("-shm"),
            identity,
            gone: AtomicBool::new(false),
            without_log,
            is_written: AtomicBool::new(false),
            seen: Mutex::new(seen),
            stores: Mutex::default(),
        }
    }

    /// Closes what is idle on any other file than this.
    fn close_others(log: &Path, identity: Identity) {
        let files: Vec<_> = OPEN_FILES.lock().iter().filter_map(Weak::upgrade).collect();
        for file in files.iter().filter(|file| file.log == log) {
            if file.is_gone() {
                // Somebody may have given a connection back since.
                file.close_idle(Lost::Memory);
            } else if file.identity != identity {
                file.abandon(Lost::Database);
            }
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Whether it was read without a log, and somebody has begun to write.
    pub(crate) fn is_outdated(&self) -> bool {
        self.without_log && self.look(Look::Whole) != Found::Same
    }

    pub(crate) fn may_be_written(&self) {
        self.is_written.store(true, Ordering::Release);
    }

    pub(crate) fn mark(&self) -> Option<Mark> {
        self.seen.lock().mark
    }

    pub(crate) fn set_mark(&self, mark: Mark) {
        self.seen.lock().mark = Some(mark);
    }

    /// The next look finds that the database file was written, since nobody knows what was.
    pub(crate) fn look_again(&self) {
        self.seen.lock().written = None;
    }

    /// To be called when a connection is complete: from now on SQLite does not delete the files beside the database.
    ///
    /// Before that it may have, and made new ones, if those who had them open are being closed just now.
    pub(crate) fn hold_files_beside(&self) {
        let mut seen = self.seen.lock();
        if seen.holders == 0 {
            seen.beside = Some((Identity::of(&self.log), Identity::of(&self.memory)));
        }
        seen.holders += 1;
    }

    /// To be called before a connection that is complete is closed.
    pub(crate) fn release_files_beside(&self) {
        self.seen.lock().holders -= 1;
    }

    /// Whether there is a log with something in it.
    pub(crate) fn has_log(&self) -> bool {
        fs::metadata(&self.log).is_ok_and(|metadata| metadata.len() > 0)
    }

    /// Whether there is the shared memory, without which nobody reads a log.
    pub(crate) fn has_memory(&self) -> bool {
        self.memory.exists()
    }

    /// Looks at the files.
    pub(crate) fn look(&self, look: Look) -> Found {
        if self.is_gone() {
            return Found::Gone(Lost::Memory);
        }
        let now = Instant::now();
        let mut seen = self.seen.lock();
        let since = now.saturating_duration_since(seen.looked);
        let whole = match look {
            Look::Whole => true,
            Look::Write => since >= WRITES_LOOK_EVERY,
            Look::Read if since < READS_LOOK_EVERY && !self.without_log => return Found::Same,
            Look::Read => true,
        };
        if whole {
            seen.looked = now;
        }
        let written = match fs::metadata(&self.path) {
            Ok(metadata) if Identity::in_metadata(&metadata) == self.identity => written(&metadata),
            // What else keeps us from looking is for SQLite to say, in its own words.
            Err(error) if !is_missing(&error) => return Found::Same,
            _ => return Found::Gone(Lost::Database),
        };
        if whole && let Some((log, memory)) = seen.beside {
            if Identity::of(&self.log) != log {
                return Found::Gone(Lost::Log);
            }
            if Identity::of(&self.memory) != memory {
                return Found::Gone(Lost::Memory);
            }
        }
        match seen.written.replace(written) == Some(written) {
            true => Found::Same,
            // Somebody writes after all, so it is to be read as others do.
            false if self.without_log => Found::Gone(Lost::Memory),
            false => Found::Written,
        }
    }

    /// Removes the log that was found beside the file, and belongs to another one.
    pub(crate) fn abandon_with_log(&self) {
        self.seen.lock().beside = Some((Identity::of(&self.log), Identity::of(&self.memory)));
        self.abandon(Lost::Database);
    }

    /// From now on nobody uses what is open. Closes what is idle, in all stores of the process, and removes what
    /// would harm whoever opens the path next.
    pub(crate) fn abandon(&self, lost: Lost) {
        if !self.gone.swap(true, Ordering::AcqRel)
            && self.is_written.load(Ordering::Acquire)
            && let Some((log, memory)) = self.seen.lock().beside
        {
            // Only what is ours: others may have made theirs by now.
            if lost == Lost::Database {
                remove(&self.log, log);
            }
            if lost != Lost::Memory {
                remove(&self.memory, memory);
            }
        }
        self.close_idle(lost);
    }

    fn close_idle(&self, lost: Lost) {
        let stores: Vec<_> = self.stores.lock().iter().filter_map(Weak::upgrade).collect();
        for store in stores {
            store.close_idle(lost);
        }
    }
}

fn remove(path: &Path, ours: Option<Identity>) {
    if ours.is_some() && Identity::of(path) == ours {
        // Whoever may not remove it only reads, and leaves it to who writes.
        let _ = fs::remove_file(path);
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), NotFound | NotADirectory)
}

fn written(metadata: &fs::Metadata) -> (SystemTime, u64) {
    (metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len())
}

/// What tells a file from another of the same name: device and inode. Elsewhere than on Unix, where an open
/// file cannot be deleted, all are equal.
// By path, never by opening the file: closing it again would drop SQLite's locks in the whole process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::in_metadata(&metadata))
    }

    #[cfg(unix)]
    fn in_metadata(metadata: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(metadata.dev(), metadata.ino())
    }

    #[cfg(not(unix))]
    fn in_metadata(_: &fs::Metadata) -> Self {
        Self(0, 0)
    }
}
