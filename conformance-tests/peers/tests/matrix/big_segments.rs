//! Big Segments, which the Relay and we write, and everybody reads.

use flagstore_core::{AllData, BigSegmentPatch, Kind, PatchOutcome, UnixMillis, context_hash};
use flagstore_peers::database::Database;
use flagstore_peers::flags::{big_segment, environment, flag_of_segment, revision};
use flagstore_peers::peer::Evaluation;
use flagstore_peers::upstream::Upstream;
use flagstore_peers::wait::wait_for;
use serde_json::{Value, json};

use crate::setup::Setup;

/// The Relay's synchroniser writes who is in a Big Segment, and who reads evaluates by it.
pub(crate) fn big_segments_of_the_relay_are_read_by_all(setup: &Setup) -> Result<(), String> {
    let database = setup.database.anew();
    let upstream = Upstream::start(&data());
    let [first, second] = patches();
    upstream.revise(revision(&first));
    let _relay = setup.peer("Relay").follow(&upstream, &database)?;
    database.wait_for_item(&Kind::FEATURES, "targeted", 1)?;
    upstream.revise(revision(&second));
    are_read_by_all(setup, &database)
}

/// Our stores write them as the Relay does.
pub(crate) fn big_segments_of_ours_are_read_by_all(setup: &Setup) -> Result<(), String> {
    let database = setup.database.anew();
    database.store().init(&AllData::from_json(&data().to_string()).unwrap()).unwrap();
    let store = database.big_segment_updates();
    for patch in patches() {
        assert_eq!(store.apply_patch(&patch).unwrap(), PatchOutcome::Applied);
    }
    store.set_metadata(UnixMillis::now()).unwrap();
    are_read_by_all(setup, &database)
}

fn data() -> Value {
    let flags = [flag_of_segment("targeted", 1, "big"), flag_of_segment("later", 1, "later")];
    // By its rule, everybody would be in it who is not kept out.
    let mut later = big_segment("later", 1, 1);
    later["rules"] = json!([{"id": "rule", "clauses": [{
        "contextKind": "user", "attribute": "key", "op": "in", "values": [""], "negate": true,
    }]}]);
    environment(flags, [big_segment("big", 1, 2), later])
}

fn patches() -> [BigSegmentPatch; 2] {
    let mut first = BigSegmentPatch::new("big.g2", "", "1");
    first.included.add = vec![context_hash("alice"), context_hash("carol")];
    let mut second = BigSegmentPatch::new("later.g1", "1", "2");
    second.included.add = vec![context_hash("bob")];
    second.excluded.add = vec![context_hash("carol")];
    [first, second]
}

fn are_read_by_all(setup: &Setup, database: &Database) -> Result<(), String> {
    let members = [
        ("alice", ["member", "member"]),
        ("bob", ["other", "member"]),
        ("carol", ["member", "other"]),
        ("dora", ["other", "member"]),
    ];
    for reader in setup.peers().filter(|reader| reader.evaluates_big_segments()) {
        for (user, values) in members {
            for (flag, value) in ["targeted", "later"].into_iter().zip(values) {
                let expected =
                    Evaluation { value: json!(value), error: None, big_segments: Some("HEALTHY".to_owned()) };
                let mut last = Ok(None);
                wait_for(&format!("{flag} for {user} and {}", reader.name()), || {
                    last =
                        reader.evaluate(database, &[flag], user).map(|mut found| found.results.remove(flag));
                    (last.as_ref().ok()?.as_ref() == Some(&expected)).then_some(())
                })
                .map_err(|error| format!("{error}; the last time it was {last:?}"))?;
            }
        }
    }
    Ok(())
}
