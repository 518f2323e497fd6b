//! The faults and limits of peers. Nothing else may fail, and these must.

use crate::story::{ALL, BEYOND};

/// The checks that fail for this reader after this writer.
pub(crate) fn differences(writer: &str, reader: &str) -> &'static [&'static str] {
    match (writer, reader) {
        // Python writes such a character as an escaped pair of surrogates, of which Go makes two broken characters.
        ("Python", "Go") => &[BEYOND],
        // The Relay takes the flag's key from there as well.
        ("Python", "Relay") => &[BEYOND, ALL],
        _ => &[],
    }
}

/// Those that parse a flag into a type of theirs, and write that.
pub(crate) fn loses_unknown_properties(writer: &str) -> bool {
    ["Go", "Java", "Relay", "ours, under the Rust SDK"].contains(&writer)
}

/// Java keeps a version in 32 bits: it can neither evaluate a flag with more, nor all flags beside it.
pub(crate) fn refuses_versions_of_milliseconds(reader: &str) -> bool {
    reader == "Java"
}
