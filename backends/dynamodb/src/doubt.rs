//! Whether a write may have happened although nobody said so.
//!
//! The SDK repeats a request whose answer was lost. If the first one did write, the next one's condition
//! fails on what the first has written; and if the next one cannot connect, its error is not the whole truth.
//! So a conditional write watches its attempts.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::config::interceptors::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use flagstore_core::ErrorKind;

use crate::error::Failure;

/// Set when an attempt was sent and got no answer, or a server's error, which does not say either.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doubt(Arc<Watched>);

#[derive(Debug, Default)]
struct Watched {
    /// Whether the attempt that is under way has come as far as the HTTP client.
    handed_over: AtomicBool,
    in_doubt: AtomicBool,
}

impl Doubt {
    pub(crate) fn exists(&self) -> bool {
        self.0.in_doubt.load(Ordering::Acquire)
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

    fn read_before_attempt(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.handed_over.store(false, Ordering::Release);
        Ok(())
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.handed_over.store(true, Ordering::Release);
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let error = context.output_or_error().and_then(Result::err);
        let connected =
            error.and_then(|error| error.as_connector_error()).is_none_or(|error| !is_of_connecting(error));
        let sent = self.0.handed_over.load(Ordering::Acquire) && connected;
        let answered = context.response().is_some_and(|response| !response.status().is_server_error());
        if sent && !answered {
            self.0.in_doubt.store(true, Ordering::Release);
        }
        Ok(())
    }
}

/// Whether there was no connection to send anything on. An HTTP client that the application brings along may say
/// less than the SDK's own, and then it is taken at its worst: only an error that nothing but connecting has counts.
fn is_of_connecting(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let refused = error.downcast_ref::<io::Error>().is_some_and(|error| {
            // One error may be inside the other.
            error.kind() == io::ErrorKind::ConnectionRefused
                || error.get_ref().is_some_and(|inner| is_of_connecting(inner))
        });
        let of_client = error.downcast_ref::<hyper_util::client::legacy::Error>();
        if refused || of_client.is_some_and(hyper_util::client::legacy::Error::is_connect) {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing listens there, so nothing was sent. A connection that breaks is another matter.
    #[test]
    fn only_connecting_is_refused() {
        assert!(is_of_connecting(&io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert!(is_of_connecting(&io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused))));
        for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof, io::ErrorKind::TimedOut] {
            assert!(!is_of_connecting(&io::Error::from(kind)));
        }
    }
}
