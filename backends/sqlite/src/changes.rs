use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{Change, ChangeSource, ChangeWatch};

use crate::connections::Connections;

/// Tells a cache that somebody has written to the database: another process, another store, or the store
/// itself.
///
/// Looks at `PRAGMA data_version`, on a connection of its own, at a fixed interval. That takes a few
/// microseconds, and finds the commits of all other connections. SQLite cannot say what was written, so any
/// change is reported as [`Change::Anything`]. A watch ends with its store.
///
/// ```
/// use std::time::Duration;
/// use flagstore_core::CachingStoreWrapper;
/// use flagstore_sqlite::SqliteStore;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("flags.db");
/// let store = SqliteStore::builder(path).build()?;
/// let changes = store.changes(Duration::from_millis(50));
/// let store = CachingStoreWrapper::builder(store).changes(changes).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SqliteChanges {
    connections: Arc<Connections>,
    interval: Duration,
    timeout: Duration,
}

impl SqliteChanges {
    pub(crate) fn new(connections: &Arc<Connections>, interval: Duration, timeout: Duration) -> Self {
        // Somewhat longer than nothing, which would be all that a processor can do.
        let interval = interval.max(Duration::from_millis(1));
        Self { connections: Arc::clone(connections), interval, timeout }
    }
}

impl ChangeSource for SqliteChanges {
    fn watch(&self, on_change: Box<dyn Fn(Change) + Send + Sync>) -> ChangeWatch {
        let (guard, ended) = mpsc::channel::<()>();
        let connections = Arc::downgrade(&self.connections);
        let (interval, timeout) = (self.interval, self.timeout);
        let run = move || {
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                let Some(connections) = connections.upgrade() else { return };
                // While the database fails nothing can be learned from it. The store's own calls tell.
                if connections.has_changed(Instant::now() + timeout).unwrap_or(false) {
                    on_change(Change::Anything);
                }
            }
        };
        let thread = thread::Builder::new().name("flagstore-changes".to_owned());
        // Without a thread there are no reports, and the time to live does what it can.
        drop(thread.spawn(run));
        ChangeWatch::new(guard)
    }
}

impl fmt::Debug for SqliteChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteChanges(every {:?})", self.interval)
    }
}
