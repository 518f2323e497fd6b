use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use flagstore_core::StoreError;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use launchdarkly_sdk_transport::{HttpTransport, HyperTransport};
use launchdarkly_server_sdk::version_string;

use super::transport::Transport;

/// How long a connection may take to come about, if nobody says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How to reach LaunchDarkly: where it is, who asks, and with what client. One is enough for any number of
/// sources.
///
/// What is wrong in it is found by the source that is made with it, which names the setting.
///
/// ```
/// use flagstore_launchdarkly::sources::LaunchDarklyService;
///
/// let service = LaunchDarklyService::new("sdk-key")
///     .relay_proxy("http://relay.example.com:8030")
///     .payload_filter("checkout")
///     .application_id("shop");
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until a source is made with it"]
pub struct LaunchDarklyService {
    sdk_key: String,
    streaming_url: String,
    polling_url: String,
    payload_filter: Option<String>,
    tags: Vec<(&'static str, String)>,
    wrapper: Option<String>,
    headers: Vec<(String, String)>,
    connect_timeout: Option<Duration>,
    transport: Option<Transport>,
}

/// The service, ready for requests of one kind.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) transport: Transport,
}

impl LaunchDarklyService {
    /// LaunchDarkly itself, asked for the environment of this SDK key.
    pub fn new(sdk_key: impl Into<String>) -> Self {
        Self {
            sdk_key: sdk_key.into(),
            streaming_url: "https://stream.launchdarkly.com".to_owned(),
            polling_url: "https://sdk.launchdarkly.com".to_owned(),
            payload_filter: None,
            tags: Vec::new(),
            wrapper: None,
            headers: Vec::new(),
            connect_timeout: None,
            transport: None,
        }
    }

    /// Sets the base URL of streams. Defaults to `https://stream.launchdarkly.com`.
    pub fn streaming_url(self, url: impl Into<String>) -> Self {
        Self { streaming_url: url.into(), ..self }
    }

    /// Sets the base URL of polls. Defaults to `https://sdk.launchdarkly.com`.
    pub fn polling_url(self, url: impl Into<String>) -> Self {
        Self { polling_url: url.into(), ..self }
    }

    /// Sets one base URL for everything: that of a Relay Proxy.
    pub fn relay_proxy(self, url: impl Into<String>) -> Self {
        let url = url.into();
        self.streaming_url(url.clone()).polling_url(url)
    }

    /// Sets the key of a payload filter, by which LaunchDarkly sends a part of the environment. Defaults to none.
    pub fn payload_filter(self, key: impl Into<String>) -> Self {
        Self { payload_filter: Some(key.into()), ..self }
    }

    /// Sets the tag that tells LaunchDarkly which application asks: letters, digits, `.`, `_` and `-`, 64 at most.
    /// Defaults to none.
    pub fn application_id(self, id: impl Into<String>) -> Self {
        self.tag("application-id", id.into())
    }

    /// Sets the tag that tells LaunchDarkly which version of the application asks, in the same form. Defaults to
    /// none.
    pub fn application_version(self, version: impl Into<String>) -> Self {
        self.tag("application-version", version.into())
    }

    /// Sets what wraps the SDK, as `name` or `name/version`. Defaults to `flagstore/` and its version.
    pub fn wrapper(self, wrapper: impl Into<String>) -> Self {
        Self { wrapper: Some(wrapper.into()), ..self }
    }

    /// Adds a header to every request, or replaces one of ours.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets how long a connection may take to come about. Defaults to 10 seconds. Not together with a
    /// [`transport`](Self::transport), which has its own.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self { connect_timeout: Some(timeout), ..self }
    }

    /// Sets the client that sends the requests: one with another TLS, certificates of its own, or a proxy that the
    /// environment does not name. `HyperTransport::new_https()` of [`launchdarkly_sdk_transport`] is one with the TLS that
    /// the program's features have chosen for the SDK.
    ///
    /// Defaults to one for HTTPS and HTTP with the feature `hyper-rustls-native-roots` of this crate, and without it to
    /// one for HTTP alone. Both take a proxy from `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    pub fn transport(self, transport: impl HttpTransport) -> Self {
        Self { transport: Some(Transport::new(transport)), ..self }
    }

    fn tag(mut self, name: &'static str, value: String) -> Self {
        self.tags.retain(|(given, _)| *given != name);
        self.tags.push((name, value));
        self
    }

    pub(super) fn streaming(&self, source: &'static str) -> Result<Endpoint, StoreError> {
        self.endpoint(source, "streaming_url", &self.streaming_url, "/all")
    }

    pub(super) fn polling(&self, source: &'static str) -> Result<Endpoint, StoreError> {
        self.endpoint(source, "polling_url", &self.polling_url, "/sdk/latest-all")
    }

    fn endpoint(
        &self,
        source: &'static str,
        field: &'static str,
        base: &str,
        path: &str,
    ) -> Result<Endpoint, StoreError> {
        let wrong = |field: &str, reason: &str| StoreError::config(source, field, reason);
        match self.connect_timeout {
            Some(timeout) if timeout.is_zero() => {
                return Err(wrong("connect_timeout", "must be longer than zero"));
            }
            Some(_) if self.transport.is_some() => {
                return Err(wrong("connect_timeout", "the transport has its own"));
            }
            _ => {}
        }
        if base.contains(['?', '#', '@']) {
            return Err(wrong(
                field,
                "must have no '?', '#' or '@': what a proxy wants to know goes into a header",
            ));
        }
        let mut url = format!("{}{path}", base.trim_end_matches('/'));
        if let Some(key) = &self.payload_filter {
            if !is_plain(key) {
                return Err(wrong("payload_filter", "must be letters, digits, '.', '_' and '-'"));
            }
            url = format!("{url}?filter={key}");
        }
        let uri: Uri = url.parse().map_err(|error| StoreError::config(source, field, error))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
            return Err(wrong(field, "must begin with http:// or https:// and name a host"));
        }
        let transport = match &self.transport {
            Some(transport) => transport.clone(),
            None => self.default_transport(source, &uri)?,
        };
        Ok(Endpoint { uri, headers: self.headers(source)?, transport })
    }

    fn headers(&self, source: &'static str) -> Result<HeaderMap, StoreError> {
        let mut headers = HeaderMap::new();
        let mut set = |field: &str, name: &str, value: &str| {
            // The value itself stays unsaid: it may be a secret.
            let wrong = |reason: &str| StoreError::config(source, field, reason);
            let name = HeaderName::try_from(name).map_err(|_| wrong("is no name of a header"))?;
            // Of ASCII, since the client of streams takes nothing else.
            let value = HeaderValue::try_from(value).ok().filter(|value| value.to_str().is_ok());
            let mut value = value.ok_or_else(|| wrong("holds characters that cannot be sent"))?;
            value.set_sensitive(name == http::header::AUTHORIZATION);
            headers.insert(name, value);
            Ok(())
        };
        if self.sdk_key.is_empty() {
            return Err(StoreError::config(source, "sdk_key", "must not be empty"));
        }
        set("sdk_key", "authorization", &self.sdk_key)?;
        set("user_agent", "user-agent", &format!("RustServerClient/{}", version_string()))?;
        let own_wrapper = concat!("flagstore/", env!("CARGO_PKG_VERSION"));
        set("wrapper", "x-launchdarkly-wrapper", self.wrapper.as_deref().unwrap_or(own_wrapper))?;
        if !self.tags.is_empty() {
            set("tags", "x-launchdarkly-tags", &self.tags_header(source)?)?;
        }
        for (name, value) in &self.headers {
            set(&format!("header {}", name.escape_debug()), name, value)?;
        }
        Ok(headers)
    }

    /// Such as `application-id/shop application-version/1.2`.
    fn tags_header(&self, source: &'static str) -> Result<String, StoreError> {
        let mut tags = Vec::new();
        for (name, value) in &self.tags {
            if !is_plain(value) || value.len() > 64 {
                let field = name.replace('-', "_");
                let reason = "must be letters, digits, '.', '_' and '-', and 64 of them at most";
                return Err(StoreError::config(source, &field, reason));
            }
            tags.push(format!("{name}/{value}"));
        }
        tags.sort();
        Ok(tags.join(" "))
    }

    /// One of the SDK's own kind, with TLS where the crate was built with it.
    fn default_transport(&self, source: &'static str, uri: &Uri) -> Result<Transport, StoreError> {
        let refused = |reason: &dyn fmt::Display| StoreError::config(source, "transport", reason);
        if cfg!(not(feature = "hyper-rustls-native-roots")) && uri.scheme_str() == Some("https") {
            return Err(refused(
                &"has no TLS: set one that has, such as HyperTransport::new_https(), or turn on the feature \
                  hyper-rustls-native-roots of flagstore-launchdarkly",
            ));
        }
        let builder =
            HyperTransport::builder().connect_timeout(self.connect_timeout.unwrap_or(CONNECT_TIMEOUT));
        #[cfg(feature = "hyper-rustls-native-roots")]
        let build = || builder.build_https();
        #[cfg(not(feature = "hyper-rustls-native-roots"))]
        let build = || builder.build_http();
        // Also without TLS it sets up a proxy's, and rustls panics where a program has two providers of cryptography
        // and has installed neither of them.
        match catch_unwind(AssertUnwindSafe(build)) {
            Ok(transport) => transport.map(Transport::new).map_err(|error| refused(&error)),
            Err(_) => Err(refused(
                &"TLS cannot be set up. If the program has several providers of cryptography for rustls, install one \
                  as its default when it starts; or set a transport of your own",
            )),
        }
    }
}

fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !text.is_empty() && text.chars().all(plain)
}

/// Without the SDK key, without the values of headers, which may hold another, and without what stands before an `@` in a
/// URL, which will be refused.
impl fmt::Debug for LaunchDarklyService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaunchDarklyService")
            .field("streaming_url", &without_user(&self.streaming_url))
            .field("polling_url", &without_user(&self.polling_url))
            .field("payload_filter", &self.payload_filter)
            .field("tags", &self.tags)
            .field("wrapper", &self.wrapper)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

fn without_user(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENT: Duration = Duration::from_secs(60);

    fn service() -> LaunchDarklyService {
        LaunchDarklyService::new("sdk-secret").relay_proxy("http://relay:8030/")
    }

    fn error(service: LaunchDarklyService) -> String {
        service.streaming("streaming").unwrap_err().to_string()
    }

    /// The paths are the service's, whatever slash the base URL ends with.
    #[test]
    fn endpoints_have_their_paths_and_the_filter() {
        let service = service();
        assert_eq!(service.streaming("s").unwrap().uri, "http://relay:8030/all");
        assert_eq!(service.polling("p").unwrap().uri, "http://relay:8030/sdk/latest-all");
        let filtered = service.payload_filter("check-out.1");
        assert_eq!(filtered.streaming("s").unwrap().uri, "http://relay:8030/all?filter=check-out.1");
    }

    /// What the official client of this version sends, with its tags in order.
    #[test]
    fn headers_are_those_of_the_sdk() {
        let service = service().application_version("1.2").application_id("shop").header("x-team", "blue");
        let headers = service.streaming("streaming").unwrap().headers;
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(header("authorization"), Some("sdk-secret"));
        assert_eq!(
            header("user-agent").map(str::to_owned),
            Some(format!("RustServerClient/{}", version_string()))
        );
        assert_eq!(header("x-launchdarkly-tags"), Some("application-id/shop application-version/1.2"));
        assert!(header("x-launchdarkly-wrapper").unwrap().starts_with("flagstore/"));
        assert_eq!(header("x-team"), Some("blue"));
    }

    /// Each is refused when the source is made, by the name of its setter.
    #[test]
    fn a_wrong_setting_is_named() {
        for (service, message) in [
            (service().streaming_url("relay:8030"), "streaming: build: streaming_url: "),
            (service().streaming_url("ftp://relay"), "streaming: build: streaming_url: must begin with http"),
            (
                service().streaming_url("http://me:pw@relay"),
                "streaming: build: streaming_url: must have no '?'",
            ),
            (
                service().streaming_url("http://relay/x?a=b"),
                "streaming: build: streaming_url: must have no '?'",
            ),
            (service().payload_filter("a b"), "streaming: build: payload_filter: must be letters"),
            (service().application_id("a/b"), "streaming: build: application_id: must be letters"),
            (service().application_version("x".repeat(65)), "streaming: build: application_version: must"),
            (service().header("x y", "v"), "streaming: build: header x y: is no name"),
            (service().wrapper("a\nb"), "streaming: build: wrapper: holds characters"),
            (service().header("x-team", "bl\u{e5}"), "streaming: build: header x-team: holds characters"),
            (service().connect_timeout(Duration::ZERO), "streaming: build: connect_timeout: must be longer"),
            (
                service().connect_timeout(PATIENT).transport(HyperTransport::new().unwrap()),
                "streaming: build: connect_timeout: the transport has its own",
            ),
            (LaunchDarklyService::new("").relay_proxy("http://relay"), "streaming: build: sdk_key: must not"),
        ] {
            let error = error(service);
            assert!(error.starts_with(message), "{error}");
        }
    }

    /// Neither an error nor a debug print shows a key.
    #[test]
    fn no_secret_is_shown() {
        let service = service().header("x-token", "sdk-secret-2");
        let with_password = service.clone().relay_proxy("https://me:secret@relay");
        assert!(!format!("{service:?} {with_password:?}").contains("secret"));
        assert!(!format!("{:?}", service.streaming("streaming").unwrap()).contains("sdk-secret\""));
        let error = error(LaunchDarklyService::new("sdk-secret\n").relay_proxy("http://relay"));
        assert_eq!(error, "streaming: build: sdk_key: holds characters that cannot be sent");
    }

    /// LaunchDarkly itself is there by HTTPS alone.
    #[cfg(not(feature = "hyper-rustls-native-roots"))]
    #[test]
    fn https_needs_tls() {
        assert!(error(LaunchDarklyService::new("k")).contains("transport: has no TLS: set one"));
    }
}
