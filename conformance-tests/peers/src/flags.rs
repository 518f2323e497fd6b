//! Flags and segments as LaunchDarkly serves them, with all properties.

use flagstore_core::BigSegmentPatch;
use serde_json::{Value, json};

/// A flag that gives `value` to everyone.
#[must_use]
pub fn flag(key: &str, version: u64, value: &str) -> Value {
    json!({
        "key": key,
        "version": version,
        "on": true,
        "variations": ["off", value],
        "offVariation": 0,
        "fallthrough": {"variation": 1},
        "prerequisites": [],
        "targets": [],
        "contextTargets": [],
        "rules": [],
        "salt": "c2FsdA==",
        "clientSide": false,
        "clientSideAvailability": {"usingMobileKey": false, "usingEnvironmentId": false},
        "trackEvents": false,
        "trackEventsFallthrough": false,
        "debugEventsUntilDate": null,
        "deleted": false,
    })
}

/// A flag that gives `member` to those who are in the segment, and `other` to the rest.
#[must_use]
pub fn flag_of_segment(key: &str, version: u64, segment: &str) -> Value {
    let mut flag = flag(key, version, "other");
    flag["variations"] = json!(["off", "other", "member"]);
    flag["rules"] = json!([{
        "id": "members",
        "variation": 2,
        "trackEvents": false,
        "clauses": [{
            "contextKind": "user", "attribute": "", "op": "segmentMatch", "values": [segment], "negate": false,
        }],
    }]);
    flag
}

/// A segment of these users.
#[must_use]
pub fn segment(key: &str, version: u64, included: &[&str]) -> Value {
    json!({
        "key": key,
        "version": version,
        "included": included,
        "excluded": [],
        "includedContexts": [],
        "excludedContexts": [],
        "rules": [],
        "salt": "c2FsdA==",
        "deleted": false,
    })
}

/// A flag that gives `value` to so many of 100 000 users, and `off` to the rest.
#[must_use]
pub fn flag_with_rollout(key: &str, version: u64, value: &str, weight: u32) -> Value {
    let mut flag = flag(key, version, value);
    flag["fallthrough"] = json!({"rollout": {"variations": [
        {"variation": 1, "weight": weight},
        {"variation": 0, "weight": 100_000 - weight},
    ]}});
    flag
}

/// A segment that this user is in, if the user is among so many of 100 000.
#[must_use]
pub fn segment_with_weight(key: &str, version: u64, user: &str, weight: u32) -> Value {
    let mut segment = segment(key, version, &[]);
    segment["rules"] = json!([{
        "id": "some",
        "weight": weight,
        "clauses": [{
            "contextKind": "user", "attribute": "key", "op": "in", "values": [user], "negate": false,
        }],
    }]);
    segment
}

/// A Big Segment.
#[must_use]
pub fn big_segment(key: &str, version: u64, generation: u64) -> Value {
    let mut segment = segment(key, version, &[]);
    segment["unbounded"] = json!(true);
    segment["generation"] = json!(generation);
    segment
}

/// A change of a Big Segment as LaunchDarkly tells it to a Relay.
#[must_use]
pub fn revision(patch: &BigSegmentPatch) -> Value {
    json!({
        "environmentId": "environment",
        "segmentId": patch.segment_ref,
        "previousVersion": patch.previous_version,
        "version": patch.version,
        "changes": {
            "included": {"add": patch.included.add, "remove": patch.included.remove},
            "excluded": {"add": patch.excluded.add, "remove": patch.excluded.remove},
        },
    })
}

/// `{"flags":{..},"segments":{..}}` of these.
#[must_use]
pub fn environment(
    flags: impl IntoIterator<Item = Value>,
    segments: impl IntoIterator<Item = Value>,
) -> Value {
    json!({"flags": by_key(flags), "segments": by_key(segments)})
}

fn by_key(items: impl IntoIterator<Item = Value>) -> Value {
    items.into_iter().map(|item| (item["key"].as_str().unwrap().to_owned(), item)).collect()
}
