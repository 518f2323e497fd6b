use std::fmt::Debug;

/// Something that goes on by itself, from its start to its end.
pub trait BackgroundOperation: Debug + Send + Sync + 'static {
    /// Begins, and returns at once: what takes time is done in the background. A second time it does nothing,
    /// and neither does it after [`stop`](Self::stop).
    fn start(&self);

    /// Ends every thread and connection of it, also one that waits before it tries again, and returns at once.
    /// What cannot be ended at once, such as a call of a store, is left to end by itself, within its own
    /// deadline. A second time it does nothing.
    fn stop(&self);

    /// Whether it has been started, and has not ended since: after a [`stop`](Self::stop), whether something of
    /// it is still under way.
    fn is_alive(&self) -> bool;
}
