//! The store's own HTTP client: once a request is not answered, no connection from before is trusted.
//!
//! A network that forgets idle connections (a NAT, a firewall) tells neither end, or breaks them when they are used.
//! Each attempt would take one of the dead ones out of the pool and wait for its timeout, so a pool of twenty would cost
//! several calls. The first that is not answered costs its attempt; the next attempt is made with a new pool, on a new
//! connection.

use std::sync::{Arc, PoisonError, RwLock};

use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_sdk_dynamodb::config::{ConfigBag, HttpClient, RuntimeComponents, SharedHttpClient};
use aws_sdk_dynamodb::error::{BoxError, ConnectorError};
use aws_smithy_http_client::Builder;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;

/// Whether it speaks HTTPS.
pub(crate) const HAS_TLS: bool = cfg!(any(feature = "tls-rustls-aws-lc", feature = "tls-rustls-ring"));

#[derive(Debug, Clone)]
pub(crate) struct Http(Arc<RwLock<Pool>>);

/// A client of the SDK's, which is a pool of connections.
#[derive(Debug, Clone)]
struct Pool {
    client: SharedHttpClient,
    /// How many there were before it.
    number: usize,
}

impl Http {
    pub(crate) fn new() -> Self {
        Self(Arc::new(RwLock::new(Pool { client: client(), number: 0 })))
    }

    fn pool(&self) -> Pool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a new pool in the place of this one. What is under way on its connections goes on.
    fn distrust(&self, number: usize) {
        let mut pool = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if pool.number == number {
            *pool = Pool { client: client(), number: number + 1 };
        }
    }
}

/// With the TLS that is compiled, if any is.
fn client() -> SharedHttpClient {
    #[cfg(any(feature = "tls-rustls-aws-lc", feature = "tls-rustls-ring"))]
    {
        use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
        #[cfg(feature = "tls-rustls-aws-lc")]
        let crypto = CryptoMode::AwsLc;
        #[cfg(not(feature = "tls-rustls-aws-lc"))]
        let crypto = CryptoMode::Ring;
        Builder::new().tls_provider(Provider::Rustls(crypto)).build_https()
    }
    #[cfg(not(any(feature = "tls-rustls-aws-lc", feature = "tls-rustls-ring")))]
    Builder::new().build_http()
}

impl HttpClient for Http {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let Pool { client, number } = self.pool();
        let connector = client.http_connector(settings, components);
        SharedHttpConnector::new(Watched { connector, http: self.clone(), number })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.pool().client.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.pool().client.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.pool().client.connector_metadata()
    }
}

/// Sends requests on connections of one pool, and sees which are answered.
#[derive(Debug)]
struct Watched {
    connector: SharedHttpConnector,
    http: Http,
    number: usize,
}

impl HttpConnector for Watched {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut watch = Watch { http: self.http.clone(), number: self.number, is_answered: false };
        let answer = self.connector.call(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await;
            watch.end(&answer);
            answer
        })
    }
}

/// Is dropped when a request ends, be it that whoever waited for it has given up.
struct Watch {
    http: Http,
    number: usize,
    is_answered: bool,
}

impl Watch {
    fn end(&mut self, answer: &Result<HttpResponse, ConnectorError>) {
        self.is_answered = answer.is_ok();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.is_answered {
            self.http.distrust(self.number);
        }
    }
}
