use super::*;

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn n(number: &str) -> AttributeValue {
    AttributeValue::N(number.to_owned())
}

fn row(attributes: &[(&str, AttributeValue)]) -> Row {
    attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// What stands in the table, attribute by attribute. (Peers' bugs 10 and 26: the item is one string, and
/// every byte of it is as given.)
#[test]
fn a_row_has_four_attributes() {
    let json = r#"{ "key":"dark-mode", "version":3, "":"", "new":1e2}"#;
    let expected =
        [("namespace", s("p:features")), ("key", s("dark-mode")), ("version", n("3")), ("item", s(json))];
    assert_eq!(encode("p:features", "dark-mode", &Item::parse(json).unwrap()), row(&expected));
}

/// A tombstone is a row like any other.
#[test]
fn a_tombstone_says_key_version_and_deleted() {
    let encoded = encode("features", "dark-mode", &Item::tombstone("dark-mode", 8).unwrap());
    assert_eq!(encoded[ITEM], s(r#"{"key":"dark-mode","version":8,"deleted":true}"#));
    assert_eq!(encoded[VERSION], n("8"));
}

/// What was written comes back the same.
#[test]
fn a_row_comes_back_as_the_item() {
    for item in [Item::parse(r#"{"version":7, "on" : true}"#).unwrap(), Item::tombstone("a", 7).unwrap()] {
        assert_eq!(decode("a", &encode("features", "a", &item)).unwrap(), item);
    }
}

/// Every writer's tombstone is one, and has its version.
#[test]
fn tombstones_of_every_writer_are_read() {
    let tombstones = [
        (
            "Go, Relay",
            row(&[
                (VERSION, n("9")),
                (ITEM, s(r#"{"key":"$deleted","on":false,"version":9,"deleted":true}"#)),
            ]),
        ),
        ("Java, .NET", row(&[(VERSION, n("9")), (ITEM, s("null"))])),
        ("Node", row(&[(VERSION, n("9")), (ITEM, s(r#"{"key":"a","version":9,"deleted":true}"#))])),
        ("Node without item", row(&[(VERSION, n("9"))])),
        ("Node with BOOL", row(&[(VERSION, n("9")), (DELETED, AttributeValue::Bool(true))])),
        ("item is NULL", row(&[(VERSION, n("9")), (ITEM, AttributeValue::Null(true))])),
        ("Python", row(&[(VERSION, n("9")), (ITEM, s(r#"{"key": "a", "version": 9, "deleted": true}"#))])),
        (
            "Rust SDK",
            row(&[(VERSION, n("9")), (ITEM, s(r#"{"deleted":true,"key":"$deleted","version":9}"#))]),
        ),
        ("no version", row(&[(ITEM, s(r#"{"version":9,"deleted":true}"#))])),
    ];
    for (writer, row) in tombstones {
        let item = decode("a", &row).unwrap();
        assert_eq!((item.version(), item.is_deleted()), (9, true), "{writer}");
    }
}

/// The attribute is the version by which upserts are told apart, so it is the item's too.
#[test]
fn the_version_is_the_attribute_and_else_the_jsons() {
    let json = s(r#"{"version":3}"#);
    assert_eq!(decode("a", &row(&[(VERSION, n("4")), (ITEM, json.clone())])).unwrap().version(), 4);
    assert_eq!(decode("a", &row(&[(ITEM, json.clone())])).unwrap().version(), 3);
    let live = row(&[(VERSION, n("4")), (ITEM, json), (DELETED, AttributeValue::Bool(false))]);
    assert!(!decode("a", &live).unwrap().is_deleted());
}

/// What is not an item is an error that says why. (Peers' bugs 28 and 54: wrong types became 0, or raised.)
#[test]
fn what_is_not_an_item_says_why() {
    let item = || (ITEM, s(r#"{"version":1}"#));
    let rows = [
        (row(&[]), "there is no item"),
        (row(&[(ITEM, AttributeValue::Null(true))]), "there is no item"),
        (row(&[(VERSION, n("1")), (DELETED, AttributeValue::Bool(false))]), "there is no item"),
        (row(&[(VERSION, n("1")), (ITEM, AttributeValue::Bool(true))]), "item is not a string (S) but BOOL"),
        (row(&[(VERSION, n("1")), (ITEM, s("garbage"))]), "expected value"),
        (row(&[(VERSION, n("1")), (ITEM, s(""))]), "EOF"),
        (row(&[(ITEM, s("null"))]), "null"),
        (row(&[(VERSION, s("1")), item()]), "version is not a number (N) but S"),
        (row(&[(VERSION, AttributeValue::Null(true)), item()]), "version is not a number (N) but NULL"),
        (row(&[(VERSION, n("-1")), item()]), "version is not a whole number from 0 to 2^53: -1"),
        (row(&[(VERSION, n("1.5")), item()]), "2^53: 1.5"),
        (row(&[(VERSION, n("9007199254740993")), item()]), "2^53: 9007199254740993"),
    ];
    for (row, expected) in rows {
        let error = decode("a", &row).unwrap_err().to_string();
        assert!(error.contains(expected), "{row:?}: {error}");
    }
}

/// The size is 100 and the lengths of all names and values, in bytes. (Peers' bug 11, and their size
/// calculation.)
#[test]
fn an_item_fits_up_to_400_000() {
    // Names 9 + 3 + 7 + 4, namespace 8, key 1, version 1.
    let room = 400_000 - 100 - 23 - 10;
    let of = |size: usize| Item::from_parts(1, false, "x".repeat(size)).unwrap();
    assert!(can_be_stored("features", "a", &of(room)));
    assert!(!can_be_stored("features", "a", &of(room + 1)));
    assert!(!can_be_stored("features", "ab", &of(room)));
    assert!(!can_be_stored("p:features", "a", &of(room)));
    assert!(!can_be_stored("features", "a", &Item::from_parts(10, false, "x".repeat(room)).unwrap()));
    assert!(!can_be_stored(
        "features",
        "a",
        &Item::from_parts(1, false, "\u{e9}".repeat(room / 2 + 1)).unwrap()
    ));
}

/// No request is made for keys that the table cannot have.
#[test]
fn keys_have_limits() {
    assert!(can_be_stored_under("features", &"k".repeat(1024)));
    assert!(!can_be_stored_under("features", &"k".repeat(1025)));
    assert!(!can_be_stored_under("features", ""));
    assert!(!can_be_stored_under(&"n".repeat(2049), "a"));
    assert!(!can_be_stored_under("", "a"));
}
