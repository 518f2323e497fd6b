use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::SystemTime;

use flagstore_core::{BigSegmentsStatus, Kind};
use launchdarkly_server_sdk::{Context, Detail, Flag, FlagValue, Reason};
use launchdarkly_server_sdk_evaluation::{PrerequisiteEvent, PrerequisiteEventRecorder};
use serde::Serialize;

use super::evaluator::Evaluator;
use super::membership::Memberships;
use super::ready_flag::ReadyFlag;

/// What [`Evaluator::all_flags`] puts into its result.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct AllFlagsOptions {
    with_reasons: bool,
    client_side_only: bool,
    details_only_for_tracked_flags: bool,
}

impl AllFlagsOptions {
    /// All flags, with their values, variations and versions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the reasons, with the Big Segments status among them where there is one. Defaults to none.
    pub fn with_reasons(self) -> Self {
        Self { with_reasons: true, ..self }
    }

    /// Leaves out flags that are not meant for client-side SDKs. Defaults to all flags.
    pub fn client_side_only(self) -> Self {
        Self { client_side_only: true, ..self }
    }

    /// Leaves out the version and the reason of flags that nobody tracks or debugs, which makes the result smaller.
    /// Defaults to those of all flags.
    pub fn details_only_for_tracked_flags(self) -> Self {
        Self { details_only_for_tracked_flags: true, ..self }
    }
}

/// All flags for a context. As JSON it is what a front end is bootstrapped with: a property for the value of each flag,
/// `$flagsState` and `$valid`.
#[derive(Debug, Clone, Serialize)]
pub struct FlagsState {
    #[serde(flatten)]
    values: BTreeMap<String, Option<FlagValue>>,
    #[serde(rename = "$flagsState")]
    states: BTreeMap<String, FlagState>,
    #[serde(rename = "$valid")]
    valid: bool,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct FlagState {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variation: Option<isize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<FlagReason>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    track_events: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    track_reason: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    debug_events_until_date: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prerequisites: Vec<String>,
    #[serde(skip)]
    big_segments_status: Option<BigSegmentsStatus>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct FlagReason {
    #[serde(flatten)]
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    big_segments_status: Option<&'static str>,
}

impl FlagsState {
    /// The value of a flag. `None` if there is no such flag, or if it has no value for this context.
    #[must_use]
    pub fn value(&self, flag_key: &str) -> Option<&FlagValue> {
        self.values.get(flag_key)?.as_ref()
    }

    /// The variation of a flag, numbered from 0. `None` if there is none.
    #[must_use]
    pub fn variation_index(&self, flag_key: &str) -> Option<isize> {
        self.states.get(flag_key)?.variation
    }

    /// Why a flag has its value, if that was [asked for](AllFlagsOptions::with_reasons) or the flag is part of an experiment.
    #[must_use]
    pub fn reason(&self, flag_key: &str) -> Option<&Reason> {
        Some(&self.states.get(flag_key)?.reason.as_ref()?.reason)
    }

    /// How far the value of a flag can be trusted as far as Big Segments go. `None` if it does not depend on any.
    #[must_use]
    pub fn big_segments_status(&self, flag_key: &str) -> Option<BigSegmentsStatus> {
        self.states.get(flag_key)?.big_segments_status
    }

    /// The keys of the flags, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Whether the store could be read. If not, there are no flags.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.valid
    }
}

impl Evaluator {
    /// All flags for a context, each with a Big Segments status of its own.
    #[must_use]
    pub fn all_flags(&self, context: &Context, options: AllFlagsOptions) -> FlagsState {
        let mut state = FlagsState { values: BTreeMap::new(), states: BTreeMap::new(), valid: true };
        let items = match self.store().all(&Kind::FEATURES) {
            Ok(items) => items,
            Err(error) => {
                tracing::warn!("there are no flags for a context: {error}");
                return FlagsState { valid: false, ..state };
            }
        };
        let memberships = Memberships::default();
        for (key, item) in items.iter() {
            let Some(ready) = self.parsed::<ReadyFlag>(&Kind::FEATURES, key, item) else { continue };
            let flag = &ready.flag;
            if options.client_side_only && !flag.using_environment_id() {
                continue;
            }
            let prerequisites = DirectPrerequisites { of: key, keys: RefCell::default() };
            let (Detail { value, variation_index, reason }, big_segments_status) = self.evaluate(
                context,
                ready,
                &memberships,
                Some(&prerequisites),
                |detail, big_segments_status| (detail.map(FlagValue::clone), big_segments_status),
            );
            let is_experiment = flag.is_experimentation_enabled(&reason);
            let is_tracked = flag.track_events || is_experiment || is_debugged(flag);
            let has_details = is_tracked || !options.details_only_for_tracked_flags;
            let has_reason = has_details && (options.with_reasons || is_experiment);
            let flag_state = FlagState {
                version: has_details.then_some(flag.version),
                variation: variation_index,
                reason: has_reason.then(|| FlagReason {
                    reason,
                    big_segments_status: big_segments_status.map(BigSegmentsStatus::as_str),
                }),
                track_events: flag.track_events || is_experiment,
                track_reason: is_experiment,
                debug_events_until_date: flag.debug_events_until_date,
                prerequisites: prerequisites.keys.into_inner(),
                big_segments_status,
            };
            state.values.insert(key.to_owned(), value);
            state.states.insert(key.to_owned(), flag_state);
        }
        state
    }
}

fn is_debugged(flag: &Flag) -> bool {
    let Some(until) = flag.debug_events_until_date else { return false };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u128::from(until) > now.as_millis()
}

/// The prerequisites that were looked at for this flag, without those of its prerequisites.
struct DirectPrerequisites<'a> {
    of: &'a str,
    keys: RefCell<Vec<String>>,
}

impl PrerequisiteEventRecorder for DirectPrerequisites<'_> {
    fn record(&self, event: PrerequisiteEvent) {
        if event.target_flag_key == self.of {
            self.keys.borrow_mut().push(event.prerequisite_flag.key);
        }
    }
}
