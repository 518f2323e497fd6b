use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{Kind, Shown};

const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// A store's failure: what kind it is of, which store, during what operation, about which items, and why.
///
/// Cheap to clone, so that callers who waited for one database call can all be given its error. It shows
/// as `store: operation items: reason`, for example
/// `sqlite: upsert features/dark-mode: database is locked`, and never contains a password, token or key.
#[derive(Clone)]
pub struct StoreError(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    store: &'static str,
    operation: &'static str,
    items: Vec<(Kind, String)>,
    is_kept: bool,
    source: Arc<dyn Error + Send + Sync>,
}

/// What a caller can do about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The database did not do it, and may do it later: try again when it is back. Turns the data store
    /// status to unavailable.
    Unavailable,
    /// The database did not answer within the deadline: a write may have happened. Turns the data store
    /// status to unavailable.
    Timeout,
    /// What is stored under this key cannot be read: treat it as missing, and write it anew if you can. The
    /// database works, so the status does not change.
    Corrupt,
    /// This item is too large for the database: make it smaller. Everything else was stored, and the
    /// version stored before is still there. The status does not change.
    TooLarge,
    /// The configuration is wrong, and the message names the field: correct it. Only when building a store.
    Config,
    /// Anything else, such as a mistake in the store itself.
    Other,
}

impl StoreError {
    /// A failure of `operation` on a `store`, which is its one-word name (`"sqlite"`).
    pub fn new(
        kind: ErrorKind,
        store: &'static str,
        operation: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self(Arc::new(Inner {
            kind,
            store,
            operation,
            items: Vec::new(),
            is_kept: false,
            source: source.into().into(),
        }))
    }

    /// A call that was sent, as a whole or in part, and not answered in time, so nobody knows whether it happened: a
    /// [`Timeout`](ErrorKind::Timeout). Every store that sends anything says it by this, whatever it was that it waited
    /// for, and a caller need not know which. A database inside the process can know more: SQLite's, too, is a
    /// `Timeout`, and what it interrupts at the deadline is rolled back.
    pub fn unanswered(
        store: &'static str,
        operation: &'static str,
        reason: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::new(ErrorKind::Timeout, store, operation, reason)
    }

    /// A wrong value of the configuration's `field`.
    pub fn config(store: &'static str, field: &str, reason: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Config, store, "build", format!("{field}: {reason}"))
    }

    /// Refuses a timeout of the configuration's `field` that is zero, or longer than a day: longer than anyone waits
    /// for a flag, and short enough to keep sums of times in range.
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config).
    pub fn check_timeout(store: &'static str, field: &str, timeout: Duration) -> Result<(), Self> {
        if timeout.is_zero() || timeout > LONGEST_TIMEOUT {
            return Err(Self::config(store, field, "must be longer than zero, and a day at most"));
        }
        Ok(())
    }

    /// The same failure, and that it is about these items.
    #[must_use]
    pub fn about(self, items: impl IntoIterator<Item = (Kind, String)>) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        inner.items = items.into_iter().collect();
        Self(Arc::new(inner))
    }

    /// The same failure, and that the write is kept all the same.
    pub(crate) fn kept(self) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        inner.is_kept = true;
        Self(Arc::new(inner))
    }

    /// Whether the write that the database has not taken is kept, shown to readers, and written back once the
    /// database is there again: what [`CacheMode::Forever`](crate::CacheMode::Forever) does.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.0.is_kept
    }

    /// Whether the database is away or silent, so that it may take later what it has not taken now. Anything else it
    /// refuses for what it is, which is its caller's to know.
    pub(crate) fn is_away(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The store's one-word name.
    #[must_use]
    pub fn store(&self) -> &'static str {
        self.0.store
    }

    /// The operation that failed, as the method is named.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The items that it is about: all that were too large, or the one that cannot be read.
    #[must_use]
    pub fn items(&self) -> &[(Kind, String)] {
        &self.0.items
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 5;
        let Inner { store, operation, items, source, .. } = &*self.0;
        write!(f, "{store}: {operation}")?;
        for (n, (kind, key)) in items.iter().take(NAMED).enumerate() {
            write!(f, "{}{kind}/{}", if n == 0 { " " } else { ", " }, Shown::new(key))?;
        }
        if items.len() > NAMED {
            write!(f, " and {} more", items.len() - NAMED)?;
        }
        write!(f, ": {source}")
    }
}

/// The same, with the kind in front of it.
impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> StoreError {
        StoreError::new(ErrorKind::TooLarge, "sqlite", "init", "string or blob too big")
    }

    #[test]
    fn names_store_operation_items_and_reason() {
        let one = error().about([(Kind::FEATURES, "dark-mode".to_owned())]);
        assert_eq!(one.to_string(), "sqlite: init features/dark-mode: string or blob too big");
    }

    #[test]
    fn names_a_few_of_many_items_and_keeps_them_all() {
        let many = error().about((0..8).map(|n| (Kind::SEGMENTS, format!("s{n}"))));
        assert_eq!(
            many.to_string(),
            "sqlite: init segments/s0, segments/s1, segments/s2, segments/s3, segments/s4 and 3 more: \
             string or blob too big"
        );
        assert_eq!(many.items().len(), 8);
    }

    #[test]
    fn a_key_is_escaped_and_cut() {
        let of = |key: &str| error().about([(Kind::FEATURES, key.to_owned())]).to_string();
        assert_eq!(of("a\n\u{1b}[31m"), "sqlite: init features/a\\n\\u{1b}[31m: string or blob too big");
        assert_eq!(
            of(&"\u{e9}".repeat(81)),
            format!("sqlite: init features/{}...: string or blob too big", "\u{e9}".repeat(80))
        );
    }

    #[test]
    fn the_cause_and_the_kind_can_be_had() {
        let error = error();
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("string or blob too big"));
        assert_eq!(format!("{error:?}"), "TooLarge: sqlite: init: string or blob too big");
    }

    #[test]
    fn a_wrong_configuration_names_the_field() {
        let error = StoreError::config("sqlite", "timeout", "must be longer than zero");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(error.to_string(), "sqlite: build: timeout: must be longer than zero");
        let check = |timeout| StoreError::check_timeout("sqlite", "timeout", timeout);
        for wrong in [Duration::ZERO, LONGEST_TIMEOUT + Duration::from_nanos(1), Duration::MAX] {
            let error = check(wrong).unwrap_err().to_string();
            assert_eq!(error, "sqlite: build: timeout: must be longer than zero, and a day at most");
        }
        assert!(check(LONGEST_TIMEOUT).is_ok() && check(Duration::from_nanos(1)).is_ok());
    }
}
