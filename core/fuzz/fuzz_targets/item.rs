//! Whatever stands in a database, reading it as an item ends in an item of the same text, or in an error.
#![no_main]

use flagstore_core::{Item, MAX_VERSION};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let parsed = Item::parse(text);
    if let Ok(item) = &parsed {
        assert_eq!(item.json(), text);
        assert!(item.version() <= MAX_VERSION);
        // A full parser refuses more (numbers out of range, halves of surrogate pairs, deep nesting), but
        // what it accepts it reads in the same way.
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
