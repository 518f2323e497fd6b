//! A pool that the program has already, and shares with the store.

use std::error::Error;
use std::ops::DerefMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use redis::{Client, Connection, ConnectionLike, Value};

use crate::connect::Connector;
use crate::error::Failure;
use crate::session::Session;
use crate::wire::Wire;

/// A connection that goes back to its pool when it is dropped.
pub(crate) type Taken = Box<dyn DerefMut<Target = Connection> + Send>;

/// Takes a connection out of the pool, within this time.
pub(crate) type TakeOut = dyn Fn(Duration) -> Result<Taken, Box<dyn Error + Send + Sync>> + Send + Sync;

/// How many connections of the pool may turn out to be closed before a call is given up.
const CLOSED: usize = 16;

pub(crate) struct InjectedPool {
    pub(crate) connector: Arc<Connector>,
    client: Client,
    take_out: Arc<TakeOut>,
    /// With which its connections go back, whatever time the last call had left.
    timeout: Duration,
    takes_transactions: AtomicBool,
    /// How many of the next writes are preceded by a PING: where one connection was closed, others may be, and what a
    /// closed one has taken is not sent again.
    doubts: AtomicUsize,
    /// Ends the repairs with the pool.
    is_there: Arc<()>,
}

impl InjectedPool {
    pub(crate) fn new(
        connector: Arc<Connector>,
        client: Client,
        take_out: Arc<TakeOut>,
        timeout: Duration,
    ) -> Self {
        let (takes_transactions, doubts, is_there) = Default::default();
        Self { connector, client, take_out, timeout, takes_transactions, doubts, is_there }
    }

    pub(crate) fn run<T>(
        &self,
        deadline: Instant,
        is_read: bool,
        work: &mut impl FnMut(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut result = self.run_once(deadline, is_read, work);
        for _ in 0..CLOSED {
            match &result {
                Err(failure) if failure.may_be_repeated(is_read) => {
                    result = self.run_once(deadline, is_read, work);
                }
                _ => break,
            }
        }
        result
    }

    fn run_once<T>(
        &self,
        deadline: Instant,
        is_read: bool,
        work: &mut impl FnMut(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let taken = (self.take_out)(deadline.saturating_duration_since(Instant::now()));
        let password = self.connector.info.redis_settings().password();
        let mut taken = taken.map_err(|error| Failure::connect("the pool", &error, password))?;
        let takes_transactions = self.takes_transactions.load(Ordering::Relaxed);
        let mut shared = Shared { connection: &mut taken, unheard: 0, is_in_step: true, takes_transactions };
        let mut session = Session::new(&mut shared, deadline);
        let result = if is_read || !self.takes_a_doubt() {
            work(&mut session)
        } else {
            find_open(&mut session).and_then(|()| work(&mut session))
        };
        if result.as_ref().is_err_and(Failure::is_closed_connection) {
            self.doubts.store(CLOSED, Ordering::Relaxed);
        }
        let is_in_between = session.is_in_between();
        shared.is_in_step &= !is_in_between;
        let is_in_step = shared.tidy_up(self.timeout);
        self.takes_transactions.store(shared.takes_transactions, Ordering::Relaxed);
        if !is_in_step && taken.is_open() {
            self.replace(taken);
        }
        result
    }

    /// Whether this write is one of those.
    fn takes_a_doubt(&self) -> bool {
        let count_down = |doubts: usize| doubts.checked_sub(1);
        self.doubts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count_down).is_ok()
    }

    /// Puts a new connection in the place of one that is out of step, since the driver closes none of its own,
    /// and half a command would stand in front of somebody else's.
    fn replace(&self, mut taken: Taken) {
        let (client, timeout) = (self.client.clone(), self.connector.timeout);
        let is_there = Arc::downgrade(&self.is_there);
        let replace = move || {
            while is_there.strong_count() > 0 {
                if let Ok(connection) = client.get_connection_with_timeout(timeout) {
                    **taken = connection;
                    return;
                }
                thread::park_timeout(timeout);
            }
            // Better one place less in the pool.
            std::mem::forget(taken);
        };
        if let Err(error) = thread::Builder::new().name("flagstore-redis-repair".to_owned()).spawn(replace) {
            tracing::warn!("redis: no thread to replace a connection of the pool: {error}");
        }
    }
}

/// Whether the connection is open, by any answer to a PING.
fn find_open(session: &mut Session) -> Result<(), Failure> {
    match session.query::<Value>(&redis::cmd("PING")) {
        Err(failure @ Failure::Lost { .. }) => Err(failure.before_it_was_sent()),
        _ => Ok(()),
    }
}

/// The driver's own connection. It waits for each system call, and skips the replies that it has waited for in
/// vain.
struct Shared<'a> {
    connection: &'a mut Connection,
    /// The replies that nobody has waited for yet.
    unheard: usize,
    is_in_step: bool,
    takes_transactions: bool,
}

impl Shared<'_> {
    fn wait_until(&self, deadline: Instant) -> redis::RedisResult<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.wait_for(left.max(Duration::from_micros(1)))
    }

    fn wait_for(&self, time: Duration) -> redis::RedisResult<()> {
        self.connection.set_read_timeout(Some(time))?;
        self.connection.set_write_timeout(Some(time))
    }

    /// Whether others can have it.
    fn tidy_up(&mut self, timeout: Duration) -> bool {
        if self.is_in_step && self.unheard > 0 {
            let _ = self.wait_for(Duration::from_micros(1));
            // From now on the driver skips them, or knows that the connection is closed.
            while self.unheard > 0 && self.connection.is_open() {
                let _ = self.connection.recv_response();
                self.unheard -= 1;
            }
        }
        self.is_in_step && self.wait_for(timeout).is_ok()
    }
}

impl Wire for Shared<'_> {
    fn send(&mut self, commands: &[u8], replies: usize, deadline: Instant) -> Result<(), Failure> {
        if Instant::now() >= deadline {
            return Err(Failure::Late);
        }
        let sent = self.wait_until(deadline).and_then(|()| self.connection.send_packed_command(commands));
        self.is_in_step &= sent.is_ok();
        self.unheard = replies;
        // How much of it, the driver does not tell.
        sent.map_err(|error| Failure::Lost { error, was_sent: true })
    }

    fn receive(&mut self, deadline: Instant) -> Result<Value, Failure> {
        let received = self.wait_until(deadline).and_then(|()| self.connection.recv_response());
        if !matches!(received, Ok(Value::Push { .. })) {
            self.unheard = self.unheard.saturating_sub(1);
        }
        received.map_err(|error| {
            self.is_in_step &= error.is_timeout();
            Failure::Lost { error, was_sent: true }
        })
    }

    fn takes_transactions(&mut self) -> &mut bool {
        &mut self.takes_transactions
    }
}
