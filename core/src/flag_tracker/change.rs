use std::sync::Arc;

/// A flag has changed: it appeared, vanished, or has another version or content, or that happened to something
/// that it depends on, directly or not: a prerequisite, a segment in its rules, a segment in the rules of that.
///
/// Its value may be the same as before, for all contexts or for some.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FlagChange {
    /// The flag's key.
    pub key: Arc<str>,
}

/// The value of a flag has changed, for the context that was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FlagValueChange<V> {
    /// The flag's key.
    pub key: Arc<str>,
    /// What it was when it was evaluated last.
    pub old_value: V,
    /// What it is now.
    pub new_value: V,
}

impl FlagChange {
    pub(super) fn new(key: &Arc<str>) -> Self {
        Self { key: Arc::clone(key) }
    }
}

impl<V> FlagValueChange<V> {
    pub(super) fn new(key: &Arc<str>, old_value: V, new_value: V) -> Self {
        Self { key: Arc::clone(key), old_value, new_value }
    }
}
