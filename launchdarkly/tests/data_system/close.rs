use std::sync::mpsc::{Sender, TryRecvError, channel};
use std::time::Duration;

use flagstore_core::{
    BackgroundOperation, BigSegmentStoreWrapper, BigSegmentsStatus, Change, ChangeSource, ChangeWatch,
    DataSourceState, MemoryBigSegmentStore, MemoryStore,
};
use flagstore_launchdarkly::DataSystem;
use flagstore_launchdarkly::sources::TestData;
use parking_lot::Mutex;

use crate::database::Database;
use crate::support::{LONG, Manual, client, context, environment};

/// The source ends, the Big Segments end, and the client goes on with what is there.
#[test]
fn close_ends_everything() {
    let source = Manual::default();
    let big_segments = BigSegmentStoreWrapper::builder(MemoryBigSegmentStore::new()).build().unwrap();
    let system = DataSystem::builder(MemoryStore::new())
        .data_source(source.clone())
        .big_segments(big_segments.clone())
        .build()
        .unwrap();
    let client = client(&system);
    source.put(&environment([("dark-mode", 1, true)]));
    let status = system.data_source_status_provider().unwrap();

    assert!(system.close(LONG));
    assert!(!source.is_alive());
    assert_eq!(status.status().state, DataSourceState::Off);
    assert_eq!(big_segments.get_membership("user-1").status, BigSegmentsStatus::StoreError);
    assert!(client.bool_variation(&context(), "dark-mode", false));
    assert!(system.close(Duration::ZERO), "a second time there is nothing left to end");
}

/// Whoever forgets to close it does not leave a source behind.
#[test]
fn dropping_it_ends_the_source() {
    let source = Manual::default();
    drop(DataSystem::builder(MemoryStore::new()).data_source(source.clone()).build().unwrap());
    assert!(!source.is_alive());
}

/// Nor does a database that is silent hold up whoever does not want to wait.
#[test]
fn close_does_not_wait_for_a_call_of_the_database() {
    let (called, call) = channel();
    let (answer, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let database = Database::default().on_init(move || {
        let _ = called.send(());
        let _ = wait.lock().recv_timeout(2 * LONG);
    });
    let system = DataSystem::builder(database).data_source(TestData::new()).build().unwrap();
    call.recv_timeout(LONG).unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        assert!(!system.close(Duration::ZERO), "it is still at work");
        drop(system);
        tell.send(()).unwrap();
    });
    // The database answers after a minute, so this cannot be because of that.
    told.recv_timeout(LONG).unwrap();
    drop(answer);
}

/// What others write is not watched any more, although the client still holds the store.
#[test]
fn close_ends_the_watch() {
    let (told, ended) = channel();
    let system = DataSystem::builder(MemoryStore::new()).changes(Watched(told)).build().unwrap();
    let _client = client(&system);
    assert_eq!(ended.try_recv(), Err(TryRecvError::Empty));
    assert!(system.close(LONG));
    assert_eq!(ended.recv_timeout(LONG), Ok(()));
}

/// Tells when a watch has ended.
#[derive(Debug)]
struct Watched(Sender<()>);

impl ChangeSource for Watched {
    fn watch(&self, _on_change: Box<dyn Fn(Change) + Send + Sync>) -> ChangeWatch {
        ChangeWatch::new(Guard(self.0.clone()))
    }
}

struct Guard(Sender<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}
