//! The suite of sources can fail: a source with one fault each, and the case that has to find it. The same source
//! without a fault passes all.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use flagstore_conformance::{Origin, SourceFixture, source_cases};
use flagstore_core::{
    AllData, BackgroundOperation, DataSourceErrorInfo, DataSourceErrorKind, DataSourceFactory,
    DataSourceState, DataSourceUpdateSink, Delivery, Item, Kind, StoreError, UpdateProcessor,
};
use libtest_mimic::{Arguments, Trial};
use parking_lot::Mutex;

/// What a source does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    ForgetsSegments,
    BringsOnce,
    Respells,
    StartsByItself,
    StartsTwice,
    IsValidTooSoon,
    IsNeverHeardOf,
    StartsAfterAStop,
    GoesOnAfterAStop,
    GoesOnWhenDropped,
    GivesUp,
    HidesFailures,
    ClearsOnFailure,
    TriesOnAfterAStop,
    IgnoresRefresh,
    IgnoresDelivery,
    DiesOfAPanic,
    BlocksOnARuntime,
}

/// Each case, and the fault that it has to find.
const FOUND: &[(&str, Fault)] = &[
    ("starts_with_all_data", Fault::ForgetsSegments),
    ("follows_changes", Fault::BringsOnce),
    ("keeps_every_byte", Fault::Respells),
    ("does_nothing_before_it_is_started", Fault::StartsByItself),
    ("starts_once", Fault::StartsTwice),
    ("is_valid_when_it_works", Fault::IsValidTooSoon),
    ("is_heard_of", Fault::IsNeverHeardOf),
    ("never_starts_after_a_stop", Fault::StartsAfterAStop),
    ("stops_for_good", Fault::GoesOnAfterAStop),
    ("ends_when_it_is_dropped", Fault::GoesOnWhenDropped),
    ("waits_for_an_origin_that_fails_at_first", Fault::GivesUp),
    ("is_interrupted_while_the_origin_fails", Fault::HidesFailures),
    ("keeps_the_data_while_the_origin_fails", Fault::ClearsOnFailure),
    ("stops_while_the_origin_fails", Fault::TriesOnAfterAStop),
    ("refreshes_all_data", Fault::IgnoresRefresh),
    ("sends_again_what_a_store_did_not_take", Fault::IgnoresDelivery),
    ("survives_a_store_that_panics", Fault::DiesOfAPanic),
    ("works_inside_a_runtime", Fault::BlocksOnARuntime),
];

fn main() -> ExitCode {
    // The cases fail by panicking, which is what is asked of them here and nothing to print.
    std::panic::set_hook(Box::new(|_| ()));
    let mut trials = Vec::new();
    for case in source_cases() {
        let name = case.name();
        let fault = FOUND.iter().find(|(found, _)| *found == name).map(|(_, fault)| *fault);
        trials.push(Trial::test(format!("mutants::data_source::{name}"), move || {
            let Some(fault) = fault else { return Err("no fault is found by this case".into()) };
            let passes = |fault| {
                catch_unwind(AssertUnwindSafe(|| case.run(&Plain(fault)))).is_ok_and(|ran| ran.is_ok())
            };
            if !passes(Fault::None) {
                return Err("fails without a fault".into());
            }
            if passes(fault) { Err(format!("does not find that a source {fault:?}").into()) } else { Ok(()) }
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

struct Plain(Fault);

impl SourceFixture for Plain {
    fn name(&self) -> &str {
        "plain"
    }

    fn open(&self) -> Box<dyn Origin> {
        Box::new(PlainOrigin { fault: self.0, held: Arc::default() })
    }

    fn patience(&self) -> Duration {
        // With a fault nothing comes, however long it is waited for.
        Duration::from_secs(if self.0 == Fault::None { 60 } else { 2 })
    }
}

struct PlainOrigin {
    fault: Fault,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Clone, Default)]
struct Held {
    data: AllData,
    revision: u64,
    fails: bool,
}

impl Origin for PlainOrigin {
    fn factory(&self) -> Box<dyn DataSourceFactory> {
        Box::new(PlainFactory { fault: self.fault, held: Arc::clone(&self.held) })
    }

    fn set(&self, all_data: &AllData) {
        let mut held = self.held.lock();
        held.data = all_data.clone();
        held.revision += 1;
    }

    fn fail(&self) {
        self.held.lock().fails = true;
    }

    fn mend(&self) {
        self.held.lock().fails = false;
    }
}

#[derive(Debug)]
struct PlainFactory {
    fault: Fault,
    held: Arc<Mutex<Held>>,
}

impl DataSourceFactory for PlainFactory {
    fn create(&self, sink: DataSourceUpdateSink) -> Result<Arc<dyn UpdateProcessor>, StoreError> {
        let feeding =
            Feeding { fault: self.fault, held: Arc::clone(&self.held), sink, state: Mutex::default() };
        let source = Source(Arc::new(feeding));
        if self.fault == Fault::StartsByItself {
            source.start();
        }
        Ok(Arc::new(source))
    }
}

#[derive(Debug)]
struct Source(Arc<Feeding>);

#[derive(Debug)]
struct Feeding {
    fault: Fault,
    held: Arc<Mutex<Held>>,
    sink: DataSourceUpdateSink,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_alive: bool,
    is_stopped: bool,
    is_initialized: bool,
    is_refresh_due: bool,
}

impl BackgroundOperation for Source {
    fn start(&self) {
        if self.0.fault == Fault::BlocksOnARuntime {
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {});
        }
        let mut state = self.0.state.lock();
        if state.is_stopped && self.0.fault == Fault::StartsAfterAStop {
            state.is_stopped = false;
        }
        if state.is_stopped || state.is_alive && self.0.fault != Fault::StartsTwice {
            return;
        }
        state.is_alive = true;
        let feeding = Arc::clone(&self.0);
        thread::spawn(move || feeding.run());
    }

    fn stop(&self) {
        self.0.state.lock().is_stopped = true;
    }

    fn is_alive(&self) -> bool {
        self.0.state.lock().is_alive
    }
}

impl UpdateProcessor for Source {
    fn initialized(&self) -> bool {
        self.0.state.lock().is_initialized
    }

    fn refresh(&self) {
        self.0.state.lock().is_refresh_due = self.0.fault != Fault::IgnoresRefresh;
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if self.0.fault != Fault::GoesOnWhenDropped {
            self.stop();
        }
    }
}

impl Feeding {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn run(&self) {
        let mut brought = None;
        let tries_on = AtomicBool::new(false);
        // A source that is never stopped ends with its case.
        while Arc::strong_count(&self.held) > 1 {
            thread::sleep(Duration::from_millis(1));
            let ignores_stop = self.is(Fault::GoesOnAfterAStop) || tries_on.load(Ordering::Relaxed);
            if self.state.lock().is_stopped && !ignores_stop {
                break;
            }
            let held = self.held.lock().clone();
            if held.fails {
                brought = None;
                tries_on.store(self.is(Fault::TriesOnAfterAStop), Ordering::Relaxed);
                if self.is(Fault::ClearsOnFailure) {
                    let _ = self.sink.init(&AllData::new().with(Kind::FEATURES, Vec::<(&str, Item)>::new()));
                }
                if !self.is(Fault::HidesFailures) {
                    let error = DataSourceErrorInfo::new(DataSourceErrorKind::NetworkError, "fails");
                    self.sink.update_status(DataSourceState::Interrupted, Some(error));
                }
                if self.is(Fault::GivesUp) {
                    break;
                }
                continue;
            }
            let is_due = std::mem::take(&mut self.state.lock().is_refresh_due);
            let is_news =
                brought != Some(held.revision) && !(self.is(Fault::BringsOnce) && brought.is_some());
            if is_news || is_due {
                brought = self.bring(&held).then_some(held.revision);
                tries_on.store(false, Ordering::Relaxed);
            }
        }
        self.state.lock().is_alive = false;
    }

    /// Whether it need not be brought again.
    fn bring(&self, held: &Held) -> bool {
        if !self.is(Fault::IsNeverHeardOf) {
            self.sink.event_received();
        }
        if self.is(Fault::IsValidTooSoon) {
            self.sink.update_status(DataSourceState::Valid, None);
        }
        let data = match self.fault {
            Fault::ForgetsSegments => only(&held.data, |item| item.clone()),
            Fault::Respells => only(&held.data, |item| Item::parse(item.json().replace(' ', "")).unwrap()),
            _ => held.data.clone(),
        };
        let delivered = catch_unwind(AssertUnwindSafe(|| self.sink.init(&data)));
        let Ok(delivery) = delivered else {
            assert!(!self.is(Fault::DiesOfAPanic), "dies of it");
            return false;
        };
        if delivery == Delivery::Failed {
            return self.is(Fault::IgnoresDelivery);
        }
        self.state.lock().is_initialized = true;
        self.sink.update_status(DataSourceState::Valid, None);
        true
    }
}

/// The flags, each as it is made.
fn only(data: &AllData, of: impl Fn(&Item) -> Item) -> AllData {
    let flags = data.items(&Kind::FEATURES).map(|(key, item)| (key.to_owned(), of(item))).collect::<Vec<_>>();
    AllData::new().with(Kind::FEATURES, flags)
}
