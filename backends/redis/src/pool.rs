use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use redis::Connection;

use crate::error::Failure;
use crate::session::Session;

/// Makes a connection, however long that takes.
pub(crate) type Connect = dyn Fn() -> Result<Connection, Failure> + Send + Sync;

/// The connections to one server.
///
/// They are made on threads of their own. A call waits for a connection, whichever comes first: a new one or
/// one that is given back, and no longer than its deadline, whatever a resolver, a TLS handshake or a
/// callback for credentials does. When an attempt fails, all who wait at that moment have the answer, so
/// that nobody waits for one attempt after another.
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    /// For messages.
    address: String,
    connect: Arc<Connect>,
    size: usize,
    idle_timeout: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The one used last is at the end, and is taken by who has none, so that those not needed become old.
    idle: Vec<Idle>,
    /// Idle, in use, and being made.
    open: usize,
    being_made: usize,
    waiting: usize,
    /// How often all connections were condemned. Those of an earlier time are closed when given back.
    generation: u64,
    failures: u64,
    last_failure: Option<Failure>,
}

struct Idle {
    link: Link,
    generation: u64,
    since: Instant,
    /// Which used it last, and takes it again if it is there: the kernel wakes a thread where its connection
    /// was served before, and with a stranger's sixteen threads got 6 % less done.
    thread: ThreadId,
}

impl Idle {
    fn new(link: Link, generation: u64, since: Instant) -> Self {
        Self { link, generation, since, thread: thread::current().id() }
    }
}

struct Link {
    connection: Connection,
    /// How long the socket waits now.
    waits_for: Duration,
}

impl Pool {
    pub(crate) fn new(address: String, connect: Arc<Connect>, size: usize, idle_timeout: Duration) -> Self {
        let (state, changed) = Default::default();
        Self(Arc::new(Shared { address, connect, size, idle_timeout, state, changed }))
    }

    /// Does some work on a connection that nobody else uses meanwhile.
    pub(crate) fn run<T>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (mut link, place) = self.take(deadline)?;
        let mut session = Session::new(&mut link.connection, &mut link.waits_for, deadline);
        let result = work(&mut session);
        let can_go_on = session.can_go_on(&result);
        match &result {
            Err(failure) if failure.concerns_the_server() => self.condemn(),
            _ if can_go_on => place.give_back(link),
            _ => {}
        }
        result
    }

    fn take(&self, deadline: Instant) -> Result<(Link, Place<'_>), Failure> {
        let now = Instant::now();
        let mut state = self.0.state.lock();
        let failures_before = state.failures;
        state.waiting += 1;
        let taken = loop {
            if let Some(Idle { link, generation, .. }) = state.next_idle(now, self.0.idle_timeout) {
                break Ok((link, Place { pool: &self.0, generation, taken: now, is_free: false }));
            }
            if state.failures > failures_before
                && let Some(failure) = &state.last_failure
            {
                break Err(failure.clone());
            }
            // As many as there are who wait, and never more connections than places.
            if state.open < self.0.size && state.being_made < state.waiting {
                if let Err(error) = Shared::make_one(&self.0, &mut state) {
                    break Err(Failure::NotConnected(format!("no thread for it: {error}")));
                }
                continue;
            }
            if self.0.changed.wait_until(&mut state, deadline).timed_out() {
                break Err(match state.being_made {
                    0 => Failure::NoConnection,
                    _ => Failure::StillConnecting(self.0.address.clone()),
                });
            }
        };
        state.waiting -= 1;
        taken
    }

    /// Closes all idle connections now, and the others when they are given back.
    fn condemn(&self) {
        let mut state = self.0.state.lock();
        state.generation += 1;
        let condemned = std::mem::take(&mut state.idle);
        state.open -= condemned.len();
        drop(state);
        // Closed outside the lock.
        drop(condemned);
    }
}

impl State {
    fn next_idle(&mut self, now: Instant, idle_timeout: Duration) -> Option<Idle> {
        let is_old = |idle: &Idle| now.saturating_duration_since(idle.since) >= idle_timeout;
        if is_old(self.idle.last()?) {
            // The last one used is too old, so all are. A firewall or the server may have forgotten them.
            self.open -= self.idle.len();
            self.idle.clear();
            return None;
        }
        let thread = thread::current().id();
        let own = self.idle.iter().rposition(|idle| idle.thread == thread && !is_old(idle));
        Some(self.idle.remove(own.unwrap_or(self.idle.len() - 1)))
    }
}

impl Shared {
    fn make_one(this: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        let (pool, connect, generation) = (Arc::downgrade(this), Arc::clone(&this.connect), state.generation);
        thread::Builder::new().name("flagstore-redis-connect".to_owned()).spawn(move || {
            // A panic of the callback for credentials, or of rustls where no crypto provider is installed.
            let made = catch_unwind(AssertUnwindSafe(|| connect())).unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
                Err(Failure::NotConnected(format!("it panicked: {text}")))
            });
            Self::has_made(&pool, generation, made);
        })?;
        state.open += 1;
        state.being_made += 1;
        Ok(())
    }

    fn has_made(pool: &Weak<Self>, generation: u64, made: Result<Connection, Failure>) {
        let Some(this) = pool.upgrade() else { return };
        let mut state = this.state.lock();
        state.being_made -= 1;
        match made {
            Ok(connection) => {
                let link = Link { connection, waits_for: Duration::ZERO };
                state.idle.push(Idle::new(link, generation, Instant::now()));
                this.changed.notify_one();
            }
            Err(failure) => {
                state.open -= 1;
                state.failures += 1;
                state.last_failure = Some(failure);
                this.changed.notify_all();
            }
        }
    }
}

/// The place of a connection in use. It becomes free on drop, also when a panic unwinds: what has been left in
/// the middle of something is not used again.
struct Place<'a> {
    pool: &'a Shared,
    generation: u64,
    taken: Instant,
    is_free: bool,
}

impl Place<'_> {
    fn give_back(mut self, link: Link) {
        let mut state = self.pool.state.lock();
        if self.generation == state.generation {
            state.idle.push(Idle::new(link, self.generation, self.taken));
            self.is_free = true;
            let is_awaited = state.waiting > 0;
            drop(state);
            if is_awaited {
                self.pool.changed.notify_one();
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.is_free {
            self.pool.state.lock().open -= 1;
            self.pool.changed.notify_one();
        }
    }
}
