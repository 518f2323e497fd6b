//! What a data system leaves behind. Alone in its program, because it looks at the threads of the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

#[path = "data_system/support.rs"]
mod support;

use flagstore_core::{BigSegmentStoreWrapper, MemoryBigSegmentStore};
use support::{LONG, Manual, client, context, environment, flag, wait_until, watching};

fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    // The kernel keeps the first 15 characters.
    names.filter(|name| name.starts_with("flagstore")).map(|name| name.trim().to_owned()).collect()
}

/// After the end of a data system and of the client above it no thread of ours is left, and no file is open.
#[test]
fn nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap();
        files
            .filter(|file| {
                let target = std::fs::read_link(file.as_ref().unwrap().path());
                target.is_ok_and(|target| target.starts_with(folder.path()))
            })
            .count()
    };
    for _ in 0..3 {
        let source = Manual::default();
        let big_segments = BigSegmentStoreWrapper::builder(MemoryBigSegmentStore::new()).build().unwrap();
        let system =
            watching(folder.path()).data_source(source.clone()).big_segments(big_segments).build().unwrap();
        let client = client(&system);
        let _listener = system.flag_tracker().add_listener(|_| {});
        source.put(&environment([("dark-mode", 1, true)]));
        source.patch("dark-mode", &flag("dark-mode", 2, true));
        assert!(client.bool_variation(&context(), "dark-mode", false));
        assert!(!threads().is_empty() && open() > 0);

        assert!(system.close(LONG));
        wait_until("the end of all threads", || threads().is_empty());
        drop((system, client));
        wait_until("the end of all files", || open() == 0);
    }
}
