//! What the client is made from.

use aws_config::{Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, IdentityCache, SharedCredentialsProvider};
use aws_types::service_config::ServiceConfigKey;

use crate::error::Failure;
use crate::http::{HAS_TLS, Http};
use crate::identity::Identity;
use crate::pace::{FIRST_BACKOFF, LONGEST_BACKOFF};

/// What the builder was told. `None` leaves it to the `SdkConfig` or the environment.
pub(crate) struct Settings {
    pub(crate) sdk_config: Option<SdkConfig>,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) credentials_provider: Option<SharedCredentialsProvider>,
    pub(crate) timeouts: TimeoutConfig,
    pub(crate) max_attempts: u32,
}

impl Settings {
    /// A client that can do all but sign, which it can as soon as the identity is loaded.
    pub(crate) async fn connect(&self) -> Result<(Client, Identity), Failure> {
        let environment;
        let config = match &self.sdk_config {
            Some(sdk_config) => sdk_config,
            None => {
                environment = self.environment().await;
                &environment
            }
        };
        let mut builder = Builder::from(config);
        if self.sdk_config.as_ref().is_none_or(|config| config.http_client().is_none()) {
            let endpoint = self.endpoint.clone().or_else(|| endpoint_of(config));
            if !HAS_TLS && !endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
                return Err(Failure::NoTls);
            }
            builder = builder.http_client(Http::new());
        }
        if config.behavior_version().is_none() {
            // One that was put together by hand may lack it, and the SDK makes no client without.
            builder = builder.behavior_version(behavior());
        }
        if let Some(region) = &self.region {
            builder = builder.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        let retries = RetryConfig::standard()
            .with_max_attempts(self.max_attempts)
            .with_initial_backoff(FIRST_BACKOFF)
            .with_max_backoff(LONGEST_BACKOFF);
        let source = self.credentials_provider.clone().or_else(|| config.credentials_provider());
        let source = source
            .ok_or(Failure::NoCredentials(self.source(), "it has no credentials provider".to_owned()))?;
        let identity = Identity::new(source, self.source());
        // The SDK's cache would load within an attempt, and anew in the next one if that takes too long.
        let builder = builder.credentials_provider(identity.held()).identity_cache(IdentityCache::no_cache());
        // The tokens that retries cost are the store's own, and not those of all clients of the process.
        let partition = RetryPartition::custom("flagstore").build();
        let builder = builder.retry_config(retries).retry_partition(partition);
        let config = builder.timeout_config(self.timeouts.clone()).build();
        // Not kept: the environment may tell the next time.
        if config.region().is_none() {
            return Err(Failure::NoRegion);
        }
        Ok((Client::from_conf(config), identity))
    }

    /// Who gives the credentials, as errors name it.
    pub(crate) fn source(&self) -> &'static str {
        if self.credentials_provider.is_some() {
            "the credentials provider"
        } else if self.sdk_config.is_some() {
            "the SdkConfig"
        } else {
            "the environment, the AWS profile, a web identity, the container and the machine's metadata service"
        }
    }

    /// What the environment, the AWS profile and, on AWS, the machine say.
    async fn environment(&self) -> SdkConfig {
        let mut loader = aws_config::defaults(behavior()).http_client(Http::new());
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(provider) = &self.credentials_provider {
            loader = loader.credentials_provider(provider.clone());
        }
        loader.load().await
    }
}

/// The endpoint that the SDK takes out of this for DynamoDB: that of the application, or else that of the environment
/// or profile for DynamoDB alone, or else theirs for all services.
pub(crate) fn endpoint_of(config: &SdkConfig) -> Option<String> {
    let for_all = || config.endpoint_url().map(str::to_owned);
    if config.get_origin("endpoint_url").is_client_config() {
        return for_all();
    }
    let key = ServiceConfigKey::builder().service_id("DynamoDB");
    let key = key.env("AWS_ENDPOINT_URL").profile("endpoint_url").build().ok()?;
    config.service_config().and_then(|of_services| of_services.load_config(key)).or_else(for_all)
}

/// Pinned, so that the SDK's next version does not change what the store does.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}
