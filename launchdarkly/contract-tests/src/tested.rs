//! The client under test.

use std::sync::Arc;

use flagstore_core::{BigSegmentStoreStatus, BigSegmentStoreWrapper, BigSegmentsStatus};
use flagstore_launchdarkly::BigSegmentsClient;
use launchdarkly_server_sdk::{Client, Context};

/// A client, and what there is beside it.
pub(crate) struct Tested {
    client: Evaluating,
    big_segments: Option<BigSegmentStoreWrapper>,
}

enum Evaluating {
    /// The SDK's own, with its cache.
    Plain(Arc<Client>),
    /// Ours around it, which has none.
    BigSegments(BigSegmentsClient),
}

impl Tested {
    pub(crate) fn plain(client: Client) -> Self {
        Self { client: Evaluating::Plain(Arc::new(client)), big_segments: None }
    }

    pub(crate) fn with_big_segments(
        client: BigSegmentsClient,
        big_segments: Option<BigSegmentStoreWrapper>,
    ) -> Self {
        Self { client: Evaluating::BigSegments(client), big_segments }
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
        self.big_segments.as_ref().map(|big_segments| big_segments.status_provider().status())
    }

    pub(crate) fn close(&self) {
        self.client().close();
        if let Some(big_segments) = &self.big_segments {
            big_segments.stop();
        }
    }
}
