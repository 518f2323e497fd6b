//! What is logged of outages, as Java's `outageTimeoutLogging` has it.

use std::sync::Once;
use std::time::Duration;

use flagstore_core::DataSourceErrorKind::NetworkError;
use flagstore_core::DataSourceState::{Interrupted, Valid};
use flagstore_core::{DataSourceErrorInfo, DataSourceUpdateSink};
use parking_lot::Mutex;

use crate::support::{Database, cached, wait_until};

static LINES: Mutex<Vec<(log::Level, String)>> = Mutex::new(Vec::new());

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().contains("data_source") {
            LINES.lock().push((record.level(), record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// The lines of that level in which this is said. Tests run side by side, so each says something else.
fn lines(level: log::Level, text: &str) -> Vec<String> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        log::set_logger(&Collector).unwrap();
        log::set_max_level(log::LevelFilter::Info);
    });
    let lines = LINES.lock();
    lines.iter().filter(|line| line.0 == level && line.1.contains(text)).map(|line| line.1.clone()).collect()
}

fn sink(outage_logged_after: Duration) -> DataSourceUpdateSink {
    let store = cached(&Database::default()).build().unwrap();
    DataSourceUpdateSink::builder(store).outage_logged_after(outage_logged_after).build()
}

fn response(status_code: u16) -> Option<DataSourceErrorInfo> {
    Some(DataSourceErrorInfo::response(status_code, "no"))
}

/// One line for an outage, with its errors counted, and one when it is over.
#[test]
fn an_outage_is_one_error_line_that_counts_its_errors() {
    assert!(lines(log::Level::Error, "(571)").is_empty());
    let sink = sink(Duration::from_millis(50));
    sink.update_status(Valid, None);
    sink.update_status(Interrupted, response(571));
    sink.update_status(Interrupted, response(571));
    sink.update_status(Interrupted, Some(DataSourceErrorInfo::new(NetworkError, "broken")));
    wait_until("the line", || !lines(log::Level::Error, "(571)").is_empty());
    let counted = "NETWORK_ERROR (once), ERROR_RESPONSE(571) (2 times)";
    assert!(
        lines(log::Level::Error, "(571)")[0].ends_with(counted),
        "{:?}",
        lines(log::Level::Error, "(571)")
    );

    sink.update_status(Interrupted, response(571));
    sink.update_status(Valid, None);
    assert_eq!(lines(log::Level::Error, "(571)").len(), 1);
    assert_eq!(lines(log::Level::Info, "ERROR_RESPONSE(571) (3 times)").len(), 1);
}

/// What ends sooner is none, however many errors it had, and so is the next one.
#[test]
fn a_short_outage_is_no_line() {
    assert!(lines(log::Level::Error, "(572)").is_empty());
    let sink = sink(Duration::from_secs(3600));
    for _ in 0..3 {
        sink.update_status(Interrupted, response(572));
        sink.update_status(Valid, None);
    }
    assert!(lines(log::Level::Error, "(572)").is_empty());
    assert!(lines(log::Level::Info, "(572)").is_empty(), "what was not reported is not reported to be over");
}

/// What has never worked is an outage too.
#[test]
fn a_source_that_never_works_is_reported() {
    assert!(lines(log::Level::Error, "(573)").is_empty());
    let sink = sink(Duration::from_millis(1));
    sink.update_status(Interrupted, response(573));
    wait_until("the line", || lines(log::Level::Error, "(573)").len() == 1);
}
