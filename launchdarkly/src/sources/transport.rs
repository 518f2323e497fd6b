//! Requests to the service: whose client sends them, and what we add to it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flagstore_core::DataSourceErrorInfo;
use futures_util::stream::{self, StreamExt};
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, HeaderName, IF_NONE_MATCH, LOCATION, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use launchdarkly_sdk_transport::{ByteStream, HttpTransport, ResponseFuture, TransportError};
use tokio::time::timeout;

use super::retry::Failure;

type SendRequest = dyn Fn(Request<Option<Bytes>>) -> ResponseFuture + Send + Sync;

/// A client of any type. A clone shares its connections.
#[derive(Clone)]
pub(crate) struct Transport(Arc<SendRequest>);

impl Transport {
    pub(crate) fn new(transport: impl HttpTransport) -> Self {
        Self(Arc::new(move |request| transport.request(request)))
    }

    /// The same client, which follows redirects.
    pub(crate) fn following(self) -> Self {
        Self(Arc::new(move |request| Box::pin(follow(self.clone(), request))))
    }

    /// The same client, in which nothing stays silent for longer than this: neither the answer to a request nor any
    /// part of its body.
    pub(crate) fn never_silent(self, silence: Duration) -> Self {
        Self(Arc::new(move |request| {
            let answer = self.request(request);
            Box::pin(async move {
                let response = timeout(silence, answer).await.map_err(|_| silent_for(silence))??;
                Ok(response.map(|body| never_silent(body, silence)))
            })
        }))
    }
}

impl HttpTransport for Transport {
    fn request(&self, request: Request<Option<Bytes>>) -> ResponseFuture {
        (self.0)(request)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

/// More redirects than that are a circle.
const REDIRECTS: usize = 10;

/// What any server may see of a request. All else is for the one whom the application has named: the SDK key, and
/// headers of its own, which may be secrets too.
const FOR_EVERYBODY: [HeaderName; 5] = [ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, IF_NONE_MATCH, USER_AGENT];

/// Sends the request, and again wherever it is sent from there.
async fn follow(
    transport: Transport,
    mut request: Request<Option<Bytes>>,
) -> Result<Response<ByteStream>, TransportError> {
    for _ in 0..=REDIRECTS {
        let response = transport.request(request.clone()).await?;
        let Some(target) = redirect(request.uri(), &response)? else { return Ok(response) };
        if target.scheme() != request.uri().scheme() || target.authority() != request.uri().authority() {
            let headers = std::mem::take(request.headers_mut()).into_iter();
            let named = headers.filter_map(|(name, value)| Some((name?, value)));
            request.headers_mut().extend(named.filter(|(name, _)| FOR_EVERYBODY.contains(name)));
        }
        *request.uri_mut() = target;
    }
    Err(failure(io::ErrorKind::InvalidData, format!("redirected more than {REDIRECTS} times")))
}

/// Where the response sends the request, if it does.
fn redirect(from: &Uri, response: &Response<ByteStream>) -> Result<Option<Uri>, TransportError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    match location.and_then(|location| resolve(from, location)) {
        Some(target) => Ok(Some(target)),
        None => {
            let reason = format!("{} to a place that is none: {location:?}", response.status());
            Err(failure(io::ErrorKind::InvalidData, reason))
        }
    }
}

/// A whole URL, or a path on the same server.
fn resolve(from: &Uri, location: &str) -> Option<Uri> {
    if location.starts_with('/') && !location.starts_with("//") {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = Some(location.parse().ok()?);
        return Uri::from_parts(parts).ok();
    }
    location.parse::<Uri>().ok().filter(|uri| uri.scheme().is_some() && uri.authority().is_some())
}

fn never_silent(body: ByteStream, silence: Duration) -> ByteStream {
    Box::pin(stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        match timeout(silence, body.next()).await {
            Ok(Some(Ok(bytes))) => Some((Ok(bytes), Some(body))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_) => Some((Err(silent_for(silence)), None)),
        }
    }))
}

fn silent_for(silence: Duration) -> TransportError {
    // Of a `TimedOut` within a stream the client for events would tell no more than that.
    failure(io::ErrorKind::Other, format!("nothing came for {silence:?}"))
}

fn failure(kind: io::ErrorKind, reason: String) -> TransportError {
    TransportError::new(io::Error::new(kind, reason))
}

/// What a status code that says no means, with what can be done about it.
pub(super) fn refusal(status: u16) -> (DataSourceErrorInfo, Failure) {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let reason = reason.unwrap_or("not a status that we know");
    let failure = Failure::of_status(status);
    let advice = match (status, failure) {
        (401 | 403, _) => ": check the SDK key, which is tried again rarely",
        (404, _) => ": check the base URL, and the key of the payload filter",
        (_, Failure::Refused) => ", which is tried again rarely",
        (_, Failure::Passing) => "",
    };
    (DataSourceErrorInfo::response(status, format!("{reason}{advice}")), failure)
}

/// What went wrong, down to the last cause: the error of a client alone seldom says more than that there was one.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths stay on their server, and keep their query.
    #[test]
    fn a_location_is_a_url_or_a_path() {
        let from: Uri = "https://stream.example.com:8443/all?filter=a".parse().unwrap();
        for (location, target) in [
            ("https://other.example.com/all?x=1", Some("https://other.example.com/all?x=1")),
            ("/v2/all?filter=a", Some("https://stream.example.com:8443/v2/all?filter=a")),
            ("//other.example.com/all", None),
            ("all", None),
            ("", None),
        ] {
            let resolved = resolve(&from, location);
            assert_eq!(resolved.map(|uri| uri.to_string()).as_deref(), target, "{location}");
        }
    }

    /// Each cause once.
    #[test]
    fn a_chain_names_every_cause_once() {
        let error = TransportError::new(io::Error::new(io::ErrorKind::TimedOut, "nothing came"));
        assert_eq!(chain(&error), "transport error: nothing came");
    }
}
