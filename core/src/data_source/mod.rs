//! What brings flags and segments into a store, what is known of how it does, and who is told of what it changes.

mod background_operation;
mod error_info;
mod feature_requester;
mod outage;
mod running;
mod status;
mod status_board;
mod status_provider;
mod update_processor;
mod update_sink;

pub use background_operation::BackgroundOperation;
pub use error_info::{DataSourceErrorInfo, DataSourceErrorKind};
pub use feature_requester::{FeatureRequester, Requested};
pub use running::DataSource;
pub use status::{DataSourceState, DataSourceStatus};
pub use status_provider::DataSourceStatusProvider;
pub use update_processor::{DataSourceFactory, UpdateProcessor};
pub use update_sink::{DataSourceUpdateSink, DataSourceUpdateSinkBuilder, Delivery};
