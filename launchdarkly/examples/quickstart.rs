//! The main job, without a server and without a network: an environment in an SQLite database, and an
//! official LaunchDarkly client that evaluates from it.
//!
//! Run it twice: the second run finds what the first has left.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use flagstore_core::{AllData, FeatureStoreCore, Item, Kind, Upsert};
use flagstore_launchdarkly::data_store;
use flagstore_sqlite::SqliteStore;
use launchdarkly_server_sdk::{
    Client, ConfigBuilder, Context, EvalError, FlagValue, NullEventProcessorBuilder, Reason,
};
use serde_json::Value;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const USAGE: &str = "usage: quickstart [ENVIRONMENT.json [DATABASE]]";
const BUNDLED: &str = include_str!("environment.json");
const DATABASE: &str = "flagstore-quickstart.sqlite";

/// Which flags of the bundled environment are shown, in this order. Of another, it is the first dozen.
const SHOWN: [&str; 12] = [
    "checkout-new-flow",
    "checkout-one-click",
    "checkout-crypto",
    "search-engine",
    "search-max-results",
    "pricing-discount-rate",
    "pricing-show-vat",
    "maintenance-banner",
    "maintenance-read-only",
    "mobile-upgrade-prompt",
    "support-chat",
    "shipping-carriers",
];

const CONTEXTS: [(&str, &str); 5] = [
    ("user", r#"{"kind": "user", "key": "user-ana", "orders": 12, "address": {"country": "US"}}"#),
    ("anonymous", r#"{"kind": "user", "key": "b7c9e1d4", "anonymous": true}"#),
    ("employee", r#"{"kind": "user", "key": "user-mei", "email": "mei@tidewater.example"}"#),
    (
        "EU customer",
        r#"{"kind": "user", "key": "user-lena", "address": {"country": "DE", "city": "Berlin"}, "orders": 40,
            "registeredAt": "2023-02-11T09:30:00Z", "lifetimeValue": 2140.5, "payment": {"methods": ["apple-pay"]}}"#,
    ),
    (
        "user, company, device",
        r#"{"kind": "multi", "user": {"key": "user-sam"},
            "organization": {"key": "org-acme", "region": "eu-west-1", "billing": {"plan": "enterprise", "seats": 250}},
            "device": {"key": "tablet-7", "type": "tablet", "appVersion": "2.9.4", "os": {"name": "Android"}}}"#,
    ),
];

fn main() -> ExitCode {
    let args: Vec<_> = env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let mut out = io::stdout().lock();
    let result = match &args[..] {
        [first, ..] if first.starts_with('-') => Err(USAGE.into()),
        [] => run(&mut out, None, DATABASE),
        [environment] => run(&mut out, Some(environment), DATABASE),
        [environment, database] => run(&mut out, Some(environment), database),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(out: &mut impl Write, environment: Option<&str>, database: &str) -> Result<()> {
    let environment = read_environment(environment)?;

    // The store: filled by the first run, and found by every later one.
    let store = SqliteStore::builder(database).build().map_err(|error| format!("{database}: {error}"))?;
    let store = Arc::new(store);
    if store.is_initialized()? {
        writeln!(out, "{database} has the data of an earlier run; delete it to start afresh.")?;
    } else {
        store.init(&environment)?;
        writeln!(out, "{database} is filled now.")?;
    }
    writeln!(out, "{}", count(&*store)?)?;

    // The official client: in daemon mode it only reads. It does not cache, so it sees each change at once.
    let config = ConfigBuilder::new("no-key-needed")
        .data_store(data_store(Arc::clone(&store)).no_caching())
        .daemon_mode(true)
        .event_processor(&NullEventProcessorBuilder::new())
        .build()?;
    let client = Client::build(config)?;

    let contexts = contexts()?;
    let flags = flags_to_show(&*store)?;
    let mut table = vec![["CONTEXT", "FLAG", "VALUE", "VARIATION", "REASON"].map(String::from)];
    for (name, context) in &contexts {
        for (key, _) in &flags {
            let [value, variation, reason] = evaluate(&client, context, key);
            table.push([(*name).to_owned(), key.clone(), value, variation, reason]);
        }
    }
    print_table(out, &table)?;

    // What another process writes to the store, the client evaluates next.
    let mut update = |key: &str, what: &str, item: Item| -> Result<()> {
        writeln!(out, "\n{key} is {what}: version {}", item.version())?;
        let evaluate_all = || contexts.iter().map(|(_, context)| evaluate(&client, context, key)).collect();
        let before: Vec<_> = evaluate_all();
        if let Upsert::Stale(newer) = store.upsert(&Kind::FEATURES, key, &item)? {
            writeln!(out, "Too late: version {} is there already", newer.version())?;
        }
        let after: Vec<_> = evaluate_all();
        let mut table = vec![["CONTEXT", "BEFORE", "", "AFTER", ""].map(String::from)];
        for (((name, _), [old, _, old_reason]), [new, _, new_reason]) in
            contexts.iter().zip(before).zip(after)
        {
            table.push([(*name).to_owned(), old, old_reason, new, new_reason]);
        }
        print_table(out, &table)
    };

    let Some(((last, last_flag), others)) = flags.split_last() else { return Ok(()) };
    if let Some((key, flag)) = others.iter().find(|(_, flag)| !flag.is_deleted()) {
        let turned = if is_on(flag)? { "turned off" } else { "turned on" };
        update(key, turned, revised(flag, flag.version() + 1, !is_on(flag)?)?)?;
    }
    let next = last_flag.version() + 1;
    let original = environment.items(&Kind::FEATURES).find(|(key, flag)| key == last && !flag.is_deleted());
    match original {
        _ if !last_flag.is_deleted() => update(last, "deleted", Item::tombstone(last, next)?),
        Some((_, flag)) => update(last, "restored after its deletion", revised(flag, next, is_on(flag)?)?),
        None => Ok(()),
    }
}

/// What LaunchDarkly and the Relay Proxy serve: from this file, or the bundled environment.
fn read_environment(path: Option<&str>) -> Result<AllData> {
    let (name, text) = match path {
        Some(path) => (path, fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?),
        None => ("environment.json", BUNDLED.to_owned()),
    };
    let environment = AllData::from_json(&text).map_err(|error| format!("{name}: {error}"))?;
    Ok(environment.in_dependency_order())
}

fn contexts() -> Result<Vec<(&'static str, Context)>> {
    CONTEXTS.iter().map(|(name, json)| Ok((*name, serde_json::from_str(json)?))).collect()
}

fn count(store: &dyn FeatureStoreCore) -> Result<String> {
    let flags = store.get_all(&Kind::FEATURES)?.by_key;
    let segments = store.get_all(&Kind::SEGMENTS)?.by_key;
    let live = |items: &HashMap<String, Item>| items.values().filter(|item| !item.is_deleted()).count();
    let (live_flags, live_segments) = (live(&flags), live(&segments));
    let tombstones = flags.len() + segments.len() - live_flags - live_segments;
    Ok(format!("flags: {live_flags}, segments: {live_segments}, tombstones: {tombstones}"))
}

/// A dozen flags at most, deleted ones among them: first those of `SHOWN`.
fn flags_to_show(store: &dyn FeatureStoreCore) -> Result<Vec<(String, Item)>> {
    let mut flags: Vec<_> = store.get_all(&Kind::FEATURES)?.by_key.into_iter().collect();
    let place = |key: &str| SHOWN.iter().position(|shown| *shown == key).unwrap_or(SHOWN.len());
    flags.sort_by(|(a, _), (b, _)| (place(a), a).cmp(&(place(b), b)));
    flags.truncate(SHOWN.len());
    Ok(flags)
}

fn is_on(flag: &Item) -> Result<bool> {
    Ok(serde_json::from_str::<Value>(flag.json())?["on"] == true)
}

/// The same flag in another version, on or off.
fn revised(flag: &Item, version: u64, on: bool) -> Result<Item> {
    let mut json: Value = serde_json::from_str(flag.json())?;
    json["version"] = version.into();
    json["on"] = on.into();
    Ok(Item::parse(json.to_string())?)
}

/// Value, variation and reason.
fn evaluate(client: &Client, context: &Context, key: &str) -> [String; 3] {
    let detail = client.variation_detail(context, key, Value::Null);
    let reason = explained(&detail.reason);
    let (Some(variation), Some(value)) = (detail.variation_index, detail.value) else {
        return ["-".to_owned(), "-".to_owned(), reason];
    };
    let value = match value {
        FlagValue::Bool(value) => value.to_string(),
        FlagValue::Number(value) => value.to_string(),
        FlagValue::Str(value) => value,
        FlagValue::Json(value) => value.to_string(),
    };
    [shortened(value), variation.to_string(), reason]
}

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(36) {
        text.replace_range(end.., "...");
    }
    text
}

fn explained(reason: &Reason) -> String {
    let experiment = if reason.is_in_experiment() { ", in experiment" } else { "" };
    match reason {
        Reason::Off => "off".to_owned(),
        Reason::TargetMatch => "target match".to_owned(),
        Reason::RuleMatch { rule_index, .. } => format!("rule match #{}{experiment}", rule_index + 1),
        Reason::PrerequisiteFailed { prerequisite_key } => format!("prerequisite failed: {prerequisite_key}"),
        Reason::Fallthrough { .. } => format!("fallthrough{experiment}"),
        Reason::Error { error: EvalError::FlagNotFound } => "flag not found".to_owned(),
        Reason::Error { error } => format!("error: {error:?}"),
    }
}

fn print_table(out: &mut impl Write, rows: &[[String; 5]]) -> Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [a, b, c, d, _] = std::array::from_fn(width);
    writeln!(out)?;
    for [context, second, third, fourth, last] in rows {
        let row = format!("{context:a$}  {second:b$}  {third:c$}  {fourth:d$}  {last}");
        writeln!(out, "{}", row.trim_end())?;
    }
    Ok(())
}
