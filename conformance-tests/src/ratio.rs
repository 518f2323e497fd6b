//! Measures two ways of doing the same, side by side: a store against its bare driver.
//!
//! A machine that others use gives a different figure every time, but disturbs both sides alike if they take
//! turns in short rounds. So each round measures both and gives one ratio, and what counts is the median.
//!
//! ```
//! use flagstore_conformance::ratio::Comparison;
//!
//! let text = "7".repeat(1000);
//! Comparison::new("count bytes", 1.3)
//!     .rounds(20)
//!     .repeat(50)
//!     .measure(|_| text.len(), |_| text.bytes().count())
//!     .print();
//! ```
//!
//! prints a line such as
//!
//! ```text
//! count bytes                      raw     1.2µs   store     1.3µs   ratio 1.08   limit 1.30   ok
//! ```

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// What is compared, and how often.
#[derive(Debug, Clone)]
#[must_use]
pub struct Comparison {
    name: String,
    limit: f64,
    rounds: usize,
    repeat: usize,
}

impl Comparison {
    /// A comparison of this name, in which the store may take at most `limit` times as long as the driver.
    pub fn new(name: impl Into<String>, limit: f64) -> Self {
        Self { name: name.into(), limit, rounds: 100, repeat: 1 }
    }

    /// Sets in how many rounds the two sides take turns. Defaults to 100.
    pub fn rounds(self, rounds: usize) -> Self {
        Self { rounds: rounds.max(1), ..self }
    }

    /// Sets how often an operation is done in each round, so that a round of short ones takes some hundred
    /// microseconds, and the clock does not count. Defaults to 1.
    pub fn repeat(self, repeat: usize) -> Self {
        Self { repeat: repeat.max(1), ..self }
    }

    /// Measures both sides, after one round that does not count. Each operation is given a number that no
    /// other operation of its side was given, rising from 0: a version, say, or the choice of a key.
    pub fn measure<R, S>(&self, mut raw: impl FnMut(u64) -> R, mut store: impl FnMut(u64) -> S) -> Measured {
        let mut times = Vec::with_capacity(self.rounds);
        for round in 0..=self.rounds {
            let first = (round * self.repeat) as u64;
            let numbers = first..first + self.repeat as u64;
            // Whoever comes second finds a warm cache or a full log, so they also take turns in that.
            let both = if round % 2 == 0 {
                let raw = time(&mut raw, numbers.clone());
                (raw, time(&mut store, numbers))
            } else {
                let store = time(&mut store, numbers.clone());
                (time(&mut raw, numbers), store)
            };
            if round > 0 {
                times.push(both);
            }
        }
        let per_operation = |nanos: f64| Duration::from_nanos((nanos / self.repeat as f64) as u64);
        Measured {
            name: self.name.clone(),
            limit: self.limit,
            raw: per_operation(median(times.iter().map(|(raw, _)| *raw))),
            store: per_operation(median(times.iter().map(|(_, store)| *store))),
            ratio: median(times.iter().map(|(raw, store)| store / raw)),
        }
    }
}

fn time<T>(operation: &mut impl FnMut(u64) -> T, numbers: std::ops::Range<u64>) -> f64 {
    let start = Instant::now();
    for number in numbers {
        black_box(operation(number));
    }
    start.elapsed().as_nanos() as f64
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What a [`Comparison`] found. It shows as one line.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Measured {
    /// What was compared.
    pub name: String,
    /// The highest ratio that is acceptable.
    pub limit: f64,
    /// The driver's median time for one operation.
    pub raw: Duration,
    /// The store's median time for one operation.
    pub store: Duration,
    /// The median of the rounds' ratios, which is steadier than the ratio of the medians.
    pub ratio: f64,
}

impl Measured {
    /// Prints the line.
    pub fn print(&self) {
        println!("{self}");
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, raw, store, .. } = self;
        write!(f, "{name:<32} raw {raw:>9.1?}   store {store:>9.1?}   ")?;
        f.write_str(&verdict("ratio", self.ratio, self.limit))
    }
}

/// A figure beside its limit, for what is not measured in time: `memory 1.31   limit 2.00   ok`.
#[must_use]
pub fn verdict(what: &str, figure: f64, limit: f64) -> String {
    let verdict = if figure <= limit { "ok" } else { "OVER" };
    format!("{what} {figure:.2}   limit {limit:.2}   {verdict}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both sides are given every number once, also in the round that does not count.
    #[test]
    fn both_sides_do_the_same() {
        let (mut raw, mut store) = (Vec::new(), Vec::new());
        let _ = Comparison::new("same", 1.0).rounds(3).repeat(2).measure(|n| raw.push(n), |n| store.push(n));
        assert_eq!(raw, (0..8).collect::<Vec<_>>());
        assert_eq!(store, raw);
    }

    /// A figure over its limit is easily found.
    #[test]
    fn over_the_limit_is_said_aloud() {
        assert_eq!(verdict("ratio", 1.3, 1.3), "ratio 1.30   limit 1.30   ok");
        assert_eq!(verdict("ratio", 1.31, 1.3), "ratio 1.31   limit 1.30   OVER");
    }
}
