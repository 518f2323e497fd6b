//! A flag that depends on a Big Segment, without a server and without a network: flags and members in one SQLite
//! database, evaluated by our evaluator and by the official client.

use std::error::Error;
use std::sync::Arc;

use flagstore_core::{
    AllData, BigSegmentPatch, BigSegmentStoreWrapper, BigSegmentUpdates, BigSegmentsStatus,
    CachingStoreWrapper, FeatureStore, PatchOutcome, UnixMillis, context_hash,
};
use flagstore_launchdarkly::{AllFlagsOptions, BigSegmentsClient, Evaluation, Evaluator};
use flagstore_sqlite::SqliteStore;
use launchdarkly_server_sdk::{ConfigBuilder, Context, ContextBuilder, NullEventProcessorBuilder};

/// The flag is on for beta testers. Of those, only the segment's key and generation are here: they may be millions.
const ENVIRONMENT: &str = r#"{
    "flags": {"new-editor": {"key": "new-editor", "version": 1, "on": true, "variations": [false, true],
        "rules": [{"id": "beta", "variation": 1,
            "clauses": [{"attribute": "", "op": "segmentMatch", "values": ["beta-testers"]}]}],
        "fallthrough": {"variation": 0}, "offVariation": 0, "salt": "a",
        "clientSideAvailability": {"usingEnvironmentId": true, "usingMobileKey": true}}},
    "segments": {"beta-testers": {"key": "beta-testers", "version": 1, "unbounded": true, "generation": 3, "salt": "b",
        "rules": [{"clauses": [{"contextKind": "user", "attribute": "email", "op": "endsWith",
            "values": ["@tidewater.example"]}]}]}}}"#;

fn main() -> Result<(), Box<dyn Error>> {
    // One store for both: flags and segments, and who is in a Big Segment.
    let database = Arc::new(SqliteStore::in_memory().build()?);
    let flags = CachingStoreWrapper::builder(Arc::clone(&database)).build()?;
    flags.init(&AllData::from_json(ENVIRONMENT)?)?;
    play_the_relay(&*database)?;
    let big_segments = BigSegmentStoreWrapper::builder(database).build()?;

    let contexts: [(&str, Context); 4] = [
        ("ana, a beta tester", ContextBuilder::new("ana").build()?),
        (
            "mei, by the rule",
            ContextBuilder::new("mei").set_string("email", "mei@tidewater.example").build()?,
        ),
        (
            "kofi, excluded",
            ContextBuilder::new("kofi").set_string("email", "kofi@tidewater.example").build()?,
        ),
        ("sam, in no list", ContextBuilder::new("sam").build()?),
    ];

    println!("Our evaluator:");
    let evaluator = Evaluator::new(flags.clone()).with_big_segments(big_segments.clone());
    for (name, context) in &contexts {
        show(name, &evaluator.bool_variation_detail(context, "new-editor", false));
    }

    println!("\nThe official client, which would send its events:");
    let config = ConfigBuilder::new("no-key-needed")
        .daemon_mode(true)
        .event_processor(&NullEventProcessorBuilder::new());
    let client = BigSegmentsClient::build(config, flags, big_segments)?;
    for (name, context) in &contexts {
        show(name, &client.bool_variation_detail(context, "new-editor", false));
    }

    println!("\nWhat ana's front end is bootstrapped with:");
    let options = AllFlagsOptions::new().with_reasons().client_side_only();
    println!("{}", serde_json::to_string_pretty(&evaluator.all_flags(&contexts[0].1, options))?);
    Ok(())
}

/// Keeps the lists as the Relay Proxy does in Redis and DynamoDB.
fn play_the_relay(database: &impl BigSegmentUpdates) -> Result<(), Box<dyn Error>> {
    let mut patch = BigSegmentPatch::new("beta-testers.g3", "", "1");
    patch.included.add.push(context_hash("ana"));
    patch.excluded.add.push(context_hash("kofi"));
    match database.apply_patch(&patch)? {
        PatchOutcome::Applied => Ok(database.set_metadata(UnixMillis::now())?),
        PatchOutcome::OutOfOrder(version) => {
            Err(format!("the database is at version {version} already").into())
        }
    }
}

fn show(name: &str, evaluation: &Evaluation<bool>) {
    let value = evaluation.detail.value.unwrap_or_default();
    let status = evaluation.big_segments_status.map_or("no Big Segment", BigSegmentsStatus::as_str);
    println!("  {name:<20} {value:<6} {status:<16} {:?}", evaluation.detail.reason);
}
