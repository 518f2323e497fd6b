//! What is in the table, the same for the Relay Proxy and every official SDK. `P` is the prefix; without one
//! there is no colon either.
//!
//! ```text
//! namespace (S, partition key)  key (S, sort key)  other attributes
//! [P:]features                  flag key           version N, item S (the JSON, byte for byte as given)
//! [P:]segments                  segment key        version N, item S
//! [P:]$inited                   [P:]$inited        none
//! [P:]big_segments_metadata     the same           synchronizedOn N (milliseconds since 1970), lastVersion S
//! [P:]big_segments_user         context hash       included SS, excluded SS: references of segments
//! ```
//!
//! A tombstone is a row like any other, with `"deleted":true` in its JSON. Other writers put theirs
//! differently, see `codec`.

/// Partition key.
pub(crate) const NAMESPACE: &str = "namespace";
/// Sort key.
pub(crate) const KEY: &str = "key";
/// The version, a number, for the condition of an upsert.
pub(crate) const VERSION: &str = "version";
/// The JSON, a string.
pub(crate) const ITEM: &str = "item";
/// Only Node writes it, a boolean.
pub(crate) const DELETED: &str = "deleted";

/// The condition of an upsert, the same as everyone's, since writers of other languages write with it too.
///
/// The names go by placeholders because `key` is a reserved word, the version because it is a value.
pub(crate) const IS_NEWER: &str =
    "attribute_not_exists(#namespace) or attribute_not_exists(#key) or :version > #version";

/// When the Big Segments were up to date, a number.
pub(crate) const SYNCHRONIZED_ON: &str = "synchronizedOn";
/// The version to which the patches of Big Segments have led, a string.
pub(crate) const LAST_VERSION: &str = "lastVersion";
/// The references of the segments that include a context, a set of strings; no set is empty.
pub(crate) const INCLUDED: &str = "included";
/// The same of those that exclude it.
pub(crate) const EXCLUDED: &str = "excluded";

const INITIALIZED: &str = "$inited";

/// DynamoDB's limits, in bytes.
pub(crate) const LONGEST_NAMESPACE: usize = 2048;
pub(crate) const LONGEST_KEY: usize = 1024;

/// The partition key of a kind's items.
pub(crate) fn namespace(prefix: &str, kind: &str) -> String {
    match prefix {
        "" => kind.to_owned(),
        prefix => format!("{prefix}:{kind}"),
    }
}

/// Both keys of the row that says that the store was initialized.
pub(crate) fn initialized(prefix: &str) -> String {
    namespace(prefix, INITIALIZED)
}

/// Both keys of the row that says how up to date the Big Segments are.
pub(crate) fn big_segments_metadata(prefix: &str) -> String {
    namespace(prefix, "big_segments_metadata")
}

/// The partition key of what contexts are in.
pub(crate) fn big_segments_user(prefix: &str) -> String {
    namespace(prefix, "big_segments_user")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other SDKs read the same table. (Peers' bugs 2, 3 and 4: another marker, another separator, a prefix
    /// that only some operations had.)
    #[test]
    fn names_are_those_of_every_sdk() {
        assert_eq!([NAMESPACE, KEY, VERSION, ITEM], ["namespace", "key", "version", "item"]);
        assert_eq!(namespace("", "features"), "features");
        assert_eq!(namespace("production", "features"), "production:features");
        assert_eq!(namespace("a:b", "segments"), "a:b:segments");
        assert_eq!(initialized(""), "$inited");
        assert_eq!(initialized("production"), "production:$inited");
        assert_eq!(
            [SYNCHRONIZED_ON, LAST_VERSION, INCLUDED, EXCLUDED],
            ["synchronizedOn", "lastVersion", "included", "excluded"]
        );
        assert_eq!(big_segments_metadata(""), "big_segments_metadata");
        assert_eq!(big_segments_metadata("production"), "production:big_segments_metadata");
        assert_eq!(big_segments_user(""), "big_segments_user");
        assert_eq!(big_segments_user("production"), "production:big_segments_user");
        assert_eq!(
            IS_NEWER,
            "attribute_not_exists(#namespace) or attribute_not_exists(#key) or :version > #version"
        );
    }
}
