//! What a membership costs above the bare AWS SDK: `cargo bench -p flagstore-dynamodb --bench big_segments`.
//!
//! Needs a server: `eval "$(scripts/services up dynamodb)"`. The raw side is the same request of the same SDK, from
//! the same kind of thread, on a runtime of its own.

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;

use flagstore_conformance::ratio::Comparison;
use flagstore_core::{BigSegmentStore, context_hash};
use flagstore_dynamodb::aws_sdk_dynamodb::types::AttributeValue;

use support::Server;

fn main() -> ExitCode {
    let server = match Server::find() {
        Ok(server) => server.anew(),
        Err(advice) => {
            println!("{advice}");
            return ExitCode::FAILURE;
        }
    };
    let (store, namespace) = (server.store(), server.namespace("big_segments_user"));
    for segments in [1, 10, 1_000] {
        let hash = context_hash(&format!("member-of-{segments}"));
        let segment_refs =
            (0..segments).map(|segment| format!("customers-in-beta-{segment:03}.g1")).collect();
        server.put(&namespace, &hash, [("included", AttributeValue::Ss(segment_refs))]);
        Comparison::new(format!("get_membership, {segments} references"), 1.25)
            .rounds(200)
            .repeat(5)
            .measure(|_| server.row(&namespace, &hash), |_| store.get_membership(&hash).expect("get"))
            .print();
    }
    ExitCode::SUCCESS
}
