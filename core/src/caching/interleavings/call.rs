//! A call, step by step.

use super::KIND;
use crate::known::Moment;
use crate::{AllData, Item, Items, StoreError, Upsert};

/// A call that is under way.
pub(super) enum Call {
    Read {
        key: &'static str,
        since: Moment,
        before: Before,
        answer: Option<Option<Item>>,
    },
    ReadAll {
        since: Moment,
        before: Before,
        answer: Option<Items>,
    },
    /// With how many inits had begun, if all of them had ended.
    Upsert {
        key: &'static str,
        item: Item,
        since: Moment,
        inits: Option<usize>,
        answer: Option<Result<Upsert, StoreError>>,
    },
    /// The same, and with the versions that were written before it set out, by key.
    Init {
        all_data: AllData,
        since: Moment,
        inits: Option<usize>,
        before: [Vec<u64>; 2],
        answer: Option<Result<(), StoreError>>,
    },
}

/// What there was when a read set out, by key.
#[derive(Clone, Copy)]
pub(super) struct Before {
    /// The highest version that was answered to anybody.
    pub(super) heard: [u64; 2],
    /// The oldest moment of the database that may be the answer: all that happened until then was answered, or noticed.
    pub(super) oldest: [usize; 2],
}

impl Call {
    pub(super) fn writes(&self, to: &str) -> bool {
        match self {
            Self::Read { .. } | Self::ReadAll { .. } => false,
            Self::Upsert { key, .. } => *key == to,
            Self::Init { .. } => true,
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Read { key, since, .. } => format!("read of {key} (since {since})"),
            Self::ReadAll { since, .. } => format!("read of all (since {since})"),
            Self::Upsert { key, item, since, .. } => {
                format!("upsert of {key} v{} (since {since})", item.version())
            }
            Self::Init { all_data, since, .. } => {
                format!("init of {:?} (since {since})", of_init(all_data))
            }
        }
    }
}

pub(super) fn of_init(all_data: &AllData) -> Vec<(&str, u64)> {
    all_data.items(&KIND).map(|(key, item)| (key, item.version())).collect()
}
