//! The Big Segment store whose data the harness has.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use flagstore_core::{
    BigSegmentMembership, BigSegmentStore, BigSegmentStoreWrapper, ErrorKind, StoreError, UnixMillis,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::config::BigSegments;

/// The wrapper above it, with the settings that the harness asks for.
pub(crate) fn wrapper(asked: &BigSegments) -> Result<BigSegmentStoreWrapper, String> {
    let mut builder = BigSegmentStoreWrapper::builder(Callback(asked.callback_uri.clone()));
    if let Some(size) = asked.user_cache_size {
        builder = builder.context_cache_size(size);
    }
    if let Some(time) = asked.user_cache_time_ms {
        builder = builder.context_cache_time(Duration::from_millis(time));
    }
    if let Some(interval) = asked.status_poll_interval_ms {
        builder = builder.status_poll_interval(Duration::from_millis(interval));
    }
    if let Some(limit) = asked.stale_after_ms {
        builder = builder.stale_after(Duration::from_millis(limit));
    }
    builder.build().map_err(|error| error.to_string())
}

/// A store that asks the harness at this URL.
#[derive(Debug)]
struct Callback(String);

impl Callback {
    fn post<T: DeserializeOwned>(&self, operation: &'static str, body: &Value) -> Result<T, StoreError> {
        let failed =
            |error: ureq::Error| StoreError::new(ErrorKind::Unavailable, "harness", operation, error);
        let mut response =
            ureq::post(format!("{}/{operation}", self.0)).send(body.to_string()).map_err(failed)?;
        let text = response.body_mut().read_to_string().map_err(failed)?;
        serde_json::from_str(&text)
            .map_err(|error| StoreError::new(ErrorKind::Corrupt, "harness", operation, error))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    last_up_to_date: Option<u64>,
}

#[derive(Deserialize)]
struct Membership {
    values: Option<HashMap<String, Option<bool>>>,
}

impl BigSegmentStore for Callback {
    fn get_metadata(&self) -> Result<Option<UnixMillis>, StoreError> {
        let metadata: Metadata = self.post("getMetadata", &json!({}))?;
        Ok(metadata.last_up_to_date.map(UnixMillis))
    }

    fn get_membership(&self, context_hash: &str) -> Result<Option<BigSegmentMembership>, StoreError> {
        let membership: Membership = self.post("getMembership", &json!({"contextHash": context_hash}))?;
        Ok(membership.values.map(|values| {
            let those = |wanted| {
                let segments = values.iter().filter(move |(_, included)| **included == Some(wanted));
                segments.map(|(segment, _)| segment.as_str())
            };
            BigSegmentMembership::new(those(true), those(false))
        }))
    }

    fn stop(&self) {}
}

impl fmt::Display for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the harness")
    }
}
