use std::borrow::Cow;
use std::fmt;

/// A namespace of items.
///
/// LaunchDarkly knows two, [`Kind::FEATURES`] and [`Kind::SEGMENTS`]. To a store a kind is an opaque
/// string: writing or clearing one kind never touches another.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(Cow<'static, str>);

impl Kind {
    /// Feature flags.
    pub const FEATURES: Self = Self(Cow::Borrowed("features"));
    /// Segments, to which flags and other segments refer.
    pub const SEGMENTS: Self = Self(Cow::Borrowed("segments"));

    /// A kind of any other name, such as those that test suites use.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// The name as it stands in the database.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Kind {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Kind {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
