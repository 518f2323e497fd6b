//! Files that are looked at again and again.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Sees by what the file system says of them whether files have changed, and reads only those that may have.
///
/// Not by the system's notifications: those do not come from network file systems, and where a file is replaced by
/// renaming another or by turning a symbolic link, as editors and Kubernetes do it, they are for the old one.
#[derive(Debug)]
pub(super) struct Watched(Vec<File>);

#[derive(Debug)]
struct File {
    path: PathBuf,
    stamp: Option<Stamp>,
    content: u64,
}

/// A file's text, or why it cannot be read.
pub(super) type Text = Result<String, String>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
}

/// Two writes that are closer than that may have the same time.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

impl Watched {
    pub(super) fn new(paths: &[PathBuf]) -> Self {
        let file = |path: &PathBuf| File { path: path.clone(), stamp: None, content: 0 };
        Self(paths.iter().map(file).collect())
    }

    /// Whether any has changed since it was read the last time.
    pub(super) fn look(&mut self) -> bool {
        // All of them, so that each knows its state.
        self.0.iter_mut().fold(false, |changed, file| file.look() | changed)
    }

    /// The texts as they are now.
    pub(super) fn read(&mut self) -> Vec<(&Path, Text)> {
        let files = self.0.iter_mut();
        files.map(|file| (file.read(), &*file.path)).map(|(text, path)| (path, text)).collect()
    }
}

impl File {
    fn look(&mut self) -> bool {
        if self.stamp.is_some() && self.stamp == stamp(&self.path) {
            return false;
        }
        let before = self.content;
        let _ = self.read();
        self.content != before
    }

    fn read(&mut self) -> Text {
        // Before it is read: what is written meanwhile is seen the next time.
        let stamp = stamp(&self.path);
        let now = SystemTime::now();
        let is_settled =
            |stamp: &Stamp| now.duration_since(stamp.modified).is_ok_and(|age| age > SETTLED_AFTER);
        self.stamp = stamp.filter(is_settled);
        let text = fs::read_to_string(&self.path).map_err(|error| error.to_string());
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        self.content = hasher.finish();
        text
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp { modified: metadata.modified().ok()?, length: metadata.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also where neither time nor length tell.
    #[test]
    fn a_change_is_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flags.json");
        fs::write(&path, "1").unwrap();
        let mut watched = Watched::new(std::slice::from_ref(&path));
        assert!(watched.look());
        assert!(!watched.look());
        for content in ["2", "3", "4"] {
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            fs::write(&path, content).unwrap();
            fs::File::open(&path).unwrap().set_modified(modified).unwrap();
            assert!(watched.look(), "{content}");
            assert!(!watched.look(), "{content}");
        }
    }

    /// One that is long unchanged is not read again, and yet seen to change.
    #[test]
    fn an_old_file_is_known_by_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flags.json");
        fs::write(&path, "1").unwrap();
        let old = SystemTime::now() - Duration::from_secs(3600);
        fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        let mut watched = Watched::new(std::slice::from_ref(&path));
        assert!(watched.look());
        assert!(watched.0[0].stamp.is_some());
        assert!(!watched.look());
        fs::write(&path, "2").unwrap();
        assert!(watched.look());
    }

    /// It comes and goes.
    #[test]
    fn a_missing_file_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flags.json");
        let mut watched = Watched::new(std::slice::from_ref(&path));
        assert!(watched.look());
        assert!(!watched.look());
        fs::write(&path, "1").unwrap();
        assert!(watched.look());
        fs::remove_file(&path).unwrap();
        assert!(watched.look());
        assert!(watched.read()[0].1.is_err());
    }
}
