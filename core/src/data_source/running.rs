use std::fmt;
use std::sync::Arc;

use super::status::DataSourceState;
use super::update_processor::{DataSourceFactory, UpdateProcessor};
use super::update_sink::DataSourceUpdateSink;
use crate::StoreError;

/// A data source at work: started, told when the store has been away, and stopped when this is dropped.
pub struct DataSource {
    source: Arc<dyn UpdateProcessor>,
    sink: DataSourceUpdateSink,
}

impl DataSource {
    /// Makes a source and starts it. The sink is for this source alone.
    ///
    /// # Errors
    ///
    /// Those of [`DataSourceFactory::create`].
    pub fn start(factory: &dyn DataSourceFactory, sink: DataSourceUpdateSink) -> Result<Self, StoreError> {
        let source = factory.create(sink.clone())?;
        let refreshed = Arc::downgrade(&source);
        sink.on_refresh(move || {
            if let Some(source) = refreshed.upgrade() {
                source.refresh();
            }
        });
        source.start();
        Ok(Self { source, sink })
    }

    /// Whether whole data of this source was ever stored.
    #[must_use]
    pub fn initialized(&self) -> bool {
        self.source.initialized()
    }

    /// Whether it goes on.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.source.is_alive()
    }

    /// The sink that it brings its data to.
    #[must_use]
    pub fn sink(&self) -> &DataSourceUpdateSink {
        &self.sink
    }

    /// Stops it, and waits for nothing: its state is [`OFF`](DataSourceState::Off), and it begins to store nothing
    /// more. What it was storing just then may still arrive while it [is alive](Self::is_alive). A second time
    /// it does nothing.
    pub fn stop(&self) {
        self.sink.update_status(DataSourceState::Off, None);
        self.source.stop();
    }
}

impl Drop for DataSource {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataSource").field("source", &self.source).field("sink", &self.sink).finish()
    }
}
