use std::io;
use std::sync::Arc;

use flagstore_core::{FeatureStore, FeatureStoreCore};
use launchdarkly_server_sdk::{PersistentDataStore, PersistentDataStoreBuilder, PersistentDataStoreFactory};

use crate::flagstore::Flagstore;

/// Makes the SDK keep its flags and segments in this store: what
/// [`ConfigBuilder::data_store`](launchdarkly_server_sdk::ConfigBuilder::data_store) takes.
///
/// The store may be given away, or shared as an [`Arc`] by whoever wants to use it as well. The builder
/// that is returned has one more setting: the SDK's own cache, which keeps what it has read for 15 seconds
/// unless told otherwise (`no_caching()`, `cache_time(..)`, `cache_forever()`).
///
/// ```
/// use flagstore_core::MemoryStore;
/// use launchdarkly_server_sdk::{Client, ConfigBuilder, NullEventProcessorBuilder};
///
/// let config = ConfigBuilder::new("sdk-key")
///     .data_store(&flagstore_launchdarkly::data_store(MemoryStore::new()))
///     .daemon_mode(true)
///     .event_processor(&NullEventProcessorBuilder::new())
///     .build()?;
/// let client = Client::build(config)?;
/// assert!(client.initialized());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn data_store(store: impl FeatureStoreCore) -> PersistentDataStoreBuilder {
    PersistentDataStoreBuilder::new(Arc::new(FlagstoreFactory::new(store)))
}

/// As [`data_store`], with a [cache](flagstore_core::CachingStoreWrapper) of ours between the SDK and the
/// database.
///
/// A clone of the wrapper stays with the application, and tells what the SDK cannot: whether the database is
/// available ([`status_provider`](flagstore_core::CachingStoreWrapper::status_provider)), and how the cache
/// does ([`statistics`](flagstore_core::CachingStoreWrapper::statistics)). The crate's documentation says
/// which cache to use when: ours, the SDK's, or both.
///
/// ```
/// use flagstore_core::{CachingStoreWrapper, MemoryStore};
/// use launchdarkly_server_sdk::{Client, ConfigBuilder, NullEventProcessorBuilder};
///
/// let store = CachingStoreWrapper::builder(MemoryStore::new()).build()?;
/// let config = ConfigBuilder::new("sdk-key")
///     .data_store(&flagstore_launchdarkly::cached_data_store(store.clone()))
///     .daemon_mode(true)
///     .event_processor(&NullEventProcessorBuilder::new())
///     .build()?;
/// let client = Client::build(config)?;
///
/// let _listener = store.status_provider().add_listener(|status| eprintln!("database: {status:?}"));
/// assert!(store.status_provider().status().available);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn cached_data_store(store: impl FeatureStore) -> PersistentDataStoreBuilder {
    PersistentDataStoreBuilder::new(Arc::new(FlagstoreFactory::cached(store)))
}

/// The SDK's way to a store, for those who build their own
/// [`PersistentDataStoreBuilder`]; [`data_store`] and [`cached_data_store`] are shorter.
///
/// A clone leads to the same store, and so does every data store that the SDK asks it for.
#[derive(Debug, Clone)]
pub struct FlagstoreFactory(Flagstore);

impl FlagstoreFactory {
    /// Leads to this store, which an [`Arc`] of it is as well.
    #[must_use]
    pub fn new(store: impl FeatureStoreCore) -> Self {
        Self(Flagstore::core(Arc::new(store)))
    }

    /// Leads to this store, which has a cache.
    #[must_use]
    pub fn cached(store: impl FeatureStore) -> Self {
        Self(Flagstore::cached(Arc::new(store)))
    }
}

impl PersistentDataStoreFactory for FlagstoreFactory {
    fn create_persistent_data_store(&self) -> Result<Box<dyn PersistentDataStore>, io::Error> {
        Ok(Box::new(self.0.clone()))
    }
}
