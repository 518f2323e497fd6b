//! When to try again: LaunchDarkly's rules, as a state that is told what happened and when.

use std::time::{Duration, Instant};

/// What a failure says about the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It may work in a moment: the network, a service that is overloaded, data that was cut.
    Passing,
    /// Somebody has to change something first, such as the SDK key. Nobody is told when that happens, so it is
    /// tried again for ever, but rarely.
    Refused,
}

impl Failure {
    /// What a status code that says no stands for.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            400 | 408 | 429 => Self::Passing,
            400..500 => Self::Refused,
            _ => Self::Passing,
        }
    }
}

/// How long a stream has to work, from the first thing that is received, until its past is forgotten.
const HEALTHY_STREAM: Duration = Duration::from_secs(60);
/// The same for polls: that many in a row.
const HEALTHY_POLLS: u32 = 2;

/// Says how long to wait before the next attempt.
#[derive(Debug)]
pub(crate) struct Retry {
    passing: Delays,
    refused: Delays,
    receives_since: Option<Instant>,
    good_polls: u32,
}

impl Retry {
    /// Of a stream: from `first`, doubling to 30 seconds.
    pub(crate) fn of_stream(first: Duration) -> Self {
        Self::new(Delays::doubling(first, Duration::from_secs(30)), Duration::ZERO)
    }

    /// Of polls: a failure that passes changes nothing about the interval.
    pub(crate) fn of_polls(interval: Duration) -> Self {
        Self::new(Delays { jitter: false, ..Delays::doubling(interval, interval) }, interval)
    }

    fn new(passing: Delays, at_least: Duration) -> Self {
        const REFUSED_FIRST: Duration = Duration::from_secs(5 * 60);
        const REFUSED_LONGEST: Duration = Duration::from_secs(60 * 60);
        let refused = Delays { at_least, ..Delays::doubling(REFUSED_FIRST, REFUSED_LONGEST) };
        Self { passing, refused, receives_since: None, good_polls: 0 }
    }

    /// A stream has received something, be it a heartbeat.
    pub(crate) fn received(&mut self, now: Instant) {
        self.receives_since.get_or_insert(now);
    }

    /// A poll was answered well.
    pub(crate) fn polled(&mut self) {
        self.good_polls += 1;
        if self.good_polls >= HEALTHY_POLLS {
            self.start_over();
        }
    }

    /// An attempt, or the stream that came of it, has failed. How long to wait before the next one; `random` is
    /// from 0 to 1, so that those who failed together do not come back together.
    pub(crate) fn failed(&mut self, failure: Failure, now: Instant, random: f64) -> Duration {
        let received_since = self.receives_since.take();
        if received_since.is_some_and(|since| now.saturating_duration_since(since) >= HEALTHY_STREAM) {
            self.start_over();
        }
        self.good_polls = 0;
        match failure {
            Failure::Passing => self.passing.next(random),
            Failure::Refused => self.refused.next(random),
        }
    }

    fn start_over(&mut self) {
        self.passing.used = 0;
        self.refused.used = 0;
    }
}

/// Delays that double.
#[derive(Debug)]
struct Delays {
    first: Duration,
    longest: Duration,
    at_least: Duration,
    jitter: bool,
    used: u32,
}

impl Delays {
    fn doubling(first: Duration, longest: Duration) -> Self {
        Self { first, longest, at_least: Duration::ZERO, jitter: true, used: 0 }
    }

    fn next(&mut self, random: f64) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(self.used));
        self.used = self.used.saturating_add(1);
        // One that starts above the longest was asked for, and stays what it is.
        let delay = doubled.min(self.longest.max(self.first));
        let shortened = if self.jitter { delay.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0) } else { delay };
        shortened.max(self.at_least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    fn stream() -> Retry {
        Retry::of_stream(SECOND)
    }

    /// The delays of that many failures, without jitter.
    fn delays(retry: &mut Retry, failure: Failure, count: usize) -> Vec<u64> {
        let now = Instant::now();
        (0..count).map(|_| retry.failed(failure, now, 0.0).as_secs()).collect()
    }

    /// 400, 408, 429 and everything that is no client's error may pass; the other client errors do not.
    #[test]
    fn statuses_are_told_apart() {
        for status in [400, 408, 429, 500, 502, 503, 504, 599, 302, 204] {
            assert_eq!(Failure::of_status(status), Failure::Passing, "{status}");
        }
        for status in [401, 402, 403, 404, 405, 410, 413, 422, 431, 451, 499] {
            assert_eq!(Failure::of_status(status), Failure::Refused, "{status}");
        }
    }

    /// From one second, doubling to 30.
    #[test]
    fn a_stream_comes_back_ever_slower() {
        assert_eq!(delays(&mut stream(), Failure::Passing, 8), [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    /// From five minutes, doubling to an hour, and never given up.
    #[test]
    fn what_is_refused_is_tried_rarely_and_for_ever() {
        let minutes: Vec<_> =
            delays(&mut stream(), Failure::Refused, 6).iter().map(|seconds| seconds / 60).collect();
        assert_eq!(minutes, [5, 10, 20, 40, 60, 60]);
        assert_eq!(delays(&mut stream(), Failure::Refused, 100_000).last(), Some(&3600));
    }

    /// Each has its own delays.
    #[test]
    fn a_refusal_does_not_lengthen_the_delays_of_the_network() {
        let mut retry = stream();
        assert_eq!(delays(&mut retry, Failure::Passing, 3), [1, 2, 4]);
        assert_eq!(delays(&mut retry, Failure::Refused, 1), [300]);
        assert_eq!(delays(&mut retry, Failure::Passing, 1), [8]);
    }

    /// Up to half of it less, so that clients do not come back all at once.
    #[test]
    fn a_delay_is_shortened_by_chance_by_half_at_most() {
        for (random, millis) in [(0.0, 1000), (0.5, 750), (1.0, 500)] {
            let delay = stream().failed(Failure::Passing, Instant::now(), random);
            assert_eq!(delay, Duration::from_millis(millis), "{random}");
        }
    }

    /// The minute counts from the first thing received, not from the connection.
    #[test]
    fn a_stream_that_worked_for_a_minute_starts_over() {
        let (mut retry, start) = (stream(), Instant::now());
        assert_eq!(delays(&mut retry, Failure::Passing, 4), [1, 2, 4, 8]);
        retry.received(start);
        retry.received(start + MINUTE / 2);
        let delay = retry.failed(Failure::Passing, start + MINUTE, 0.0);
        assert_eq!(delay, SECOND);
    }

    /// A stream that breaks sooner goes on where it was, however often it does so.
    #[test]
    fn a_stream_that_breaks_soon_does_not_start_over() {
        let (mut retry, mut now) = (stream(), Instant::now());
        let mut delays = Vec::new();
        for _ in 0..6 {
            retry.received(now);
            now += MINUTE - SECOND;
            delays.push(retry.failed(Failure::Passing, now, 0.0).as_secs());
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 30]);
    }

    /// A connection on which nothing comes is no healthy stream, however long it lasts.
    #[test]
    fn a_silent_stream_does_not_start_over() {
        let (mut retry, start) = (stream(), Instant::now());
        assert_eq!(delays(&mut retry, Failure::Passing, 2), [1, 2]);
        assert_eq!(retry.failed(Failure::Passing, start + 5 * MINUTE, 0.0), 4 * SECOND);
    }

    /// What passes is polled again at the interval, neither sooner nor later.
    #[test]
    fn polls_keep_their_interval() {
        let mut retry = Retry::of_polls(30 * SECOND);
        for random in [0.0, 0.5, 1.0] {
            assert_eq!(retry.failed(Failure::Passing, Instant::now(), random), 30 * SECOND);
        }
    }

    /// A poll that is refused is not repeated sooner than one that works.
    #[test]
    fn refused_polls_are_never_sooner_than_the_interval() {
        let mut retry = Retry::of_polls(30 * MINUTE);
        let minutes: Vec<_> =
            delays(&mut retry, Failure::Refused, 5).iter().map(|seconds| seconds / 60).collect();
        assert_eq!(minutes, [30, 30, 30, 40, 60]);
    }

    /// Two in a row; one between failures is not enough.
    #[test]
    fn two_good_polls_start_over() {
        let mut retry = Retry::of_polls(30 * SECOND);
        assert_eq!(delays(&mut retry, Failure::Refused, 2), [300, 600]);
        retry.polled();
        assert_eq!(delays(&mut retry, Failure::Refused, 1), [1200]);
        retry.polled();
        retry.polled();
        assert_eq!(delays(&mut retry, Failure::Refused, 1), [300]);
    }
}
