use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::RUNS_CASES;
use crate::safeguard::Safeguard;

/// A copy of the sources of the core and of this crate, to be spoilt.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Beside what is built here, so that what is built of it is still there the next time.
    pub(crate) fn copy() -> Self {
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("safeguards");
        for name in ["core", "conformance-tests"] {
            let copy = root.join(name);
            if copy.exists() {
                fs::remove_dir_all(&copy).unwrap();
            }
            copy_folder(&ours.join(name), &copy);
        }
        let manifest = fs::read_to_string(ours.join("Cargo.toml")).unwrap();
        let (before, members) = manifest.split_once("members = [").unwrap();
        let (_, after) = members.split_once("]\n").unwrap();
        let (_, after) = after.split_once("]\n").unwrap();
        let manifest = format!("{before}members = [\"core\", \"conformance-tests\"]\n{after}");
        fs::write(root.join("Cargo.toml"), manifest).unwrap();
        fs::copy(ours.join("Cargo.lock"), root.join("Cargo.lock")).unwrap();
        Self { root }
    }

    /// Takes the safeguard out, and puts it back when the guard is dropped.
    pub(crate) fn without(&self, safeguard: &Safeguard) -> Result<Restored, String> {
        let path = self.root.join("core/src").join(safeguard.file);
        let text = fs::read_to_string(&path).unwrap();
        if text.matches(safeguard.text).count() != 1 {
            return Err(format!(
                "{} has changed: this is not there once: {}",
                safeguard.file, safeguard.text
            ));
        }
        fs::write(&path, text.replacen(safeguard.text, safeguard.without, 1)).unwrap();
        Ok(Restored { path, text })
    }

    /// The cases of the cache that fail now.
    pub(crate) fn failing_cases(&self) -> Result<Vec<String>, String> {
        let output = Command::new(env!("CARGO"))
            .args(["test", "--quiet", "--offline", "--package", "flagstore-conformance"])
            .args(["--test", "safeguards", "--", "--test-threads", "16"])
            .env(RUNS_CASES, "1")
            .env("CARGO_TARGET_DIR", self.root.join("target"))
            .env("RUSTFLAGS", "--allow warnings")
            .env("CARGO_PROFILE_TEST_DEBUG", "0")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .current_dir(&self.root)
            .output()
            .map_err(|error| error.to_string())?;
        let printed = String::from_utf8_lossy(&output.stdout);
        if !printed.contains("test result:") {
            return Err(format!("it does not build:\n{}", String::from_utf8_lossy(&output.stderr)));
        }
        let failed = printed.lines().filter_map(|line| {
            let (name, outcome) = line.strip_prefix("test memory::")?.split_once(' ')?;
            let name = name.strip_prefix("caching::").unwrap_or(name);
            (outcome.trim_start() == "... FAILED").then(|| name.to_owned())
        });
        Ok(failed.collect())
    }
}

/// Puts the text back.
pub(crate) struct Restored {
    path: PathBuf,
    text: String,
}

impl Drop for Restored {
    fn drop(&mut self) {
        fs::write(&self.path, &self.text).unwrap();
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copy = to.join(entry.file_name());
        if !entry.file_type().unwrap().is_dir() {
            fs::copy(entry.path(), copy).unwrap();
        } else if entry.file_name() != "peers" && entry.file_name() != "fuzz" {
            copy_folder(&entry.path(), &copy);
        }
    }
}
