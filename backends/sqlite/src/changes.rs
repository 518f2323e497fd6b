use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{Change, ChangeSource, ChangeWatch};

use crate::connections::Connections;
use crate::error::Failure;

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
                    // The store itself is writing something long.
                    Err(Failure::NoConnection) => continue,
                    // Once for each outage. When it is over a new connection reports whatever was missed.
                    Err(failure) if could_look => {
                        tracing::warn!("sqlite: cannot see what others write, and tries again: {failure}");
                        if matches!(failure, Failure::FileGone) {
                            // Whoever asks now is told, and not only whoever has nothing cached.
                            on_change(Change::Anything);
                        }
                    }
                    Err(_) => {}
                }
                could_look = changed.is_ok();
            }
        };
        start(thread::Builder::new().name("flagstore-changes".to_owned()), run);
        ChangeWatch::new(guard)
    }
}

fn start(thread: thread::Builder, run: impl FnOnce() + Send + 'static) {
    if let Err(error) = thread.spawn(run) {
        tracing::warn!("sqlite: cannot start the thread that sees what others write: {error}");
    }
}

impl fmt::Debug for SqliteChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteChanges(every {:?})", self.interval)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, OnceLock};

    use tempfile::TempDir;

    use crate::SqliteStore;

    use super::*;

    static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

    struct Log;

    impl io::Write for Log {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            LOG.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What was logged in this process, once it says this.
    fn log_that_says(text: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
            if log.contains(text) {
                return log;
            }
            assert!(Instant::now() < deadline, "{log}");
            thread::yield_now();
        }
    }

    fn listen_to_the_log() {
        static LISTENS: OnceLock<()> = OnceLock::new();
        LISTENS.get_or_init(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log).init());
    }

    /// Whoever relies on it would else wait in vain. The thread wants more memory than any machine has.
    #[test]
    fn a_watch_that_cannot_start_says_so() {
        listen_to_the_log();
        start(thread::Builder::new().stack_size(1 << 46), || {});
        log_that_says("WARN flagstore_sqlite::changes: sqlite: cannot start the thread");
    }

    /// Once for each outage, with the reason.
    #[test]
    fn a_watch_that_cannot_look_says_so() {
        listen_to_the_log();
        let folder = TempDir::new().unwrap();
        let store = SqliteStore::builder(folder.path().join("flags.db")).build().unwrap();
        let _watch = store.changes(Duration::from_millis(1)).watch(Box::new(|_| {}));
        drop(folder);
        let log = log_that_says("WARN flagstore_sqlite::changes: sqlite: cannot see what others write");
        assert!(log.contains("the database file or its log was deleted"), "{log}");
    }
}
