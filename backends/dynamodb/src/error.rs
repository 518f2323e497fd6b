use std::error::Error;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::ThrottlingReason;
use aws_sdk_dynamodb::types::error::{
    ProvisionedThroughputExceededException, RequestLimitExceeded, ThrottlingException,
};
use flagstore_core::{ErrorKind, StoreError};

use crate::throttling::Throttling;

/// The store's one-word name in errors.
pub(crate) const STORE: &str = "dynamodb";

/// Why a call did not succeed, before it is known which call it was.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("not an item: {0}")]
    NotAnItem(String),

    #[error("what is stored there cannot be read: {0}")]
    NotReadable(String),

    #[error("larger than the 400 KB that DynamoDB can hold, or under a key that it cannot have")]
    TooLarge,

    #[error(
        "the items of its partition are larger than DynamoDB can hold in a table with local indexes ({0})"
    )]
    CollectionTooLarge(String),

    #[error("the table does not exist: create it, or correct the table's name, the region or the endpoint")]
    NoTable,

    #[error(
        "the request does not suit the table, which needs the partition key `namespace` (S) and the sort key \
         `key` (S): {0}"
    )]
    WrongTable(String),

    #[error(
        "no AWS region: set it on the builder, in AWS_REGION or in the AWS profile (none of these has one, nor has \
         the machine's metadata service)"
    )]
    NoRegion,

    /// Who was asked, and what came of it.
    #[error(
        "no AWS credentials: set a provider on the builder, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role \
         (asked: {0}; {1})"
    )]
    NoCredentials(&'static str, String),

    /// Nothing was sent.
    #[error(
        "waited for the AWS region until the timeout of {0:?}: AWS_REGION and the AWS profile have none, and the machine's metadata \
         service has not answered; set it on the builder, or try again later"
    )]
    WaitedForRegion(Duration),

    /// Nothing was sent.
    #[error(
        "waited for the AWS credentials until the timeout of {0:?}: still asking {1}; try again later, or set a provider or keys that are \
         there sooner"
    )]
    WaitedForCredentials(Duration, &'static str),

    /// Of a client that was handed in. It may have sent something before.
    #[error(
        "no answer within the timeout of {0:?}: the client still asks its own provider for AWS credentials; try again \
         later, or give the client keys that are there sooner"
    )]
    ClientWaited(Duration),

    #[error(
        "AWS does not accept the credentials ({0}): they are wrong, expired, or of another account or region"
    )]
    BadCredentials(String),

    #[error(
        "AWS does not accept the time of the request ({0}): this machine's clock is wrong; set it, and keep it \
         synchronized"
    )]
    ClockSkew(String),

    #[error("not allowed: give the role or user this permission ({0})")]
    Denied(String),

    #[error(
        "no TLS is compiled: turn on one of the features tls-rustls-aws-lc and tls-rustls-ring, or hand in a client or \
         an SdkConfig with an HTTP client"
    )]
    NoTls,

    #[error("throttled: {0}")]
    Throttled(Throttling),

    #[error("cannot connect, or the connection broke: check the endpoint and the network ({0})")]
    NoConnection(String),

    #[error("no answer in time: check the network, or raise the timeouts ({0})")]
    NoAnswer(String),

    #[error("the answer is not DynamoDB's: check the endpoint, and any proxy on the way ({0})")]
    BadAnswer(String),

    /// DynamoDB's own fault.
    #[error("DynamoDB failed, try again later ({0})")]
    Server(String),

    #[error(
        "{left} writes were still throttled or unprocessed at the init timeout: raise the table's capacity or \
         init_timeout; call init again to write the rest{}",
        why.as_ref().map(|why| format!(" (the last was {why})")).unwrap_or_default()
    )]
    Unfinished { left: usize, why: Option<Box<Self>> },

    /// One request of an init, repeated until its deadline.
    #[error("in vain until the init timeout: raise the table's capacity or init_timeout (the last was {0})")]
    TooSlow(Box<Self>),

    #[error("a transaction of somebody else's has the item; try again ({0})")]
    Conflict(String),

    #[error("other writers replaced the item again and again; try again")]
    Raced,

    /// A request was sent and not answered, so the write may have happened whatever came of the later
    /// attempts.
    #[error("the write may have happened: {0}")]
    InDoubt(Box<Self>),

    #[error("{0}")]
    Other(String),
}

impl Failure {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAnItem(_) | Self::NotReadable(_) => ErrorKind::Corrupt,
            Self::TooLarge | Self::CollectionTooLarge(_) => ErrorKind::TooLarge,
            Self::NoAnswer(_) | Self::ClientWaited(_) | Self::Unfinished { .. } | Self::InDoubt(_) => {
                ErrorKind::Timeout
            }
            // Only a builder says `Config`. These are found out when the table is first used, which then does
            // not work, and does once somebody has mended them: there is no need to build the store again.
            Self::NoTable | Self::WrongTable(_) | Self::NoRegion | Self::NoCredentials(..) | Self::NoTls => {
                ErrorKind::Unavailable
            }
            Self::WaitedForRegion(_) | Self::WaitedForCredentials(..) => ErrorKind::Unavailable,
            Self::BadCredentials(_) | Self::ClockSkew(_) | Self::Denied(_) | Self::Throttled(_) => {
                ErrorKind::Unavailable
            }
            Self::NoConnection(_) | Self::BadAnswer(_) | Self::Server(_) | Self::Raced => {
                ErrorKind::Unavailable
            }
            Self::TooSlow(last) => last.kind(),
            // The item's, not the database's.
            Self::Conflict(_) | Self::Other(_) => ErrorKind::Other,
        }
    }

    pub(crate) fn is_throttling(&self) -> bool {
        matches!(self, Self::Throttled(_))
    }

    /// Whether the same request may succeed a moment later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Throttled(_)
                | Self::NoConnection(_)
                | Self::NoAnswer(_)
                | Self::BadAnswer(_)
                | Self::Server(_)
                | Self::Conflict(_)
        )
    }

    /// The failure as an error of this operation, at this place (`table flags at http://localhost:8000`).
    pub(crate) fn during(self, operation: &'static str, place: &str) -> StoreError {
        let message = match &self {
            Self::NotAnItem(_) | Self::TooLarge => self.to_string(),
            _ => format!("{place}: {self}"),
        };
        match self.kind() {
            ErrorKind::Timeout => StoreError::unanswered(STORE, operation, message),
            kind => StoreError::new(kind, STORE, operation, message),
        }
    }
}

impl<E: ProvideErrorMetadata + Error + 'static> From<SdkError<E, HttpResponse>> for Failure {
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        classify(&error)
    }
}

/// What a caller can do about an error of the SDK.
pub(crate) fn classify<E>(error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::TimeoutError(_) => Failure::NoAnswer(causes(error)),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => Failure::NoAnswer(causes(error)),
        SdkError::ServiceError(service) => {
            let (code, message) = (service.err().code(), service.err().message());
            match code {
                Some(code) => {
                    of_service(code, message.unwrap_or("no reason given"), throttling_reasons(service.err()))
                }
                None => Failure::BadAnswer(format!("status {}", service.raw().status())),
            }
        }
        SdkError::ResponseError(response) => {
            Failure::BadAnswer(format!("status {}: {}", response.raw().status(), causes(error)))
        }
        _ if find::<CredentialsError>(error).is_some() => {
            Failure::NoCredentials("the client's provider", causes(error))
        }
        SdkError::DispatchFailure(_) => Failure::NoConnection(causes(error)),
        // Such as an endpoint that the SDK cannot use.
        _ => Failure::Other(causes(error)),
    }
}

/// The server's own errors. The code says which; only where it says too little is the message looked at.
fn of_service(code: &str, message: &str, reasons: &[ThrottlingReason]) -> Failure {
    let both = || format!("{code}: {message}");
    match code {
        "ResourceNotFoundException" => Failure::NoTable,
        // Only if our own check of the size is wrong.
        "ValidationException" if message.contains("Item size") => Failure::TooLarge,
        "ValidationException" if is_about_keys(message) => Failure::WrongTable(message.to_owned()),
        "ItemCollectionSizeLimitExceededException" => Failure::CollectionTooLarge(message.to_owned()),
        "AccessDeniedException" => Failure::Denied(message.to_owned()),
        "InvalidSignatureException" if is_about_time(message) => Failure::ClockSkew(code.to_owned()),
        "RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture" => {
            Failure::ClockSkew(code.to_owned())
        }
        // Without the message: that about a signature can repeat the request's headers, with a session token.
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId" => Failure::BadCredentials(code.to_owned()),
        "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "ThrottlingException"
        | "Throttling"
        | "LimitExceededException" => Failure::Throttled(Throttling::new(both(), reasons)),
        "InternalServerError" | "InternalFailure" | "ServiceUnavailable" => Failure::Server(both()),
        // Another region is writing the item.
        "ReplicatedWriteConflictException" => Failure::Server(both()),
        "TransactionConflictException" => Failure::Conflict(both()),
        _ => Failure::Other(both()),
    }
}

/// Why a transaction was cancelled, as far as it is not a condition.
pub(crate) fn of_cancellation(code: &str, message: &str) -> Failure {
    let both = || format!("{code}: {message}");
    match code {
        "TransactionConflict" => Failure::Conflict(both()),
        "ThrottlingError" | "ProvisionedThroughputExceeded" => {
            Failure::Throttled(Throttling::new(both(), &[]))
        }
        "ValidationError" if message.contains("tem size") => Failure::TooLarge,
        "ItemCollectionSizeLimitExceeded" => Failure::CollectionTooLarge(message.to_owned()),
        _ => Failure::Other(format!("the transaction was cancelled: {}", both())),
    }
}

/// Whether the server finds fault with the table's keys, in any of its ways to say so.
fn is_about_keys(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "key element",
        "key schema",
        "missing the key",
        "mismatch for key",
        "key condition",
        "conditions on the keys",
    ]
    .iter()
    .chain(["match schema type", "match the schema"].iter())
    .any(|words| message.contains(words))
}

fn is_about_time(message: &str) -> bool {
    ["Signature expired", "Signature not yet current"].iter().any(|words| message.contains(words))
}

/// Which of the SDK's errors has reasons depends on the operation, so they are looked for.
fn throttling_reasons<'a>(error: &'a (dyn Error + 'static)) -> &'a [ThrottlingReason] {
    if let Some(throttling) = find::<ThrottlingException>(error) {
        throttling.throttling_reasons()
    } else if let Some(throttling) = find::<ProvisionedThroughputExceededException>(error) {
        throttling.throttling_reasons()
    } else if let Some(throttling) = find::<RequestLimitExceeded>(error) {
        throttling.throttling_reasons()
    } else {
        &[]
    }
}

/// What is below the SDK's own words, which say no more than the variant.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        // Some have a line for each part.
        let text = cause.to_string().lines().map(str::trim).collect::<Vec<_>>().join("; ");
        let text = text.replace(":;", ":");
        if causes.last().is_none_or(|last| !last.contains(&text)) {
            causes.push(text);
        }
        next = cause.source();
    }
    if causes.is_empty() { error.to_string() } else { causes.join(": ") }
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests;
