use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::connect::caught;
use crate::error::Failure;
use crate::session::Session;
use crate::wire::Link;

/// Makes a connection, however long that takes.
pub(crate) type Connect = dyn Fn() -> Result<Link, Failure> + Send + Sync;

/// How many connections are made at once. After an outage all processes come at the same moment.
const AT_ONCE: usize = 4;

/// How long the one who has waited longest sees others take what is given back: a thread that runs already is
/// quicker than one that has to be woken.
const PATIENCE: Duration = Duration::from_millis(1);

/// Who has been served so recently has been served by somebody who is still there. Less than what a round trip takes,
/// so what was done to the server meanwhile is always looked for.
const JUST_USED: Duration = Duration::from_micros(20);

/// Between attempts to connect that fail; the pause grows only while there are other connections.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How large a pool becomes, and how old its connections.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) size: usize,
    pub(crate) idle: Duration,
    pub(crate) lifetime: Option<Duration>,
}

/// The connections to one server.
///
/// Not r2d2: there a caller waits out his timeout although the server has refused him, to see whether a connection is
/// still open costs a round trip, and who has waited longest is not the next.
///
/// They are made on threads of their own. A call waits for a connection, whichever comes first: a new one or
/// one that is given back, and no longer than its deadline, whatever a resolver, a TLS handshake or a
/// callback for credentials does. When an attempt fails and there is no connection at all, all who wait at that
/// moment have the answer, so that nobody waits for one attempt after another.
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    /// For messages.
    address: String,
    connect: Arc<Connect>,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The one used last is at the end, and is taken by who has none, so that those not needed become old.
    idle: VecDeque<Idle>,
    /// Idle, in use, and being made.
    open: usize,
    being_made: usize,
    /// In the order in which they came.
    waiting: VecDeque<Waiter>,
    tickets: u64,
    /// How often all connections were condemned. Those of an earlier time are closed when given back.
    generation: u64,
    failures: u64,
    last_failure: Option<Failure>,
    /// After an attempt that failed the next one is made then, and this was the pause between them.
    next_attempt: Option<(Instant, Duration)>,
}

struct Waiter {
    ticket: u64,
    since: Instant,
    wakes: Arc<Condvar>,
    given: Option<Idle>,
}

struct Idle {
    link: Link,
    generation: u64,
    since: Instant,
    ends: Option<Instant>,
    /// Which used it last, and takes it again if it is there: the kernel wakes a thread where its connection
    /// was served before, and with a stranger's sixteen threads got 6 % less done.
    thread: ThreadId,
}

impl Pool {
    pub(crate) fn new(address: String, connect: Arc<Connect>, limits: Limits) -> Self {
        Self(Arc::new(Shared { address, connect, limits, state: Mutex::default() }))
    }

    /// Does some work on a connection that nobody else uses meanwhile. Where that turns out to be closed, what
    /// only reads, or was not sent, is done once more on a new one.
    pub(crate) fn run<T>(
        &self,
        deadline: Instant,
        is_read: bool,
        work: &mut impl FnMut(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let result = self.run_once(deadline, work);
        match &result {
            Err(failure) if failure.may_be_repeated(is_read) => self.run_once(deadline, work),
            _ => result,
        }
    }

    fn run_once<T>(
        &self,
        deadline: Instant,
        work: &mut impl FnMut(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (mut idle, place) = self.take(deadline)?;
        let mut session = Session::new(&mut idle.link, deadline);
        let result = work(&mut session);
        let is_in_between = session.is_in_between();
        if idle.link.is_broken() || result.as_ref().is_err_and(Failure::concerns_the_server) {
            self.condemn();
        } else if !is_in_between {
            place.give_back(idle);
        }
        result
    }

    fn take(&self, deadline: Instant) -> Result<(Idle, Place<'_>), Failure> {
        loop {
            let mut idle = self.take_any(deadline)?;
            let place = Place { pool: &self.0, is_free: false };
            // Nobody reads from an idle connection, so its end is found only by looking: half a microsecond.
            if idle.since.elapsed() < JUST_USED || idle.link.is_open() {
                return Ok((idle, place));
            }
            if Instant::now() >= deadline {
                return Err(Failure::Late);
            }
        }
    }

    fn take_any(&self, deadline: Instant) -> Result<Idle, Failure> {
        let now = Instant::now();
        let mut state = self.0.state.lock();
        if let Some(idle) = state.next_idle(now, self.0.limits.idle) {
            return Ok(idle);
        }
        let failures_before = state.failures;
        let (ticket, wakes) = state.queue_up(now);
        let mut is_late = false;
        let taken = loop {
            let given = state.waiting.iter_mut().find(|waiter| waiter.ticket == ticket);
            let given = given.and_then(|waiter| waiter.given.take());
            if let Some(idle) = given.or_else(|| state.next_idle(now, self.0.limits.idle)) {
                break Ok(idle);
            }
            let failure = state.last_failure.as_ref().filter(|_| state.failures > failures_before);
            if let Some(failure) = failure
                && (is_late || state.open == state.being_made)
            {
                break Err(failure.clone());
            }
            if is_late {
                break Err(match (state.being_made, &state.last_failure) {
                    (0, Some(failure)) if state.open == 0 => failure.clone(),
                    (0, _) => Failure::NoConnection,
                    _ => Failure::StillConnecting(self.0.address.clone()),
                });
            }
            let mut until = deadline;
            // As many as there are who wait, and never more connections than places.
            let wanted = state.waiting.len().min(AT_ONCE);
            if state.open < self.0.limits.size && state.being_made < wanted {
                match state.next_attempt {
                    Some((next, _)) if next > Instant::now() => until = until.min(next),
                    _ => {
                        if let Err(error) = Shared::make_one(&self.0, &mut state) {
                            break Err(Failure::NotConnected(format!("no thread for it: {error}")));
                        }
                        continue;
                    }
                }
            }
            is_late = wakes.wait_until(&mut state, until).timed_out() && until == deadline;
        };
        state.waiting.retain(|waiter| waiter.ticket != ticket);
        // What was announced to this one, and what it has not taken, is for the next: two connections may have come before
        // it woke up.
        if !state.idle.is_empty() || taken.is_err() {
            state.wake_the_oldest();
        }
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
    fn next_idle(&mut self, now: Instant, limit: Duration) -> Option<Idle> {
        let is_old = |idle: &Idle| {
            now.saturating_duration_since(idle.since) >= limit || idle.ends.is_some_and(|ends| ends <= now)
        };
        // From the oldest on, which a burst has left and nobody needs.
        while self.idle.front().is_some_and(is_old) {
            self.idle.pop_front();
            self.open -= 1;
        }
        let thread = thread::current().id();
        let fresh = self.idle.iter().enumerate().filter(|(_, idle)| !is_old(idle));
        // One that still owes an answer would have to be waited for. Of equals it is the last.
        let (best, _) = fresh.max_by_key(|(_, idle)| (!idle.link.is_owing(), idle.thread == thread))?;
        self.idle.remove(best)
    }

    fn queue_up(&mut self, since: Instant) -> (u64, Arc<Condvar>) {
        self.tickets += 1;
        let (ticket, wakes) = (self.tickets, Arc::new(Condvar::new()));
        self.waiting.push_back(Waiter { ticket, since, wakes: Arc::clone(&wakes), given: None });
        (ticket, wakes)
    }

    /// For the one who has waited longest, or whoever is quicker.
    fn offer(&mut self, idle: Idle) {
        match self.waiting.iter_mut().find(|waiter| waiter.given.is_none()) {
            Some(oldest) if idle.since.saturating_duration_since(oldest.since) > PATIENCE => {
                oldest.wakes.notify_one();
                oldest.given = Some(idle);
            }
            _ => {
                self.idle.push_back(idle);
                self.wake_the_oldest();
            }
        }
    }

    /// Of those who have nothing yet.
    fn wake_the_oldest(&self) {
        if let Some(oldest) = self.waiting.iter().find(|waiter| waiter.given.is_none()) {
            oldest.wakes.notify_one();
        }
    }

    fn wake_all(&self) {
        for waiter in &self.waiting {
            waiter.wakes.notify_one();
        }
    }
}

impl Shared {
    fn make_one(this: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        let (pool, connect, generation) = (Arc::downgrade(this), Arc::clone(&this.connect), state.generation);
        thread::Builder::new().name("flagstore-redis-connect".to_owned()).spawn(move || {
            Self::has_made(&pool, generation, caught(|| connect()));
        })?;
        state.open += 1;
        state.being_made += 1;
        Ok(())
    }

    fn has_made(pool: &Weak<Self>, generation: u64, made: Result<Link, Failure>) {
        let Some(this) = pool.upgrade() else { return };
        let mut state = this.state.lock();
        state.being_made -= 1;
        let since = Instant::now();
        match made {
            Ok(link) => {
                state.next_attempt = None;
                // Not all at the same time.
                let ends =
                    this.limits.lifetime.map(|lifetime| since + lifetime.mul_f64(0.9 + random() / 10.0));
                state.offer(Idle { link, generation, since, ends, thread: thread::current().id() });
            }
            Err(failure) => {
                state.open -= 1;
                let pause = match state.next_attempt {
                    Some((_, pause)) if state.open > state.being_made => PAUSES.1.min(pause * 2),
                    _ => PAUSES.0,
                };
                state.next_attempt = Some((since + pause.mul_f64(0.5 + random() / 2.0), pause));
                state.failures += 1;
                state.last_failure = Some(failure);
                state.wake_all();
            }
        }
    }
}

/// From 0 to 1. Each hasher is keyed randomly, so this is a random number without a crate for it.
pub(crate) fn random() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

/// The place of a connection in use. It becomes free on drop, also when a panic unwinds: what has been left in
/// the middle of something is not used again.
struct Place<'a> {
    pool: &'a Shared,
    is_free: bool,
}

impl Place<'_> {
    fn give_back(mut self, mut idle: Idle) {
        (idle.since, idle.thread) = (Instant::now(), thread::current().id());
        let mut state = self.pool.state.lock();
        if idle.generation == state.generation && idle.ends.is_none_or(|ends| ends > idle.since) {
            state.offer(idle);
            self.is_free = true;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.is_free {
            let mut state = self.pool.state.lock();
            state.open -= 1;
            // It may make another.
            state.wake_the_oldest();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use redis::ConnectionAddr;
    use redis::io::tcp::TcpSettings;

    use super::*;
    use crate::socket;
    use crate::wire::Wire;

    /// A pool that nobody answers: who is served is all that counts.
    fn pool_of(size: usize) -> Pool {
        // Nobody reads what is sent, so it is enough that the kernel accepts.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = move || {
            let address = ConnectionAddr::Tcp("127.0.0.1".to_owned(), listener.local_addr().unwrap().port());
            let place = socket::Place::find(&address).unwrap();
            let mut link = Link::new(Box::new(place.connect(&TcpSettings::default(), far()).unwrap()));
            // In place of a handshake.
            link.send(b"PING", 0, far())?;
            Ok(link)
        };
        let limits = Limits { size, idle: Duration::MAX, lifetime: None };
        Pool::new("here".to_owned(), Arc::new(connect), limits)
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn eventually(mut is_so: impl FnMut() -> bool) {
        let deadline = far();
        while !is_so() {
            assert!(Instant::now() < deadline, "it did not come about");
            thread::yield_now();
        }
    }

    /// Who has waited longest is given the connection, also before those who come while it wakes up.
    #[test]
    fn the_oldest_waiter_is_next() {
        let pool = pool_of(1);
        let (idle, place) = pool.take(far()).unwrap();
        let order = Mutex::new(Vec::new());
        let use_it = |n| {
            let (idle, place) = pool.take(far()).unwrap();
            order.lock().push(n);
            place.give_back(idle);
        };
        thread::scope(|scope| {
            let use_it = &use_it;
            for n in 0..8 {
                scope.spawn(move || use_it(n));
                eventually(|| pool.0.state.lock().waiting.len() == n + 1);
            }
            eventually(|| pool.0.state.lock().waiting.iter().all(|waiter| waiter.since.elapsed() > PATIENCE));
            place.give_back(idle);
            // Who comes now has to wait its turn.
            use_it(8);
        });
        assert_eq!(order.into_inner(), (0..9).collect::<Vec<_>>());
    }

    /// Two connections that come before anybody has woken up are for two, also where nobody gives any back.
    #[test]
    fn each_connection_that_comes_wakes_one() {
        let pool = pool_of(2);
        let taken = [pool.take(far()).unwrap(), pool.take(far()).unwrap()];
        let served = Mutex::new(0);
        thread::scope(|scope| {
            for n in 0..2 {
                let (pool, served) = (&pool, &served);
                scope.spawn(move || {
                    let (idle, place) = pool.take(far()).unwrap();
                    *served.lock() += 1;
                    eventually(|| *served.lock() == 2);
                    place.give_back(idle);
                });
                eventually(|| pool.0.state.lock().waiting.len() == n + 1);
            }
            let mut state = pool.0.state.lock();
            for ((mut idle, place), n) in taken.into_iter().zip(0..) {
                idle.since = state.waiting[n].since;
                state.offer(idle);
                // It goes with the connection.
                std::mem::forget(place);
            }
        });
    }

    /// What has lived long enough is not used once more.
    #[test]
    fn an_old_connection_is_not_taken() {
        let pool = pool_of(2);
        let (one, two) = (pool.take(far()).unwrap(), pool.take(far()).unwrap());
        one.1.give_back(one.0);
        two.1.give_back(two.0);
        let mut state = pool.0.state.lock();
        state.idle[0].thread = thread::spawn(|| {}).thread().id();
        state.idle[1].ends = Some(Instant::now());
        assert!(state.next_idle(Instant::now(), Duration::MAX).unwrap().ends.is_none());
        assert!(state.next_idle(Instant::now(), Duration::MAX).is_none());
    }
}
