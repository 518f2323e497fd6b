//! Every key, as the Relay Proxy and the official SDKs of every language know them.
//!
//! ```text
//! P:features    HASH      one field for each flag and each deleted flag: key -> JSON text
//! P:segments    HASH      the same for segments
//! P:<kind>      HASH      the same for any other kind
//! P:$inited     STRING    empty; that it is there is what counts
//! ```
//!
//! `P` is the prefix. The version stands only in the JSON. No key ever expires.

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
