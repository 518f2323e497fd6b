//! A source at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flagstore_core::DataSourceState::{Off, Valid};
use flagstore_core::{
    BackgroundOperation, DataSource, DataSourceFactory, DataSourceUpdateSink, Delivery, StoreError,
    UpdateProcessor,
};

use crate::support::{Database, LONG, cached, flags};

/// A source that does nothing but count what it is told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorded(Arc<[AtomicUsize; 3]>);

impl Recorded {
    fn count(&self, n: usize) -> usize {
        self.0[n].load(Ordering::SeqCst)
    }

    fn add(&self, n: usize) {
        self.0[n].fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn refreshes(&self) -> usize {
        self.count(2)
    }
}

impl BackgroundOperation for Recorded {
    fn start(&self) {
        self.add(0);
    }

    fn stop(&self) {
        self.add(1);
    }

    fn is_alive(&self) -> bool {
        self.count(0) > 0 && self.count(1) == 0
    }
}

impl UpdateProcessor for Recorded {
    fn initialized(&self) -> bool {
        false
    }

    fn refresh(&self) {
        self.add(2);
    }
}

impl DataSourceFactory for Recorded {
    fn create(&self, _sink: DataSourceUpdateSink) -> Result<Arc<dyn UpdateProcessor>, StoreError> {
        Ok(Arc::new(self.clone()))
    }
}

pub(crate) fn recorded(sink: DataSourceUpdateSink) -> (Recorded, DataSource) {
    let source = Recorded::default();
    let running = DataSource::start(&source, sink).unwrap();
    (source, running)
}

fn sink() -> DataSourceUpdateSink {
    DataSourceUpdateSink::builder(cached(&Database::default()).build().unwrap()).build()
}

/// It is started, and stopped once for all; then it is OFF and stores nothing.
#[test]
fn stop_is_the_end_of_a_source() {
    let (source, running) = recorded(sink());
    assert!(running.is_alive());
    running.sink().update_status(Valid, None);
    running.stop();
    assert!(!running.is_alive());
    assert!(running.sink().status_provider().wait_for(Off, LONG));
    assert_eq!(running.sink().init(&flags([])), Delivery::Failed);
    running.stop();
    drop(running);
    assert_eq!(source.count(0), 1);
}

/// Whoever forgets to stop it does not leave it running.
#[test]
fn dropping_it_stops_it() {
    let (source, running) = recorded(sink());
    let status = running.sink().status_provider();
    drop(running);
    assert_eq!((source.is_alive(), status.status().state), (false, Off));
}

/// A factory that refuses its settings starts nothing.
#[test]
fn a_wrong_setting_is_an_error() {
    #[derive(Debug)]
    struct Wrong;
    impl DataSourceFactory for Wrong {
        fn create(&self, _sink: DataSourceUpdateSink) -> Result<Arc<dyn UpdateProcessor>, StoreError> {
            Err(StoreError::config("polling", "interval", "must be at least 30 seconds"))
        }
    }
    let error = DataSource::start(&Wrong, sink()).unwrap_err();
    assert_eq!(error.to_string(), "polling: build: interval: must be at least 30 seconds");
}
