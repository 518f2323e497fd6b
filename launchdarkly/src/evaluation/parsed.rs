use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// What an evaluation takes from an item, parsed once for each version and then shared, or why there is none.
#[derive(Debug)]
pub(crate) struct Parsed<T>(pub(crate) Result<T, serde_json::Error>);

/// What an item can be parsed as.
pub(crate) trait FromJson: Sized {
    fn from_json(json: &str) -> serde_json::Result<Self>;
}

impl<'de, T: FromJson> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(T::from_json(json.get())))
    }
}
