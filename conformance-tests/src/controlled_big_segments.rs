//! A Big Segments store whose failures and delays a case decides.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flagstore_core::{BigSegmentMembership, BigSegmentStore, ErrorKind, StoreError, UnixMillis};
use parking_lot::Mutex;

use crate::controlled::{Barrier, Gate};

/// What a wrapper asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Query {
    Metadata,
    Membership,
}

impl Query {
    fn name(self) -> &'static str {
        match self {
            Self::Metadata => "get_metadata",
            Self::Membership => "get_membership",
        }
    }
}

/// A store above another one that does what it is told to, and keeps a log.
pub(crate) struct ControlledBigSegments {
    inner: Arc<dyn BigSegmentStore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The hashes of the contexts that were asked for, in order.
    memberships: Vec<String>,
    polls: usize,
    polls_under_way: usize,
    stops: usize,
    failing: HashMap<Query, ErrorKind>,
    panicking: HashSet<Query>,
    held: HashMap<Query, Arc<Barrier>>,
}

impl ControlledBigSegments {
    pub(crate) fn new(inner: Arc<dyn BigSegmentStore>) -> Arc<Self> {
        Arc::new(Self { inner, state: Mutex::default() })
    }

    /// The hashes of the contexts that were asked for, in order.
    pub(crate) fn memberships(&self) -> Vec<String> {
        self.state.lock().memberships.clone()
    }

    /// How often the metadata was asked for.
    pub(crate) fn polls(&self) -> usize {
        self.state.lock().polls
    }

    /// How many of these questions are not answered yet.
    pub(crate) fn polls_under_way(&self) -> usize {
        self.state.lock().polls_under_way
    }

    /// How often it was stopped.
    pub(crate) fn stops(&self) -> usize {
        self.state.lock().stops
    }

    /// These queries fail from now on.
    pub(crate) fn fail(&self, query: Query, kind: ErrorKind) {
        self.state.lock().failing.insert(query, kind);
    }

    /// Nothing fails any more.
    pub(crate) fn heal(&self) {
        self.state.lock().failing.clear();
    }

    /// The next of these queries panics.
    pub(crate) fn panic_once(&self, query: Query) {
        self.state.lock().panicking.insert(query);
    }

    /// The next of these queries is held back until the gate opens, when its answer is already known.
    pub(crate) fn hold(&self, query: Query, patience: Duration) -> Gate {
        let barrier = Barrier::new(patience);
        self.state.lock().held.insert(query, Arc::clone(&barrier));
        Gate(barrier)
    }

    fn query<T>(
        &self,
        query: Query,
        run: impl FnOnce(&dyn BigSegmentStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let failing = self.state.lock().failing.get(&query).copied();
        let result = match failing {
            Some(kind) => Err(StoreError::new(kind, "controlled", query.name(), "as it was told to")),
            None => run(&*self.inner),
        };
        let (held, panics) = {
            let mut state = self.state.lock();
            (state.held.remove(&query), state.panicking.remove(&query))
        };
        if let Some(barrier) = held {
            barrier.hold();
        }
        assert!(!panics, "controlled: {} panics as it was told to", query.name());
        result
    }
}

impl BigSegmentStore for ControlledBigSegments {
    fn get_metadata(&self) -> Result<Option<UnixMillis>, StoreError> {
        {
            let mut state = self.state.lock();
            state.polls += 1;
            state.polls_under_way += 1;
        }
        let _ends = Ends(&self.state);
        self.query(Query::Metadata, |inner| inner.get_metadata())
    }

    fn get_membership(&self, context_hash: &str) -> Result<Option<BigSegmentMembership>, StoreError> {
        self.state.lock().memberships.push(context_hash.to_owned());
        self.query(Query::Membership, |inner| inner.get_membership(context_hash))
    }

    fn stop(&self) {
        self.state.lock().stops += 1;
        self.inner.stop();
    }
}

/// The end of a poll, also of one that panics.
struct Ends<'a>(&'a Mutex<State>);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.lock().polls_under_way -= 1;
    }
}

impl fmt::Display for ControlledBigSegments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Controlled({})", self.inner)
    }
}

impl fmt::Debug for ControlledBigSegments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
