//! Big Segments between the Relay's synchroniser and our stores.

use flagstore_core::{BigSegmentPatch, Kind, PatchOutcome, UnixMillis, context_hash};
use flagstore_peers::data_system::WithSources;
use flagstore_peers::database::Database;
use flagstore_peers::flags::{big_segment, environment, flag_of_segment, revision};
use flagstore_peers::peer::{Evaluation, Peer};
use flagstore_peers::upstream::Upstream;
use flagstore_peers::wait::wait_for;
use serde_json::{Value, json};

use crate::{Outcome, Setup};

/// Whom the synchroniser puts in, keeps out and takes away again is in, out or left to the rules for us.
pub(crate) fn what_the_synchroniser_writes_is_evaluated_here(setup: &Setup) -> Outcome {
    let (database, upstream) = (setup.database.anew(), Upstream::start(&data()));
    let mut first = BigSegmentPatch::new("big.g2", "", "1");
    first.included.add = vec![context_hash("alice"), context_hash("bob")];
    first.excluded.add = vec![context_hash("dora")];
    upstream.revise(revision(&first));
    let began = UnixMillis::now();
    let _relay = setup.relay.start(&upstream, &database)?;
    database.wait_for_item(&Kind::FEATURES, "targeted", 1)?;
    // By the segment's rule, dora and emil would both be members.
    for (user, value) in
        [("alice", "member"), ("bob", "member"), ("carol", "other"), ("dora", "other"), ("emil", "member")]
    {
        finds(&database, user, value)?;
    }

    let mut second = BigSegmentPatch::new("big.g2", "1", "2");
    second.included.add = vec![context_hash("carol")];
    second.included.remove = vec![context_hash("bob")];
    second.excluded.remove = vec![context_hash("dora")];
    upstream.revise(revision(&second));
    for (user, value) in
        [("alice", "member"), ("bob", "other"), ("carol", "member"), ("dora", "member"), ("emil", "member")]
    {
        finds(&database, user, value)?;
    }
    let store = database.big_segment_updates();
    assert_eq!(store.get_version().unwrap(), "2");
    assert!(store.get_metadata().unwrap().unwrap() >= began, "the Relay says when it was up to date");
    Ok(())
}

/// What we have written is the Relay's to go on with: it asks for what came after, and not for what we have.
pub(crate) fn the_synchroniser_goes_on_where_we_have_ended(setup: &Setup) -> Outcome {
    let (database, upstream) = (setup.database.anew(), Upstream::start(&data()));
    let mut ours = BigSegmentPatch::new("big.g2", "", "1");
    ours.included.add = vec![context_hash("alice")];
    assert_eq!(database.big_segment_updates().apply_patch(&ours).unwrap(), PatchOutcome::Applied);

    // Upstream says something else of the first version, which nobody asks for any more.
    let mut first = BigSegmentPatch::new("big.g2", "", "1");
    first.included.add = vec![context_hash("bob")];
    let mut second = BigSegmentPatch::new("big.g2", "1", "2");
    second.included.add = vec![context_hash("carol")];
    upstream.revise(revision(&first));
    upstream.revise(revision(&second));
    let _relay = setup.relay.start(&upstream, &database)?;
    database.wait_for_item(&Kind::FEATURES, "targeted", 1)?;
    for (user, value) in [("carol", "member"), ("alice", "member"), ("bob", "other")] {
        finds(&database, user, value)?;
    }
    assert_eq!(database.big_segment_updates().get_version().unwrap(), "2");
    Ok(())
}

/// A Big Segment whose rule is for dora and emil, and a flag for its members.
fn data() -> Value {
    let mut segment = big_segment("big", 1, 2);
    segment["rules"] = json!([{"id": "rule", "clauses": [{
        "contextKind": "user", "attribute": "key", "op": "in", "values": ["dora", "emil"], "negate": false,
    }]}]);
    environment([flag_of_segment("targeted", 1, "big")], [segment])
}

/// Evaluates until the flag has this value for this user, and its Big Segments are healthy.
fn finds(database: &Database, user: &str, value: &str) -> Outcome {
    let expected = Evaluation { value: json!(value), error: None, big_segments: Some("HEALTHY".to_owned()) };
    let mut last = Ok(None);
    wait_for(&format!("{value} for {user}"), || {
        let found = WithSources.evaluate(database, &["targeted"], user);
        last = found.map(|mut found| found.results.remove("targeted"));
        (last.as_ref().ok()?.as_ref() == Some(&expected)).then_some(())
    })
    .map_err(|error| format!("{error}; the last time it was {last:?}"))
}
