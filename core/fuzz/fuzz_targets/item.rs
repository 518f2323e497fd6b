//! Whatever stands in a database, reading it as an item ends in an item of the same text, or in an error.
#![no_main]

use flagstore_core::{Item, MAX_VERSION};
use libfuzzer_sys::fuzz_target;

#[derive(serde::Deserialize)]
struct Header {
    #[serde(default, deserialize_with = "number")]
    version: Option<u64>,
    #[expect(dead_code, reason = "that it is a boolean is a condition")]
    deleted: Option<bool>,
}

/// A version that is there is not `null`.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    serde::Deserialize::deserialize(deserializer).map(Some)
}

fuzz_target!(|text: &str| {
    let parsed = Item::parse(text);
    // Leaving out what is nested refuses nothing that the whole text would be accepted for.
    if let (Ok(whole), false) = (serde_json::from_str::<Header>(text), text.trim_start().starts_with('[')) {
        let accepted = matches!(whole.version, None | Some(0..=MAX_VERSION));
        assert!(!accepted || parsed.is_ok());
    }
    if let Ok(item) = &parsed {
        assert_eq!(item.json(), text);
        assert!(item.version() <= MAX_VERSION);
        // A full parser refuses more (what is wrong inside a value, numbers out of range, halves of surrogate
        // pairs, deep nesting), but what it accepts it reads in the same way.
        if let Ok(value) = serde_json::from_str::<serde_json::Value>(text) {
            assert!(value.is_object());
            let deleted = value.get("deleted").and_then(serde_json::Value::as_bool);
            assert_eq!(deleted.unwrap_or(false), item.is_deleted());
            if let Some(version) = value.get("version").and_then(serde_json::Value::as_u64) {
                assert_eq!(version, item.version());
            }
        }
        let _ = (item.states_deleted(), format!("{item:?}"), item.decode::<serde_json::Value>());
    }
    // A version beside the text changes which version counts, and nothing about what is well-formed.
    match Item::parse_versioned("key", 7, text) {
        Ok(item) => assert_eq!(item.version(), 7),
        Err(_) => assert!(parsed.is_err()),
    }
});
