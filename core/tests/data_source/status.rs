//! The rules of statuses, as Java's `DataSourceUpdatesImplTest` and Go's `data_source_update_sink_impl_test`
//! have them.

use std::sync::mpsc::channel;

use flagstore_core::DataSourceErrorKind::NetworkError;
use flagstore_core::DataSourceState::{Initializing, Interrupted, Off, Valid};
use flagstore_core::{DataSourceErrorInfo, DataSourceStatus, DataSourceUpdateSink, MemoryStore};

use crate::support::{LONG, cached};

fn sink() -> DataSourceUpdateSink {
    let store = flagstore_core::CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
    DataSourceUpdateSink::builder(store).build()
}

fn error(message: &str) -> Option<DataSourceErrorInfo> {
    Some(DataSourceErrorInfo::new(NetworkError, message))
}

fn status(sink: &DataSourceUpdateSink) -> DataSourceStatus {
    sink.status_provider().status()
}

/// It begins without data and without an error.
#[test]
fn the_first_status_is_initializing() {
    let status = status(&sink());
    assert_eq!((status.state, status.last_error), (Initializing, None));
}

/// Listeners hear of every change, with what it is now.
#[test]
fn update_status_broadcasts_the_new_status() {
    let sink = sink();
    let (tell, told) = channel();
    let _listener = sink.status_provider().add_listener(move |status| tell.send(status).unwrap());
    sink.update_status(Valid, None);
    sink.update_status(Interrupted, error("gone"));
    let first = told.recv_timeout(LONG).unwrap();
    assert_eq!((first.state, first.last_error), (Valid, None));
    let second = told.recv_timeout(LONG).unwrap();
    assert_eq!((second.state, second.last_error.unwrap().message.as_str()), (Interrupted, "gone"));
}

/// What has never worked is not interrupted. The error counts all the same.
#[test]
fn interrupted_before_the_first_data_stays_initializing() {
    let sink = sink();
    let since = status(&sink).since;
    sink.update_status(Interrupted, error("unreachable"));
    let status = status(&sink);
    assert_eq!((status.state, status.since), (Initializing, since));
    assert_eq!(status.last_error.unwrap().message, "unreachable");
}

/// The same state again is no news, and with an error it is.
#[test]
fn the_same_state_tells_only_with_an_error() {
    let sink = sink();
    let (tell, told) = channel();
    let _listener = sink.status_provider().add_listener(move |status| tell.send(status).unwrap());
    sink.update_status(Valid, None);
    sink.update_status(Valid, None);
    sink.update_status(Valid, error("one that did no harm"));
    sink.update_status(Interrupted, None);
    let states = [(); 3].map(|()| told.recv_timeout(LONG).unwrap());
    assert_eq!(states.each_ref().map(|status| status.state), [Valid, Valid, Interrupted]);
    assert!(states[1].last_error.is_some(), "the second is the one with the error");
}

/// The time is that of the state, so an error that leaves the state does not change it.
#[test]
fn since_changes_with_the_state_only() {
    let sink = sink();
    sink.update_status(Valid, None);
    sink.update_status(Interrupted, error("first"));
    let first = status(&sink);
    while std::time::SystemTime::now() <= first.since {
        std::thread::yield_now();
    }
    sink.update_status(Interrupted, error("second"));
    let second = status(&sink);
    assert_eq!(second.since, first.since);
    assert_eq!(second.last_error.unwrap().message, "second");
    sink.update_status(Valid, None);
    assert!(status(&sink).since > first.since);
}

/// A source that works again still says what went wrong last.
#[test]
fn the_last_error_is_kept() {
    let sink = sink();
    sink.update_status(Valid, None);
    sink.update_status(Interrupted, Some(DataSourceErrorInfo::response(503, "Service Unavailable")));
    sink.update_status(Valid, None);
    let status = status(&sink);
    assert_eq!(status.state, Valid);
    assert_eq!(status.last_error.unwrap().to_string(), "ERROR_RESPONSE(503): Service Unavailable");
}

/// Nothing comes after the end.
#[test]
fn off_is_final() {
    let sink = sink();
    sink.update_status(Off, None);
    let end = status(&sink);
    sink.update_status(Valid, None);
    sink.update_status(Interrupted, error("too late"));
    assert_eq!(status(&sink), end);
}

/// The last sign of life is known, whatever the state.
#[test]
fn the_last_event_is_noted() {
    let sink = sink();
    let provider = sink.status_provider();
    assert_eq!(provider.last_event(), None);
    sink.event_received();
    let first = provider.last_event().unwrap();
    sink.update_status(Interrupted, error("not an event"));
    assert_eq!(provider.last_event(), Some(first));
    while std::time::SystemTime::now() <= first {
        std::thread::yield_now();
    }
    sink.event_received();
    assert!(provider.last_event() > Some(first));
}

/// A provider may outlive everything else.
#[test]
fn a_provider_outlives_the_sink() {
    let sink = DataSourceUpdateSink::builder(cached(&Default::default()).build().unwrap()).build();
    let provider = sink.status_provider();
    sink.update_status(Valid, None);
    drop(sink);
    assert_eq!(provider.status().state, Valid);
}
