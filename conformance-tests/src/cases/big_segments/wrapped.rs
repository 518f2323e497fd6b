use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flagstore_core::{
    BigSegmentStoreStatus, BigSegmentUpdates, BigSegmentsStatus, ErrorKind, UnixMillis, context_hash,
};

use super::{fixture, open};
use crate::case::{Database, Skip, Succeed, wait_for};
use crate::controlled_big_segments::{ControlledBigSegments, Query};
use crate::{BigSegments, BigSegmentsFixture, BigSegmentsSettings};

pub(super) const HEALTHY: BigSegmentStoreStatus = BigSegmentStoreStatus { available: true, stale: false };
pub(super) const STALE: BigSegmentStoreStatus = BigSegmentStoreStatus { available: true, stale: true };
pub(super) const UNAVAILABLE: BigSegmentStoreStatus =
    BigSegmentStoreStatus { available: false, stale: false };

/// A wrapper above a database of its own, whose data is up to date.
pub(super) struct Setup<'a> {
    /// What somebody else writes with.
    pub(super) database: Arc<dyn BigSegmentUpdates>,
    pub(super) store: Arc<ControlledBigSegments>,
    pub(super) wrapper: Arc<dyn BigSegments>,
    pub(super) patience: Duration,
    fixture: &'a dyn BigSegmentsFixture,
    prefix: &'a str,
}

impl<'a> Setup<'a> {
    pub(super) fn new(database: &'a Database<'_>, settings: &BigSegmentsSettings) -> Result<Self, Skip> {
        Self::prepared(database, settings, |database, _| database.set_metadata(UnixMillis::now()).succeed())
    }

    /// With something done to the database, or to what the wrapper sees of it, before the wrapper is there.
    pub(super) fn prepared(
        database: &'a Database<'_>,
        settings: &BigSegmentsSettings,
        prepare: impl FnOnce(&dyn BigSegmentUpdates, &ControlledBigSegments),
    ) -> Result<Self, Skip> {
        let fixture = fixture(database)?;
        let writer = open(database)?;
        let store = ControlledBigSegments::new(open(database)?);
        prepare(&*writer, &store);
        let wrapper = fixture
            .wrap(Arc::new(Arc::clone(&store)), settings)
            .unwrap_or_else(|error| panic!("cannot build the wrapper: {error}"));
        let patience = database.fixture.patience();
        Ok(Self { database: writer, store, wrapper, patience, fixture, prefix: &database.prefix })
    }

    /// Somebody else includes the context of this key in these segments.
    pub(super) fn include(&self, context_key: &str, segment_refs: &[&str]) {
        self.fixture.put_membership(self.prefix, &context_hash(context_key), segment_refs, &[]);
    }

    /// What the wrapper says of a context in a segment.
    pub(super) fn check(&self, context_key: &str, segment_ref: &str) -> Option<bool> {
        self.wrapper.get_membership(context_key).membership.check_membership(segment_ref)
    }

    /// How far the wrapper trusts what it knows of a context.
    pub(super) fn trust(&self, context_key: &str) -> BigSegmentsStatus {
        self.wrapper.get_membership(context_key).status
    }

    /// Does something for which the store must not be asked about a context.
    pub(super) fn without_a_query<T>(&self, run: impl FnOnce() -> T) -> T {
        let before = self.store.memberships();
        let result = run();
        assert_eq!(self.store.memberships(), before, "the store was asked");
        result
    }

    /// Queries of this sort fail, as in an outage.
    pub(super) fn fail(&self, query: Query) {
        self.store.fail(query, ErrorKind::Unavailable);
    }

    /// Says that the data was up to date so long ago.
    pub(super) fn synchronized(&self, ago: Duration) {
        self.database.set_metadata((SystemTime::now() - ago).into()).succeed();
    }

    pub(super) fn wait_for_status(&self, expected: BigSegmentStoreStatus) {
        self.wait_for(&format!("{expected:?}"), || self.wrapper.status() == expected);
    }

    pub(super) fn wait_for(&self, what: &str, condition: impl Fn() -> bool) {
        wait_for(self.patience, what, condition);
    }
}

/// The hashes of these context keys.
pub(super) fn hashes<const N: usize>(context_keys: [&str; N]) -> Vec<String> {
    context_keys.map(context_hash).into()
}

/// Settings with which the status is asked for every few milliseconds.
pub(super) fn polling() -> BigSegmentsSettings {
    BigSegmentsSettings { status_poll_interval: Duration::from_millis(5), ..BigSegmentsSettings::long() }
}
