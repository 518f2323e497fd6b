use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use flagstore_conformance::{BigSegments, BigSegmentsListener, BigSegmentsSettings};
use flagstore_core::{
    BigSegmentMembership, BigSegmentStore, BigSegmentStoreStatus, BigSegmentStoreWrapper,
    BigSegmentsQueryResult, BigSegmentsStatus, ErrorKind, StoreError, UnixMillis, context_hash,
};
use moka::sync::Cache;

use crate::big_segments_fault::BigSegmentsFault as Fault;

const HOUR: Duration = Duration::from_secs(3600);

/// Our wrapper, with its parts connected wrongly.
pub(crate) fn wrap(
    store: Arc<dyn BigSegmentStore>,
    settings: &BigSegmentsSettings,
    fault: Option<Fault>,
) -> Result<Arc<dyn BigSegments>, StoreError> {
    let Some(fault) = fault else { return Ok(Arc::new(settings.wrap(store)?)) };
    let mut settings = settings.clone();
    match fault {
        Fault::NothingExpires => settings.context_cache_time = HOUR,
        Fault::HasNoLimit => settings.context_cache_size = 1_000_000,
        Fault::NeverPollsAgain => {
            (settings.status_poll_interval, settings.stale_after) = (HOUR, 2 * HOUR);
        }
        Fault::LeaksTheStore => std::mem::forget(Arc::clone(&store)),
        _ => {}
    }
    let below = Arc::new(Below { store, fault, has_panicked: AtomicBool::new(false) });
    let inner = settings.wrap(Arc::clone(&below) as Arc<dyn BigSegmentStore>)?;
    let below = Arc::downgrade(&below);
    let naive = Cache::builder()
        .max_capacity(settings.context_cache_size)
        .time_to_live(settings.context_cache_time)
        .build();
    Ok(Arc::new(FaultyWrapper { inner, below, fault, naive, lock: Arc::default() }))
}

/// What a wrapper may do wrong when it calls its store.
struct Below {
    store: Arc<dyn BigSegmentStore>,
    fault: Fault,
    has_panicked: AtomicBool,
}

impl BigSegmentStore for Below {
    fn get_metadata(&self) -> Result<Option<UnixMillis>, StoreError> {
        let died = || StoreError::new(ErrorKind::Other, "below", "get_metadata", "dead");
        match self.fault {
            Fault::PollsTwice => drop(self.store.get_metadata()),
            Fault::DiesOfAPanic if self.has_panicked.load(Ordering::SeqCst) => return Err(died()),
            _ => {}
        }
        let answer = catch_unwind(AssertUnwindSafe(|| self.store.get_metadata())).unwrap_or_else(|panic| {
            self.has_panicked.store(true, Ordering::SeqCst);
            resume_unwind(panic)
        });
        match self.fault {
            Fault::TakesFailedPollsForStale => Ok(answer.unwrap_or_default()),
            _ => answer,
        }
    }

    fn get_membership(&self, hash: &str) -> Result<Option<BigSegmentMembership>, StoreError> {
        let answer = match self.fault {
            Fault::HashesTwice => self.store.get_membership(&context_hash(hash)),
            _ => self.store.get_membership(hash),
        };
        let with = |kind| move |error: StoreError| StoreError::new(kind, "below", "get_membership", error);
        match self.fault {
            Fault::TakesErrorsForUnknown => Ok(answer.unwrap_or_default()),
            Fault::FailedQueriesDoNotShow => answer.map_err(with(ErrorKind::Other)),
            Fault::EveryFailedQueryIsAnOutage => answer.map_err(with(ErrorKind::Unavailable)),
            _ => answer,
        }
    }

    fn stop(&self) {
        self.store.stop();
    }
}

struct FaultyWrapper {
    inner: BigSegmentStoreWrapper,
    /// Weak, so that it is only the wrapper that holds the store.
    below: Weak<Below>,
    fault: Fault,
    /// What suggests itself.
    naive: Cache<String, BigSegmentMembership>,
    lock: Arc<Mutex<()>>,
}

impl FaultyWrapper {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn query(&self, context_key: &str) -> BigSegmentsQueryResult {
        let below = self.below.upgrade();
        let ask =
            || below.as_ref().map_or(Ok(None), |below| below.get_membership(&context_hash(context_key)));
        match self.fault {
            Fault::CachesNothing => self.inner.clear_cache(),
            Fault::AsksForItself => drop(ask()),
            Fault::PollsWithEveryQuery => drop(below.map(|below| below.get_metadata())),
            Fault::MixesContexts => return self.inner.get_membership("a"),
            Fault::IsNaive => {
                let loaded =
                    self.naive.try_get_with_by_ref(context_key, || ask().map(Option::unwrap_or_default));
                return match loaded {
                    Ok(membership) => {
                        BigSegmentsQueryResult { membership, status: BigSegmentsStatus::Healthy }
                    }
                    Err(_) => self.inner.get_membership(context_key),
                };
            }
            _ => {}
        }
        let result = self.inner.get_membership(context_key);
        let failed = result.status == BigSegmentsStatus::StoreError;
        assert!(!(failed && self.has(Fault::PanicsWithTheStore)), "the store has failed");
        if result.membership.is_empty() && self.has(Fault::CachesOnlyWhatIsKnown) {
            self.inner.clear_cache();
        }
        result
    }
}

impl BigSegments for FaultyWrapper {
    fn get_membership(&self, context_key: &str) -> BigSegmentsQueryResult {
        let _lock =
            (self.has(Fault::LocksOverQueries) || self.has(Fault::TellsUnderALock)).then(|| self.lock.lock());
        let mut result = self.query(context_key);
        result.status = match (self.fault, result.status) {
            (Fault::NeverSaysStale, BigSegmentsStatus::Stale) => BigSegmentsStatus::Healthy,
            (Fault::AlwaysSaysStale, BigSegmentsStatus::Healthy) => BigSegmentsStatus::Stale,
            (_, status) => status,
        };
        result
    }

    fn status(&self) -> BigSegmentStoreStatus {
        let mut status = self.inner.status_provider().status();
        match self.fault {
            Fault::NeverSaysStale => status.stale = false,
            Fault::AlwaysSaysStale => status.stale = status.available,
            _ => {}
        }
        status
    }

    fn listen(&self, listener: BigSegmentsListener) -> Box<dyn Any + Send> {
        let (fault, lock) = (self.fault, Arc::clone(&self.lock));
        let guard = self.inner.status_provider().add_listener(move |status| {
            let _lock = (fault == Fault::TellsUnderALock).then(|| lock.lock().unwrap());
            if fault != Fault::TellsNobody {
                listener(status);
            }
            if fault == Fault::TellsTwice {
                listener(status);
            }
        });
        if self.has(Fault::TellsTheDropped) {
            std::mem::forget(guard);
            return Box::new(());
        }
        Box::new(guard)
    }

    fn clear_cache(&self) {
        match self.fault {
            Fault::ClearsNothing => {}
            Fault::IsNaive => self.naive.invalidate_all(),
            _ => self.inner.clear_cache(),
        }
    }

    fn set_polling_active(&self, active: bool) {
        if self.has(Fault::PollsOn) {
            return;
        }
        if active && self.has(Fault::StartsAPollerEachTime) {
            let below = Weak::clone(&self.below);
            thread::spawn(move || {
                while let Some(below) = below.upgrade() {
                    drop(below.get_metadata());
                    drop(below);
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        self.inner.set_polling_active(active);
    }

    fn stop(&self) {
        if !self.has(Fault::StopsNothing) {
            self.inner.stop();
        }
    }
}

impl fmt::Display for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

impl fmt::Debug for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

impl fmt::Display for FaultyWrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for FaultyWrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
