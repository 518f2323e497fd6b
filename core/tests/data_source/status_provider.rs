//! `wait_for` and listeners, as Java's `DataSourceStatusProviderImplTest`, Python's `test_async_status` and
//! Go's `broadcasters_test` have them.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use flagstore_core::DataSourceState::{Interrupted, Off, Valid};
use flagstore_core::{CachingStoreWrapper, DataSourceUpdateSink, MemoryStore};

use crate::support::LONG;

fn sink() -> DataSourceUpdateSink {
    DataSourceUpdateSink::builder(CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap()).build()
}

/// Has a thread wait for VALID without end, and does this meanwhile.
fn wait_while(sink: &DataSourceUpdateSink, meanwhile: impl FnOnce()) -> bool {
    let provider = sink.status_provider();
    let (tell, told) = channel();
    let waiting = thread::spawn(move || {
        tell.send(()).unwrap();
        provider.wait_for(Valid, Duration::MAX)
    });
    told.recv().unwrap();
    meanwhile();
    waiting.join().unwrap()
}

/// What is already so is not waited for.
#[test]
fn wait_for_a_status_that_is_already_there() {
    let sink = sink();
    sink.update_status(Valid, None);
    assert!(sink.status_provider().wait_for(Valid, Duration::ZERO));
}

/// A wait ends with what it waits for, and not with anything else.
#[test]
fn wait_for_succeeds() {
    let sink = sink();
    assert!(wait_while(&sink, || {
        sink.update_status(Interrupted, None);
        sink.update_status(Valid, None);
    }));
}

/// A wait has an end.
#[test]
fn wait_for_times_out() {
    let sink = sink();
    assert!(!sink.status_provider().wait_for(Valid, Duration::ZERO));
    assert!(!sink.status_provider().wait_for(Valid, Duration::from_millis(5)));
}

/// Nothing else follows OFF, so nobody waits for it, unless it is what he waits for.
#[test]
fn wait_for_ends_when_the_source_ends() {
    let sink = sink();
    assert!(!wait_while(&sink, || sink.update_status(Off, None)));
    assert!(!sink.status_provider().wait_for(Valid, Duration::MAX));
    assert!(sink.status_provider().wait_for(Off, Duration::ZERO));
}

/// Each listener gets everything, and one that has gone gets nothing more.
#[test]
fn listeners_come_and_go() {
    let sink = sink();
    let provider = sink.status_provider();
    let (tell_first, first) = channel();
    let (tell_second, second) = channel();
    let _first = provider.add_listener(move |status| tell_first.send(status.state).unwrap());
    let gone = provider.add_listener(move |status| tell_second.send(status.state).unwrap());
    sink.update_status(Valid, None);
    assert_eq!(first.recv_timeout(LONG), Ok(Valid));
    assert_eq!(second.recv_timeout(LONG), Ok(Valid));

    provider.remove_listener(gone);
    sink.update_status(Interrupted, None);
    assert_eq!(first.recv_timeout(LONG), Ok(Interrupted));
    assert!(second.recv_timeout(LONG).is_err(), "its channel is gone with it");
}

/// A listener that panics or never returns stops nobody else, and nobody waits for it.
#[test]
fn a_bad_listener_stops_nobody_else() {
    let sink = sink();
    let provider = sink.status_provider();
    let (gate, opened) = channel::<()>();
    let opened = parking_lot::Mutex::new(opened);
    let (tell, told) = channel();
    let _slow = provider.add_listener(move |_| assert!(opened.lock().recv().is_err()));
    let _panicking = provider.add_listener(|_| panic!("as it was told to"));
    let _good = provider.add_listener(move |status| tell.send(status.state).unwrap());
    sink.update_status(Valid, None);
    sink.update_status(Interrupted, None);
    assert_eq!(told.recv_timeout(LONG), Ok(Valid));
    assert_eq!(told.recv_timeout(LONG), Ok(Interrupted));
    drop(gate);
}

/// A listener may do what it likes, also end itself and report another status.
#[test]
fn a_listener_may_call_back() {
    let sink = sink();
    let (tell, told) = channel();
    let back = sink.clone();
    let _listener = sink.status_provider().add_listener(move |status| {
        tell.send((status.state, back.status_provider().status().state)).unwrap();
        if status.state == Interrupted {
            back.update_status(Valid, None);
        }
    });
    sink.update_status(Valid, None);
    assert_eq!(told.recv_timeout(LONG).unwrap().0, Valid);
    sink.update_status(Interrupted, None);
    assert_eq!(told.recv_timeout(LONG).unwrap().0, Interrupted);
    assert_eq!(told.recv_timeout(LONG), Ok((Valid, Valid)));
}
