use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use indexmap::IndexMap;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Item, Kind, Shown, dependencies};

/// A whole environment: an ordered list of kinds, each an ordered list of items.
///
/// A kind, and a key within its kind, is there at most once: giving it again replaces the item and keeps
/// its place.
#[derive(Debug, Clone, Default)]
pub struct AllData(IndexMap<Kind, Items>);

/// The items of a kind by key, in order.
type Items = IndexMap<Arc<str>, Item>;

impl AllData {
    /// No kinds at all. To clear a kind, give it [without items](Self::with).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds items of a kind, behind those that are there.
    #[must_use]
    pub fn with<K: Into<Arc<str>>>(mut self, kind: Kind, items: impl IntoIterator<Item = (K, Item)>) -> Self {
        self.0.entry(kind).or_default().extend(items.into_iter().map(|(key, item)| (key.into(), item)));
        self
    }

    /// Reads the JSON that LaunchDarkly and the Relay Proxy serve: `{"flags":{...},"segments":{...}}`.
    ///
    /// One of the two may be missing or null, which makes that kind empty; other properties are ignored.
    /// Items keep their order and every byte of their text.
    ///
    /// # Errors
    ///
    /// When the text is not such an object, names a key twice, or holds something that is not an
    /// [`Item`]. The message says which, and where. An [`init`](crate::FeatureStoreCore::init) with an empty
    /// environment empties the database, so a text with neither `flags` nor `segments` is refused, and so is one
    /// with something that is meant to be one of them: `Flags`, `features`.
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
        serde_json::from_str(text).map_err(|error| ParseError(error.to_string()))
    }

    /// The kinds in order, each with its items in order.
    pub fn kinds(&self) -> impl Iterator<Item = (&Kind, impl ExactSizeIterator<Item = (&str, &Item)>)> {
        self.0.iter().map(|(kind, items)| (kind, items.iter().map(|(key, item)| (&**key, item))))
    }

    /// The items of a kind in order; none if the kind is not there.
    pub fn items(&self, kind: &Kind) -> impl Iterator<Item = (&str, &Item)> {
        self.0.get(kind).into_iter().flatten().map(|(key, item)| (&**key, item))
    }

    /// How many items there are, of all kinds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(IndexMap::len).sum()
    }

    /// Whether there are no items. There may be kinds, which an [`init`](crate::FeatureStoreCore::init) makes empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The flags and segments as the JSON that [`from_json`](Self::from_json) reads, each item as it was given. Other
    /// kinds have no place in it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = String::from("{");
        for (number, (section, kind)) in
            [("flags", Kind::FEATURES), ("segments", Kind::SEGMENTS)].iter().enumerate()
        {
            // Writing into a string has no way to fail, nor has a string that becomes JSON.
            let _ = write!(json, "{}\"{section}\":{{", if number == 0 { "" } else { "," });
            for (number, (key, item)) in self.items(kind).enumerate() {
                let key = serde_json::to_string(key).unwrap_or_default();
                let _ = write!(json, "{}{key}:{}", if number == 0 { "" } else { "," }, item.json());
            }
            json.push('}');
        }
        json.push('}');
        json
    }

    /// The items of a kind with keys that can be shared.
    pub(crate) fn shared_items(&self, kind: &Kind) -> impl Iterator<Item = (&Arc<str>, &Item)> {
        self.0.get(kind).into_iter().flatten()
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
                levels[level].push((kind, &**key, item));
            }
        }
        levels.into_iter().flatten().collect()
    }
}

impl<K: Into<Arc<str>>> FromIterator<(Kind, K, Item)> for AllData {
    fn from_iter<I: IntoIterator<Item = (Kind, K, Item)>>(items: I) -> Self {
        items.into_iter().fold(Self::new(), |all_data, (kind, key, item)| all_data.with(kind, [(key, item)]))
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

/// Reads what [`from_json`](AllData::from_json) reads where it is a part of a larger text, in one pass over that. The
/// text has to be in memory as a whole, as it is for `serde_json::from_str`: every item borrows from it until it is
/// known where it ends.
impl<'de> Deserialize<'de> for AllData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PayloadVisitor)
    }
}

struct PayloadVisitor;

impl<'de> Visitor<'de> for PayloadVisitor {
    type Value = AllData;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"an object {"flags":{...},"segments":{...}}"#)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let (mut flags, mut segments) = (None, None);
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            match &*name {
                "flags" if flags.is_none() => flags = Some(map.next_value_seed(Section("flags"))?),
                "segments" if segments.is_none() => {
                    segments = Some(map.next_value_seed(Section("segments"))?);
                }
                "flags" | "segments" => {
                    return Err(de::Error::custom(format!("the property {name} is there twice")));
                }
                // To ignore these as unknown would make an environment without the flags that are in them.
                _ => match intended(&name) {
                    Some(section) => {
                        return Err(de::Error::custom(format!(
                            "the property {} is not read: name it {section}",
                            Shown::new(&name)
                        )));
                    }
                    None => drop(map.next_value::<IgnoredAny>()?),
                },
            }
        }
        let (flags, segments): (Option<Items>, Option<Items>) = (flags.flatten(), segments.flatten());
        if flags.is_none() && segments.is_none() {
            return Err(de::Error::custom(
                "neither flags nor segments: expected {\"flags\":{...},\"segments\":{...}}",
            ));
        }
        Ok(AllData(IndexMap::from([
            (Kind::SEGMENTS, segments.unwrap_or_default()),
            (Kind::FEATURES, flags.unwrap_or_default()),
        ])))
    }
}

/// The section that somebody means who writes this name.
fn intended(name: &str) -> Option<&'static str> {
    match () {
        () if name.eq_ignore_ascii_case("flags") || name.eq_ignore_ascii_case("features") => Some("flags"),
        () if name.eq_ignore_ascii_case("segments") => Some("segments"),
        () => None,
    }
}

/// The items of the section of this name; null is none.
struct Section(&'static str);

impl<'de> DeserializeSeed<'de> for Section {
    type Value = Option<Items>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Section {
    type Value = Option<Items>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of {} by key", self.0)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let Self(section) = self;
        let mut items = IndexMap::new();
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            let about = |what: &dyn fmt::Display| {
                de::Error::custom(format!("{section}/{}: {what}", Shown::new(&key)))
            };
            let raw = map.next_value::<&RawValue>().map_err(|error| about(&error))?;
            // serde_json adds the place where it stands: behind the item.
            let item = Item::parse(raw.get())
                .map_err(|error| about(&format_args!("{error} of that item, which ends")))?;
            if items.insert(Arc::from(&*key), item).is_some() {
                return Err(about(&"this key is there twice"));
            }
        }
        Ok(Some(items))
    }
}

#[cfg(test)]
mod tests;
