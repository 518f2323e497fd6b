use std::sync::Arc;
use std::time::Duration;

use flagstore_core::{CachingStoreBuilder, FeatureStoreCore, Kind, StoreError};

use crate::cases;
use crate::{BigSegmentsFixture, CacheSettings, CachingStore, Case};

/// How a backend plugs into the suite: how to open it, and what can be done to it.
///
/// Three methods are required. Each of the others switches on the cases that need it; until it is written,
/// those cases show as `ignored`, with the reason.
///
/// `None` means that this fixture cannot do it at all, and nothing else. A method that finds its server gone or its
/// file in the way panics, which fails the case: what broke must not pass for what does not apply.
pub trait Fixture: Send + Sync + 'static {
    /// One word, under which the cases appear: `sqlite` gives `sqlite::get::existing_item_comes_back`.
    ///
    /// A variant of a backend is named `backend_variant`. `FLAGSTORE_REQUIRE=backend` requires it too.
    fn name(&self) -> &str;

    /// Opens a new handle on the database, with connections and memory of its own, under this prefix.
    ///
    /// Handles of one prefix share their data, also with those of other processes. Handles of different
    /// prefixes share nothing. The suite makes up a prefix for each case, so it never clears a database.
    ///
    /// # Errors
    ///
    /// Whatever the store's builder returns. It fails the case.
    fn open(&self, prefix: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError>;

    /// Whether an init is atomic: readers see the old data or the new.
    fn init_is_atomic(&self) -> bool;

    /// Whether the database can be reached; if not, what to do about it, such as the command that starts
    /// it. Asked once.
    ///
    /// # Errors
    ///
    /// What to do. Every case shows as ignored with it, or as failed where `FLAGSTORE_REQUIRE` names this
    /// fixture.
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    /// The environment variable, and its value, by which a fixture in another process finds the same
    /// database. `None` if no other process can.
    fn shared_by(&self) -> Option<(&'static str, String)> {
        None
    }

    /// A cache above a handle as [`open`](Self::open) makes it, which is told of what others write under this
    /// prefix. `None` if the store cannot tell.
    fn told_of_changes(&self, _prefix: &str) -> Option<CachingStoreBuilder> {
        None
    }

    /// Opens a store whose database cannot be reached.
    fn open_unreachable(&self) -> Option<Arc<dyn FeatureStoreCore>> {
        None
    }

    /// Opens a store whose database accepts what it is asked and never answers, with the longest that one of its calls
    /// may take. That should be short, since the cases wait for it with each call. `None` if no database of this kind
    /// can be silent.
    fn open_silent(&self) -> Option<(Arc<dyn FeatureStoreCore>, Duration)> {
        None
    }

    /// Opens a handle on a prefix that is [open](Self::open) already, through which the database refuses to take items
    /// of this kind: by its rights, say, or a trigger. Whatever else is written through it, and everything that other
    /// handles do, works. `None` if the database refuses nothing.
    fn open_refused(&self, _prefix: &str, _kind: &Kind) -> Option<Arc<dyn FeatureStoreCore>> {
        None
    }

    /// Stores something under this prefix, kind and key that is not an item. `None` if that cannot be done.
    fn corrupt(&self, _prefix: &str, _kind: &Kind, _key: &str) -> Option<()> {
        None
    }

    /// The size in bytes from which on an item's JSON is certainly too large, and below half of which it
    /// certainly is not. `None` if there is no such limit.
    fn too_large(&self) -> Option<usize> {
        None
    }

    /// Passwords, tokens and keys in the configuration of the stores that this fixture opens.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// How the Big Segments side of the backend plugs in. `None` if it has none.
    fn big_segments(&self) -> Option<&dyn BigSegmentsFixture> {
        None
    }

    /// Removes what a case has left behind: everything under this prefix, and under those that begin with it. Called
    /// after each case, also after one that failed. Nothing, unless it is written: the suite itself never needs it.
    fn clean_up(&self, _prefix: &str) {}

    /// After this a case counts as hung. Far above what any takes: it is there to say which one hangs. Defaults to
    /// 180 seconds.
    fn deadline(&self) -> Duration {
        Duration::from_secs(180)
    }

    /// The cases that this fixture is for: all, unless the fixture is a cache itself. Whoever wants only those of the
    /// contract returns [`cases::core`], and whoever has [cases of his own](Case::of) adds them.
    fn cases(&self) -> Vec<Case> {
        cases::all()
    }

    /// Puts the cache that the caching cases are about above a store. Ours, unless it is overridden.
    ///
    /// # Errors
    ///
    /// Whatever the cache's builder returns. It fails the case.
    fn cache(
        &self,
        core: Arc<dyn FeatureStoreCore>,
        settings: &CacheSettings,
    ) -> Result<Arc<dyn CachingStore>, StoreError> {
        Ok(Arc::new(settings.wrap(core)?))
    }

    /// How long a case waits for what has to happen before it says that it did not. Only a broken store or cache
    /// makes it wait that long.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}
