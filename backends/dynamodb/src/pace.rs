//! How fast an init goes: as fast as the table takes it.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::error::Failure;

/// The write units that one partition key takes a second, whatever the table's capacity: 1 000, less a little, since
/// no two clocks agree.
const PARTITION: f64 = 950.0;
/// One small item a second. Slower than that is no pace.
const SLOWEST: f64 = 1.0;
/// How much the rate falls with a refusal, and grows with each second in which there is none.
const FALL: f64 = 0.7;
const GROWTH: f64 = 0.1;
/// The part of a second that one request may cost once there is a rate, so that it does not wait long for its turn.
const SHARE: f64 = 0.25;

/// Before the first repetition, of which a random part; doubled each time. The SDK's default of a second is as long as
/// an evaluation may take in all.
pub(crate) const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// Capacity is counted by the second, so a longer pause gains nothing.
pub(crate) const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// How much may be sent, and when.
///
/// Until something is refused there is no rate: a table that was idle takes more at first, and then only what is under
/// way is limited, to what a partition takes in a second. From the first refusal on it is sent at the rate of a
/// partition, and at a lower one if that is refused too.
///
/// The requests that are under way when one is refused were sent at the same rate, so most of them are refused
/// too. Together they count once: they are of one era, which ends with its first refusal.
#[derive(Debug)]
pub(crate) struct Pace {
    most_requests: usize,
    requests: usize,
    units: usize,
    /// Units a second.
    rate: Option<f64>,
    /// When the table has taken all that was sent, if it takes it at the rate.
    free: Instant,
    era: usize,
}

/// When a request may be sent.
#[derive(Debug, PartialEq)]
pub(crate) enum Turn {
    At(Instant),
    /// When one of those that are under way has ended.
    AfterAnother,
}

impl Pace {
    pub(crate) fn new(most_requests: usize) -> Self {
        Self { most_requests, requests: 0, units: 0, rate: None, free: Instant::now(), era: 0 }
    }

    /// The most units of one request. One item may have more.
    pub(crate) fn most_units(&self) -> usize {
        (self.rate.map_or(PARTITION, |rate| rate * SHARE)) as usize
    }

    /// When a request of so many units may be sent. One is always under way.
    pub(crate) fn turn(&self, units: usize) -> Turn {
        let room = self.requests < self.most_requests && (self.units + units) as f64 <= PARTITION;
        if room || self.requests == 0 {
            Turn::At(self.free + self.time_for(units))
        } else {
            Turn::AfterAnother
        }
    }

    /// A request is sent. Returns its era.
    pub(crate) fn sent(&mut self, units: usize) -> usize {
        self.requests += 1;
        self.units += units;
        if self.rate.is_some() {
            // What was not used in the last second is still there, and no more.
            let full = Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or(self.free);
            self.free = self.free.max(full) + self.time_for(units);
        }
        self.era
    }

    /// It is written as a whole.
    pub(crate) fn written(&mut self, units: usize) {
        self.ended(units);
        // Per unit, so that it is the same for few large requests and many small ones.
        self.rate = self.rate.map(|rate| (rate + GROWTH * units as f64).min(PARTITION));
    }

    /// It is refused, in part or as a whole. Nothing is sent for this time.
    pub(crate) fn refused(&mut self, units: usize, era: usize, pause: Duration) {
        self.ended(units);
        if era == self.era {
            self.era += 1;
            self.rate = Some(self.rate.map_or(PARTITION, |rate| (rate * FALL).max(SLOWEST)));
            self.free = Instant::now() + pause;
        }
    }

    /// Whether a request of this era would be the first one to be refused.
    pub(crate) fn is_current(&self, era: usize) -> bool {
        era == self.era
    }

    fn time_for(&self, units: usize) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(units as f64 / rate))
    }

    fn ended(&mut self, units: usize) {
        self.requests -= 1;
        self.units -= units;
    }
}

/// When a request is sent again.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    deadline: Instant,
    round: u32,
}

impl Backoff {
    pub(crate) fn until(deadline: Instant) -> Self {
        Self { deadline, round: 0 }
    }

    /// What was sent last has done something.
    pub(crate) fn reset(&mut self) {
        self.round = 0;
    }

    /// A random part of a time that doubles each round, so that those who were refused together do not come back
    /// together.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = backoff(self.round).mul_f64(fastrand::f64());
        self.round += 1;
        pause
    }

    /// Whether there is time until then.
    pub(crate) fn has_time(&self, until: Instant) -> bool {
        until < self.deadline
    }

    /// Repeats a request while it is throttled, and so many times in all if it fails in a way that passes.
    pub(crate) async fn repeat<T, F>(mut self, attempts: u32, request: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut failures = 0;
        loop {
            let failure = match request().await {
                Err(failure) if failure.is_throttling() => failure,
                Err(failure) if failure.may_pass() && failures + 1 < attempts => {
                    failures += 1;
                    failure
                }
                result => return result,
            };
            let pause = self.pause();
            if !self.has_time(Instant::now() + pause) {
                return Err(Failure::TooSlow(Box::new(failure)));
            }
            tokio::time::sleep(pause).await;
        }
    }
}

fn backoff(round: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(2_u32.saturating_pow(round)).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between two rounds there is more time each time, up to a limit.
    #[test]
    fn backoff_doubles_up_to_a_limit() {
        let millis = [0, 1, 2, 4, 5, 100].map(|round| backoff(round).as_millis());
        assert_eq!(millis, [50, 100, 200, 800, 1000, 1000]);
    }

    fn is_now(turn: &Turn) -> bool {
        matches!(turn, Turn::At(time) if *time <= Instant::now())
    }

    /// So many requests, and so many units, whichever is less; and always one.
    #[test]
    fn what_is_under_way_is_limited() {
        let mut pace = Pace::new(2);
        assert!(is_now(&pace.turn(5_000)), "one is always under way");
        pace.sent(600);
        assert!(is_now(&pace.turn(350)));
        assert_eq!(pace.turn(351), Turn::AfterAnother);
        pace.sent(1);
        assert_eq!(pace.turn(1), Turn::AfterAnother, "two requests");
        pace.written(600);
        assert!(is_now(&pace.turn(949)));
    }

    /// After that each request waits until a partition has taken it.
    #[test]
    fn the_first_refusal_sets_the_rate_of_a_partition() {
        let mut pace = Pace::new(32);
        let start = Instant::now();
        let era = pace.sent(200);
        pace.refused(200, era, Duration::ZERO);
        assert_eq!(pace.most_units(), 237);
        for sent in 1..=4 {
            let Turn::At(time) = pace.turn(200) else { panic!("nothing is in the way") };
            assert!(time >= start + Duration::from_millis(200) * sent);
            pace.sent(200);
        }
    }

    /// Those that were sent before the first refusal do not count again.
    #[test]
    fn what_is_refused_together_counts_once() {
        let mut pace = Pace::new(32);
        for _ in 0..2 {
            let eras: Vec<usize> = (0..4).map(|_| pace.sent(25)).collect();
            for era in eras {
                pace.refused(25, era, Duration::ZERO);
            }
        }
        assert_eq!(pace.rate, Some(PARTITION * FALL));
    }

    /// Down to next to nothing, and up again to what a partition takes.
    #[test]
    fn the_rate_falls_and_comes_back() {
        let mut pace = Pace::new(32);
        for _ in 0..50 {
            let era = pace.sent(25);
            pace.refused(25, era, Duration::ZERO);
        }
        assert_eq!((pace.rate, pace.most_units()), (Some(SLOWEST), 0));
        for _ in 0..1_000 {
            pace.sent(25);
            pace.written(25);
        }
        assert_eq!(pace.rate, Some(PARTITION));
    }
}
