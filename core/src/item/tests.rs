use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

/// Every tombstone that a peer writes where the version stands only in the JSON (Redis).
const TOMBSTONES: [(&str, &str); 6] = [
    (
        "Go, Relay: flag",
        concat!(
            r#"{"key":"$deleted","on":false,"prerequisites":[],"targets":[],"contextTargets":[],"rules":[],"#,
            r#""fallthrough":{},"offVariation":null,"variations":[],"clientSideAvailability":{"#,
            r#""usingMobileKey":false,"usingEnvironmentId":false},"clientSide":false,"salt":"","trackEvents":false,"#,
            r#""trackEventsFallthrough":false,"debugEventsUntilDate":null,"version":9,"deleted":true}"#
        ),
    ),
    (
        "Go, Relay: segment",
        r#"{"key":"$deleted","included":[],"excluded":[],"salt":"","rules":[],"version":9,"deleted":true}"#,
    ),
    ("Java, .NET, Node", r#"{"version":9,"deleted":true}"#),
    ("Ruby", r#"{"key":"dark-mode","version":9,"deleted":true}"#),
    ("Python", r#"{"key": "dark-mode", "version": 9, "deleted": true}"#),
    ("Rust", r#"{"deleted":true,"key":"$deleted","version":9}"#),
];

#[test]
fn every_dialect_of_tombstone_is_recognised() {
    for (writer, json) in TOMBSTONES {
        let item = Item::parse(json).unwrap_or_else(|error| panic!("{writer}: {error}"));
        assert_eq!((item.version(), item.is_deleted(), item.json()), (9, true, json), "{writer}");
        let beside = Item::parse_versioned("dark-mode", 12, json).unwrap();
        assert_eq!((beside.version(), beside.is_deleted()), (12, true), "{writer} with a version beside it");
    }
}

#[test]
fn null_beside_a_version_is_a_tombstone() {
    let item = Item::parse_versioned("dark-mode", 9, "null").unwrap();
    assert_eq!(item, Item::tombstone("dark-mode", 9).unwrap());
    assert!(Item::parse("null").is_err(), "without a version it is nothing");
}

#[test]
fn our_tombstone_escapes_its_key() {
    assert_eq!(
        Item::tombstone("a\"b\n", 3).unwrap().json(),
        r#"{"key":"a\"b\n","version":3,"deleted":true}"#
    );
}

#[test]
fn versions_are_whole_numbers_up_to_2_to_the_53() {
    for (json, version) in [
        (r#"{"version":0}"#, 0),
        (r#"{"version":2.0}"#, 2),
        (r#"{"version":1e3}"#, 1000),
        (r#"{"version":1732348800123}"#, 1_732_348_800_123),
        (r#"{"version":9007199254740992}"#, MAX_VERSION),
        (r#"{"on":true}"#, 0),
    ] {
        assert_eq!(Item::parse(json).unwrap().version(), version, "{json}");
    }
    for json in [
        r#"{"version":-1}"#,
        r#"{"version":1.5}"#,
        r#"{"version":"3"}"#,
        r#"{"version":null}"#,
        r#"{"version":[3]}"#,
        r#"{"version":9007199254740993}"#,
        r#"{"version":1e300}"#,
        r#"{"version":1,"version":2}"#,
        r#"{"version":1,"deleted":"yes"}"#,
    ] {
        assert!(Item::parse(json).is_err(), "{json}");
    }
}

#[test]
fn a_wrong_version_is_explained() {
    let error = Item::parse(r#"{"version":1.5}"#).unwrap_err().to_string();
    assert!(error.contains("1.5") && error.contains("a version: a whole number from 0 to 2^53"), "{error}");
}

#[test]
fn what_is_not_an_object_is_rejected() {
    for json in
        ["", "null", "[1,true]", " [1,true]", "3", "\"x\"", "{", "{\"version\":1", "{\"version\":1} x"]
    {
        assert!(Item::parse(json).is_err(), "{json:?}");
    }
}

/// The whole text is looked at only by those who need it.
#[test]
fn what_is_wrong_inside_a_value_shows_when_it_is_decoded() {
    let item = Item::parse(r#"{"rules":[tru],"version":3}"#).unwrap();
    assert_eq!((item.version(), item.is_deleted()), (3, false));
    assert!(item.decode::<serde_json::Value>().is_err());
}

#[test]
fn only_an_item_that_says_so_states_deleted() {
    assert!(Item::parse(r#"{"version":1,"deleted":false}"#).unwrap().states_deleted());
    assert!(!Item::parse(r#"{"version":1,"rules":[{"deleted":false}]}"#).unwrap().states_deleted());
}

#[derive(serde::Deserialize)]
struct Counted {
    on: bool,
}

static DECODED: AtomicUsize = AtomicUsize::new(0);

#[derive(serde::Deserialize)]
#[serde(from = "Counted")]
struct Flag(bool);

impl From<Counted> for Flag {
    fn from(counted: Counted) -> Self {
        DECODED.fetch_add(1, Ordering::Relaxed);
        Self(counted.on)
    }
}

#[test]
fn an_item_and_its_clones_are_decoded_once() {
    let item = Item::parse(r#"{"version":1,"on":true}"#).unwrap();
    let clone = item.clone();
    let first = item.decode::<Flag>().unwrap().unwrap();
    let second = clone.decode::<Flag>().unwrap().unwrap();
    assert!(first.0 && Arc::ptr_eq(&first, &second));
    assert_eq!(DECODED.load(Ordering::Relaxed), 1);
}

#[test]
fn each_type_is_decoded_once_whatever_was_asked_for_before() {
    let item = Item::parse(r#"{"version":1,"on":"yes"}"#).unwrap();
    assert!(item.decode::<Counted>().is_err());
    let value = item.decode::<serde_json::Value>().unwrap().unwrap();
    let map = item.decode::<serde_json::Map<String, serde_json::Value>>().unwrap().unwrap();
    assert!(item.decode::<Counted>().is_err());
    assert!(Arc::ptr_eq(&value, &item.decode().unwrap().unwrap()), "the second type");
    assert!(Arc::ptr_eq(&map, &item.decode().unwrap().unwrap()), "the third type");
    assert!(std::ptr::eq(&*map, item.decode_ref().unwrap().unwrap()), "without a handle");
}

#[test]
fn a_tombstone_decodes_to_nothing_and_a_wrong_item_to_an_error() {
    assert!(Item::tombstone("x", 1).unwrap().decode::<Counted>().unwrap().is_none());
    let wrong = Item::parse(r#"{"version":1,"on":"yes"}"#).unwrap();
    assert!(wrong.decode::<Counted>().is_err());
    assert!(wrong.decode::<Counted>().is_err(), "also the second time");
}

#[test]
fn debug_shows_the_start_of_a_long_item() {
    let json = format!(r#"{{"version":1,"salt":"{}"}}"#, "\u{e9}".repeat(500));
    let shown = format!("{:?}", Item::parse(json).unwrap());
    assert!(shown.starts_with("v1 {\"version\":1") && shown.ends_with("..."), "{shown}");
}

proptest! {
    /// Whatever the text is, reading it ends in an item with the same text or in an error.
    #[test]
    fn any_text_is_read_or_refused(text in ".*") {
        if let Ok(item) = Item::parse(text.as_str()) {
            prop_assert_eq!(item.json(), text);
        }
    }

    /// Our tombstone reads back as what it was written for, whatever the key.
    #[test]
    fn our_tombstone_reads_back(key in ".*", version in 0..=MAX_VERSION) {
        let written = Item::tombstone(&key, version).unwrap();
        prop_assert_eq!(Item::parse(written.json()).unwrap(), written);
    }
}

/// What no SDK could read back cannot be made, in any of the ways to make an item.
#[test]
fn a_version_above_the_highest_is_refused() {
    for version in [MAX_VERSION + 1, u64::MAX] {
        let made = [
            Item::from_parts(version, false, "{}"),
            Item::tombstone("a", version),
            Item::parse_versioned("a", version, "{}"),
            Item::parse_versioned("a", version, "null"),
            Item::parse(format!(r#"{{"version":{version}}}"#)),
        ];
        for error in made.map(Result::unwrap_err) {
            assert!(error.to_string().contains("a whole number from 0 to 2^53"), "{error}");
        }
    }
    assert_eq!(Item::tombstone("a", MAX_VERSION).unwrap().version(), MAX_VERSION);
}
