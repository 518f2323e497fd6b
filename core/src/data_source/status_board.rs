use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use super::error_info::DataSourceErrorInfo;
use super::outage::Outage;
use super::status::{DataSourceState, DataSourceStatus};
use crate::background::{Background, Next};
use crate::listeners::Listeners;

/// Where a data source's status is written down, by the rules of statuses.
pub(super) struct StatusBoard {
    /// Held while the listeners are told, which only queues the status, so that all see the same order.
    state: Mutex<State>,
    changed: Condvar,
    listeners: Listeners<DataSourceStatus>,
    outage_logged_after: Duration,
    outage_log: Background,
}

struct State {
    status: DataSourceStatus,
    last_event: Option<SystemTime>,
    outage: Option<Outage>,
}

impl StatusBoard {
    pub(super) fn new(outage_logged_after: Duration) -> Arc<Self> {
        let status = DataSourceStatus {
            state: DataSourceState::Initializing,
            since: SystemTime::now(),
            last_error: None,
        };
        Arc::new_cyclic(|this: &Weak<Self>| {
            let this = Weak::clone(this);
            Self {
                state: Mutex::new(State { status, last_event: None, outage: None }),
                changed: Condvar::new(),
                listeners: Listeners::new(),
                outage_logged_after,
                outage_log: Background::new("flagstore-outage", move || {
                    this.upgrade().map_or(Next::Rest, |board| board.log_outage())
                }),
            }
        })
    }

    pub(super) fn status(&self) -> DataSourceStatus {
        self.state.lock().status.clone()
    }

    pub(super) fn last_event(&self) -> Option<SystemTime> {
        self.state.lock().last_event
    }

    pub(super) fn event_received(&self) {
        self.state.lock().last_event = Some(SystemTime::now());
    }

    pub(super) fn listeners(&self) -> &Listeners<DataSourceStatus> {
        &self.listeners
    }

    /// Reports an error that leaves the state as it is.
    pub(super) fn report(&self, error: DataSourceErrorInfo) {
        let mut board = self.state.lock();
        let state = board.status.state;
        self.set(&mut board, state, Some(error));
    }

    pub(super) fn update(&self, state: DataSourceState, error: Option<DataSourceErrorInfo>) {
        self.set(&mut self.state.lock(), state, error);
    }

    fn set(&self, board: &mut State, state: DataSourceState, error: Option<DataSourceErrorInfo>) {
        let before = board.status.state;
        // Nothing comes after the end.
        if before == DataSourceState::Off {
            return;
        }
        // What has never worked is not interrupted.
        let state = match state {
            DataSourceState::Interrupted if before == DataSourceState::Initializing => before,
            state => state,
        };
        self.follow_outage(board, state, error.as_ref());
        if state == before && error.is_none() {
            return;
        }
        if state != before {
            board.status.state = state;
            board.status.since = SystemTime::now();
        }
        if let Some(error) = error {
            board.status.last_error = Some(error);
        }
        self.listeners.tell(&board.status);
        self.changed.notify_all();
    }

    fn follow_outage(&self, board: &mut State, state: DataSourceState, error: Option<&DataSourceErrorInfo>) {
        let works = matches!(state, DataSourceState::Valid | DataSourceState::Off);
        match (&mut board.outage, works) {
            (None, true) => {}
            (outage @ Some(_), true) => {
                if let Some(outage) = outage.take() {
                    outage.end(Instant::now());
                }
                // It waits for a minute that will not come.
                self.outage_log.wake();
            }
            (outage, false) => {
                let begins = outage.is_none();
                let outage = outage.get_or_insert_with(|| Outage::new(Instant::now()));
                if let Some(error) = error {
                    outage.count(error);
                }
                if begins {
                    self.outage_log.wake();
                }
            }
        }
    }

    fn log_outage(&self) -> Next {
        let mut board = self.state.lock();
        let Some(outage) = &mut board.outage else { return Next::Rest };
        let now = Instant::now();
        match outage.reported_in(now, self.outage_logged_after) {
            None => Next::Rest,
            Some(Duration::ZERO) => {
                outage.report(now);
                Next::Rest
            }
            Some(pause) => Next::After(pause),
        }
    }

    pub(super) fn wait_for(&self, wanted: DataSourceState, timeout: Duration) -> bool {
        // Without a deadline where that would be beyond all clocks.
        let deadline = Instant::now().checked_add(timeout);
        let mut board = self.state.lock();
        loop {
            let state = board.status.state;
            if state == wanted || state == DataSourceState::Off {
                return state == wanted;
            }
            match deadline {
                Some(deadline) if self.changed.wait_until(&mut board, deadline).timed_out() => {
                    return board.status.state == wanted;
                }
                Some(_) => {}
                None => self.changed.wait(&mut board),
            }
        }
    }
}

impl fmt::Debug for StatusBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let board = self.state.lock();
        f.debug_struct("DataSourceStatus")
            .field("status", &board.status)
            .field("last_event", &board.last_event)
            .finish_non_exhaustive()
    }
}
