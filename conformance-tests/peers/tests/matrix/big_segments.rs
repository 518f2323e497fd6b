//! Big Segments, which the Relay writes and everybody reads.

use flagstore_core::{Kind, context_hash};
use flagstore_peers::flags::{big_segment, environment, flag_of_segment};
use flagstore_peers::peer::Evaluation;
use flagstore_peers::upstream::Upstream;
use flagstore_peers::wait::wait_for;
use serde_json::{Value, json};

use crate::setup::Setup;

/// The Relay's synchroniser writes who is in a Big Segment, and who reads evaluates by it.
pub(crate) fn big_segments_of_the_relay_are_read_by_all(setup: &Setup) -> Result<(), String> {
    let database = setup.database.anew();
    let flags = [flag_of_segment("targeted", 1, "big"), flag_of_segment("later", 1, "later")];
    let upstream =
        Upstream::start(&environment(flags, [big_segment("big", 1, 2), big_segment("later", 1, 1)]));
    upstream.revise(revision("", "1", "big.g2", &["alice"]));
    let _relay = setup.peer("Relay").follow(&upstream, &database)?;
    database.wait_for_item(&Kind::FEATURES, "targeted", 1)?;
    upstream.revise(revision("1", "2", "later.g1", &["bob"]));
    let members =
        [("alice", ["member", "other"]), ("bob", ["other", "member"]), ("carol", ["other", "other"])];
    for reader in setup.peers().filter(|reader| reader.evaluates_big_segments()) {
        for (user, values) in members {
            for (flag, value) in ["targeted", "later"].into_iter().zip(values) {
                let expected =
                    Evaluation { value: json!(value), error: None, big_segments: Some("HEALTHY".to_owned()) };
                let mut last = Ok(None);
                wait_for(&format!("{flag} for {user} and {}", reader.name()), || {
                    last =
                        reader.evaluate(&database, &[flag], user).map(|mut found| found.results.remove(flag));
                    (last.as_ref().ok()?.as_ref() == Some(&expected)).then_some(())
                })
                .map_err(|error| format!("{error}; the last time it was {last:?}"))?;
            }
        }
    }
    Ok(())
}

/// These users come into the segment.
fn revision(after: &str, version: &str, segment: &str, users: &[&str]) -> Value {
    let hashes: Vec<String> = users.iter().map(|user| context_hash(user)).collect();
    json!({
        "environmentId": "environment",
        "segmentId": segment,
        "previousVersion": after,
        "version": version,
        "changes": {"included": {"add": hashes, "remove": []}, "excluded": {"add": [], "remove": []}},
    })
}
