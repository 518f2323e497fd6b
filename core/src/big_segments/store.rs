use std::fmt::{Debug, Display};
use std::sync::Arc;

use crate::{BigSegmentMembership, BigSegmentPatch, PatchOutcome, StoreError, UnixMillis};

/// What a database has to do so that flags can depend on Big Segments: the contract between a backend and
/// [`BigSegmentStoreWrapper`](crate::BigSegmentStoreWrapper).
///
/// Every backend's store implements it beside [`FeatureStoreCore`](crate::FeatureStoreCore), over the same
/// connections, under the same settings and the same prefix: a program that keeps both in one database opens
/// one store, and shares it behind an [`Arc`].
///
/// # Data
///
/// Somebody else, normally the Relay Proxy, keeps a list of the segments that include a context and a list of
/// those that exclude it. A context goes by the [hash](crate::context_hash) of its key, a segment by its
/// reference, `<segment key>.g<generation>`. To a store both are opaque strings. It also keeps the time at
/// which all of that was last known to be up to date.
///
/// # Concurrency and errors
///
/// As in `FeatureStoreCore`: any number of threads, inside and outside of any async runtime; every call ends
/// within the configured deadline; a store caches nothing, and logs no failure above debug level.
pub trait BigSegmentStore: Debug + Display + Send + Sync + 'static {
    /// When the data was last known to be up to date.
    ///
    /// `None` if nobody ever said so. That is no error: the data counts as stale then.
    ///
    /// # Errors
    ///
    /// When the database cannot tell, or what it holds is not a time.
    fn get_metadata(&self) -> Result<Option<UnixMillis>, StoreError>;

    /// The segments that include or exclude the context of this [hash](crate::context_hash).
    ///
    /// `None` if there are none, which is no error, and means the same as an empty one.
    ///
    /// # Errors
    ///
    /// When the database cannot tell, or what it holds for this context is not two sets of references. The
    /// memberships of others can still be read then.
    fn get_membership(&self, context_hash: &str) -> Result<Option<BigSegmentMembership>, StoreError>;

    /// Ends what the store does for Big Segments alone, such as threads. Connections end with the last handle
    /// on the store, since it may hold feature flags too. Calls after it may fail. A second one does nothing.
    fn stop(&self);
}

/// The writing side of a [`BigSegmentStore`], for whoever plays the Relay Proxy's part: a synchroniser, a tool,
/// a test. One at a time per database and prefix; of several, each patch is applied by only one.
///
/// # Versions
///
/// A version is a text that means something only to who makes it. The database has one, the empty text at
/// first, and a patch leads from one version to the next. One that leads to the version where it begins is
/// fine, and many may do so, as in the pages of a first synchronisation.
pub trait BigSegmentUpdates: BigSegmentStore {
    /// The version to which the patches have led. Empty before the first one.
    ///
    /// # Errors
    ///
    /// When the database cannot tell.
    fn get_version(&self) -> Result<String, StoreError>;

    /// Says that the data was up to date at this time, be that earlier or later than what was said before.
    ///
    /// # Errors
    ///
    /// Nothing has changed, except possibly after [`Timeout`](crate::ErrorKind::Timeout).
    fn set_metadata(&self, synchronized_on: UnixMillis) -> Result<(), StoreError>;

    /// Applies the patch if the database has the version where it begins. If not, nothing changes, and the
    /// answer carries the version that it has.
    ///
    /// Readers see all of a patch or nothing where the database can do that (Redis, SQLite). DynamoDB can for
    /// patches of up to 99 contexts. A longer one is written in pieces, and the new version comes with the last
    /// of them, so that a patch that was interrupted can be applied again; of one that another writer overtakes
    /// half-way, the first pieces stay. The same holds in a Redis Cluster whose nodes share the keys of a prefix.
    ///
    /// # Errors
    ///
    /// As for [`set_metadata`](Self::set_metadata). After an error it is right to apply the patch again: one
    /// that has been applied is out of order then.
    fn apply_patch(&self, patch: &BigSegmentPatch) -> Result<PatchOutcome, StoreError>;
}

#[deny(clippy::missing_trait_methods)]
impl<S: BigSegmentStore + ?Sized> BigSegmentStore for Arc<S> {
    fn get_metadata(&self) -> Result<Option<UnixMillis>, StoreError> {
        (**self).get_metadata()
    }

    fn get_membership(&self, context_hash: &str) -> Result<Option<BigSegmentMembership>, StoreError> {
        (**self).get_membership(context_hash)
    }

    fn stop(&self) {
        (**self).stop();
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: BigSegmentUpdates + ?Sized> BigSegmentUpdates for Arc<S> {
    fn get_version(&self) -> Result<String, StoreError> {
        (**self).get_version()
    }

    fn set_metadata(&self, synchronized_on: UnixMillis) -> Result<(), StoreError> {
        (**self).set_metadata(synchronized_on)
    }

    fn apply_patch(&self, patch: &BigSegmentPatch) -> Result<PatchOutcome, StoreError> {
        (**self).apply_patch(patch)
    }
}
