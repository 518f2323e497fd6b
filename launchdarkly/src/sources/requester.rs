use std::io::Read;
use std::time::Duration;

use flagstore_core::{AllData, DataSourceErrorInfo, DataSourceErrorKind, Requested};
use flate2::read::GzDecoder;
use futures_util::StreamExt;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, Request, StatusCode, Uri};
use launchdarkly_sdk_transport::{ByteStream, HttpTransport, TransportError};
use parking_lot::Mutex;

use super::retry::Failure;
use super::service::Endpoint;
use super::transport::{Transport, chain, refusal};

/// Asks the service for all data, and remembers by its `ETag` what it was given.
pub(super) struct HttpRequester {
    endpoint: Endpoint,
    transport: Transport,
    timeout: Duration,
    etag: Mutex<Option<HeaderValue>>,
}

/// The encoding that is asked for, and the only one that is understood.
const GZIP: &str = "gzip";

type Error = (DataSourceErrorInfo, Failure);

impl HttpRequester {
    pub(super) fn new(endpoint: Endpoint, timeout: Duration) -> Self {
        let transport = endpoint.transport.clone().following();
        Self { endpoint, transport, timeout, etag: Mutex::default() }
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.endpoint.uri
    }

    pub(super) async fn get(&self, even_if_unchanged: bool) -> Result<Requested, Error> {
        let answer = tokio::time::timeout(self.timeout, self.ask(even_if_unchanged)).await;
        answer.unwrap_or_else(|_| {
            let reason = format!("no whole answer within {:?} (request_timeout)", self.timeout);
            Err((DataSourceErrorInfo::new(DataSourceErrorKind::NetworkError, reason), Failure::Passing))
        })
    }

    async fn ask(&self, even_if_unchanged: bool) -> Result<Requested, Error> {
        let mut request = Request::new(None);
        *request.uri_mut() = self.endpoint.uri.clone();
        *request.headers_mut() = self.endpoint.headers.clone();
        // Flags are much the same text again and again, of which little is left.
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(GZIP));
        if let Some(etag) = self.etag.lock().clone().filter(|_| !even_if_unchanged) {
            request.headers_mut().insert(IF_NONE_MATCH, etag);
        }
        let is_conditional = request.headers().contains_key(IF_NONE_MATCH);
        let response = self.transport.request(request).await.map_err(|error| network(&error))?;
        match response.status() {
            // To a question without a condition that is no answer.
            StatusCode::NOT_MODIFIED if is_conditional => return Ok(Requested::NotModified),
            status if status.is_success() => {}
            status => return Err(refusal(status.as_u16())),
        }
        let etag = response.headers().get(ETAG).cloned();
        let encoding = response.headers().get(CONTENT_ENCODING).cloned();
        let body = whole(response.into_body()).await.map_err(|error| network(&error))?;
        let all_data = parse(&unpacked(body, encoding.as_ref())?)?;
        *self.etag.lock() = etag;
        Ok(Requested::AllData(all_data))
    }
}

async fn whole(mut body: ByteStream) -> Result<Vec<u8>, TransportError> {
    let mut whole = Vec::new();
    while let Some(bytes) = body.next().await {
        whole.extend_from_slice(&bytes?);
    }
    Ok(whole)
}

fn unpacked(body: Vec<u8>, encoding: Option<&HeaderValue>) -> Result<Vec<u8>, Error> {
    let Some(encoding) = encoding else { return Ok(body) };
    if encoding != GZIP {
        return Err(unreadable(format!("is encoded as {encoding:?}, and not as {GZIP}")));
    }
    let mut unpacked = Vec::new();
    match GzDecoder::new(&*body).read_to_end(&mut unpacked) {
        Ok(_) => Ok(unpacked),
        Err(error) => Err(unreadable(format!("is not {GZIP}: {error}"))),
    }
}

fn parse(body: &[u8]) -> Result<AllData, Error> {
    let text = std::str::from_utf8(body).map_err(|error| unreadable(error.to_string()))?;
    AllData::from_json(text).map_err(|error| unreadable(error.to_string()))
}

fn unreadable(reason: String) -> Error {
    (DataSourceErrorInfo::new(DataSourceErrorKind::InvalidData, reason), Failure::Passing)
}

fn network(error: &TransportError) -> Error {
    (DataSourceErrorInfo::new(DataSourceErrorKind::NetworkError, chain(error)), Failure::Passing)
}
