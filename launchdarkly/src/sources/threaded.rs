use std::any::Any;
use std::convert::Infallible;
use std::fmt::{self, Debug};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{BackgroundOperation, DataSourceErrorInfo, DataSourceErrorKind, UpdateProcessor};
use parking_lot::{Condvar, Mutex};
use tokio::runtime::Builder;
use tokio::sync::Notify;

use super::feed::Feed;

/// What a source does, without an end.
pub(crate) trait Work: Debug + Send + Sync + 'static {
    /// The name of the thread on which it is done.
    const THREAD: &'static str;

    /// It is started.
    fn begins(&self) {}

    /// It is stopped, and its thread may be at work for a moment. More than once, if it is stopped more than once.
    fn ends(&self) {}

    /// Feeds for ever. The future is dropped when the source is stopped, and begun anew after a panic.
    fn run(&self, feed: &Feed) -> impl Future<Output = Infallible>;
}

/// A source with a thread of its own, on which a runtime of its own does its work.
///
/// That thread alone calls the sink and waits for the store, so what it brings is in order. All that the work has
/// opened or started is part of the runtime, and ends with it.
pub(crate) struct Threaded<W: Work>(Arc<Shared<W>>);

struct Shared<W> {
    work: W,
    feed: Feed,
    state: Mutex<State>,
    /// Tells whoever pauses on the thread what `is_stopped` says.
    stopped: Condvar,
    /// Tells the work the same.
    stop: Notify,
}

#[derive(Default)]
struct State {
    is_running: bool,
    is_stopped: bool,
}

/// The pause before the work begins again after a panic.
const AFTER_A_FALL: Duration = Duration::from_secs(1);

impl<W: Work> Threaded<W> {
    pub(crate) fn new(work: W, feed: Feed) -> Self {
        let (state, stopped, stop) = (Mutex::default(), Condvar::new(), Notify::new());
        Self(Arc::new(Shared { work, feed, state, stopped, stop }))
    }
}

impl<W: Work> BackgroundOperation for Threaded<W> {
    fn start(&self) {
        let mut state = self.0.state.lock();
        if state.is_stopped || state.is_running {
            return;
        }
        self.0.work.begins();
        let shared = Arc::clone(&self.0);
        match thread::Builder::new().name(W::THREAD.to_owned()).spawn(move || shared.run()) {
            Ok(_) => state.is_running = true,
            Err(error) => {
                drop(state);
                self.stop();
                self.0.feed.fails(unexpected(format!("cannot start the thread {}: {error}", W::THREAD)));
            }
        }
    }

    fn stop(&self) {
        self.0.state.lock().is_stopped = true;
        self.0.stopped.notify_all();
        self.0.stop.notify_one();
        self.0.work.ends();
    }

    fn is_alive(&self) -> bool {
        self.0.state.lock().is_running
    }
}

impl<W: Work> UpdateProcessor for Threaded<W> {
    fn initialized(&self) -> bool {
        self.0.feed.is_initialized()
    }

    fn refresh(&self) {
        self.0.feed.ask_for_refresh();
    }
}

/// Whoever lets go of a source does not want it any more. It ends without anybody waiting for it.
impl<W: Work> Drop for Threaded<W> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<W: Work> Debug for Threaded<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.work.fmt(f)
    }
}

impl<W: Work> Shared<W> {
    fn run(&self) {
        while let Err(reason) = self.work_until_stopped() {
            self.feed.fails(unexpected(reason));
            if self.is_stopped_within(AFTER_A_FALL) {
                break;
            }
        }
        self.state.lock().is_running = false;
    }

    /// Ends when it is stopped, or with the reason why it has to begin again.
    fn work_until_stopped(&self) -> Result<(), String> {
        let runtime = Builder::new_current_thread()
            .thread_name(W::THREAD)
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start a runtime: {error}"))?;
        let work = async {
            tokio::select! {
                biased;
                () = self.stop.notified() => {}
                never = self.work.run(&self.feed) => match never {},
            }
        };
        // After a panic everything begins anew, so nobody sees what it left half-way.
        let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(work)));
        // A plain drop would wait for the resolution of a name, which has no deadline.
        runtime.shutdown_background();
        outcome.map_err(|panic| format!("panicked, please report this: {}", message_of(&*panic)))
    }

    fn is_stopped_within(&self, pause: Duration) -> bool {
        let deadline = Instant::now() + pause;
        let mut state = self.state.lock();
        while !state.is_stopped && !self.stopped.wait_until(&mut state, deadline).timed_out() {}
        state.is_stopped
    }
}

fn unexpected(reason: String) -> DataSourceErrorInfo {
    DataSourceErrorInfo::new(DataSourceErrorKind::Unknown, reason)
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
