use std::fmt;

/// Whether Big Segments can be asked for, and whether the answers can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BigSegmentStoreStatus {
    /// Whether the database answers.
    pub available: bool,
    /// Whether its data has not been up to date for so long that it may be wrong: the limit is
    /// [`stale_after`](crate::BigSegmentStoreBuilder::stale_after). False while the database is unavailable.
    pub stale: bool,
}

impl BigSegmentStoreStatus {
    pub(super) const HEALTHY: Self = Self { available: true, stale: false };
    pub(super) const STALE: Self = Self { available: true, stale: true };
    pub(super) const UNAVAILABLE: Self = Self { available: false, stale: false };
}

/// How far an evaluation's answer about Big Segments can be trusted, from best to worst. Of several in one
/// evaluation the worst counts, which is the greatest: [`max`](Ord::max).
///
/// ```
/// use flagstore_core::BigSegmentsStatus::{Healthy, NotConfigured, Stale, StoreError};
///
/// assert!(NotConfigured > StoreError && StoreError > Stale && Stale > Healthy);
/// assert_eq!(Stale.to_string(), "STALE");
/// ```
// Exhaustive: these are all that the events and evaluation reasons of LaunchDarkly know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BigSegmentsStatus {
    /// The answer is right.
    Healthy,
    /// The answer is what the database says, which has not been up to date for a while.
    Stale,
    /// The database did not answer, or is known to be unavailable. What is known of the context is from the
    /// cache, or nothing.
    StoreError,
    /// No store was configured, or the segment's data has no generation, so nobody was asked.
    NotConfigured,
}

impl BigSegmentsStatus {
    /// As LaunchDarkly's evaluation reasons write it: `HEALTHY`, `STALE`, `STORE_ERROR`, `NOT_CONFIGURED`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Stale => "STALE",
            Self::StoreError => "STORE_ERROR",
            Self::NotConfigured => "NOT_CONFIGURED",
        }
    }
}

impl fmt::Display for BigSegmentsStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
