use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flagstore_core::{
    DataSourceErrorInfo, DataSourceErrorKind, DataSourceFactory, DataSourceUpdateSink, Delivery,
    FeatureRequester, Requested, StoreError, UpdateProcessor,
};

use super::clock::Clock;
use super::feed::Feed;
use super::requester::HttpRequester;
use super::retry::{Failure, Retry};
use super::service::LaunchDarklyService;
use super::threaded::{Threaded, Work};

/// The data of LaunchDarkly or a Relay Proxy, asked for again and again. The service is told what is there already,
/// and what has not changed is neither sent nor stored. What has changed may come compressed (gzip).
///
/// A poll that fails is followed by the next one at the interval. What LaunchDarkly refuses (401, 403, 404 ...) is
/// tried again after five minutes, then ten, up to an hour, never sooner than at the interval, and never given up;
/// two good polls in a row end that.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until a source is made with it"]
pub struct PollingDataSourceBuilder {
    from: From,
    poll_interval: Duration,
    minimum: Duration,
    request_timeout: Duration,
    clock: Clock,
}

#[derive(Debug, Clone)]
enum From {
    Service(LaunchDarklyService),
    Requester(Arc<dyn FeatureRequester>),
}

const NAME: &str = "polling";
/// LaunchDarkly's own limit.
const MINIMUM: Duration = Duration::from_secs(30);

impl PollingDataSourceBuilder {
    /// Configures polls of this service.
    pub fn new(service: LaunchDarklyService) -> Self {
        Self::of(From::Service(service))
    }

    /// Configures polls of something else. A poll that is under way when the source is stopped goes on until its
    /// own deadline, without any effect.
    pub fn of_requester(requester: impl FeatureRequester) -> Self {
        Self::of(From::Requester(Arc::new(requester)))
    }

    fn of(from: From) -> Self {
        let request_timeout = Duration::from_secs(30);
        Self { from, poll_interval: MINIMUM, minimum: MINIMUM, request_timeout, clock: Clock::System }
    }

    /// Sets the time from the end of one poll to the next one. At least 30 seconds, to which it defaults.
    pub fn poll_interval(self, interval: Duration) -> Self {
        Self { poll_interval: interval, minimum: MINIMUM, ..self }
    }

    /// Sets an interval that may be shorter than LaunchDarkly wants it to be, for tests with something else.
    pub fn poll_interval_for_tests(self, interval: Duration) -> Self {
        Self { poll_interval: interval, minimum: Duration::from_nanos(1), ..self }
    }

    /// Sets how long a poll may take, from its request to the last byte of the answer. Defaults to 30 seconds. It
    /// has no effect on [another requester](Self::of_requester).
    pub fn request_timeout(self, timeout: Duration) -> Self {
        Self { request_timeout: timeout, ..self }
    }

    #[cfg(test)]
    pub(super) fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
}

impl DataSourceFactory for PollingDataSourceBuilder {
    fn create(&self, sink: DataSourceUpdateSink) -> Result<Arc<dyn UpdateProcessor>, StoreError> {
        if self.poll_interval < self.minimum {
            let reason = format!("must be at least {:?}", self.minimum);
            return Err(StoreError::config(NAME, "poll_interval", reason));
        }
        if self.request_timeout.is_zero() {
            return Err(StoreError::config(NAME, "request_timeout", "must be longer than zero"));
        }
        let requester = match &self.from {
            From::Service(service) => {
                let requester = HttpRequester::new(service.polling(NAME)?, self.request_timeout);
                Requester::Http(Box::new(requester))
            }
            From::Requester(requester) => Requester::Other(Arc::clone(requester)),
        };
        let work = Polling { requester, interval: self.poll_interval };
        Ok(Arc::new(Threaded::new(work, Feed::new(sink, self.clock.clone()))))
    }
}

struct Polling {
    requester: Requester,
    interval: Duration,
}

/// Ours ends with the runtime on which it waits. Another one is waited for on a thread of its own.
enum Requester {
    Http(Box<HttpRequester>),
    Other(Arc<dyn FeatureRequester>),
}

impl Requester {
    async fn get(&self, even_if_unchanged: bool) -> Result<Requested, (DataSourceErrorInfo, Failure)> {
        match self {
            Self::Http(requester) => requester.get(even_if_unchanged).await,
            Self::Other(requester) => {
                let requester = Arc::clone(requester);
                let answer = tokio::task::spawn_blocking(move || requester.get_all_data(even_if_unchanged));
                let answer = answer.await.unwrap_or_else(|_| {
                    Err(DataSourceErrorInfo::new(DataSourceErrorKind::Unknown, "the requester has panicked"))
                });
                answer.map_err(|error| {
                    let failure = Failure::of_status(error.status_code);
                    (error, failure)
                })
            }
        }
    }
}

impl Work for Polling {
    const THREAD: &'static str = "flagstore-polling";

    async fn run(&self, feed: &Feed) -> Infallible {
        let mut retry = Retry::of_polls(self.interval);
        // Whether the store needs the data even if it is what was sent last.
        let mut is_due = true;
        loop {
            is_due |= feed.take_refresh();
            match self.requester.get(is_due).await {
                Ok(requested) => {
                    feed.event_received();
                    retry.polled();
                    is_due = self.take(feed, &requested) == Delivery::Failed;
                    tokio::select! {
                        () = feed.clock.sleep(self.interval) => {}
                        () = feed.refresh_asked() => is_due = true,
                    }
                }
                Err((error, failure)) => {
                    feed.fails(error);
                    let delay = retry.failed(failure, feed.clock.now(), fastrand::f64());
                    feed.clock.sleep(delay).await;
                }
            }
        }
    }
}

impl Polling {
    fn take(&self, feed: &Feed, requested: &Requested) -> Delivery {
        match requested {
            Requested::AllData(all_data) => feed.init(all_data),
            Requested::NotModified => {
                feed.works();
                Delivery::Stored
            }
        }
    }
}

impl fmt::Debug for Polling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.requester {
            Requester::Http(requester) => {
                write!(f, "Polling({}, every {:?})", requester.uri(), self.interval)
            }
            Requester::Other(requester) => write!(f, "Polling({requester:?}, every {:?})", self.interval),
        }
    }
}

#[cfg(test)]
mod tests;
