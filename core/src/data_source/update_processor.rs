use std::fmt::Debug;
use std::sync::Arc;

use super::background_operation::BackgroundOperation;
use super::update_sink::DataSourceUpdateSink;
use crate::StoreError;

/// A source of flags and segments: a stream, something that is polled, a file, a test. Whoever implements this
/// brings data from wherever it is into the [`DataSourceUpdateSink`] that its [factory](DataSourceFactory) got.
///
/// # What a source does
///
/// - It hands the sink the whole data first, and updates afterwards, one after the other: what the sink is given
///   at the same time has no order.
/// - What the sink answers, a [`Delivery`](crate::Delivery), says whether to go on.
/// - It reports [`VALID`](crate::DataSourceState::Valid) when it works, and
///   [`INTERRUPTED`](crate::DataSourceState::Interrupted) with the error when it does not, and goes on trying.
///   [`OFF`](crate::DataSourceState::Off) is the end, and reported for it when it is stopped.
/// - It tells the sink of [every sign of life](DataSourceUpdateSink::event_received).
/// - After [`stop`](BackgroundOperation::stop) it hands the sink nothing more.
pub trait UpdateProcessor: BackgroundOperation {
    /// Whether whole data of this source was ever stored: what its sink
    /// [says of that](DataSourceUpdateSink::initialized).
    fn initialized(&self) -> bool;

    /// Sends everything again, as soon as it can: the store has been away, and may have missed something.
    ///
    /// Returns at once. It may be called at any time and on any thread, also while the source hands something
    /// to the sink. What the source has to ask for, it asks for even if that has not changed.
    fn refresh(&self);
}

/// Makes a source for a sink. The builders of sources are such.
pub trait DataSourceFactory: Debug + Send + Sync + 'static {
    /// A source that will bring its data to this sink, and has not been [started](BackgroundOperation::start).
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) names the field that is wrong, as [`StoreError::config`] does.
    fn create(&self, sink: DataSourceUpdateSink) -> Result<Arc<dyn UpdateProcessor>, StoreError>;
}
