use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Item, Kind, dependencies};

/// A whole environment: an ordered list of kinds, each an ordered list of items.
///
/// A kind, and a key within its kind, is there at most once: giving it again replaces the item and keeps
/// its place.
#[derive(Debug, Clone, Default)]
pub struct AllData(IndexMap<Kind, IndexMap<String, Item>>);

impl AllData {
    /// No kinds at all. To clear a kind, give it [without items](Self::with).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds items of a kind, behind those that are there.
    #[must_use]
    pub fn with<K: Into<String>>(mut self, kind: Kind, items: impl IntoIterator<Item = (K, Item)>) -> Self {
        self.0.entry(kind).or_default().extend(items.into_iter().map(|(key, item)| (key.into(), item)));
        self
    }

    /// Reads the JSON that LaunchDarkly and the Relay Proxy serve: `{"flags":{...},"segments":{...}}`.
    ///
    /// Either property may be missing or null, which makes that kind empty; other properties are ignored.
    /// Items keep their order and every byte of their text.
    ///
    /// # Errors
    ///
    /// When the text is not such an object, names a key twice, or holds something that is not an
    /// [`Item`]. The message says which, and where.
    ///
    /// ```
    /// use flagstore_core::{AllData, Kind};
    ///
    /// let all_data = AllData::from_json(r#"{"flags":{"dark-mode":{"version":3}},"segments":{}}"#)?;
    /// assert_eq!(all_data.items(&Kind::FEATURES).count(), 1);
    ///
    /// let error = AllData::from_json(r#"{"flags":{"dark-mode":{"version":"3"}}}"#).unwrap_err();
    /// assert!(error.to_string().starts_with("flags/dark-mode: "));
    /// # Ok::<(), flagstore_core::ParseError>(())
    /// ```
    pub fn from_json(text: &str) -> Result<Self, ParseError> {
        let payload: Payload = serde_json::from_str(text).map_err(|error| ParseError(error.to_string()))?;
        if payload.flags.is_none() && payload.segments.is_none() {
            return Err(ParseError(
                "neither flags nor segments: expected {\"flags\":{...},\"segments\":{...}}".to_owned(),
            ));
        }
        Ok(Self::new()
            .with(Kind::SEGMENTS, parse_items("segments", payload.segments)?)
            .with(Kind::FEATURES, parse_items("flags", payload.flags)?))
    }

    /// The kinds in order, each with its items in order.
    pub fn kinds(&self) -> impl Iterator<Item = (&Kind, impl ExactSizeIterator<Item = (&str, &Item)>)> {
        self.0.iter().map(|(kind, items)| (kind, items.iter().map(|(key, item)| (key.as_str(), item))))
    }

    /// The items of a kind in order; none if the kind is not there.
    pub fn items(&self, kind: &Kind) -> impl Iterator<Item = (&str, &Item)> {
        self.0.get(kind).into_iter().flatten().map(|(key, item)| (key.as_str(), item))
    }

    /// Puts every item behind those that it refers to: segments come first, a segment behind the segments
    /// in its rules, then flags, a flag behind its prerequisites, then all other kinds as they are.
    ///
    /// In a cycle, which the evaluator rejects anyway, some item has to come first. What has no reason to
    /// move stays in its order.
    #[must_use]
    pub fn in_dependency_order(mut self) -> Self {
        self.0.sort_by_key(|kind, _| rank(kind));
        for (kind, items) in &mut self.0 {
            dependencies::sort(kind, items);
        }
        self
    }

    /// The items in levels, in [dependency order](Self::in_dependency_order): no item refers to one of its
    /// own level or of a later one. So a database that cannot write all of them at once can write each level
    /// in any order, or side by side. No level is empty.
    #[must_use]
    pub fn dependency_levels(&self) -> Vec<Vec<(&Kind, &str, &Item)>> {
        // Segments, flags and all others, each numbered from 0.
        let mut levels = [Vec::new(), Vec::new(), Vec::new()];
        for (kind, items) in &self.0 {
            let levels = &mut levels[rank(kind)];
            for ((key, item), level) in items.iter().zip(dependencies::levels(kind, items)) {
                if levels.len() <= level {
                    levels.resize_with(level + 1, Vec::new);
                }
                levels[level].push((kind, key.as_str(), item));
            }
        }
        levels.into_iter().flatten().collect()
    }
}

/// Flags refer to segments, and other kinds to nothing that is known.
fn rank(kind: &Kind) -> usize {
    match kind {
        kind if *kind == Kind::SEGMENTS => 0,
        kind if *kind == Kind::FEATURES => 1,
        _ => 2,
    }
}

/// Why a text could not be read as [`AllData`]: what is wrong, in which item, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError(String);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

#[derive(serde::Deserialize)]
#[serde(expecting = "an object {\"flags\":{...},\"segments\":{...}}")]
struct Payload<'a> {
    #[serde(borrow)]
    flags: Option<RawItems<'a>>,
    #[serde(borrow)]
    segments: Option<RawItems<'a>>,
}

fn parse_items(section: &str, raw: Option<RawItems<'_>>) -> Result<IndexMap<String, Item>, ParseError> {
    let items = raw.map(|raw| raw.0).unwrap_or_default().into_iter();
    items
        .map(|(key, raw)| match Item::parse(raw.get()) {
            Ok(item) => Ok((key.into_owned(), item)),
            Err(error) => Err(ParseError(format!("{section}/{key}: {error} of that item"))),
        })
        .collect()
}

/// An object's properties in order, each as its own text, and none of them twice.
struct RawItems<'a>(IndexMap<Cow<'a, str>, &'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for RawItems<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawItemsVisitor).map(RawItems)
    }
}

struct RawItemsVisitor;

impl<'de> Visitor<'de> for RawItemsVisitor {
    type Value = IndexMap<Cow<'de, str>, &'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of items by key")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut items = IndexMap::new();
        while let Some((key, item)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
            if items.contains_key(&key) {
                return Err(de::Error::custom(format!("the key {key} is there twice")));
            }
            items.insert(key, item);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests;
