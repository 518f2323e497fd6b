//! What the harness asks of a client.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use launchdarkly_server_sdk::{Client, Context, Detail, FlagDetailConfig, FlagFilter, FlagValue, Stage};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::tested::Tested;
use crate::{contexts, listeners, migrations};

/// Why a request is not answered.
pub(crate) enum Failure {
    /// It is not as the protocol wants it.
    Request(String),
    NoSuchClient,
    Sdk(String),
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Request(why) => (StatusCode::BAD_REQUEST, why).into_response(),
            Self::NoSuchClient => (StatusCode::NOT_FOUND, "there is no such client").into_response(),
            Self::Sdk(why) => (StatusCode::INTERNAL_SERVER_ERROR, why).into_response(),
        }
    }
}

pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::Request(error.to_string()))
}

/// A command and its parameters, which are in a property of the same name.
#[derive(Deserialize)]
pub(crate) struct Command {
    command: String,
    #[serde(flatten)]
    parameters: serde_json::Map<String, Value>,
}

impl Command {
    fn parameters<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let parameters = self.parameters.remove(&self.command).unwrap_or_default();
        serde_json::from_value(parameters)
            .map_err(|error| Failure::Request(format!("{}: {error}", self.command)))
    }
}

/// Runs it on a thread that may wait for a database.
pub(crate) async fn run(tested: Arc<Tested>, command: Command) -> Result<Option<Value>, Failure> {
    let done = tokio::task::spawn_blocking(move || run_blocking(&tested, command)).await;
    done.map_err(|error| Failure::Sdk(error.to_string()))?
}

fn run_blocking(tested: &Tested, mut command: Command) -> Result<Option<Value>, Failure> {
    if command.command == "migrationOperation" {
        // A future that stays on its thread.
        let operated = Handle::current()
            .block_on(migrations::operate(Arc::clone(tested.client()), command.parameters()?));
        return operated.map(Some).map_err(Failure::Sdk);
    }
    let client = tested.client();
    Ok(Some(match command.command.as_str() {
        "evaluate" => evaluate(tested, command.parameters()?)?,
        "evaluateAll" => evaluate_all(tested, &command.parameters()?),
        "contextBuild" => contexts::build(command.parameters()?),
        "contextConvert" => contexts::convert(&command.parameters::<contexts::Convert>()?),
        "migrationVariation" => migration_variation(client, command.parameters()?),
        "secureModeHash" => {
            let WithContext { context } = command.parameters()?;
            json!({"result": client.secure_mode_hash(&context).map_err(Failure::Sdk)?})
        }
        "getBigSegmentStoreStatus" => {
            let status = tested.big_segments_status();
            let status = status.ok_or_else(|| Failure::Request("no Big Segments".to_owned()))?;
            json!({"available": status.available, "stale": status.stale})
        }
        "customEvent" => {
            track(client, command.parameters()?);
            return Ok(None);
        }
        "identifyEvent" => {
            let WithContext { context } = command.parameters()?;
            client.identify(context);
            return Ok(None);
        }
        "flushEvents" => {
            client.flush();
            return Ok(None);
        }
        "registerFlagChangeListener" | "registerFlagValueChangeListener" | "unregisterListener" => {
            listen(tested, command)?;
            return Ok(None);
        }
        other => return Err(Failure::Request(format!("there is no command {other:?}"))),
    }))
}

fn listen(tested: &Tested, mut command: Command) -> Result<(), Failure> {
    let nobody = || Failure::Request("only a data system tells of changes".to_owned());
    let (system, listeners) = tested.listening().ok_or_else(nobody)?;
    match command.command.as_str() {
        "registerFlagChangeListener" => listeners.of_flags(system, command.parameters()?),
        "registerFlagValueChangeListener" => listeners.of_value(system, command.parameters()?),
        _ => {
            let asked: listeners::Unregister = command.parameters()?;
            if !listeners.remove(&asked) {
                return Err(Failure::Request("there is no such listener".to_owned()));
            }
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct WithContext {
    context: Context,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Evaluate {
    flag_key: String,
    context: Context,
    value_type: String,
    default_value: Value,
    detail: Option<bool>,
}

fn evaluate(tested: &Tested, asked: Evaluate) -> Result<Value, Failure> {
    let context = asked.context.clone();
    let (evaluated, big_segments) = tested.with_context(&context, |client| evaluate_by(client, asked));
    let mut evaluated = evaluated?;
    if let (Some(reason), Some(status)) = (evaluated["reason"].as_object_mut(), big_segments) {
        reason.insert("bigSegmentsStatus".to_owned(), json!(status.as_str()));
    }
    Ok(evaluated)
}

/// By the method for this type, with details or without: they are different ones of the client.
fn evaluate_by(client: &Client, asked: Evaluate) -> Result<Value, Failure> {
    let Evaluate { flag_key: key, context, value_type, default_value: default, detail } = asked;
    let wrong = || Failure::Request(format!("the default value of {key} is not of the type {value_type}"));
    let (context, detail) = (&context, detail == Some(true));
    Ok(match value_type.as_str() {
        "bool" => {
            let default = default.as_bool().ok_or_else(wrong)?;
            match detail {
                true => detailed(&client.bool_variation_detail(context, &key, default)),
                false => json!({"value": client.bool_variation(context, &key, default)}),
            }
        }
        "int" => {
            let whole = |number: f64| (number.fract() == 0.0).then_some(number as i64);
            let default = default.as_i64().or_else(|| default.as_f64().and_then(whole)).ok_or_else(wrong)?;
            match detail {
                true => detailed(&client.int_variation_detail(context, &key, default)),
                false => json!({"value": client.int_variation(context, &key, default)}),
            }
        }
        "double" => {
            let default = default.as_f64().ok_or_else(wrong)?;
            match detail {
                true => detailed(&client.float_variation_detail(context, &key, default)),
                false => json!({"value": client.float_variation(context, &key, default)}),
            }
        }
        "string" => {
            let default = default.as_str().ok_or_else(wrong)?.to_owned();
            match detail {
                true => detailed(&client.str_variation_detail(context, &key, default)),
                false => json!({"value": client.str_variation(context, &key, default)}),
            }
        }
        _ => {
            let default: FlagValue = serde_json::from_value(default).map_err(|_| wrong())?;
            match detail {
                true => detailed(&client.variation_detail(context, &key, default)),
                false => json!({"value": client.variation(context, &key, default)}),
            }
        }
    })
}

fn detailed<T: serde::Serialize>(detail: &Detail<T>) -> Value {
    json!({"value": detail.value, "variationIndex": detail.variation_index, "reason": detail.reason})
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EvaluateAll {
    context: Context,
    with_reasons: Option<bool>,
    client_side_only: Option<bool>,
    details_only_for_tracked_flags: Option<bool>,
}

fn evaluate_all(tested: &Tested, asked: &EvaluateAll) -> Value {
    let mut config = FlagDetailConfig::new();
    if asked.with_reasons == Some(true) {
        config.with_reasons();
    }
    if asked.client_side_only == Some(true) {
        config.flag_filter(FlagFilter::CLIENT);
    }
    if asked.details_only_for_tracked_flags == Some(true) {
        config.details_only_for_tracked_flags();
    }
    let (state, _) =
        tested.with_context(&asked.context, |client| client.all_flags_detail(&asked.context, config));
    json!({"state": state})
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CustomEvent {
    event_key: String,
    context: Context,
    data: Option<Value>,
    metric_value: Option<f64>,
}

fn track(client: &Client, event: CustomEvent) {
    let CustomEvent { event_key, context, data, metric_value } = event;
    match (metric_value, data) {
        (Some(value), data) => client.track_metric(context, event_key, value, data.unwrap_or_default()),
        (None, Some(data)) => {
            // It fails only for data that is not JSON.
            let _ = client.track_data(context, event_key, data);
        }
        (None, None) => client.track_event(context, event_key),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MigrationVariation {
    key: String,
    context: Context,
    default_stage: Stage,
}

fn migration_variation(client: &Client, asked: MigrationVariation) -> Value {
    let (stage, _tracker) = client.migration_variation(&asked.context, &asked.key, asked.default_stage);
    json!({"result": stage})
}
