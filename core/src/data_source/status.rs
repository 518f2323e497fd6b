use std::fmt;
use std::time::SystemTime;

use super::error_info::DataSourceErrorInfo;

/// How a data source does.
// Exhaustive: these are all that LaunchDarkly's SDKs know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataSourceState {
    /// It has not brought any data yet, and tries to. Failures before the first data leave it here.
    Initializing,
    /// It has brought data, and works.
    Valid,
    /// It has brought data, and does not work at the moment. It goes on trying, and meanwhile what it brought
    /// still counts.
    Interrupted,
    /// It has ended, and brings nothing any more.
    Off,
}

impl DataSourceState {
    /// As LaunchDarkly writes it: `INITIALIZING`, `VALID`, `INTERRUPTED`, `OFF`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "INITIALIZING",
            Self::Valid => "VALID",
            Self::Interrupted => "INTERRUPTED",
            Self::Off => "OFF",
        }
    }
}

impl fmt::Display for DataSourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a data source does, since when, and what went wrong last.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataSourceStatus {
    /// How it does.
    pub state: DataSourceState,
    /// Since when the state is this one: an error that leaves the state as it is does not change it.
    pub since: SystemTime,
    /// What went wrong last, also if it is long over. `None` if nothing ever did.
    pub last_error: Option<DataSourceErrorInfo>,
}
