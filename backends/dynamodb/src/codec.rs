//! Between items and rows.
//!
//! Read are the rows of every writer: a tombstone may be an item with `"deleted":true`, `item` = `null`
//! (Java, .NET), no `item` at all or a boolean `deleted` (Node). The version is the attribute, or the JSON's
//! where it is missing.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use flagstore_core::{Item, MAX_VERSION};

use crate::error::Failure;
use crate::schema::{DELETED, ITEM, KEY, LONGEST_KEY, LONGEST_NAMESPACE, NAMESPACE, VERSION};

/// A row's attributes by name.
pub(crate) type Row = HashMap<String, AttributeValue>;

/// Below DynamoDB's limit of 400 KB (409 600 bytes) by more than anyone's way to count differs.
const LARGEST: usize = 400_000;

/// The row of an item. It has these four attributes and no other.
pub(crate) fn encode(namespace: &str, key: &str, item: &Item) -> Row {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    HashMap::from([
        (NAMESPACE.to_owned(), text(namespace)),
        (KEY.to_owned(), text(key)),
        (VERSION.to_owned(), version(item)),
        (ITEM.to_owned(), text(item.json())),
    ])
}

pub(crate) fn version(item: &Item) -> AttributeValue {
    AttributeValue::N(item.version().to_string())
}

/// A row's two keys and nothing else.
pub(crate) fn keys(namespace: &str, key: &str) -> Row {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    HashMap::from([(NAMESPACE.to_owned(), text(namespace)), (KEY.to_owned(), text(key))])
}

/// Whether this is the row of the item, with nothing more in it. The keys are taken for granted.
pub(crate) fn is_row_of(item: &Item, row: &Row) -> bool {
    row.len() == 4
        && row.get(VERSION) == Some(&version(item))
        && row.get(ITEM).and_then(|json| json.as_s().ok()).is_some_and(|json| json == item.json())
}

/// Whether the table can have a row under these keys. Elsewhere nothing can be stored, so nothing is.
pub(crate) fn can_be_stored_under(namespace: &str, key: &str) -> bool {
    can_be_namespace(namespace) && (1..=LONGEST_KEY).contains(&key.len())
}

/// Whether the table can have any row in this namespace.
pub(crate) fn can_be_namespace(namespace: &str) -> bool {
    (1..=LONGEST_NAMESPACE).contains(&namespace.len())
}

/// Whether the table can hold the item under these keys: by the size that everyone computes, and a little more.
pub(crate) fn can_be_stored(namespace: &str, key: &str, item: &Item) -> bool {
    can_be_stored_under(namespace, key) && 100 + size(namespace, key, item) <= LARGEST
}

/// The size of the item's row: the lengths of the names and values of all attributes.
pub(crate) fn size(namespace: &str, key: &str, item: &Item) -> usize {
    let names = NAMESPACE.len() + KEY.len() + VERSION.len() + ITEM.len();
    names + namespace.len() + key.len() + item.version().to_string().len() + item.json().len()
}

/// Reads the item in a row. The key is the sort key, never what the JSON says.
pub(crate) fn decode(key: &str, row: &Row) -> Result<Item, Failure> {
    let not_an_item = |reason: String| Failure::NotAnItem(reason);
    let version = match row.get(VERSION) {
        Some(AttributeValue::N(number)) => match number.parse() {
            Ok(version) if version <= MAX_VERSION => Some(version),
            _ => {
                return Err(not_an_item(format!("version is not a whole number from 0 to 2^53: {number}")));
            }
        },
        None => None,
        Some(other) => return Err(not_an_item(format!("version is not a number (N) but {}", name(other)))),
    };
    let tombstone = |version| Item::tombstone(key, version).map_err(|error| not_an_item(error.to_string()));
    let deleted = row.get(DELETED).and_then(|deleted| deleted.as_bool().ok().copied());
    match (row.get(ITEM), version) {
        (_, Some(version)) if deleted == Some(true) => tombstone(version),
        (Some(AttributeValue::S(json)), Some(version)) => {
            Item::parse_versioned(key, version, json.as_str()).map_err(|error| not_an_item(error.to_string()))
        }
        (Some(AttributeValue::S(json)), None) => {
            Item::parse(json.as_str()).map_err(|error| not_an_item(error.to_string()))
        }
        (None | Some(AttributeValue::Null(_)), Some(version)) if deleted.is_none() => tombstone(version),
        (None | Some(AttributeValue::Null(_)), _) => Err(not_an_item("there is no item".to_owned())),
        (Some(other), _) => Err(not_an_item(format!("item is not a string (S) but {}", name(other)))),
    }
}

/// DynamoDB's name of a value's type. Not the value: what somebody stored by accident may be secret.
fn name(value: &AttributeValue) -> &'static str {
    match value {
        AttributeValue::B(_) => "B",
        AttributeValue::Bool(_) => "BOOL",
        AttributeValue::Bs(_) => "BS",
        AttributeValue::L(_) => "L",
        AttributeValue::M(_) => "M",
        AttributeValue::N(_) => "N",
        AttributeValue::Ns(_) => "NS",
        AttributeValue::Null(_) => "NULL",
        AttributeValue::S(_) => "S",
        AttributeValue::Ss(_) => "SS",
        _ => "of an unknown type",
    }
}

#[cfg(test)]
mod tests;
