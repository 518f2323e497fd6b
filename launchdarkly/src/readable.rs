use std::hash::BuildHasher;
use std::marker::PhantomData;

use flagstore_core::{Item, Kind, Shown};
use foldhash::fast::RandomState;
use launchdarkly_server_sdk::{Flag, Segment};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{self, Model};

/// How many keys are remembered at most, far more than an environment has.
const MOST_KEYS: usize = 100_000;

/// What the SDK can parse: flags and segments.
pub(crate) trait Readable: DeserializeOwned + Serialize {
    const KIND: Kind;
    const MODEL: Model;
}

impl Readable for Flag {
    const KIND: Kind = Kind::FEATURES;
    const MODEL: Model = model::FLAG;
}

impl Readable for Segment {
    const KIND: Kind = Kind::SEGMENTS;
    const MODEL: Model = model::SEGMENT;
}

/// In which text the SDK can parse each item of a kind.
///
/// To find out takes as long as the SDK's own parsing, so it is done once for each text. Of that only a fingerprint
/// is kept, since a store without a cache gives the same text in another place each time.
#[derive(Debug)]
pub(crate) struct Texts<T> {
    known: papaya::HashMap<Box<str>, Known, RandomState>,
    fingerprints: RandomState,
    parsed: PhantomData<fn() -> T>,
}

#[derive(Debug)]
struct Known {
    fingerprint: u64,
    text: Text,
}

#[derive(Debug)]
enum Text {
    AsStored,
    Repaired(Box<str>),
    /// There is none.
    Unreadable,
}

impl<T: Readable> Texts<T> {
    /// The text for the SDK of this live item. If there is none, it is logged once why.
    pub(crate) fn of(&self, key: &str, item: &Item) -> Option<String> {
        let fingerprint = self.fingerprints.hash_one((item.version(), item.json()));
        let known = self.known.pin();
        if let Some(known) = known.get(key).filter(|known| known.fingerprint == fingerprint) {
            return known.text.of(item);
        }
        if known.len() >= MOST_KEYS {
            known.clear();
        }
        let (text, error) = Text::try_out::<T>(item.json());
        let given = text.of(item);
        let before = known.insert(key.into(), Known { fingerprint, text });
        // Of several threads that try the same text, the first one tells.
        if let Some(error) = error
            && before.is_none_or(|before| before.fingerprint != fingerprint)
        {
            tracing::warn!(
                "{}/{} counts as missing, because the SDK cannot parse version {}: {error}",
                T::KIND,
                Shown::new(key),
                item.version()
            );
        }
        given
    }
}

impl<T> Default for Texts<T> {
    fn default() -> Self {
        Self {
            known: papaya::HashMap::with_hasher(RandomState::default()),
            fingerprints: RandomState::default(),
            parsed: PhantomData,
        }
    }
}

impl Text {
    /// The text that says to the SDK what is meant, and if there is none, why.
    fn try_out<T: Readable>(json: &str) -> (Self, Option<serde_json::Error>) {
        match read::<T>(json) {
            Ok((_, None)) => (Self::AsStored, None),
            Ok((_, Some(repaired))) => (Self::Repaired(repaired.into()), None),
            Err(error) => (Self::Unreadable, Some(error)),
        }
    }

    fn of(&self, item: &Item) -> Option<String> {
        match self {
            Self::AsStored => Some(item.json().to_owned()),
            Self::Repaired(text) => Some(text.to_string()),
            Self::Unreadable => None,
        }
    }
}

/// What is meant by the JSON, and the text that says it, where that is another one.
///
/// Much of what could be put right is no error to the SDK, such as most properties that are null. And not all that it can
/// parse it understands: a variation of `1.0` makes a flag that counts as malformed.
pub(crate) fn read<T: Readable>(json: &str) -> serde_json::Result<(T, Option<String>)> {
    let stored = serde_json::from_str::<T>(json);
    let Some(repaired) = T::MODEL.repair(json) else { return stored.map(|stored| (stored, None)) };
    match (stored, serde_json::from_str::<T>(&repaired)) {
        (Ok(stored), Ok(meant)) if is_same(&stored, &meant) => Ok((stored, None)),
        (_, Ok(meant)) => Ok((meant, Some(repaired))),
        (stored, Err(error)) => stored.map(|stored| (stored, None)).map_err(|_| error),
    }
}

/// They have no `PartialEq`, but are written the same.
fn is_same(one: &impl Serialize, other: &impl Serialize) -> bool {
    serde_json::to_string(one).ok() == serde_json::to_string(other).ok()
}
