use std::any::Any;
use std::fmt::{self, Debug};

use crate::Kind;

/// Where a cache learns that somebody else has written to the database, instead of waiting until its entries
/// are too old: `CLIENT TRACKING` of Redis, `PRAGMA data_version` of SQLite.
///
/// It may report too much, such as what was written through this very store, and too late. The cache only
/// forgets something earlier for it, so the time to live goes on as a backstop.
pub trait ChangeSource: Debug + Send + Sync + 'static {
    /// Calls `on_change` after every change that others make, until the [`ChangeWatch`] is dropped.
    ///
    /// Returns at once, also while the database is not there: the source connects by itself, now and after
    /// every outage, and reports [`Change::Anything`] whenever it may have missed something. Errors are not
    /// its caller's; they show in the store's own calls.
    fn watch(&self, on_change: Box<dyn Fn(Change) + Send + Sync>) -> ChangeWatch;
}

/// What may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Any item of this kind.
    Kind(Kind),
    /// Any item at all, or so much was missed that nobody can say.
    Anything,
}

/// A watch that is kept. Dropping it ends it, without waiting for a call that is under way.
#[must_use = "the watch ends when this is dropped"]
pub struct ChangeWatch(#[expect(dead_code, reason = "held for its drop")] Box<dyn Any + Send + Sync>);

impl ChangeWatch {
    /// A watch that ends when `guard` is dropped.
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self(Box::new(guard))
    }
}

impl Debug for ChangeWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChangeWatch")
    }
}
