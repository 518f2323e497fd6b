//! A store whose failures show in a status, and that finds out when it is back.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::background::{Background, Next};
use crate::{
    AllData, DataStoreStatus, DataStoreUpdateSink, FeatureStoreCore, Item, Items, Kind, StoreError, Upsert,
};

/// A store above another one: it passes everything on, reports the first call that fails with
/// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Timeout`](crate::ErrorKind::Timeout), and from then on probes until the
/// database is back. Only the probe turns the status around.
pub(crate) struct WatchedStore {
    core: Arc<dyn FeatureStoreCore>,
    sink: DataStoreUpdateSink,
    outage: Mutex<Outage>,
    poll_interval: Duration,
    recover: Recover,
    monitor: Background,
}

/// Brings the database up to date with what it has missed. Whether everything is known to be there then.
type Recover = Box<dyn Fn(&dyn FeatureStoreCore) -> Result<bool, StoreError> + Send + Sync>;

#[derive(Default)]
struct Outage {
    /// `None` while the database is available.
    since: Option<Instant>,
    /// How many calls have failed so far. A probe that finds another number than before has not seen the end.
    failures: u64,
    /// How many probes have failed.
    probes: u32,
}

impl WatchedStore {
    pub(crate) fn new(
        core: Arc<dyn FeatureStoreCore>,
        poll_interval: Duration,
        recover: impl Fn(&dyn FeatureStoreCore) -> Result<bool, StoreError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| {
            let this = Weak::clone(this);
            let probe = move || this.upgrade().map_or(Next::Rest, |store| store.probe());
            Self {
                core,
                sink: DataStoreUpdateSink::new(),
                outage: Mutex::default(),
                poll_interval,
                recover: Box::new(recover),
                monitor: Background::new("flagstore-monitor", probe),
            }
        })
    }

    pub(crate) fn core(&self) -> &Arc<dyn FeatureStoreCore> {
        &self.core
    }

    pub(crate) fn status(&self) -> &DataStoreUpdateSink {
        &self.sink
    }

    /// What the status says, which asks nobody.
    pub(crate) fn is_known_to_be_available(&self) -> bool {
        self.sink.status().available
    }

    /// Reports a failure of the database, as if a call had failed.
    pub(crate) fn report(&self, why: &dyn fmt::Display) {
        let mut outage = self.outage.lock();
        outage.failures += 1;
        let is_new = outage.since.is_none();
        if is_new {
            (outage.since, outage.probes) = (Some(Instant::now()), 0);
            self.sink.update_status(DataStoreStatus::UNAVAILABLE);
        }
        drop(outage);
        if is_new {
            tracing::warn!("{}: the database is unavailable: {why}", self.core);
        }
        // Else it is in a pause that must not be cut short, unless its thread could not be started.
        if is_new || self.monitor.is_resting() {
            self.monitor.wake();
        }
    }

    fn observed<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result
            && error.is_away()
        {
            self.report(error);
        }
        result
    }

    /// Looks whether the database is back and takes what failed. The first look comes after a pause.
    fn probe(&self) -> Next {
        let failures = {
            let mut outage = self.outage.lock();
            outage.probes += 1;
            if outage.probes == 1 {
                return Next::After(self.poll_interval);
            }
            outage.failures
        };
        let recovered =
            if self.core.is_available() { (self.recover)(&*self.core).map(Some) } else { Ok(None) };
        match recovered {
            Ok(Some(is_complete)) => {
                let mut outage = self.outage.lock();
                // What fails from now on begins another outage.
                if outage.failures == failures {
                    let since = outage.since.take();
                    self.sink.update_status(DataStoreStatus { available: true, stale: !is_complete });
                    drop(outage);
                    let after = since.map(|since| since.elapsed()).unwrap_or_default();
                    tracing::info!("{}: the database is available again, after {after:.1?}", self.core);
                    return Next::Rest;
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(
                "{}: the database answers, and does not take what it missed: {error}",
                self.core
            ),
        }
        // Twice as long each time, up to eight times the interval.
        let doublings = self.outage.lock().probes.saturating_sub(2).min(3);
        Next::After(self.poll_interval.saturating_mul(1 << doublings))
    }
}

#[deny(clippy::missing_trait_methods)]
impl FeatureStoreCore for WatchedStore {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        self.observed(self.core.init(all_data))
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        self.observed(self.core.get(kind, key))
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        self.observed(self.core.get_all(kind))
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        self.observed(self.core.upsert(kind, key, item))
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        self.observed(self.core.is_initialized())
    }

    fn is_available(&self) -> bool {
        self.core.is_available()
    }

    fn describe(&self) -> &'static str {
        self.core.describe()
    }
}

impl fmt::Display for WatchedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", self.core)
    }
}

impl fmt::Debug for WatchedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
