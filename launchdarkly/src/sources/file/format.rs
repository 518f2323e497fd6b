//! LaunchDarkly's format for files: `flags` and `segments` as the service sends them, and `flagValues`, which are
//! flags with one value for everybody.

use std::fmt;
use std::marker::PhantomData;

use flagstore_core::{Kind, Shown};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// What a file says of one item.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) key: String,
    pub(super) json: String,
}

/// Reads a file: JSON if it begins with a brace, and otherwise YAML. Out of JSON each item keeps every byte.
///
/// # Errors
///
/// What is wrong, and in which line and column.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, String> {
    // Some editors put a mark in front of UTF-8 that neither format allows.
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') {
        let file: File<Box<RawValue>> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        file.entries(|value| value.get().to_owned())
    } else {
        let file: File<Value> = yaml_serde::from_str(text).map_err(|error| error.to_string())?;
        file.entries(|value| value.to_string())
    }
}

#[derive(serde::Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "camelCase",
    bound = "V: Deserialize<'de>",
    expecting = "an object with flags, flagValues and segments"
)]
struct File<V> {
    flags: Option<Properties<V>>,
    flag_values: Option<Properties<V>>,
    segments: Option<Properties<V>>,
}

impl<V> File<V> {
    fn entries(self, json: impl Fn(V) -> String) -> Result<Vec<Entry>, String> {
        let Self { flags, flag_values, segments } = self;
        if flags.is_none() && flag_values.is_none() && segments.is_none() {
            return Err("neither flags nor flagValues nor segments".to_owned());
        }
        let of =
            |section: Option<Properties<V>>| section.map(|section| section.0).unwrap_or_default().into_iter();
        let segments = of(segments).map(|(key, segment)| (Kind::SEGMENTS, key, json(segment)));
        let flags = of(flags).map(|(key, flag)| (Kind::FEATURES, key, json(flag)));
        let values = of(flag_values).map(|(key, value)| {
            let flag = flag_of_value(&key, &json(value));
            (Kind::FEATURES, key, flag)
        });
        let all = segments.chain(flags).chain(values);
        Ok(all.map(|(kind, key, json)| Entry { kind, key, json }).collect())
    }
}

/// A flag that is on, with this value for everybody.
fn flag_of_value(key: &str, value: &str) -> String {
    let key = Value::from(key);
    format!(
        r#"{{"key":{key},"version":1,"on":true,"fallthrough":{{"variation":0}},"offVariation":0,"variations":[{value}],"salt":""}}"#
    )
}

/// An object's properties in order, and none of them twice.
struct Properties<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Properties<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PropertiesVisitor(PhantomData))
    }
}

struct PropertiesVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for PropertiesVisitor<V> {
    type Value = Properties<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object by key")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut properties: Vec<(String, V)> = Vec::new();
        let mut keys = std::collections::HashSet::new();
        while let Some((key, value)) = map.next_entry::<String, V>()? {
            if !keys.insert(key.clone()) {
                return Err(de::Error::custom(format!("the key {} is there twice", Shown::new(&key))));
            }
            properties.push((key, value));
        }
        Ok(Properties(properties))
    }
}

#[cfg(test)]
mod tests {
    use launchdarkly_server_sdk::Flag;

    use super::*;

    fn entries(text: &str) -> Vec<(String, String, String)> {
        let entries = parse(text).unwrap().into_iter();
        entries.map(|entry| (entry.kind.to_string(), entry.key, entry.json)).collect()
    }

    /// Spaces and the spelling of numbers are kept.
    #[test]
    fn json_keeps_every_byte() {
        let text = r#"{"flags":{"a":{ "version":3.0,"on" : true}},"segments":{"s":{"x":null}}}"#;
        let segment = ("segments".to_owned(), "s".to_owned(), r#"{"x":null}"#.to_owned());
        let flag = ("features".to_owned(), "a".to_owned(), r#"{ "version":3.0,"on" : true}"#.to_owned());
        assert_eq!(entries(text), [segment, flag]);
    }

    /// The same in both formats.
    #[test]
    fn yaml_says_what_json_says() {
        let yaml = "---\nflags:\n  a:\n    on: true\n    version: 3\nflagValues:\n  text: \"yes\"\n  n: 3\nsegments: ~\n";
        let json =
            r#"{"flags":{"a":{"on":true,"version":3}},"flagValues":{"text":"yes","n":3},"segments":null}"#;
        assert_eq!(entries(yaml), entries(json));
    }

    /// The official model reads what a value becomes.
    #[test]
    fn a_value_is_a_flag_that_is_on() {
        for value in ["true", "\"a\\\"b\"", "12.5", "{\"x\":[1,null]}"] {
            let text = format!(r#"{{"flagValues":{{"my \"flag\"":{value}}}}}"#);
            let (_, key, json) = entries(&text).remove(0);
            let repaired = crate::model::FLAG.repair(&json).unwrap_or(json);
            let flag: Flag = serde_json::from_str(&repaired).unwrap();
            assert_eq!((key.as_str(), flag.key.as_str()), ("my \"flag\"", "my \"flag\""));
            let flag = serde_json::to_value(flag).unwrap();
            let value: Value = serde_json::from_str(value).unwrap();
            assert_eq!((&flag["on"], &flag["variations"][0]), (&Value::Bool(true), &value));
        }
    }

    /// An empty file is no environment: it is one that somebody is about to write.
    #[test]
    fn an_empty_file_is_broken() {
        for text in ["", "  \n", "[]", "3", "null"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    /// With line and column, in both formats.
    #[test]
    fn a_broken_file_says_where() {
        for (text, place) in [
            ("{\"flags\":{\n  \"a\": tru }}", "line 2"),
            ("flags:\n  a: [1, 2\nsegments: {}\n", "line"),
            ("{\"flags\":{\"a\":{},\n\"a\":{}}}", "the key a is there twice at line 2"),
            ("flags:\n  a: {}\n  a: {}\n", "the key a is there twice at line 2"),
            ("{\"flag\":{}}", "unknown field `flag`, expected one of `flags`, `flagValues`, `segments`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(place), "{error}");
        }
    }
}
