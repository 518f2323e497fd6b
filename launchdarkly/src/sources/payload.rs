//! What LaunchDarkly's stream says, in its own JSON.

use std::borrow::Cow;
use std::fmt;

use flagstore_core::{AllData, Item, Kind};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// An event of the stream.
#[derive(Debug)]
pub(crate) enum Update {
    /// The whole data.
    Put(AllData),
    /// A new version of an item, or its tombstone.
    Patch(Kind, String, Item),
    /// The end of an item.
    Delete(Kind, String, u64),
    /// Something that is not for us: what later versions of the service may send.
    Other,
}

#[derive(serde::Deserialize)]
struct Patch<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(serde::Deserialize)]
struct Delete<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    version: u64,
}

/// The payload of a put may be many megabytes. The service sends the path before it, so that it can be read for what
/// it is as it comes, and not only after its end was found.
#[derive(Default)]
struct Put<'a> {
    path: Option<Cow<'a, str>>,
    data: Option<Data<'a>>,
}

enum Data<'a> {
    All(AllData),
    /// That of another path, or of a path that was not known yet.
    Unread(&'a RawValue),
}

impl<'de: 'a, 'a> Deserialize<'de> for Put<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PutVisitor)
    }
}

struct PutVisitor;

impl<'de> Visitor<'de> for PutVisitor {
    type Value = Put<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"an object {"path":"/","data":{...}}"#)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut put = Put::default();
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            match &*name {
                "path" => put.path = Some(map.next_value()?),
                "data" => {
                    put.data = Some(match &put.path {
                        Some(path) if is_everything(path) => Data::All(map.next_value()?),
                        _ => Data::Unread(map.next_value()?),
                    });
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(put)
    }
}

impl Update {
    /// Reads an event. Every item keeps each byte of its text.
    ///
    /// # Errors
    ///
    /// When the data of an event that we know is not what it should be: which event, which item, and where.
    pub(crate) fn parse(event: &str, data: &str) -> Result<Self, String> {
        match event {
            "put" => put(data).map_err(|error| format!("put: {error}")),
            "patch" => patch(data).map_err(|error| format!("patch: {error}")),
            "delete" => delete(data).map_err(|error| format!("delete: {error}")),
            _ => Ok(Self::Other),
        }
    }
}

fn put(data: &str) -> Result<Update, String> {
    let put = read::<Put<'_>>(data)?;
    match put.data.ok_or("missing field `data`")? {
        Data::All(all_data) => Ok(Update::Put(all_data)),
        // The oldest services send no path at all.
        Data::Unread(raw) if is_everything(put.path.as_deref().unwrap_or_default()) => {
            AllData::from_json(raw.get()).map(Update::Put).map_err(|error| error.to_string())
        }
        Data::Unread(_) => Ok(Update::Other),
    }
}

fn is_everything(path: &str) -> bool {
    matches!(path, "" | "/")
}

fn patch(data: &str) -> Result<Update, String> {
    let patch: Patch<'_> = read(data)?;
    let Some((kind, key)) = item_of(&patch.path) else { return Ok(Update::Other) };
    let item = Item::parse(patch.data.get()).map_err(|error| format!("{}: {error}", patch.path))?;
    Ok(Update::Patch(kind, key, item))
}

fn delete(data: &str) -> Result<Update, String> {
    let delete: Delete<'_> = read(data)?;
    let Some((kind, key)) = item_of(&delete.path) else { return Ok(Update::Other) };
    Ok(Update::Delete(kind, key, delete.version))
}

fn read<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, String> {
    serde_json::from_str(data).map_err(|error| error.to_string())
}

/// `/flags/<key>` or `/segments/<key>`.
fn item_of(path: &str) -> Option<(Kind, String)> {
    let (kind, key) = path.strip_prefix('/')?.split_once('/')?;
    let kind = match kind {
        "flags" => Kind::FEATURES,
        "segments" => Kind::SEGMENTS,
        _ => return None,
    };
    (!key.is_empty()).then(|| (kind, key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(event: &str, data: &str) -> Update {
        Update::parse(event, data).unwrap()
    }

    fn error(event: &str, data: &str) -> String {
        Update::parse(event, data).unwrap_err()
    }

    /// Spaces, the spelling of numbers and properties that nobody knows are kept.
    #[test]
    fn a_put_keeps_every_byte() {
        let flag = "{ \"key\":\"a\", \"version\": 3.0 , \"weight\":60000.0,\"new\":null}";
        let data = format!(r#"{{"path":"/","data":{{"flags":{{"a":{flag}}},"segments":{{}},"more":1}}}}"#);
        let Update::Put(all_data) = parse("put", &data) else { panic!("not a put") };
        let items: Vec<_> = all_data.items(&Kind::FEATURES).collect();
        assert_eq!(items.len(), 1);
        assert_eq!((items[0].0, items[0].1.version(), items[0].1.json()), ("a", 3, flag));
    }

    /// The oldest services send a put without a path.
    #[test]
    fn a_put_needs_no_path() {
        assert!(matches!(parse("put", r#"{"data":{"flags":{},"segments":{}}}"#), Update::Put(_)));
    }

    /// Properties have no order, whatever order the service prefers.
    #[test]
    fn the_path_of_a_put_may_come_last() {
        let data = r#"{"more":[],"data":{"flags":{"a":{"version":1 }},"segments":{}},"path":"/"}"#;
        let Update::Put(all_data) = parse("put", data) else { panic!("not a put") };
        assert_eq!(all_data.items(&Kind::FEATURES).next().unwrap().1.json(), r#"{"version":1 }"#);
        assert!(matches!(parse("put", r#"{"data":{"flags":{}},"path":"/flags"}"#), Update::Other));
    }

    /// Flags are `features` in a store.
    #[test]
    fn a_patch_is_of_a_flag_or_a_segment() {
        let flag = parse("patch", r#"{"path":"/flags/a.b","data":{"version":2 }}"#);
        let Update::Patch(kind, key, item) = flag else { panic!("not a patch") };
        assert_eq!((kind, key.as_str(), item.json()), (Kind::FEATURES, "a.b", r#"{"version":2 }"#));
        let segment = parse("patch", r#"{"path":"/segments/s","data":{"version":1}}"#);
        assert!(matches!(segment, Update::Patch(kind, key, _) if kind == Kind::SEGMENTS && key == "s"));
    }

    /// A key may hold whatever it likes.
    #[test]
    fn a_key_is_the_rest_of_the_path() {
        let update = parse("delete", r#"{"path":"/flags/a\/b\u00e9","version":4}"#);
        assert!(matches!(update, Update::Delete(_, key, 4) if key == "a/b\u{e9}"));
    }

    /// What later versions of the service may send is no error.
    #[test]
    fn what_is_not_known_is_ignored() {
        for (event, data) in [
            ("goodbye", "whatever"),
            ("put", r#"{"path":"/flags","data":{}}"#),
            ("patch", r#"{"path":"/configurations/c","data":{"version":1}}"#),
            ("patch", r#"{"path":"/flags/","data":{"version":1}}"#),
            ("patch", r#"{"path":"flags/a","data":{"version":1}}"#),
            ("delete", r#"{"path":"/other/c","version":1}"#),
        ] {
            assert!(matches!(parse(event, data), Update::Other), "{event} {data}");
        }
    }

    /// The message says in which event, and in which item.
    #[test]
    fn what_cannot_be_read_is_named() {
        assert!(error("put", "{").starts_with("put: EOF while parsing"));
        assert!(error("put", r#"{"path":"/"}"#).starts_with("put: missing field `data`"));
        let item = error("put", r#"{"path":"/","data":{"flags":{"a":{"version":"x"}},"segments":{}}}"#);
        assert!(item.starts_with("put: flags/a: invalid type"), "{item}");
        let item = error("patch", r#"{"path":"/flags/a","data":[]}"#);
        assert!(item.starts_with("patch: /flags/a: expected a JSON object"), "{item}");
        assert!(error("delete", r#"{"path":"/flags/a"}"#).starts_with("delete: missing field `version`"));
    }
}
