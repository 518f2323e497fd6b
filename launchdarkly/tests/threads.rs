//! What a data system leaves behind. Alone in its program, because it looks at the threads of the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

#[cfg(feature = "streaming")]
#[path = "support/stand_in.rs"]
mod stand_in;
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

/// The threads are those of the whole process, so the tests take turns.
static TURN: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

/// A stream has no thread and no connection left, whether it works or waits before it tries again.
#[cfg(feature = "streaming")]
#[test]
fn a_stream_ends_also_while_it_waits() {
    use flagstore_conformance::stand_in::Answer;
    use flagstore_core::{DataSourceErrorKind, DataSourceState, MemoryStore};
    use flagstore_launchdarkly::DataSystem;
    use flagstore_launchdarkly::sources::{LaunchDarklyService, StreamingDataSourceBuilder};

    let _turn = TURN.lock();
    let launchdarkly = stand_in::stand_in();
    let stream = || {
        let service = LaunchDarklyService::new("sdk-key").relay_proxy(launchdarkly.url());
        DataSystem::builder(MemoryStore::new())
            .data_source(StreamingDataSourceBuilder::new(service))
            .build()
            .unwrap()
    };

    let system = stream();
    let status = system.data_source_status_provider().unwrap();
    assert!(status.wait_for(DataSourceState::Valid, LONG));
    launchdarkly.wait_for_connections(1);
    assert!(system.close(LONG));
    wait_until("the end of all threads", || threads().is_empty());
    launchdarkly.wait_for_connections(0);

    // Refused, it would try again in five minutes.
    launchdarkly.always(Answer::Status(401));
    let system = stream();
    let status = system.data_source_status_provider().unwrap();
    wait_until("the refusal", || {
        status.status().last_error.is_some_and(|error| error.kind == DataSourceErrorKind::ErrorResponse)
    });
    assert!(system.close(LONG));
    wait_until("the end of all threads", || threads().is_empty());
    launchdarkly.wait_for_connections(0);
}

/// After the end of a data system and of the client above it no thread of ours is left, and no file is open.
#[test]
fn nothing_is_left_behind() {
    let _turn = TURN.lock();
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
