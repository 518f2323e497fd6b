//! Whether a write may have happened although nobody said so.
//!
//! The SDK repeats a request whose answer was lost. If the first one did write, the next one's condition
//! fails on what the first has written; and if the next one cannot connect, its error is not the whole truth.
//! So a conditional write watches its attempts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;
use flagstore_core::ErrorKind;

use crate::error::Failure;

/// Set when an attempt was sent and got no answer, or a server's error, which does not say either.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doubt(Arc<AtomicBool>);

impl Doubt {
    pub(crate) fn exists(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// The failure of the write, which may have happened for all that.
    pub(crate) fn about(&self, failure: Failure) -> Failure {
        let in_doubt = self.exists() || matches!(failure, Failure::BadAnswer(_));
        if in_doubt && failure.kind() != ErrorKind::Timeout {
            Failure::InDoubt(failure.into())
        } else {
            failure
        }
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Doubt {
    fn name(&self) -> &'static str {
        "flagstore::Doubt"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Without a connection nothing was sent. A client that does not tell is taken at its worst.
        let connection = config.load::<CaptureSmithyConnection>();
        let sent = connection.is_none_or(|connection| connection.get().is_some());
        let answered = context.response().is_some_and(|response| !response.status().is_server_error());
        if sent && !answered {
            self.0.store(true, Ordering::Release);
        }
        Ok(())
    }
}
