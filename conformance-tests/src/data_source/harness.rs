use std::sync::Arc;
use std::time::Duration;

use flagstore_core::{
    AllData, CacheMode, CachingStoreWrapper, DataSource, DataSourceErrorKind, DataSourceState,
    DataSourceStatusProvider, DataSourceUpdateSink, FeatureStoreCore, Item, Kind, MemoryStore,
};

use super::{Origin, SourceFixture};
use crate::case::{Succeed, item, wait_for};
use crate::controlled::Controlled;

/// After this a case counts as hung.
pub(super) const DEADLINE: Duration = Duration::from_secs(180);

/// An origin, and one store that is fed from it.
pub(super) struct Setup {
    pub(super) origin: Arc<dyn Origin>,
    pub(super) store: Arc<Controlled>,
    pub(super) sink: DataSourceUpdateSink,
    patience: Duration,
}

impl Setup {
    /// Nothing is started yet.
    pub(super) fn new(fixture: &dyn SourceFixture, data: &AllData) -> Self {
        let origin = Arc::from(fixture.open());
        let setup = Self::of(origin, fixture.patience());
        setup.origin.set(data);
        setup
    }

    fn of(origin: Arc<dyn Origin>, patience: Duration) -> Self {
        let store = Controlled::new(Arc::new(MemoryStore::new()));
        let cached = CachingStoreWrapper::builder(Arc::clone(&store) as Arc<dyn FeatureStoreCore>);
        // Without a cache, what the source brings is what is stored.
        let cached = cached.mode(CacheMode::Off).build().succeed();
        // And without a status of the store, the source alone sees to what was not taken.
        let sink = DataSourceUpdateSink::builder(cached).build();
        Self { origin, store, sink, patience }
    }

    pub(super) fn start(&self) -> DataSource {
        DataSource::start(&*self.origin.factory(), self.sink.clone()).succeed()
    }

    pub(super) fn status(&self) -> DataSourceStatusProvider {
        self.sink.status_provider()
    }

    pub(super) fn wait_for(&self, state: DataSourceState) {
        let status = self.status();
        assert!(status.wait_for(state, self.patience), "waited in vain for {state}: {:?}", status.status());
    }

    pub(super) fn wait_for_error(&self) -> DataSourceErrorKind {
        self.wait("an error", || self.status().status().last_error.is_some());
        self.status().status().last_error.map_or(DataSourceErrorKind::Unknown, |error| error.kind)
    }

    /// What is stored of a flag, if it is live.
    pub(super) fn flag(&self, key: &str) -> Option<Item> {
        self.store.inner().get(&Kind::FEATURES, key).succeed().filter(|item| !item.is_deleted())
    }

    /// Waits until a flag is stored with this note. `None` waits until there is none.
    pub(super) fn wait_for_note(&self, key: &str, note: Option<&str>) {
        let holds = || match (self.flag(key), note) {
            (Some(flag), Some(note)) => flag.json().contains(&format!("\"note\":{note:?}")),
            (None, None) => true,
            _ => false,
        };
        self.wait(&format!("{key} with {note:?}"), holds);
    }

    /// Waits until another source of the same origin, begun now, has brought this note: so a source that still
    /// works has had its time too.
    pub(super) fn give_others_time(&self, key: &str, note: &str) {
        let other = Self::of(Arc::clone(&self.origin), self.patience);
        let _source = other.start();
        other.wait_for_note(key, Some(note));
    }

    pub(super) fn wait(&self, what: &str, condition: impl Fn() -> bool) {
        wait_for(self.patience, what, condition);
    }
}

/// Both kinds, with these flags: key, version, note.
pub(super) fn data(flags: &[(&str, u64, &str)]) -> AllData {
    let flags = flags.iter().map(|(key, version, note)| (*key, item(key, *version, note)));
    AllData::new().with(Kind::SEGMENTS, Vec::<(&str, Item)>::new()).with(Kind::FEATURES, flags)
}
