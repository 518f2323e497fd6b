use std::fmt;
use std::time::SystemTime;

/// Of what kind a failure of a data source was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DataSourceErrorKind {
    /// Something unexpected, such as a panic.
    Unknown,
    /// No connection, one that broke, or an answer that did not come in time.
    NetworkError,
    /// An answer with a status code that says no.
    ErrorResponse,
    /// What came could not be read.
    InvalidData,
    /// The data came, and the store has not taken it.
    StoreError,
}

impl DataSourceErrorKind {
    /// As LaunchDarkly writes it: `UNKNOWN`, `NETWORK_ERROR`, `ERROR_RESPONSE`, `INVALID_DATA`, `STORE_ERROR`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::NetworkError => "NETWORK_ERROR",
            Self::ErrorResponse => "ERROR_RESPONSE",
            Self::InvalidData => "INVALID_DATA",
            Self::StoreError => "STORE_ERROR",
        }
    }
}

impl fmt::Display for DataSourceErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure of a data source: of what kind, when, and why. It must not contain a key or a password.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataSourceErrorInfo {
    /// Of what kind it was.
    pub kind: DataSourceErrorKind,
    /// The status code of an [`ErrorResponse`](DataSourceErrorKind::ErrorResponse), and 0 for all others.
    pub status_code: u16,
    /// When it happened.
    pub time: SystemTime,
    /// What is known besides.
    pub message: String,
}

impl DataSourceErrorInfo {
    /// A failure that happened just now, and was no answer.
    #[must_use]
    pub fn new(kind: DataSourceErrorKind, message: impl Into<String>) -> Self {
        Self { kind, status_code: 0, time: SystemTime::now(), message: message.into() }
    }

    /// An [`ErrorResponse`](DataSourceErrorKind::ErrorResponse) that came just now.
    #[must_use]
    pub fn response(status_code: u16, message: impl Into<String>) -> Self {
        Self { status_code, ..Self::new(DataSourceErrorKind::ErrorResponse, message) }
    }
}

/// Such as `NETWORK_ERROR: connection refused` or `ERROR_RESPONSE(503): Service Unavailable`.
impl fmt::Display for DataSourceErrorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if self.status_code != 0 {
            write!(f, "({})", self.status_code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for DataSourceErrorInfo {}
