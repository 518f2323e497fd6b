//! Every key, as the Relay Proxy and the official SDKs of every language know them.
//!
//! ```text
//! P:features    HASH      one field for each flag and each deleted flag: key -> JSON text
//! P:segments    HASH      the same for segments
//! P:<kind>      HASH      the same for any other kind
//! P:$inited     STRING    empty; that it is there is what counts
//!
//! P:big_segments_synchronized_on   STRING   when the Big Segments were up to date: milliseconds since 1970, decimal
//! P:big_segment_include:H          SET      the references of the segments that include the context with hash H
//! P:big_segment_exclude:H          SET      the same of those that exclude it
//! P:big_segments_cursor            STRING   the version to which the patches of Big Segments have led
//! P:big_segments_lock              STRING   empty; written to with every patch, so that it can be watched
//! ```
//!
//! `P` is the prefix. The version of an item stands only in the JSON. No key ever expires.

use flagstore_core::Kind;

/// What an empty prefix means too.
const DEFAULT_PREFIX: &str = "launchdarkly";

/// The keys of one prefix.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
    inited: String,
}

impl Keys {
    pub(crate) fn new(prefix: String) -> Self {
        let prefix = if prefix.is_empty() { DEFAULT_PREFIX.to_owned() } else { prefix };
        Self { inited: format!("{prefix}:$inited"), prefix }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What all keys begin with, and no key of another prefix does, unless that one has a colon in it.
    pub(crate) fn beginning(&self) -> String {
        format!("{}:", self.prefix)
    }

    /// The hash with the items of a kind.
    pub(crate) fn items(&self, kind: &Kind) -> String {
        format!("{}:{kind}", self.prefix)
    }

    /// The mark of an initialized store.
    pub(crate) fn inited(&self) -> &str {
        &self.inited
    }

    /// When the Big Segments were up to date.
    pub(crate) fn synchronized_on(&self) -> String {
        format!("{}:big_segments_synchronized_on", self.prefix)
    }

    /// The segments that include a context.
    pub(crate) fn included(&self, context_hash: &str) -> String {
        format!("{}:big_segment_include:{context_hash}", self.prefix)
    }

    /// The segments that exclude a context.
    pub(crate) fn excluded(&self, context_hash: &str) -> String {
        format!("{}:big_segment_exclude:{context_hash}", self.prefix)
    }

    /// The version to which the patches of Big Segments have led.
    pub(crate) fn cursor(&self) -> String {
        format!("{}:big_segments_cursor", self.prefix)
    }

    /// What is written to with every patch.
    pub(crate) fn lock(&self) -> String {
        format!("{}:big_segments_lock", self.prefix)
    }

    /// The kind whose items are under this key; `None` for the mark, and for what is not of this prefix.
    pub(crate) fn kind_of(&self, key: &[u8]) -> Option<Kind> {
        let key = std::str::from_utf8(key).ok().filter(|key| *key != self.inited)?;
        let kind = key.strip_prefix(&self.prefix)?.strip_prefix(':')?;
        Some(match kind {
            "features" => Kind::FEATURES,
            "segments" => Kind::SEGMENTS,
            other => Kind::new(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys are part of the format: others look for exactly these. Peers once had their own (bug 2).
    #[test]
    fn the_keys_are_pinned() {
        let keys = Keys::new("env".to_owned());
        assert_eq!(keys.items(&Kind::FEATURES), "env:features");
        assert_eq!(keys.items(&Kind::SEGMENTS), "env:segments");
        assert_eq!(keys.items(&Kind::new("mock1")), "env:mock1");
        assert_eq!(keys.inited(), "env:$inited");
        assert_eq!(keys.beginning(), "env:");
        assert_eq!(keys.synchronized_on(), "env:big_segments_synchronized_on");
        assert_eq!(keys.included("aB/+="), "env:big_segment_include:aB/+=");
        assert_eq!(keys.excluded("aB/+="), "env:big_segment_exclude:aB/+=");
        assert_eq!(keys.cursor(), "env:big_segments_cursor");
        assert_eq!(keys.lock(), "env:big_segments_lock");
    }

    /// No prefix and an empty one are the same as the default of every SDK.
    #[test]
    fn an_empty_prefix_is_launchdarkly() {
        let keys = Keys::new(String::new());
        assert_eq!(keys.items(&Kind::FEATURES), "launchdarkly:features");
        assert_eq!(keys.items(&Kind::SEGMENTS), "launchdarkly:segments");
        assert_eq!(keys.inited(), "launchdarkly:$inited");
    }

    /// A key leads back to its kind.
    #[test]
    fn a_key_names_its_kind() {
        let keys = Keys::new("a:b".to_owned());
        for kind in [Kind::FEATURES, Kind::SEGMENTS, Kind::new("x:y")] {
            assert_eq!(keys.kind_of(keys.items(&kind).as_bytes()), Some(kind));
        }
        for other in [&b"a:b:$inited"[..], b"a:features", b"a:bc:features", b"a:b:\xff"] {
            assert_eq!(keys.kind_of(other), None);
        }
    }
}
