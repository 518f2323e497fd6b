//! Operations of a migration, whose both sides are endpoints of the harness.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use launchdarkly_server_sdk::{Client, Context, ExecutionOrder, MigratorBuilder, Operation, Stage};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Operate {
    key: String,
    context: Context,
    default_stage: Stage,
    read_execution_order: ExecutionOrder,
    operation: Operation,
    old_endpoint: String,
    new_endpoint: String,
    payload: Option<String>,
    track_latency: bool,
    track_errors: bool,
    track_consistency: bool,
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>>;

pub(crate) async fn operate(client: Arc<Client>, asked: Operate) -> Result<Value, String> {
    let compare: Option<fn(&String, &String) -> bool> =
        asked.track_consistency.then_some(|old: &String, new: &String| old == new);
    let mut migrator = MigratorBuilder::new(client)
        .read_execution_order(asked.read_execution_order)
        .track_latency(asked.track_latency)
        .track_errors(asked.track_errors)
        .read(side(&asked.old_endpoint), side(&asked.new_endpoint), compare)
        .write(side(&asked.old_endpoint), side(&asked.new_endpoint))
        .build()?;
    let (context, key, stage, payload) = (&asked.context, asked.key, asked.default_stage, asked.payload);
    let result = match asked.operation {
        Operation::Read => migrator.read(context, key, stage, payload).await.result,
        Operation::Write => migrator.write(context, key, stage, payload).await.authoritative.result,
        other => return Err(format!("there is no operation {other:?}")),
    };
    Ok(json!({"result": result.unwrap_or_else(|error| error)}))
}

/// One side of the migration: what its endpoint answers, or that it refuses.
fn side(endpoint: &str) -> impl Fn(&Option<String>) -> Answer<'_> + Send + Sync {
    let endpoint = endpoint.to_owned();
    move |payload| {
        let (endpoint, payload) = (endpoint.clone(), payload.clone().unwrap_or_default());
        Box::pin(async move {
            let posted = tokio::task::spawn_blocking(move || {
                let mut response = ureq::post(&endpoint).send(payload)?;
                response.body_mut().read_to_string()
            });
            posted.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        })
    }
}
