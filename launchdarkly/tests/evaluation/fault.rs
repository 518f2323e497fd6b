use std::cell::Cell;
use std::panic::catch_unwind;

use flagstore_core::BigSegmentsStatus::{self, Healthy, NotConfigured, Stale, StoreError};
use serde_json::{Value, json};

/// What can be wrong with an evaluation. A world with a fault is one in which everything that evaluates has it: what it
/// is given, or what it says, is changed to what it would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    // Segments
    /// As the SDK by itself.
    IgnoresBigSegments,
    LooksAtRegularLists,
    IgnoresRegularLists,
    LooksAtExcludedFirst,
    IgnoresRules,
    IgnoresTheContextKind,
    TakesNoGenerationForZero,
    IgnoresGenerations,
    SeesNoNewVersion,
    // Flags
    IgnoresPrerequisites,
    // Memberships
    MixesContexts,
    TakesExcludedForIncluded,
    TakesExcludedForUnknown,
    ExclusionWins,
    TakesUnknownForAnError,
    TakesEmptyForAnError,
    TakesErrorsForUnknown,
    AsksTwice,
    AsksWithoutNeed,
    CachesNothing,
    CachesForEver,
    HasNoLimit,
    // Status
    HidesTheStatus,
    SaysHealthyForStale,
    SaysStaleForStoreError,
    SaysHealthyForNotConfigured,
    PollsOnce,
    PollsWithEachEvaluation,
    SaysAvailableForNotConfigured,
}

thread_local! {
    static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
}

impl Fault {
    /// That of the worlds which are made on this thread.
    pub(crate) fn of_this_thread() -> Option<Self> {
        FAULT.get()
    }

    /// Whether a case passes whose worlds have this fault.
    pub(crate) fn passes(self, case: fn()) -> bool {
        FAULT.set(Some(self));
        let outcome = catch_unwind(case);
        FAULT.set(None);
        outcome.is_ok()
    }

    /// The segment as it looks to who has the fault.
    pub(crate) fn in_segment(self, segment: &mut Value) {
        let is_big = segment["unbounded"] == true;
        match self {
            Self::IgnoresBigSegments => segment["unbounded"] = json!(false),
            Self::LooksAtRegularLists if is_big && segment["included"].is_array() => {
                let clause = json!({"attribute": "key", "op": "in", "values": segment["included"]});
                segment["rules"] = json!([{"clauses": [clause]}]);
            }
            Self::IgnoresRegularLists => segment["includedContexts"] = json!([]),
            Self::LooksAtExcludedFirst => {
                let excluded = segment["excluded"].as_array().cloned().unwrap_or_default();
                if let Some(included) = segment["included"].as_array_mut() {
                    included.retain(|key| !excluded.contains(key));
                }
            }
            Self::IgnoresRules => segment["rules"] = json!([]),
            Self::IgnoresTheContextKind => segment["unboundedContextKind"] = json!("user"),
            Self::TakesNoGenerationForZero if is_big && segment["generation"].is_null() => {
                segment["generation"] = json!(0);
            }
            Self::IgnoresGenerations if !segment["generation"].is_null() => segment["generation"] = json!(1),
            _ => {}
        }
    }

    /// The same of a flag.
    pub(crate) fn in_flag(self, flag: &mut Value) {
        if self == Self::IgnoresPrerequisites {
            flag["prerequisites"] = json!([]);
        }
    }

    /// The status that it says.
    pub(crate) fn in_status(self, status: Option<BigSegmentsStatus>) -> Option<BigSegmentsStatus> {
        match (self, status?) {
            (Self::HidesTheStatus, _) => None,
            (Self::SaysHealthyForStale, Stale) | (Self::SaysHealthyForNotConfigured, NotConfigured) => {
                Some(Healthy)
            }
            (Self::SaysStaleForStoreError, StoreError) => Some(Stale),
            (_, status) => Some(status),
        }
    }
}
