use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flagstore_core::StoreError;
use rusqlite::Connection;

use crate::connection::{Configure, Options};
use crate::connections::Connections;
use crate::error::{Failure, STORE};
use crate::{SqliteStore, library};

/// Configures a [`SqliteStore`].
///
/// ```
/// use std::time::Duration;
/// use flagstore_sqlite::{SqliteStore, Synchronous};
///
/// # let folder = tempfile::tempdir()?;
/// let store = SqliteStore::builder(folder.path().join("flags.db"))
///     .prefix("production")
///     .timeout(Duration::from_millis(500))
///     .synchronous(Synchronous::Full)
///     .configure(|connection| connection.pragma_update(None, "cache_size", -8000))
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct SqliteStoreBuilder {
    path: Option<PathBuf>,
    prefix: String,
    timeout: Duration,
    init_timeout: Duration,
    readers: usize,
    synchronous: Synchronous,
    configure: Option<Arc<Configure>>,
    file_mode: u32,
    read_only: bool,
    accept_wal_reset_bug: bool,
}

/// What survives a power cut. A process that is killed loses nothing with any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Synchronous {
    /// Nothing is promised: a power cut may damage the database.
    Off,
    /// The database stays sound, and the last commits may be missing.
    #[default]
    Normal,
    /// Every commit is on disk before it is acknowledged: an `upsert` takes as long as the disk does.
    Full,
    /// As `Full`; it differs only for databases that do not use the write-ahead log.
    Extra,
}

impl Synchronous {
    fn as_sql(self) -> &'static str {
        match self {
            Self::Off => "OFF",
            Self::Normal => "NORMAL",
            Self::Full => "FULL",
            Self::Extra => "EXTRA",
        }
    }
}

impl SqliteStore {
    /// Configures a store in the database file at `path`, which is created if it is not there.
    pub fn builder(path: impl Into<PathBuf>) -> SqliteStoreBuilder {
        SqliteStoreBuilder::new(Some(path.into()))
    }

    /// Configures a store in a database in memory. No other store sees it, and it ends with this one.
    pub fn in_memory() -> SqliteStoreBuilder {
        SqliteStoreBuilder::new(None)
    }
}

impl SqliteStoreBuilder {
    fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            prefix: String::new(),
            timeout: Duration::from_secs(2),
            init_timeout: Duration::from_secs(10),
            readers: 4,
            synchronous: Synchronous::default(),
            configure: None,
            file_mode: 0o600,
            read_only: false,
            accept_wal_reset_bug: false,
        }
    }

    /// Sets the prefix under which the store keeps its data. Stores of different prefixes share a file and
    /// see nothing of each other. Defaults to none, which is a prefix like any other.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Sets the deadline of every call but `init`, and of `build`. It covers the wait for a connection, for
    /// other processes' locks, and the work. Defaults to 2 seconds.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets the deadline of `init`, which writes all the data. When it has, the log is moved into the file, for which
    /// there is no deadline but the disk's own time. Defaults to 10 seconds.
    pub fn init_timeout(self, init_timeout: Duration) -> Self {
        Self { init_timeout, ..self }
    }

    /// Sets how many reads can run at the same time; more wait for one of them. Each has a connection of its
    /// own, with up to 2 MB of cache, opened when it is first needed. A database in memory has only one
    /// connection, for reads and writes alike. Defaults to 4.
    pub fn readers(self, readers: usize) -> Self {
        Self { readers, ..self }
    }

    /// Sets what survives a power cut. Defaults to [`Synchronous::Normal`]: the database stays sound, and
    /// the last commits may be missing, which the next `init` brings back.
    pub fn synchronous(self, synchronous: Synchronous) -> Self {
        Self { synchronous, ..self }
    }

    /// Sets what is done to each new connection before anything else: encryption keys, limits, pragmas. It
    /// may run at any time and on any thread, also on connections that only look at the file for a moment.
    /// Journal mode, checkpoints, `synchronous`, busy and progress handler are set after it and belong to the
    /// store. Defaults to nothing.
    ///
    /// With SQLCipher, which a program gets by `default-features = false` here and `rusqlite`'s own feature
    /// `bundled-sqlcipher`, this opens an encrypted database:
    ///
    /// ```
    /// # fn key_from_the_vault() -> String { "secret".to_owned() }
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("flags.db");
    /// use flagstore_sqlite::SqliteStore;
    ///
    /// let key = key_from_the_vault();
    /// let store = SqliteStore::builder(path)
    ///     .configure(move |connection| connection.pragma_update(None, "key", &key))
    ///     .build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn configure(
        self,
        configure: impl Fn(&Connection) -> rusqlite::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { configure: Some(Arc::new(configure)), ..self }
    }

    /// Sets the permissions of the file where the store creates it, and so of the log beside it, on Unix: `0o640`
    /// lets the group read, `0o660` lets it write too. A file that is there keeps its own. Defaults to `0o600`,
    /// for this user alone, since flags can name people.
    pub fn file_mode(self, mode: u32) -> Self {
        Self { file_mode: mode, ..self }
    }

    /// Sets whether the store only reads: for a user who may not write, and for a file in an image or on a medium
    /// that nobody can write. The file is neither created nor changed, writes are errors of kind
    /// [`Other`](flagstore_core::ErrorKind::Other), and what others write is seen. Defaults to false.
    pub fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// Sets whether a SQLite with the WAL reset bug is accepted: those from 3.7.0 to 3.51.2 but for 3.50.7 and
    /// 3.44.6, which the systems of Debian 12 and Ubuntu 24.04 have. It can lose commits and damage the file when
    /// several connections write to it. So accept it only where one store of one process has the file for
    /// itself. Does not matter with the feature `bundled`, in memory, and for a store that only reads. Defaults
    /// to false.
    pub fn accept_wal_reset_bug(self, accept: bool) -> Self {
        Self { accept_wal_reset_bug: accept, ..self }
    }

    /// Opens the database, creates it if it is not there, and claims it if it is empty.
    ///
    /// # Errors
    ///
    /// [`Config`](flagstore_core::ErrorKind::Config) names the field that has to change: a timeout or number
    /// out of range, a path whose folder is missing, a file that is not an SQLite database, belongs to
    /// another application or was written by a newer flagstore (such a file is left as it is), or a
    /// `configure` that fails. [`Unavailable`](flagstore_core::ErrorKind::Unavailable) if the database is
    /// locked, or cannot be read or written.
    pub fn build(self) -> Result<SqliteStore, StoreError> {
        let Self { path, prefix, timeout, init_timeout, readers, synchronous, configure, .. } = self;
        StoreError::check_timeout(STORE, "timeout", timeout)?;
        StoreError::check_timeout(STORE, "init_timeout", init_timeout)?;
        if readers == 0 {
            return Err(StoreError::config(STORE, "readers", "must be at least 1"));
        }
        let location = path.as_ref().map_or("memory".to_owned(), |path| path.display().to_string());
        let path = path.map(checked_path).transpose()?;
        if self.file_mode > 0o777 {
            return Err(StoreError::config(STORE, "file_mode", "must be permissions, at most 0o777"));
        }
        match &path {
            None if self.read_only => {
                return Err(StoreError::config(
                    STORE,
                    "read_only",
                    "a database in memory is empty: write to it",
                ));
            }
            Some(path) if self.read_only && !path.exists() => {
                let reason = format!("{} is not there, and read_only does not create it", path.display());
                return Err(StoreError::config(STORE, "path", reason));
            }
            _ => {}
        }
        let has_log = path.is_some() && !self.read_only && !self.accept_wal_reset_bug;
        library::check(has_log).map_err(while_building)?;

        let (synchronous, file_mode, read_only) = (synchronous.as_sql(), self.file_mode, self.read_only);
        let options = Options { path, synchronous, configure, file_mode, read_only };
        let connections = Connections::new(options, readers);
        connections.start(Instant::now() + timeout).map_err(while_building)?;
        Ok(SqliteStore { connections, location, prefix, timeout, init_timeout })
    }
}

fn checked_path(path: PathBuf) -> Result<PathBuf, StoreError> {
    let wrong = |reason: String| StoreError::config(STORE, "path", reason);
    if path.as_os_str().is_empty() {
        return Err(wrong("must not be empty".to_owned()));
    }
    if path.as_os_str() == ":memory:" {
        return Err(wrong("for a database in memory use SqliteStore::in_memory()".to_owned()));
    }
    let path = std::path::absolute(&path).map_err(|error| wrong(error.to_string()))?;
    if path.is_dir() {
        return Err(wrong(format!("{} is a folder: add the name of a file", path.display())));
    }
    match path.parent() {
        Some(folder) if !folder.is_dir() => {
            Err(wrong(format!("the folder {} does not exist: create it first", folder.display())))
        }
        _ => Ok(path),
    }
}

fn while_building(failure: Failure) -> StoreError {
    let not_a_database = Some(rusqlite::ErrorCode::NotADatabase);
    match failure {
        Failure::Refused { field, reason } => StoreError::config(STORE, field, reason),
        Failure::Sqlite(error) if error.sqlite_error_code() == not_a_database => {
            StoreError::config(STORE, "path", Failure::Sqlite(error))
        }
        failure => failure.during("build"),
    }
}

impl fmt::Debug for SqliteStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, prefix, timeout, init_timeout, readers, synchronous, configure, .. } = self;
        f.debug_struct("SqliteStoreBuilder")
            .field("path", path)
            .field("prefix", prefix)
            .field("timeout", timeout)
            .field("init_timeout", init_timeout)
            .field("readers", readers)
            .field("synchronous", synchronous)
            .field("configure", &configure.as_ref().map(|_| "Fn(&Connection)"))
            .field("file_mode", &format_args!("{:#o}", self.file_mode))
            .field("read_only", &self.read_only)
            .field("accept_wal_reset_bug", &self.accept_wal_reset_bug)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use flagstore_core::{ErrorKind, FeatureStoreCore, Kind};
    use tempfile::TempDir;

    use super::*;

    fn in_folder(folder: &TempDir) -> SqliteStoreBuilder {
        SqliteStore::builder(folder.path().join("flags.db"))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(10)
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// A value out of range is refused by name.
    #[test]
    fn a_wrong_value_names_its_field() {
        let wrong = [
            ("timeout", SqliteStore::in_memory().timeout(Duration::ZERO)),
            ("timeout", SqliteStore::in_memory().timeout(Duration::MAX)),
            ("init_timeout", SqliteStore::in_memory().init_timeout(Duration::ZERO)),
            ("readers", SqliteStore::in_memory().readers(0)),
            ("path", SqliteStore::builder("")),
            ("path", SqliteStore::builder(":memory:")),
            ("path", SqliteStore::builder(std::env::temp_dir())),
            ("path", SqliteStore::builder("no/such/folder/flags.db")),
        ];
        for (field, builder) in wrong {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().starts_with(&format!("sqlite: build: {field}: ")), "{error}");
        }
    }

    /// As many reads run at the same time as there are readers, and one more waits until its deadline.
    #[test]
    fn readers_is_how_many_reads_run_at_once() {
        let folder = TempDir::new().unwrap();
        let store = in_folder(&folder).readers(2).build().unwrap();
        let read =
            |deadline, inner: &dyn Fn() -> Result<(), Failure>| store.connections.read(deadline, |_| inner());
        assert!(read(far(), &|| read(far(), &|| Ok(()))).is_ok());
        let third = read(far(), &|| read(far(), &|| read(soon(), &|| Ok(()))));
        assert!(matches!(third, Err(Failure::NoConnection)));
    }

    /// The store's connections have the level that was set, and Normal if none was.
    #[test]
    fn synchronous_is_set_on_the_connections() {
        let level = |builder: SqliteStoreBuilder| -> i32 {
            let store = builder.build().unwrap();
            let level = store.connections.write(far(), |connection| {
                Ok(connection.pragma_query_value(None, "synchronous", |row| row.get(0))?)
            });
            level.unwrap()
        };
        let folder = TempDir::new().unwrap();
        assert_eq!(level(in_folder(&folder)), 1);
        let levels = [Synchronous::Off, Synchronous::Normal, Synchronous::Full, Synchronous::Extra];
        for (number, synchronous) in levels.into_iter().enumerate() {
            assert_eq!(level(in_folder(&folder).synchronous(synchronous)), number as i32);
        }
    }

    /// A call that panics gives its connection back.
    #[test]
    fn a_panic_gives_the_connection_back() {
        for builder in [SqliteStore::in_memory(), in_folder(&TempDir::new().unwrap()).readers(1)] {
            let store = builder.build().unwrap();
            let panic = std::panic::AssertUnwindSafe(|| {
                store.connections.read(far(), |_| -> Result<(), Failure> { panic!("as intended") })
            });
            assert!(std::panic::catch_unwind(panic).is_err());
            assert!(store.get(&Kind::FEATURES, "dark-mode").is_ok());
        }
    }

    /// Neither output shows more than where the data is.
    #[test]
    fn display_shows_path_and_prefix() {
        let store = SqliteStore::in_memory().build().unwrap();
        assert_eq!(format!("{store} {store:?}"), "SQLite(memory) SQLite(memory)");

        let folder = TempDir::new().unwrap();
        let store = in_folder(&folder).prefix("production").build().unwrap();
        assert_eq!(store.to_string(), format!("SQLite({}/flags.db, production)", folder.path().display()));
    }
}
