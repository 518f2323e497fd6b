//! The one kind of thread there is.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// What is done on a thread of its own, which lives only while there is something to do.
///
/// [`wake`](Self::wake) starts the thread, or makes it look again. It calls the job over and over, as the job
/// says by what it returns, and ends when there is nothing more to do. Dropping this ends it too: a call that is
/// under way is not waited for, and no other begins. So the job holds whatever it works for weakly, or it would
/// keep it alive for ever.
///
/// A job that panics is called again after a moment: what it is there for must not stop because of one failure.
pub(crate) struct Background(Arc<Shared>);

/// When to call the job again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// At once.
    Now,
    /// After this time, or sooner if it is woken.
    After(Duration),
    /// When it is woken.
    Rest,
}

struct Shared {
    name: &'static str,
    job: Box<dyn Fn() -> Next + Send + Sync>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_woken: bool,
    is_running: bool,
    is_over: bool,
}

/// The pause after a panic, so that a job which always panics does not take a whole processor.
const AFTER_A_PANIC: Duration = Duration::from_millis(100);

impl Background {
    /// Nothing runs before it is woken. The thread gets this name.
    pub(crate) fn new(name: &'static str, job: impl Fn() -> Next + Send + Sync + 'static) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Shared { name, job: Box::new(job), state, changed: Condvar::new() }))
    }

    /// Whether it has nothing to do.
    pub(crate) fn is_resting(&self) -> bool {
        !self.0.state.lock().is_running
    }

    /// Has the job called soon, also if it is being called right now. Never waits. False if no thread can be started.
    pub(crate) fn wake(&self) -> bool {
        let mut state = self.0.state.lock();
        state.is_woken = true;
        if state.is_running {
            self.0.changed.notify_all();
            return true;
        }
        let shared = Arc::clone(&self.0);
        match thread::Builder::new().name(self.0.name.to_owned()).spawn(move || shared.run()) {
            Ok(_) => state.is_running = true,
            // It stays woken, so the next one who wakes it tries again.
            Err(error) => tracing::warn!("cannot start the thread {}: {error}", self.0.name),
        }
        state.is_running
    }
}

impl Shared {
    fn run(&self) {
        let mut next = Next::Now;
        while self.wait(next) {
            next = catch_unwind(AssertUnwindSafe(&self.job)).unwrap_or(Next::After(AFTER_A_PANIC));
        }
    }

    /// Waits until it is time for the next call. False ends the thread.
    fn wait(&self, next: Next) -> bool {
        let mut state = self.state.lock();
        if let Next::After(pause) = next {
            // Without a deadline where the pause is beyond all clocks.
            let deadline = Instant::now().checked_add(pause);
            while !state.is_over && !state.is_woken {
                match deadline {
                    Some(deadline) if self.changed.wait_until(&mut state, deadline).timed_out() => break,
                    Some(_) => {}
                    None => self.changed.wait(&mut state),
                }
            }
        }
        state.is_running = !state.is_over && (next != Next::Rest || state.is_woken);
        state.is_woken = false;
        state.is_running
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.state.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Background({})", self.0.name)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A job that tells of each call, and what it returns to that number of calls.
    fn counted(answer: impl Fn(usize) -> Next + Send + Sync + 'static) -> (Background, Receiver<usize>) {
        let (told, calls) = channel();
        let count = AtomicUsize::new(0);
        let job = move || {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            let _ = told.send(number);
            answer(number)
        };
        (Background::new("flagstore-test", job), calls)
    }

    /// Nothing runs before it is woken, and what rests can be woken again.
    #[test]
    fn each_wake_is_a_call() {
        let (background, calls) = counted(|_| Next::Rest);
        assert!(calls.try_recv().is_err());
        for number in 1..=3 {
            background.wake();
            assert_eq!(calls.recv_timeout(LONG), Ok(number));
        }
    }

    /// Whoever wakes it does not have to wait for the pause.
    #[test]
    fn a_wake_ends_the_pause() {
        let (background, calls) = counted(|_| Next::After(Duration::MAX));
        for number in 1..=3 {
            background.wake();
            assert_eq!(calls.recv_timeout(LONG), Ok(number));
        }
    }

    /// It is called again after the pause, without being woken.
    #[test]
    fn a_pause_ends_by_itself() {
        let (background, calls) = counted(|_| Next::After(Duration::from_millis(1)));
        background.wake();
        assert_eq!(calls.iter().take(3).collect::<Vec<_>>(), [1, 2, 3]);
    }

    /// A panic is survived.
    #[test]
    fn a_panic_is_not_the_end() {
        let (background, calls) =
            counted(|number| if number == 1 { panic!("as it was told to") } else { Next::Rest });
        background.wake();
        assert_eq!(calls.recv_timeout(LONG), Ok(1));
        assert_eq!(calls.recv_timeout(LONG), Ok(2));
        background.wake();
        assert_eq!(calls.recv_timeout(LONG), Ok(3));
    }

    /// Dropping it ends the thread, which then lets go of the job.
    #[test]
    fn the_end_is_the_end_of_the_thread() {
        let (background, calls) = counted(|_| Next::After(Duration::MAX));
        background.wake();
        assert_eq!(calls.recv_timeout(LONG), Ok(1));
        drop(background);
        assert!(calls.recv_timeout(LONG).is_err(), "the job was called again");
    }

    /// The job may drop it itself.
    #[test]
    fn the_job_may_end_it() {
        let itself: Arc<Mutex<Option<Background>>> = Arc::default();
        let (told, calls) = channel();
        let job = {
            let itself = Arc::clone(&itself);
            move || {
                let _ = told.send(());
                drop(itself.lock().take());
                Next::Now
            }
        };
        let mut place = itself.lock();
        let background = place.insert(Background::new("flagstore-test", job));
        background.wake();
        drop(place);
        assert_eq!(calls.recv_timeout(LONG), Ok(()));
        assert!(calls.recv_timeout(LONG).is_err(), "the job was called again");
    }
}
