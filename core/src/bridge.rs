//! From synchronous callers to an async client, for backends whose database has no other.

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use crate::{ErrorKind, StoreError};

/// A runtime of its own on threads of its own, to which any thread hands over a future and waits for it.
///
/// A caller waits on a channel of the standard library, with a deadline. So it may be a plain thread, a task
/// on the only worker of a runtime or inside a current-thread runtime: tokio's own ways to wait (`block_on`,
/// `block_in_place`, `blocking_recv`) each panic in one of those, and a future on the caller's own runtime
/// would wait for the thread that waits for it.
///
/// Several stores may share one, in an `Arc`: then many environments need no more threads than one does.
///
/// What a future spawns with tokio runs on the bridge's threads too, and goes on when the future has ended or its
/// caller has stopped waiting. That is how a store prepares its calls (credentials, a region) on a clock of their
/// own.
///
/// One that is dropped waits for nothing, so that may happen inside a runtime too. Its threads end by
/// themselves.
pub struct Bridge {
    /// `None` only while being dropped.
    runtime: Option<Runtime>,
    store: &'static str,
}

impl Bridge {
    /// Starts the two threads: they pass answers on and do no long work. `store` is the store's one-word name,
    /// and with it the threads and the errors are named.
    ///
    /// # Errors
    ///
    /// [`Other`](ErrorKind::Other) if the system starts no more threads.
    pub fn new(store: &'static str) -> Result<Self, StoreError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(format!("{store}-bridge"))
            .enable_all()
            .build()
            .map_err(|error| StoreError::new(ErrorKind::Other, store, "build", error))?;
        Ok(Self { runtime: Some(runtime), store })
    }

    /// Runs the future on the bridge's threads, and waits for what it returns. A timeout of `Duration::MAX` is
    /// none.
    ///
    /// # Errors
    ///
    /// The future's own; [`Timeout`](ErrorKind::Timeout) if it takes longer than the timeout, and then it is
    /// aborted; [`Other`](ErrorKind::Other) if it panics.
    pub fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        timeout: Duration,
        future: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let failed = |reason: String| Err(StoreError::new(ErrorKind::Other, self.store, operation, reason));
        let Some(runtime) = &self.runtime else {
            return failed("the store is being dropped".to_owned());
        };
        // None for a time that no clock reaches, and then the future alone says when it ends.
        let deadline = Instant::now().checked_add(timeout);
        let (done, result) = sync_channel(1);
        let task = runtime.spawn(async move {
            // Fails only when the caller has stopped waiting, and then nobody wants to know.
            let _ = done.send(catch_panic(future).await);
        });
        let answer = match deadline {
            Some(deadline) => result.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            None => result.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match answer {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => failed(format!("panicked, please report this: {panic}")),
            Err(RecvTimeoutError::Timeout) => {
                task.abort();
                // What the future had sent by then, nobody knows.
                let reason = format!("no answer within the timeout of {timeout:?}");
                Err(StoreError::unanswered(self.store, operation, reason))
            }
            // The task is gone without a word, as when the runtime shuts down.
            Err(RecvTimeoutError::Disconnected) => failed("was cancelled".to_owned()),
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A plain drop would wait for the threads, which panics inside another runtime.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bridge({})", self.store)
    }
}

/// What the future returns, or the message with which it panics.
async fn catch_panic<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = Box::pin(future);
    // After a panic the future is polled no more, so nobody sees what it left half-way.
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(message_of(&*panic))),
    })
    .await
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    fn bridge() -> Bridge {
        Bridge::new("test").unwrap()
    }

    /// Goes through a timer and a task of tokio's, so it needs a runtime that works.
    fn answer(bridge: &Bridge) -> Result<u32, StoreError> {
        bridge.run("answer", LONG, async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(tokio::spawn(async { 42 }).await.unwrap())
        })
    }

    fn multi_thread() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).build().unwrap()
    }

    fn current_thread() -> Runtime {
        Builder::new_current_thread().build().unwrap()
    }

    fn wait_until(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + LONG;
        while !condition() {
            assert!(Instant::now() < deadline, "waited for {LONG:?}");
            thread::yield_now();
        }
    }

    /// Where there is no runtime at all.
    #[test]
    fn answers_a_plain_thread() {
        assert_eq!(answer(&bridge()).unwrap(), 42);
    }

    /// Inside a task on a runtime's only worker.
    #[test]
    fn answers_inside_a_multi_thread_runtime() {
        let runtime = multi_thread();
        let task = runtime.spawn(async { answer(&bridge()).unwrap() });
        assert_eq!(runtime.block_on(task).unwrap(), 42);
    }

    /// Inside a runtime that has no threads.
    #[test]
    fn answers_inside_a_current_thread_runtime() {
        assert_eq!(current_thread().block_on(async { answer(&bridge()).unwrap() }), 42);
    }

    /// A future that waits holds nobody up: more wait for each other than there are threads.
    #[test]
    fn answers_many_threads_at_once() {
        const CALLERS: usize = 20;
        let (bridge, barrier) = (bridge(), Arc::new(tokio::sync::Barrier::new(CALLERS)));
        thread::scope(|scope| {
            for _ in 0..CALLERS {
                let barrier = Arc::clone(&barrier);
                scope.spawn(|| {
                    bridge.run("meet", LONG, async move { Ok(barrier.wait().await.is_leader()) }).unwrap()
                });
            }
        });
    }

    /// Made, used and dropped inside any runtime.
    #[test]
    fn can_be_dropped_inside_a_runtime() {
        for runtime in [multi_thread(), current_thread()] {
            runtime.block_on(async {
                let bridge = bridge();
                answer(&bridge).unwrap();
                drop(bridge);
            });
        }
    }

    /// A panic is an error for whoever called, and the bridge goes on.
    #[test]
    fn a_panic_is_an_error_for_its_caller() {
        let bridge = bridge();
        let error = bridge.run::<()>("fall", LONG, async { panic!("over {}", "the edge") }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
        assert_eq!(error.to_string(), "test: fall: panicked, please report this: over the edge");
        assert_eq!(answer(&bridge).unwrap(), 42);
    }

    /// A future's own error comes back as it is.
    #[test]
    fn an_error_comes_back() {
        let error = StoreError::new(ErrorKind::Unavailable, "test", "ask", "gone");
        let returned = bridge().run::<()>("ask", LONG, async { Err(error) }).unwrap_err();
        assert_eq!(
            (returned.kind(), returned.to_string()),
            (ErrorKind::Unavailable, "test: ask: gone".into())
        );
    }

    /// After the timeout the caller goes on, and the future is dropped.
    #[test]
    fn a_timeout_aborts_the_future() {
        struct Flag(Arc<AtomicBool>);
        impl Drop for Flag {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        let dropped = Arc::new(AtomicBool::new(false));
        let (bridge, flag) = (bridge(), Flag(Arc::clone(&dropped)));
        let endless = async move {
            let _flag = flag;
            std::future::pending::<()>().await;
            Ok(())
        };
        let error = bridge.run("wait", SHORT, endless).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(error.to_string(), "test: wait: no answer within the timeout of 20ms");
        wait_until(|| dropped.load(Ordering::Acquire));
        assert_eq!(answer(&bridge).unwrap(), 42);
    }

    /// The longest time there is means that there is no deadline.
    #[test]
    fn a_timeout_may_be_as_long_as_it_likes() {
        assert_eq!(bridge().run("ask", Duration::MAX, async { Ok(42) }).unwrap(), 42);
    }

    /// What a future has spawned does not end with it.
    #[test]
    fn what_a_future_spawns_outlives_it() {
        let (bridge, done) = (bridge(), Arc::new(AtomicBool::new(false)));
        let (seen, go) = (Arc::clone(&done), Arc::new(tokio::sync::Notify::new()));
        let wait = Arc::clone(&go);
        let spawning = async move {
            tokio::spawn(async move {
                wait.notified().await;
                seen.store(true, Ordering::Release);
            });
            Ok(())
        };
        bridge.run("prepare", LONG, spawning).unwrap();
        go.notify_one();
        wait_until(|| done.load(Ordering::Acquire));
    }

    /// Stores that share a bridge share its threads.
    #[test]
    fn several_stores_can_share_one() {
        let bridge = Arc::new(bridge());
        thread::scope(|scope| {
            for _ in 0..4 {
                let store = Arc::clone(&bridge);
                scope.spawn(move || assert_eq!(answer(&store).unwrap(), 42));
            }
        });
        assert_eq!(Arc::strong_count(&bridge), 1);
    }

    /// The threads are named after the store, and end when the bridge is dropped, even in the midst of a
    /// call.
    #[cfg(target_os = "linux")]
    #[test]
    fn threads_end_with_the_bridge() {
        let threads = || {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            let names =
                tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
            names.filter(|name| name.trim() == "leak-bridge").count()
        };
        let bridge = Bridge::new("leak").unwrap();
        answer(&bridge).unwrap();
        let aborted =
            bridge.run("wait", SHORT, async { std::future::pending::<Result<(), StoreError>>().await });
        assert_eq!(aborted.unwrap_err().kind(), ErrorKind::Timeout);
        wait_until(|| threads() == 2);
        drop(bridge);
        wait_until(|| threads() == 0);
    }
}
