//! The listeners that the harness wants to be told by: of changes of flags, and of values for a context.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use flagstore_core::{FlagValueChange, Subscription};
use flagstore_launchdarkly::DataSystem;
use launchdarkly_server_sdk::{Context, FlagValue};
use serde::Deserialize;
use serde_json::{Value, json};

/// For one notification. The harness gives up sooner.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OfFlags {
    listener_id: String,
    callback_uri: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OfValue {
    listener_id: String,
    callback_uri: String,
    flag_key: String,
    context: Context,
    default_value: FlagValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unregister {
    listener_id: String,
}

/// The listeners of one client, by the names that the harness gives them.
#[derive(Default)]
pub(crate) struct Listeners(Mutex<HashMap<String, Subscription>>);

impl Listeners {
    pub(crate) fn of_flags(&self, system: &DataSystem, asked: OfFlags) {
        let OfFlags { listener_id, callback_uri } = asked;
        let id = listener_id.clone();
        let subscription = system.flag_tracker().add_listener(move |change| {
            notify(&callback_uri, &json!({"listenerId": id, "flagKey": &*change.key}));
        });
        self.keep(listener_id, subscription);
    }

    pub(crate) fn of_value(&self, system: &DataSystem, asked: OfValue) {
        let OfValue { listener_id, callback_uri, flag_key, context, default_value } = asked;
        let id = listener_id.clone();
        let listener = move |change: FlagValueChange<FlagValue>| {
            let (old, new) = (change.old_value, change.new_value);
            let told = json!({"listenerId": id, "flagKey": &*change.key, "oldValue": old, "newValue": new});
            notify(&callback_uri, &told);
        };
        let subscription = system.add_flag_value_change_listener(&flag_key, context, default_value, listener);
        self.keep(listener_id, subscription);
    }

    /// Whether there was one.
    pub(crate) fn remove(&self, asked: &Unregister) -> bool {
        let removed = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&asked.listener_id);
        removed.is_some()
    }

    fn keep(&self, id: String, subscription: Subscription) {
        let replaced = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, subscription);
        drop(replaced);
    }
}

fn notify(url: &str, told: &Value) {
    let request = ureq::post(url).config().timeout_global(Some(PATIENCE)).build();
    if let Err(error) = request.send(told.to_string()) {
        // A test that has ended takes no more.
        eprintln!("contract tests: {url}: {error}");
    }
}
