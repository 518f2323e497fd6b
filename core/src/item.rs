use std::any::{Any, TypeId};
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use outline::outline;

mod outline;

/// The highest version that every LaunchDarkly SDK can represent: 2^53, the limit of a double.
pub const MAX_VERSION: u64 = 1 << 53;

/// A versioned JSON object, or the tombstone that a deleted one leaves behind.
///
/// The JSON text is kept byte for byte as it was given. Version and deleted are read from it once, on the
/// way in. The item's key is not part of it: the key is the hash field, sort key or column under which a
/// database holds the item, and never the JSON's own `key` property (Go's tombstones say `"$deleted"`
/// there).
///
/// A version is at most [`MAX_VERSION`]: an item above it cannot be made, so no store has to refuse one.
///
/// A clone is one reference count, shared with what [`decode`](Self::decode) has made of the item.
///
/// # Tombstones
///
/// A tombstone is written as `{"key":"<item key>","version":N,"deleted":true}`. Any JSON object with
/// `"deleted":true` is read as one, whatever else it says, and so is the text `null` where the version
/// stands beside it (Java and .NET on DynamoDB).
///
/// ```
/// use flagstore_core::Item;
///
/// let flag = Item::parse(r#"{"key":"dark-mode","version":7,"on":true}"#)?;
/// assert_eq!((flag.version(), flag.is_deleted()), (7, false));
///
/// let tombstone = Item::tombstone("dark-mode", 8)?;
/// assert_eq!(tombstone.json(), r#"{"key":"dark-mode","version":8,"deleted":true}"#);
/// # Ok::<(), flagstore_core::DecodeError>(())
/// ```
#[derive(Clone)]
pub struct Item(Arc<Inner>);

// A `Box<str>` and not an `Arc<str>`: the whole item is shared, so its text need not be.
struct Inner {
    text: Text,
    version: u64,
    deleted: bool,
    decoded: OnceLock<Box<Decoded>>,
}

enum Text {
    Own(Box<str>),
    /// That of another item, which is the same but for its reference count.
    Of(Item),
}

/// What the item is as one type. A list, since hardly ever more than two types are asked for.
struct Decoded {
    type_id: TypeId,
    value: Result<Arc<dyn Any + Send + Sync>, DecodeError>,
    next: OnceLock<Box<Self>>,
}

impl Item {
    /// Reads an item whose version stands only in its JSON, as in Redis and in LaunchDarkly's payloads.
    ///
    /// A missing version is 0, as in every SDK: some writers leave out properties that have their default.
    ///
    /// # Errors
    ///
    /// When the text is not a JSON object, its version is not a whole number from 0 to [`MAX_VERSION`]
    /// (`2.0` is accepted as 2), its `deleted` is not a boolean, or one of the two is there twice. What is
    /// inside the object's arrays and objects has to end, and is not looked at before it is
    /// [decoded](Self::decode), nor is most of a long text: that would take most of the time of reading an item from a
    /// database.
    pub fn parse(json: impl Into<Box<str>>) -> Result<Self, DecodeError> {
        let json = json.into();
        let header = Header::read(&json)?;
        Ok(Self::of(header.version.0, header.is_deleted(), json))
    }

    /// Reads an item whose version also stands beside its JSON, as in DynamoDB. That version is the one
    /// that counts, and `null` as the text is a tombstone.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse); the JSON's own version must be well-formed too, and neither may be above
    /// [`MAX_VERSION`].
    pub fn parse_versioned(key: &str, version: u64, json: impl Into<Box<str>>) -> Result<Self, DecodeError> {
        let json = json.into();
        if json.trim() == "null" {
            return Self::tombstone(key, version);
        }
        let deleted = Header::read(&json)?.is_deleted();
        Self::from_parts(version, deleted, json)
    }

    /// Puts an item together from a store that keeps all three, without looking into the JSON.
    ///
    /// # Errors
    ///
    /// When the version is above [`MAX_VERSION`].
    pub fn from_parts(version: u64, deleted: bool, json: impl Into<Box<str>>) -> Result<Self, DecodeError> {
        let version = VersionVisitor.visit_u64::<serde_json::Error>(version)?;
        Ok(Self::of(version, deleted, json.into()))
    }

    /// The one place where items are made. Whoever calls it has checked the version, so nobody else has to.
    fn of(version: u64, deleted: bool, json: Box<str>) -> Self {
        Self(Arc::new(Inner { text: Text::Own(json), version, deleted, decoded: OnceLock::new() }))
    }

    /// The same item with a reference count of its own. It shares the text and what is decoded.
    pub(crate) fn counted_apart(&self) -> Self {
        let (version, deleted) = (self.version(), self.is_deleted());
        Self(Arc::new(Inner { text: Text::Of(self.clone()), version, deleted, decoded: OnceLock::new() }))
    }

    /// The placeholder of an item that was deleted at `version`.
    ///
    /// # Errors
    ///
    /// When the version is above [`MAX_VERSION`].
    pub fn tombstone(key: &str, version: u64) -> Result<Self, DecodeError> {
        #[derive(Serialize)]
        struct Tombstone<'a> {
            key: &'a str,
            version: u64,
            deleted: bool,
        }
        let json = serde_json::to_string(&Tombstone { key, version, deleted: true });
        // Serialising a string, a number and a boolean into memory has no way to fail.
        Self::from_parts(version, true, json.unwrap_or_default())
    }

    /// The version, by which concurrent writers are told apart: the highest wins.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.version
    }

    /// Whether this is a tombstone.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.0.deleted
    }

    /// The JSON text, byte for byte as it was given.
    #[must_use]
    pub fn json(&self) -> &str {
        match &self.0.text {
            Text::Own(json) => json,
            Text::Of(item) => item.json(),
        }
    }

    /// Whether the JSON itself has a `deleted` property, which PHP requires and the Rust SDK leaves out.
    #[must_use]
    pub fn states_deleted(&self) -> bool {
        Header::read(self.json()).is_ok_and(|header| header.deleted.is_some())
    }

    /// The JSON as a value of type `T`, or `None` for a tombstone.
    ///
    /// Each type that is asked for is decoded once, and then shared by all clones of this item, also when it
    /// fails.
    ///
    /// # Errors
    ///
    /// When the JSON does not describe a `T`.
    pub fn decode<T>(&self) -> Result<Option<Arc<T>>, DecodeError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        Ok(self.decoded::<T>()?.and_then(|value| Arc::clone(value).downcast().ok()))
    }

    /// As [`decode`](Self::decode), for whoever keeps the item as long as the value. So threads that look at the
    /// same value do not fight for its reference count.
    ///
    /// # Errors
    ///
    /// Those of [`decode`](Self::decode).
    pub fn decode_ref<T>(&self) -> Result<Option<&T>, DecodeError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        Ok(self.decoded::<T>()?.and_then(|value| value.downcast_ref()))
    }

    fn decoded<T>(&self) -> Result<Option<&Arc<dyn Any + Send + Sync>>, DecodeError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        if self.is_deleted() {
            return Ok(None);
        }
        if let Text::Of(item) = &self.0.text {
            return item.decoded::<T>();
        }
        let type_id = TypeId::of::<T>();
        let decode = || {
            let value = serde_json::from_str::<T>(self.json());
            let value = value.map(|value| Arc::new(value) as Arc<dyn Any + Send + Sync>).map_err(Into::into);
            Box::new(Decoded { type_id, value, next: OnceLock::new() })
        };
        let mut decoded = self.0.decoded.get_or_init(decode);
        while decoded.type_id != type_id {
            decoded = decoded.next.get_or_init(decode);
        }
        decoded.value.as_ref().map(Some).map_err(Clone::clone)
    }
}

/// Equal in version, deleted and every byte of the JSON.
impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.version() == other.version()
            && self.is_deleted() == other.is_deleted()
            && (std::ptr::eq(self.json(), other.json()) || self.json() == other.json())
    }
}

impl Eq for Item {}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        let start: String = self.json().chars().take(SHOWN).collect();
        let rest = if start.len() < self.json().len() { "..." } else { "" };
        let deleted = if self.is_deleted() { " deleted" } else { "" };
        write!(f, "v{}{deleted} {start}{rest}", self.version())
    }
}

/// Why a text could not be read as an item, or as the type asked for.
#[derive(Debug, Clone)]
pub struct DecodeError(Arc<serde_json::Error>);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for DecodeError {}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        Self(Arc::new(error))
    }
}

/// The two properties that a store looks at.
#[derive(Deserialize)]
#[serde(expecting = "a JSON object with a version")]
struct Header {
    #[serde(default)]
    version: Version,
    deleted: Option<bool>,
}

impl Header {
    fn read(json: &str) -> Result<Self, serde_json::Error> {
        // Derived structs can also be read from an array of their fields, which no item is.
        if json.trim_start().starts_with('[') {
            return Err(de::Error::custom("expected a JSON object with a version, found an array"));
        }
        // An error is that of the whole text, so that it says where.
        serde_json::from_str(&outline(json)).or_else(|_| serde_json::from_str(json))
    }

    fn is_deleted(&self) -> bool {
        self.deleted == Some(true)
    }
}

#[derive(Default)]
struct Version(u64);

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(VersionVisitor).map(Self)
    }
}

struct VersionVisitor;

impl Visitor<'_> for VersionVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version: a whole number from 0 to 2^53")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        if number <= MAX_VERSION {
            Ok(number)
        } else {
            Err(E::invalid_value(de::Unexpected::Unsigned(number), &self))
        }
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<u64, E> {
        #[expect(clippy::cast_precision_loss, reason = "2^53 is exact in a double")]
        if number.fract() == 0.0 && (0.0..=MAX_VERSION as f64).contains(&number) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
            Ok(number as u64)
        } else {
            Err(E::invalid_value(de::Unexpected::Float(number), &self))
        }
    }
}

#[cfg(test)]
mod tests;
