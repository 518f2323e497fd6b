//! Whether the file that connections are open on is still the one at its path.
//!
//! Whoever deletes or replaces it leaves them with a file that nobody else sees. SQLite does not notice: it
//! reads old data from there, and acknowledges writes that are lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often reads look whether the file is still there. Writes always do. A look costs a fifth of a `get`.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The file that connections are open on.
pub(crate) struct OpenFile {
    path: PathBuf,
    identity: Identity,
    gone: AtomicBool,
    looked: Mutex<Instant>,
}

impl OpenFile {
    pub(crate) fn new(path: &Path, identity: Identity) -> Arc<Self> {
        let looked = Mutex::new(Instant::now());
        Arc::new(Self { path: path.to_owned(), identity, gone: AtomicBool::new(false), looked })
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(crate) fn mark_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    pub(crate) fn is(&self, found: Option<Identity>) -> bool {
        found == Some(self.identity)
    }

    /// Whether the path still names this file, as far as a look is due.
    pub(crate) fn is_there(&self, look: Look) -> bool {
        !self.is_gone() && (!self.is_due(look) || self.is(Identity::of(&self.path)))
    }

    fn is_due(&self, look: Look) -> bool {
        let now = Instant::now();
        let mut looked = self.looked.lock();
        let due = matches!(look, Look::Always) || now.saturating_duration_since(*looked) >= LOOK_EVERY;
        if due {
            *looked = now;
        }
        due
    }
}

/// When to look whether the file is still there.
#[derive(Clone, Copy)]
pub(crate) enum Look {
    Always,
    WhenDue,
}

/// What tells a file from another of the same name: device and inode. Elsewhere than on Unix, where an open
/// file cannot be deleted, all are equal.
// By path, never by opening the file: closing it again would drop SQLite's locks in the whole process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    #[cfg(unix)]
    pub(crate) fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).ok().map(|metadata| Self(metadata.dev(), metadata.ino()))
    }

    #[cfg(not(unix))]
    pub(crate) fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|_| Self(0, 0))
    }
}
