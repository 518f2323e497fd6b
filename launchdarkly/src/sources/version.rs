use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The JSON of an item with another version. Every other byte stays as it is.
///
/// # Errors
///
/// When it is not a JSON object, or has two versions.
pub(super) fn with_version(json: &str, version: u64) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    struct Versioned<'a> {
        #[serde(borrow, default, deserialize_with = "given")]
        version: Option<&'a RawValue>,
    }
    // Null is a version to replace too.
    fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
        Deserialize::deserialize(deserializer).map(Some)
    }
    // Derived structs can also be read from an array of their fields.
    if !json.trim_start().starts_with('{') {
        return Err(serde_json::Error::custom("expected a JSON object"));
    }
    let versioned: Versioned<'_> = serde_json::from_str(json)?;
    let Some(old) = versioned.version.map(RawValue::get) else {
        let (open, rest) = json.split_once('{').unwrap_or(("", "}"));
        let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
        return Ok(format!(r#"{open}{{"version":{version}{comma}{rest}"#));
    };
    // It is a part of the text, so its distance from the beginning is its place.
    let start = old.as_ptr() as usize - json.as_ptr() as usize;
    Ok(format!("{}{version}{}", &json[..start], &json[start + old.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where there is a version, and where there is none.
    #[test]
    fn only_the_version_changes() {
        for (json, changed) in [
            (
                r#"{"key":"a", "version" : 3.0 ,"x":{"version":1}}"#,
                r#"{"key":"a", "version" : 7 ,"x":{"version":1}}"#,
            ),
            (r#"{"x":60000.0}"#, r#"{"version":7,"x":60000.0}"#),
            (" { } ", r#" {"version":7 } "#),
            (r#"{"version":null}"#, r#"{"version":7}"#),
        ] {
            assert_eq!(with_version(json, 7).unwrap(), changed);
        }
    }

    /// What is no object, or has two versions, is an error.
    #[test]
    fn what_has_no_one_version_is_refused() {
        for json in ["[]", "3", r#"{"version":1,"version":2}"#, "{"] {
            assert!(with_version(json, 7).is_err(), "{json}");
        }
    }
}
