//! The credentials that requests are signed with, and their source.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{
    ConfigBag, Credentials, IdentityCache, ProvideCredentials, ResolveCachedIdentity, RuntimeComponents,
    SharedCredentialsProvider, SharedIdentityCache,
};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_runtime_api::client::identity::{IdentityFuture, SharedIdentityResolver};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use futures_util::FutureExt;

use crate::error::{Failure, causes};

/// Credentials without an expiry may come from a file that changes: the SDK's own time.
const RENEWED_AFTER: Duration = Duration::from_secs(15 * 60);
/// AWS has the next credentials at least this long before the last ones expire.
const RENEWED_BEFORE: Duration = Duration::from_secs(5 * 60);

/// Who has credentials, and the ones that it gave last.
pub(crate) struct Identity {
    source: SharedCredentialsProvider,
    /// As errors name it.
    name: &'static str,
    held: Held,
}

/// The credentials of the last load, for the SDK. It never waits: the store has waited before it sends anything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held(Arc<RwLock<Option<Credentials>>>);

impl Identity {
    pub(crate) fn new(source: SharedCredentialsProvider, name: &'static str) -> Self {
        Self { source, name, held: Held::default() }
    }

    pub(crate) fn held(&self) -> Held {
        self.held.clone()
    }

    /// Asks the source, and says until when its answer counts.
    pub(crate) async fn load(&mut self) -> Result<Option<SystemTime>, Failure> {
        let no_credentials = |reason| Failure::NoCredentials(self.name, reason);
        // An application's own source may also panic. It is asked anew then, and nobody sees what it left half-way.
        let loaded = AssertUnwindSafe(self.source.provide_credentials()).catch_unwind().await;
        let credentials = loaded
            .map_err(|_| no_credentials("it panicked".to_owned()))?
            .map_err(|error| no_credentials(causes(&error)))?;
        let expiry = credentials.expiry();
        *self.held.0.write().unwrap_or_else(PoisonError::into_inner) = Some(credentials);
        Ok(expiry)
    }
}

/// The identity cache of a client that was handed in, with one difference: a load goes on when the call that began it
/// has ended, so it is there for the next one.
#[derive(Debug)]
pub(crate) struct Unhurried {
    cache: SharedIdentityCache,
    loads: Loads,
}

/// How many of its loads are under way. What is cached is there at once, so that more than none is a sign of a source
/// that takes its time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loads(Arc<()>);

impl Loads {
    pub(crate) fn are_under_way(&self) -> bool {
        // Each has one, beside this and that of the cache.
        Arc::strong_count(&self.0) > 2
    }
}

impl Unhurried {
    pub(crate) fn cache_of(client: &Client, loads: Loads) -> Self {
        let cache = client.config().identity_cache().unwrap_or_else(|| IdentityCache::lazy().build());
        Self { cache, loads }
    }
}

impl ResolveCachedIdentity for Unhurried {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        components: &'a RuntimeComponents,
        _config: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        let (cache, components, load) = (self.cache.clone(), components.clone(), self.loads.clone());
        let load = tokio::spawn(async move {
            let _load = load;
            // Without the call's own settings, of which the cache would only take timeouts.
            cache.resolve_cached_identity(resolver, &components, &ConfigBag::base()).await
        });
        IdentityFuture::new(async { load.await? })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.cache.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.cache.validate_final_config(components, config)
    }
}

impl ProvideCredentials for Held {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        future::ProvideCredentials::ready(
            held.ok_or_else(|| CredentialsError::not_loaded("they are still being loaded")),
        )
    }
}

/// When to renew credentials: while there is time for a source that is slow, or fails at first.
pub(crate) fn renewal_in(expiry: Option<SystemTime>) -> Duration {
    let Some(expiry) = expiry else { return RENEWED_AFTER };
    let left = expiry.duration_since(SystemTime::now()).unwrap_or_default();
    left - RENEWED_BEFORE.min(left / 3)
}
