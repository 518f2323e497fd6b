//! Big Segments: what a store has to keep, what its writing side may change, and the cache and status above it.

mod cached;
mod errors;
mod listeners;
mod patches;
mod reading;
mod runtimes;
mod status;
mod wrapped;

use std::sync::Arc;

use flagstore_core::{BigSegmentPatch, BigSegmentStore, BigSegmentUpdates, PatchOutcome};

use crate::BigSegmentsFixture;
use crate::case::{Case, Database, Skip, Succeed};

pub(super) fn cases() -> Vec<Case> {
    [
        reading::cases(),
        patches::cases(),
        errors::cases(),
        runtimes::cases(),
        cached::cases(),
        status::cases(),
        listeners::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn fixture<'a>(database: &'a Database<'_>) -> Result<&'a dyn BigSegmentsFixture, Skip> {
    database.fixture.big_segments().ok_or(Skip("the fixture has no Big Segments"))
}

/// A new handle on the case's own prefix.
fn open(database: &Database<'_>) -> Result<Arc<dyn BigSegmentUpdates>, Skip> {
    open_prefix(database, &database.prefix)
}

fn open_prefix(database: &Database<'_>, prefix: &str) -> Result<Arc<dyn BigSegmentUpdates>, Skip> {
    let store = fixture(database)?.open(prefix);
    Ok(store.unwrap_or_else(|error| panic!("cannot open the store: {error}")))
}

/// What the store knows of a context in these segments.
fn known<const N: usize>(
    store: &(impl BigSegmentStore + ?Sized),
    context_hash: &str,
    segment_refs: [&str; N],
) -> [Option<bool>; N] {
    let membership = store.get_membership(context_hash).succeed().unwrap_or_default();
    segment_refs.map(|segment_ref| membership.check_membership(segment_ref))
}

/// A patch that includes these contexts.
fn including<S: Into<String>>(
    segment_ref: &str,
    (previous_version, version): (&str, &str),
    context_hashes: impl IntoIterator<Item = S>,
) -> BigSegmentPatch {
    let mut patch = BigSegmentPatch::new(segment_ref, previous_version, version);
    patch.included.add = context_hashes.into_iter().map(Into::into).collect();
    patch
}

#[track_caller]
fn apply(store: &(impl BigSegmentUpdates + ?Sized), patch: &BigSegmentPatch) {
    assert_eq!(store.apply_patch(patch).succeed(), PatchOutcome::Applied, "{patch:?}");
}
