use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eventsource_client::{Client, ClientBuilder, Error, ReconnectOptions, SSE};
use flagstore_core::{
    DataSourceErrorInfo, DataSourceErrorKind, DataSourceFactory, DataSourceUpdateSink, Delivery, StoreError,
    UpdateProcessor,
};
use futures_util::StreamExt;

use super::clock::Clock;
use super::feed::Feed;
use super::payload::Update;
use super::retry::{Failure, Retry};
use super::service::{Endpoint, LaunchDarklyService};
use super::threaded::{Threaded, Work};
use super::transport::{chain, refusal};

/// The data of LaunchDarkly or a Relay Proxy by a stream of server-sent events: everything at first, and then each
/// change as it happens.
///
/// A stream that breaks, ends or brings something unreadable is opened again after a second, then two, up to 30,
/// and at the first delay again after it has worked for a minute; each delay is shortened by chance by half at
/// most. What LaunchDarkly refuses (401, 403, 404 ...) is tried again after five minutes, then ten, up to an hour,
/// and never given up. A stream on which nothing comes, not even one of the heartbeats that LaunchDarkly sends
/// every three minutes, is taken for dead.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until a source is made with it"]
pub struct StreamingDataSourceBuilder {
    service: LaunchDarklyService,
    initial_reconnect_delay: Duration,
    silence_timeout: Duration,
    clock: Clock,
}

const NAME: &str = "streaming";

impl StreamingDataSourceBuilder {
    /// Configures a stream of this service.
    pub fn new(service: LaunchDarklyService) -> Self {
        Self {
            service,
            initial_reconnect_delay: Duration::from_secs(1),
            silence_timeout: Duration::from_secs(5 * 60),
            clock: Clock::System,
        }
    }

    /// Sets the first delay before a stream that broke is opened again. Defaults to a second.
    pub fn initial_reconnect_delay(self, delay: Duration) -> Self {
        Self { initial_reconnect_delay: delay, ..self }
    }

    /// Sets how long nothing may come until the stream is taken for dead, closed and opened again. It counts for
    /// the first answer too. Defaults to five minutes.
    pub fn silence_timeout(self, timeout: Duration) -> Self {
        Self { silence_timeout: timeout, ..self }
    }

    #[cfg(test)]
    pub(super) fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
}

impl DataSourceFactory for StreamingDataSourceBuilder {
    fn create(&self, sink: DataSourceUpdateSink) -> Result<Arc<dyn UpdateProcessor>, StoreError> {
        if self.silence_timeout.is_zero() {
            return Err(StoreError::config(NAME, "silence_timeout", "must be longer than zero"));
        }
        if self.initial_reconnect_delay.is_zero() {
            return Err(StoreError::config(NAME, "initial_reconnect_delay", "must be longer than zero"));
        }
        let endpoint = self.service.streaming(NAME)?;
        let url = endpoint.uri.to_string();
        let client = Box::new(client(endpoint, self.silence_timeout)?);
        let work = Streaming { client, url, initial_reconnect_delay: self.initial_reconnect_delay };
        Ok(Arc::new(Threaded::new(work, Feed::new(sink, self.clock.clone()))))
    }
}

fn client(endpoint: Endpoint, silence: Duration) -> Result<impl Client, StoreError> {
    let config = |error: Error| StoreError::config(NAME, "streaming_url", error);
    let mut builder = ClientBuilder::for_url(&endpoint.uri.to_string()).map_err(config)?;
    for (name, value) in &endpoint.headers {
        // It takes texts alone, which those are that the service has made.
        builder = builder.header(name.as_str(), value.to_str().unwrap_or_default()).map_err(config)?;
    }
    // Its own way to come back knows one curve of delays. Ours has two, and a status.
    let once = ReconnectOptions::reconnect(false).retry_initial(false).build();
    Ok(builder.reconnect(once).build_with_transport(endpoint.transport.never_silent(silence).following()))
}

struct Streaming {
    client: Box<dyn Client>,
    url: String,
    initial_reconnect_delay: Duration,
}

/// Why a stream is over.
enum End {
    /// Everything was asked for again, and that is how a stream begins.
    Refresh,
    Failed(DataSourceErrorInfo, Failure),
    /// As [`Failed`](Self::Failed), and the sink has said so already.
    NotTaken,
}

impl Work for Streaming {
    const THREAD: &'static str = "flagstore-streaming";

    async fn run(&self, feed: &Feed) -> Infallible {
        let mut retry = Retry::of_stream(self.initial_reconnect_delay);
        loop {
            let failure = match self.stream(feed, &mut retry).await {
                End::Refresh => continue,
                End::NotTaken => Failure::Passing,
                End::Failed(error, failure) => {
                    feed.fails(error);
                    failure
                }
            };
            let delay = retry.failed(failure, feed.clock.now(), fastrand::f64());
            feed.clock.sleep(delay).await;
        }
    }
}

impl Streaming {
    /// Opens a stream, and feeds what comes until it is over.
    async fn stream(&self, feed: &Feed, retry: &mut Retry) -> End {
        // What was asked for until now comes with every new stream.
        feed.take_refresh();
        let mut stream = self.client.stream();
        loop {
            let next = tokio::select! {
                next = stream.next() => next,
                () = feed.refresh_asked() => return End::Refresh,
            };
            let event = match next {
                // The headers alone say nothing of the data behind them.
                Some(Ok(SSE::Connected(_))) => continue,
                Some(Ok(event)) => event,
                Some(Err(error)) => return failed(&error),
                None => return failed(&Error::Eof),
            };
            feed.event_received();
            retry.received(feed.clock.now());
            let SSE::Event(event) = event else { continue };
            match Update::parse(&event.event_type, &event.data) {
                Ok(update) => {
                    if take(feed, &update) == Delivery::Failed {
                        return End::NotTaken;
                    }
                }
                Err(reason) => {
                    let error = DataSourceErrorInfo::new(DataSourceErrorKind::InvalidData, reason);
                    return End::Failed(error, Failure::Passing);
                }
            }
        }
    }
}

fn take(feed: &Feed, update: &Update) -> Delivery {
    match update {
        Update::Put(all_data) => feed.init(all_data),
        Update::Patch(kind, key, item) => feed.upsert(kind, key, item),
        Update::Delete(kind, key, version) => feed.delete(kind, key, *version),
        Update::Other => Delivery::Stored,
    }
}

fn failed(error: &Error) -> End {
    let of = |kind, reason: String| End::Failed(DataSourceErrorInfo::new(kind, reason), Failure::Passing);
    match error {
        Error::UnexpectedResponse(response, _) => {
            let (error, failure) = refusal(response.status());
            End::Failed(error, failure)
        }
        Error::Eof => of(DataSourceErrorKind::NetworkError, "the service has ended the stream".to_owned()),
        Error::UnexpectedEof => {
            of(DataSourceErrorKind::NetworkError, "the stream ended within an event".to_owned())
        }
        Error::InvalidLine(_) | Error::InvalidEvent => {
            of(DataSourceErrorKind::InvalidData, format!("not a stream of events: {error}"))
        }
        Error::Transport(error) => of(DataSourceErrorKind::NetworkError, chain(error)),
        error => of(DataSourceErrorKind::NetworkError, error.to_string()),
    }
}

impl fmt::Debug for Streaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Streaming({})", self.url)
    }
}

#[cfg(test)]
mod tests;
