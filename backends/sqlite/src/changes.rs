use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{Change, ChangeSource, ChangeWatch};

use crate::connections::Connections;

/// Tells a cache that somebody else has written to the database: another process, or another store.
///
/// Asks the connection that writes for `PRAGMA data_version` at a fixed interval. That takes a few
/// microseconds, and finds the commits of all other connections, so not the store's own. SQLite cannot say what
/// was written, so any change is reported as [`Change::Anything`]; so is, now and then, the move of a long log
/// into the file. A watch ends with its store. One that cannot start, or cannot look, logs a warning, and goes on
/// trying to look.
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
            let mut could_look = true;
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                let Some(connections) = connections.upgrade() else { return };
                let changed = connections.has_changed(Instant::now() + timeout);
                match &changed {
                    Ok(true) => on_change(Change::Anything),
                    Ok(false) => {}
                    // Once for each outage. When it is over a new connection reports whatever was missed.
                    Err(failure) if could_look => {
                        tracing::warn!("sqlite: cannot see what others write, and tries again: {failure}");
                    }
                    Err(_) => {}
                }
                could_look = changed.is_ok();
            }
        };
        let thread = thread::Builder::new().name("flagstore-changes".to_owned());
        if let Err(error) = thread.spawn(run) {
            tracing::warn!("sqlite: cannot start the thread that sees what others write: {error}");
        }
        ChangeWatch::new(guard)
    }
}

impl fmt::Debug for SqliteChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteChanges(every {:?})", self.interval)
    }
}
