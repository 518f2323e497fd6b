//! Between items and what is stored: the JSON text, byte for byte.

use flagstore_core::Item;
use redis::{Cmd, Value};

use crate::error::Failure;

/// How many items go into one command of an init, so that the server need not hold a whole environment as the
/// arguments of one command.
pub(crate) const ITEMS_PER_COMMAND: usize = 1000;

/// The commands that store items in their order.
pub(crate) fn hsets<'a>(hash: &str, items: impl Iterator<Item = (&'a str, &'a Item)>) -> Vec<Cmd> {
    let mut commands = Vec::new();
    for (n, (key, item)) in items.enumerate() {
        if n % ITEMS_PER_COMMAND == 0 {
            let mut hset = redis::cmd("HSET");
            hset.arg(hash);
            commands.push(hset);
        }
        if let Some(hset) = commands.last_mut() {
            hset.arg(key).arg(item.json());
        }
    }
    commands
}

/// Reads what is stored under a key.
pub(crate) fn item_in(stored: &[u8]) -> Result<Item, Failure> {
    Ok(Item::parse(std::str::from_utf8(stored).map_err(|_| Failure::NotText)?)?)
}

/// The same, without a copy.
pub(crate) fn item_of(stored: Vec<u8>) -> Result<Item, Failure> {
    Ok(Item::parse(String::from_utf8(stored).map_err(|_| Failure::NotText)?)?)
}

/// The fields of a hash and their values, as RESP2 or RESP3 has them.
pub(crate) fn fields_of(reply: Value) -> Vec<(Vec<u8>, Vec<u8>)> {
    let text = |value| match value {
        Value::BulkString(text) => text,
        _ => Vec::new(),
    };
    match reply {
        Value::Map(fields) => fields.into_iter().map(|(key, value)| (text(key), text(value))).collect(),
        Value::Array(all) => {
            let mut all = all.into_iter().map(text);
            std::iter::from_fn(|| Some((all.next()?, all.next()?))).collect()
        }
        _ => Vec::new(),
    }
}
