use std::error::Error;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use flagstore_core::{ErrorKind, StoreError};

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

    #[error(
        "AWS does not accept the credentials ({0}): they are wrong, expired, or of another account or region"
    )]
    BadCredentials(String),

    #[error("not allowed: give the role or user this permission ({0})")]
    Denied(String),

    #[error("throttled: raise the table's capacity, or make it on-demand")]
    Throttled,

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
         init_timeout; call init again to write all of it"
    )]
    Unfinished { left: usize },

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
            Self::TooLarge => ErrorKind::TooLarge,
            Self::NoAnswer(_) | Self::Unfinished { .. } | Self::InDoubt(_) => ErrorKind::Timeout,
            // Only a builder says `Config`. These are found out when the table is first used, which then does
            // not work, and does once somebody has mended them: there is no need to build the store again.
            Self::NoTable | Self::WrongTable(_) | Self::NoRegion | Self::NoCredentials(..) => {
                ErrorKind::Unavailable
            }
            Self::WaitedForRegion(_) | Self::WaitedForCredentials(..) => ErrorKind::Unavailable,
            Self::BadCredentials(_) | Self::Denied(_) | Self::Throttled => ErrorKind::Unavailable,
            Self::NoConnection(_) | Self::BadAnswer(_) | Self::Server(_) | Self::Raced => {
                ErrorKind::Unavailable
            }
            Self::Other(_) => ErrorKind::Other,
        }
    }

    /// The failure as an error of this operation, at this place (`table flags at http://localhost:8000`).
    pub(crate) fn during(self, operation: &'static str, place: &str) -> StoreError {
        let message = match &self {
            Self::NotAnItem(_) | Self::TooLarge => self.to_string(),
            _ => format!("{place}: {self}"),
        };
        StoreError::new(self.kind(), STORE, operation, message)
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
                Some(code) => of_service(code, message.unwrap_or("no reason given")),
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
fn of_service(code: &str, message: &str) -> Failure {
    let both = || format!("{code}: {message}");
    match code {
        "ResourceNotFoundException" => Failure::NoTable,
        // Only if our own check of the size is wrong.
        "ValidationException" if message.contains("Item size") => Failure::TooLarge,
        "ValidationException" => Failure::WrongTable(message.to_owned()),
        "AccessDeniedException" => Failure::Denied(message.to_owned()),
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
        | "LimitExceededException" => Failure::Throttled,
        "InternalServerError" | "InternalFailure" | "ServiceUnavailable" => Failure::Server(both()),
        // Somebody's transaction has the item.
        "TransactionConflictException" => Failure::Server(both()),
        _ => Failure::Other(both()),
    }
}

/// Why a transaction was cancelled, as far as it is not a condition.
pub(crate) fn of_cancellation(code: &str, message: &str) -> Failure {
    match code {
        "TransactionConflict" => Failure::Server(format!("{code}: somebody else is writing the same rows")),
        "ThrottlingError" | "ProvisionedThroughputExceeded" => Failure::Throttled,
        "ValidationError" if message.contains("tem size") => Failure::TooLarge,
        _ => Failure::Other(format!("the transaction was cancelled: {code}: {message}")),
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
mod tests {
    use super::*;

    /// Each code that `of_service` names has its own failure and kind.
    #[test]
    fn every_named_code_has_its_failure() {
        let message = "reason".to_owned();
        let table = [
            ("ResourceNotFoundException", Failure::NoTable, ErrorKind::Unavailable),
            ("ValidationException", Failure::WrongTable(message.clone()), ErrorKind::Unavailable),
            ("AccessDeniedException", Failure::Denied(message), ErrorKind::Unavailable),
            ("ProvisionedThroughputExceededException", Failure::Throttled, ErrorKind::Unavailable),
            ("ThrottlingException", Failure::Throttled, ErrorKind::Unavailable),
            ("RequestLimitExceeded", Failure::Throttled, ErrorKind::Unavailable),
            (
                "InternalServerError",
                Failure::Server("InternalServerError: reason".to_owned()),
                ErrorKind::Unavailable,
            ),
            ("SomethingNew", Failure::Other("SomethingNew: reason".to_owned()), ErrorKind::Other),
        ];
        for (code, failure, kind) in table {
            assert_eq!(failure.kind(), kind, "{code}");
            assert_eq!(of_service(code, "reason"), failure);
        }
        assert_eq!(
            of_service("ValidationException", "Item size has exceeded the maximum allowed size"),
            Failure::TooLarge
        );
    }

    /// What the server says of a wrong signature can repeat the request's headers.
    #[test]
    fn a_message_about_the_signature_is_not_shown() {
        for code in
            ["InvalidSignatureException", "IncompleteSignatureException", "UnrecognizedClientException"]
        {
            let failure = of_service(code, "x-amz-security-token: SECRET");
            assert_eq!(failure, Failure::BadCredentials(code.to_owned()));
            assert!(!format!("{failure} {failure:?}").contains("SECRET"));
        }
    }

    /// An error names the operation, the place and what to do next.
    #[test]
    fn a_message_says_where_and_what_to_do() {
        let error = Failure::Throttled.during("get", "table flags in eu-west-1");
        assert_eq!(
            error.to_string(),
            "dynamodb: get: table flags in eu-west-1: throttled: raise the table's capacity, or make it on-demand"
        );
    }

    /// After an attempt without an answer a write may have happened, whatever came of the next.
    #[test]
    fn doubt_is_a_timeout() {
        assert_eq!(Failure::InDoubt(Box::new(Failure::Throttled)).kind(), ErrorKind::Timeout);
    }
}
