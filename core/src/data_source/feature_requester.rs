use std::fmt::Debug;

use super::error_info::DataSourceErrorInfo;
use crate::AllData;

/// Asks for the whole data once: what a source that polls does at each poll.
pub trait FeatureRequester: Debug + Send + Sync + 'static {
    /// The whole data, or that it has not changed since it was asked for last. If `even_if_unchanged`, the data
    /// in any case.
    ///
    /// Waits for the answer, within a deadline of its own.
    ///
    /// # Errors
    ///
    /// What a status reports: of what kind the failure was, the status code of an answer, and why.
    fn get_all_data(&self, even_if_unchanged: bool) -> Result<Requested, DataSourceErrorInfo>;
}

/// What a [`FeatureRequester`] was answered.
// Exhaustive on purpose: there is no third answer that is not an error.
#[derive(Debug, Clone)]
pub enum Requested {
    /// The whole data.
    AllData(AllData),
    /// It is what it was the last time.
    NotModified,
}
