use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment, in milliseconds since 1970 (UTC), as databases hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// How long ago that was. Zero for a moment to come.
    #[must_use]
    pub fn age(self) -> Duration {
        Duration::from_millis(Self::now().0.saturating_sub(self.0))
    }
}

/// What was before 1970 is 1970.
impl From<SystemTime> for UnixMillis {
    fn from(time: SystemTime) -> Self {
        let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The age is a difference of moments, and never negative.
    #[test]
    fn age_is_the_time_since() {
        let hour = Duration::from_secs(3600);
        let age = UnixMillis::from(SystemTime::now() - hour).age();
        assert!(age >= hour && age < 2 * hour, "{age:?}");
        assert_eq!(UnixMillis::from(SystemTime::now() + hour).age(), Duration::ZERO);
        assert_eq!(UnixMillis::from(UNIX_EPOCH - hour), UnixMillis(0));
    }
}
