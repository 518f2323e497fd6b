use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use redis::{Cmd, Connection, FromRedisValue, Pipeline, RedisError, RedisResult, Value};

use crate::error::Failure;

/// By how much a call may miss its deadline.
const NEAR_ENOUGH: Duration = Duration::from_millis(2);

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
    /// The one used last is at the end and is used next, so that those that are not needed become old.
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
        let (link, place) = self.take(deadline)?;
        let mut session = Session { link, deadline, is_watching: false, is_asking: false };
        let result = work(&mut session);
        match &result {
            Err(failure) if failure.concerns_the_server() => self.condemn(),
            Err(failure) if !failure.spares_the_connection() => {}
            _ if session.is_watching => {}
            _ => place.give_back(session.link),
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
        let idle = self.idle.pop()?;
        if now.saturating_duration_since(idle.since) < idle_timeout {
            return Some(idle);
        }
        // The last one used is too old, so all are. A firewall or the server may have forgotten them.
        self.open -= 1 + self.idle.len();
        self.idle.clear();
        None
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
                state.idle.push(Idle { link, generation, since: Instant::now() });
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
            state.idle.push(Idle { link, generation: self.generation, since: self.taken });
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

/// A connection for as long as a call takes.
pub(crate) struct Session {
    link: Link,
    deadline: Instant,
    /// A WATCH of which nobody knows whether it still holds: the next transaction would not be executed.
    is_watching: bool,
    /// The node of a cluster that is being given the key answers only who asks for it.
    pub(crate) is_asking: bool,
}

impl Session {
    pub(crate) fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, Failure> {
        self.ask_for_it()?;
        self.ask(|connection| command.query(connection))
    }

    /// Executes a transaction: all of its commands without an error, or an error.
    pub(crate) fn execute(&mut self, transaction: &Pipeline) -> Result<(), Failure> {
        for answer in self.transact(transaction)? {
            answer.extract_error()?;
        }
        Ok(())
    }

    /// Executes a transaction, and returns what each of its commands answered, which may be an error: the
    /// server executes the others all the same.
    pub(crate) fn transact(&mut self, transaction: &Pipeline) -> Result<Vec<Value>, Failure> {
        let mut replies = self.exchange(&transaction.get_packed_pipeline(), transaction.len() + 2)?;
        self.is_watching = false;
        let executed = replies.pop();
        // A command that was refused makes EXEC fail, and says why.
        for reply in replies {
            reply.extract_error()?;
        }
        match executed {
            Some(Value::Array(answers)) => Ok(answers),
            Some(Value::ServerError(error)) => Err(RedisError::from(error).into()),
            // Nil: something that was watched has changed.
            _ => Err(Failure::NotExecuted),
        }
    }

    /// Watches a key, and gets a field of the hash under it in the same round trip.
    pub(crate) fn watch(&mut self, key: &str, field: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.is_watching = true;
        let mut commands = redis::pipe();
        commands.cmd("WATCH").arg(key).cmd("HGET").arg(key).arg(field);
        let mut value = None;
        for reply in self.exchange(&commands.get_packed_pipeline(), commands.len())? {
            value = match reply.extract_error()? {
                Value::BulkString(stored) => Some(stored),
                _ => None,
            };
        }
        Ok(value)
    }

    /// Sends several commands and receives their replies, errors included.
    ///
    /// The driver's own way goes on to wait for each further reply when one has not come in time.
    fn exchange(&mut self, commands: &[u8], count: usize) -> Result<Vec<Value>, Failure> {
        self.ask_for_it()?;
        self.ask(|connection| connection.send_packed_command(commands))?;
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            match self.ask(Connection::recv_response)? {
                Value::Push { .. } => {}
                reply => replies.push(reply),
            }
        }
        Ok(replies)
    }

    pub(crate) fn unwatch(&mut self) -> Result<(), Failure> {
        self.query::<()>(&redis::cmd("UNWATCH"))?;
        self.is_watching = false;
        Ok(())
    }

    fn ask_for_it(&mut self) -> Result<(), Failure> {
        if self.is_asking { self.ask(|connection| redis::cmd("ASKING").exec(connection)) } else { Ok(()) }
    }

    fn ask<T>(&mut self, ask: impl FnOnce(&mut Connection) -> RedisResult<T>) -> Result<T, Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Late);
        }
        let Link { connection, waits_for } = &mut self.link;
        // Two system calls, a tenth of what a short command takes, for most calls begin with the same time.
        if left.abs_diff(*waits_for) > NEAR_ENOUGH {
            connection.set_read_timeout(Some(left))?;
            connection.set_write_timeout(Some(left))?;
            *waits_for = left;
        }
        Ok(ask(connection)?)
    }
}
