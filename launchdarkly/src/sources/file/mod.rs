//! Data from files.

use std::collections::HashSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flagstore_core::{
    AllData, DataSourceErrorInfo, DataSourceErrorKind, DataSourceFactory, DataSourceUpdateSink, DecodeError,
    Delivery, Item, Kind, Shown, StoreError, UpdateProcessor,
};

use super::clock::Clock;
use super::feed::Feed;
use super::threaded::{Threaded, Work};
use super::version::with_version;
use format::Entry;
use watched::{Text, Watched};

mod format;
mod watched;

/// The data of files in LaunchDarkly's format: for development, for tests, and where there is no connection.
///
/// A file has `flags` and `segments` as LaunchDarkly serves them, and `flagValues`, which are flags with one value for
/// everybody; all three may be missing. It is JSON if it begins with a brace, and YAML otherwise.
///
/// All files are looked at again and again. When one has changed, all data is read anew, and every item gets the
/// time in milliseconds since 1970 as its version, whatever version the file gives it: so an item that was changed
/// by hand without a thought of its version counts as changed, everywhere. Out of JSON an item keeps each of its
/// other bytes.
///
/// If a file is missing or broken, the source is interrupted, with an error that says which file and where in it,
/// and the data from before stays.
///
/// ```no_run
/// use flagstore_launchdarkly::sources::FileDataSourceBuilder;
///
/// let source = FileDataSourceBuilder::new(["flags.json", "segments.yaml"]);
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until a source is made with it"]
pub struct FileDataSourceBuilder {
    paths: Vec<PathBuf>,
    duplicate_keys: DuplicateKeys,
    poll_interval: Duration,
}

/// What a key means that several files give, or that a file gives as a flag and as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DuplicateKeys {
    /// That the files are broken.
    #[default]
    Refuse,
    /// What the first file says of it.
    FirstWins,
}

const NAME: &str = "file";

impl FileDataSourceBuilder {
    /// Configures a source of these files, of which there must be one at least.
    pub fn new<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Self {
        let paths = paths.into_iter().map(Into::into).collect();
        Self { paths, duplicate_keys: DuplicateKeys::Refuse, poll_interval: Duration::from_secs(1) }
    }

    /// Sets what a key means that is given twice. Defaults to [`DuplicateKeys::Refuse`].
    pub fn duplicate_keys(self, duplicate_keys: DuplicateKeys) -> Self {
        Self { duplicate_keys, ..self }
    }

    /// Sets how often the files are looked at. Defaults to every second.
    pub fn poll_interval(self, interval: Duration) -> Self {
        Self { poll_interval: interval, ..self }
    }
}

impl DataSourceFactory for FileDataSourceBuilder {
    fn create(&self, sink: DataSourceUpdateSink) -> Result<Arc<dyn UpdateProcessor>, StoreError> {
        if self.paths.is_empty() {
            return Err(StoreError::config(NAME, "paths", "must name a file"));
        }
        if self.poll_interval.is_zero() {
            return Err(StoreError::config(NAME, "poll_interval", "must be longer than zero"));
        }
        Ok(Arc::new(Threaded::new(Files(self.clone()), Feed::new(sink, Clock::System))))
    }
}

#[derive(Debug)]
struct Files(FileDataSourceBuilder);

impl Work for Files {
    const THREAD: &'static str = "flagstore-file";

    async fn run(&self, feed: &Feed) -> Infallible {
        let mut watched = Watched::new(&self.0.paths);
        let (mut is_due, mut version) = (true, 0);
        loop {
            is_due |= watched.look() | feed.take_refresh();
            feed.event_received();
            if is_due {
                version = next_version(version);
                is_due = match self.load(&watched.read(), version) {
                    Ok(all_data) => feed.init(&all_data) == Delivery::Failed,
                    Err(reason) => {
                        feed.fails(DataSourceErrorInfo::new(DataSourceErrorKind::InvalidData, reason));
                        false
                    }
                };
            }
            tokio::select! {
                () = feed.clock.sleep(self.0.poll_interval) => {}
                () = feed.refresh_asked() => is_due = true,
            }
        }
    }
}

/// The time, unless the clock was set back. No item can have a version that is as high as the one after the last.
fn next_version(last: u64) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0).max(last + 1)
}

impl Files {
    fn load(&self, files: &[(&Path, Text)], version: u64) -> Result<AllData, String> {
        let mut seen = HashSet::new();
        let (mut flags, mut segments) = (Vec::new(), Vec::new());
        for (path, text) in files {
            let at = |reason: String| format!("{}: {reason}", path.display());
            let text = text.as_ref().map_err(|error| at(error.clone()))?;
            for Entry { kind, key, json } in format::parse(text).map_err(at)? {
                let item = with_version(&json, version).map_err(DecodeError::from).and_then(Item::parse);
                let item =
                    item.map_err(|error| at(format!("{kind}/{}: {error} of that item", Shown::new(&key))))?;
                if seen.insert((kind.clone(), key.clone())) {
                    if kind == Kind::SEGMENTS { &mut segments } else { &mut flags }.push((key, item));
                } else if self.0.duplicate_keys == DuplicateKeys::Refuse {
                    return Err(at(format!(
                        "{kind}/{} is there already, in this file or one before it",
                        Shown::new(&key)
                    )));
                }
            }
        }
        // Both kinds, so that the last flag or segment can be removed too.
        Ok(AllData::new().with(Kind::SEGMENTS, segments).with(Kind::FEATURES, flags))
    }
}

#[cfg(test)]
mod tests;
