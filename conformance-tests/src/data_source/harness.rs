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
/// How long a case waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// An origin, and one store that is fed from it.
pub(super) struct Setup {
    pub(super) origin: Box<dyn Origin>,
    pub(super) store: Arc<Controlled>,
    pub(super) sink: DataSourceUpdateSink,
}

impl Setup {
    /// Nothing is started yet.
    pub(super) fn new(fixture: &dyn SourceFixture, data: &AllData) -> Self {
        let origin = fixture.open();
        origin.set(data);
        let store = Controlled::new(Arc::new(MemoryStore::new()));
        let cached = CachingStoreWrapper::builder(Arc::clone(&store) as Arc<dyn FeatureStoreCore>);
        // Without a cache, what the source brings is what is stored.
        let cached = cached.mode(CacheMode::Off).build().succeed();
        // And without a status of the store, the source alone sees to what was not taken.
        let sink = DataSourceUpdateSink::builder(cached).build();
        Self { origin, store, sink }
    }

    pub(super) fn start(&self) -> DataSource {
        DataSource::start(&*self.origin.factory(), self.sink.clone()).succeed()
    }

    pub(super) fn status(&self) -> DataSourceStatusProvider {
        self.sink.status_provider()
    }

    pub(super) fn wait_for(&self, state: DataSourceState) {
        let status = self.status();
        assert!(status.wait_for(state, PATIENCE), "waited in vain for {state}: {:?}", status.status());
    }

    pub(super) fn wait_for_error(&self) -> DataSourceErrorKind {
        wait(&"an error", || self.status().status().last_error.is_some());
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
        wait(&format!("{key} with {note:?}"), holds);
    }

    /// Waits until another source of the same origin, begun now, has brought this note: so a source that still
    /// works has had its time too.
    pub(super) fn give_others_time(&self, key: &str, note: &str) {
        let other = Self::beside(&*self.origin);
        other.0.wait_for_note(key, Some(note));
    }

    /// A store of its own, with a source of the same origin that feeds it.
    fn beside(origin: &dyn Origin) -> (Watcher, DataSource) {
        let store = Arc::new(MemoryStore::new());
        let cached = CachingStoreWrapper::builder(Arc::clone(&store) as Arc<dyn FeatureStoreCore>);
        let sink = DataSourceUpdateSink::builder(cached.mode(CacheMode::Off).build().succeed()).build();
        let source = DataSource::start(&*origin.factory(), sink).succeed();
        (Watcher(store), source)
    }
}

struct Watcher(Arc<MemoryStore>);

impl Watcher {
    fn wait_for_note(&self, key: &str, note: Option<&str>) {
        wait(&format!("{key} with {note:?} of another source"), || {
            let flag = self.0.get(&Kind::FEATURES, key).succeed();
            flag.is_some_and(|flag| flag.json().contains(&format!("\"note\":{:?}", note.unwrap_or_default())))
        });
    }
}

pub(super) fn wait(what: &(impl AsRef<str> + ?Sized), condition: impl Fn() -> bool) {
    wait_for(PATIENCE, what.as_ref(), condition);
}

/// Both kinds, with these flags: key, version, note.
pub(super) fn data(flags: &[(&str, u64, &str)]) -> AllData {
    let flags = flags.iter().map(|(key, version, note)| (*key, item(key, *version, note)));
    AllData::new().with(Kind::SEGMENTS, Vec::<(&str, Item)>::new()).with(Kind::FEATURES, flags)
}
