//! The client under test.

use std::sync::Arc;
use std::time::Duration;

use flagstore_core::{BigSegmentStoreStatus, BigSegmentStoreWrapper, BigSegmentsStatus};
use flagstore_launchdarkly::{BigSegmentsClient, DataSystem};
use launchdarkly_server_sdk::{Client, Context};

use crate::listeners::Listeners;

/// How long the end of a source may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client, and what there is beside it.
pub(crate) struct Tested {
    client: Evaluating,
    big_segments: Option<BigSegmentStoreWrapper>,
    system: Option<DataSystem>,
    listeners: Listeners,
}

enum Evaluating {
    /// The SDK's own, with its cache.
    Plain(Arc<Client>),
    /// Ours around it, which has none.
    BigSegments(BigSegmentsClient),
}

impl Tested {
    pub(crate) fn plain(client: Client) -> Self {
        Self::new(Evaluating::Plain(Arc::new(client)), None, None)
    }

    pub(crate) fn with_big_segments(
        client: BigSegmentsClient,
        big_segments: Option<BigSegmentStoreWrapper>,
    ) -> Self {
        Self::new(Evaluating::BigSegments(client), big_segments, None)
    }

    pub(crate) fn of_data_system(client: BigSegmentsClient, system: DataSystem) -> Self {
        let big_segments = system.big_segments().cloned();
        Self::new(Evaluating::BigSegments(client), big_segments, Some(system))
    }

    fn new(
        client: Evaluating,
        big_segments: Option<BigSegmentStoreWrapper>,
        system: Option<DataSystem>,
    ) -> Self {
        Self { client, big_segments, system, listeners: Listeners::default() }
    }

    /// Starts it, and waits until it has data. Whether it has, or waits for nobody.
    pub(crate) async fn start(self: Arc<Self>, patience: Duration) -> bool {
        self.client().start_with_default_executor();
        if self.system.is_none() {
            return self.client().wait_for_initialization(patience).await == Some(true);
        }
        let waited = tokio::task::spawn_blocking(move || {
            let system = self.system.as_ref();
            system.is_some_and(|system| {
                system.data_source_status_provider().is_none() || system.wait_for_initialization(patience)
            })
        });
        waited.await.unwrap_or(false)
    }

    pub(crate) fn client(&self) -> &Arc<Client> {
        match &self.client {
            Evaluating::Plain(client) => client,
            Evaluating::BigSegments(client) => client.client(),
        }
    }

    /// Evaluates something for this context. Returns the Big Segments status too, if it depends on any.
    pub(crate) fn with_context<R>(
        &self,
        context: &Context,
        call: impl FnOnce(&Client) -> R,
    ) -> (R, Option<BigSegmentsStatus>) {
        match &self.client {
            Evaluating::Plain(client) => (call(client), None),
            Evaluating::BigSegments(client) => client.with_context(context, call),
        }
    }

    pub(crate) fn big_segments_status(&self) -> Option<BigSegmentStoreStatus> {
        match &self.client {
            Evaluating::Plain(_) => None,
            Evaluating::BigSegments(client) => Some(client.big_segment_store_status_provider().status()),
        }
    }

    /// What tells of changes, and those who are told. `None` without a data system: the SDK tells nobody.
    pub(crate) fn listening(&self) -> Option<(&DataSystem, &Listeners)> {
        self.system.as_ref().map(|system| (system, &self.listeners))
    }

    pub(crate) fn close(&self) {
        self.client().close();
        if let Some(big_segments) = &self.big_segments {
            big_segments.stop();
        }
        if let Some(system) = &self.system {
            system.close(PATIENCE);
        }
    }
}
