//! How the store comes to its client.

use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, SharedCredentialsProvider};
use tokio::sync::OnceCell;

use crate::error::Failure;

/// Between two attempts: doubled each time, and a random part of it. The SDK's default of a second is as long
/// as an evaluation may take in all.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// What the client is made from. It is made by the first call, since reading the environment may take
/// requests, and `build` makes none.
pub(crate) struct Connection {
    settings: Settings,
    client: OnceCell<Client>,
}

/// What the builder was told. `None` leaves it to the `SdkConfig` or the environment.
pub(crate) struct Settings {
    pub(crate) sdk_config: Option<SdkConfig>,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) credentials_provider: Option<SharedCredentialsProvider>,
    pub(crate) timeouts: TimeoutConfig,
    pub(crate) max_attempts: u32,
}

impl Connection {
    pub(crate) fn new(settings: Settings, client: Option<Client>) -> Self {
        Self { settings, client: OnceCell::new_with(client) }
    }

    /// The client. What fails is tried again by the next call.
    pub(crate) async fn client(&self) -> Result<&Client, Failure> {
        self.client.get_or_try_init(|| self.settings.connect()).await
    }

    /// Where the table is, as far as it is known: an endpoint, or else a region.
    pub(crate) fn location(&self) -> Option<String> {
        let region =
            || self.client.get().and_then(|client| client.config().region().map(ToString::to_string));
        self.settings.endpoint.clone().or_else(|| self.settings.region.clone()).or_else(region)
    }
}

impl Settings {
    async fn connect(&self) -> Result<Client, Failure> {
        let mut config = match &self.sdk_config {
            Some(sdk_config) if sdk_config.behavior_version().is_some() => Builder::from(sdk_config),
            // One that was put together by hand may lack it, and the SDK makes no client without.
            Some(sdk_config) => Builder::from(sdk_config).behavior_version(behavior()),
            None => Builder::from(&self.environment().await),
        };
        if let Some(region) = &self.region {
            config = config.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &self.endpoint {
            config = config.endpoint_url(endpoint);
        }
        if let Some(provider) = &self.credentials_provider {
            config = config.credentials_provider(provider.clone());
        }
        let retries = RetryConfig::standard()
            .with_max_attempts(self.max_attempts)
            .with_initial_backoff(FIRST_BACKOFF)
            .with_max_backoff(LONGEST_BACKOFF);
        let config = config.timeout_config(self.timeouts.clone()).retry_config(retries).build();
        // Not kept: the environment may tell the next time.
        if config.region().is_none() {
            return Err(Failure::NoRegion);
        }
        Ok(Client::from_conf(config))
    }

    /// What the environment, the AWS profile and, on AWS, the machine say.
    async fn environment(&self) -> SdkConfig {
        let loader = aws_config::defaults(behavior());
        match &self.region {
            Some(region) => loader.region(Region::new(region.clone())).load().await,
            None => loader.load().await,
        }
    }
}

/// Pinned, so that the SDK's next version does not change what the store does.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}
