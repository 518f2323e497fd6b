//! Contexts that the harness wants built and converted. An invalid one is an answer, not a failure.

use std::collections::HashMap;

use launchdarkly_server_sdk::{AttributeValue, Context, ContextBuilder, MultiContextBuilder, Reference};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub(crate) struct Build {
    single: Option<Single>,
    multi: Option<Vec<Single>>,
}

#[derive(Deserialize)]
struct Single {
    kind: Option<String>,
    key: String,
    name: Option<String>,
    anonymous: Option<bool>,
    private: Option<Vec<String>>,
    custom: Option<HashMap<String, AttributeValue>>,
}

#[derive(Deserialize)]
pub(crate) struct Convert {
    input: String,
}

pub(crate) fn build(build: Build) -> Value {
    answer(match build {
        Build { single: Some(single), .. } => single.context(),
        Build { multi: Some(contexts), .. } => contexts
            .into_iter()
            .map(Single::context)
            .collect::<Result<_, _>>()
            .and_then(|contexts| MultiContextBuilder::of(contexts).build()),
        _ => Err("neither single nor multi".to_owned()),
    })
}

pub(crate) fn convert(convert: &Convert) -> Value {
    answer(serde_json::from_str(&convert.input).map_err(|error| error.to_string()))
}

fn answer(context: Result<Context, String>) -> Value {
    match context.and_then(|context| serde_json::to_string(&context).map_err(|error| error.to_string())) {
        Ok(text) => json!({"output": text}),
        Err(error) => json!({"error": error}),
    }
}

impl Single {
    fn context(self) -> Result<Context, String> {
        let mut builder = ContextBuilder::new(self.key);
        if let Some(kind) = self.kind {
            builder.kind(kind);
        }
        if let Some(name) = self.name {
            builder.name(name);
        }
        if let Some(anonymous) = self.anonymous {
            builder.anonymous(anonymous);
        }
        for reference in self.private.unwrap_or_default() {
            builder.add_private_attribute(Reference::new(reference));
        }
        for (name, value) in self.custom.unwrap_or_default() {
            builder.set_value(&name, value);
        }
        builder.build()
    }
}
