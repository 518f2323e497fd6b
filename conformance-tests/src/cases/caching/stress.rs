use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use flagstore_core::{FeatureStoreCore, Kind};

use super::{Setup, finite, forever, short};
use crate::case::{Case, Database, Succeed, flags, item};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(readers_never_see_a_version_go_back),
        Case::new(writers_and_inits_leave_cache_and_database_the_same),
    ]
}

/// Readers of one and of all, a writer of updates and inits, and somebody who forgets: who asks after a write
/// was acknowledged gets it or a newer one, and in the end the cache has what is stored.
fn readers_never_see_a_version_go_back(database: &Database<'_>) {
    const WRITES: u64 = 300;
    for settings in [finite(), forever(), short()] {
        let setup = Setup::new(database, settings);
        setup.core.dawdle();
        setup.update("a", 1);
        let (acknowledged, is_over) = (AtomicU64::new(1), AtomicBool::new(false));
        let read_on = |read: fn(&Setup) -> Option<u64>| {
            while !is_over.load(Ordering::SeqCst) {
                let at_least = acknowledged.load(Ordering::SeqCst);
                let version = read(&setup);
                assert!(version >= Some(at_least), "{setup}: {version:?} after {at_least} was written");
            }
        };
        thread::scope(|scope| {
            let _end = OnDrop(&is_over);
            for _ in 0..2 {
                scope.spawn(|| read_on(|setup| setup.version("a")));
                scope.spawn(|| read_on(|setup| setup.version_among_all("a")));
            }
            scope.spawn(|| {
                for round in 0_u64.. {
                    match round % 3 {
                        _ if is_over.load(Ordering::SeqCst) => return,
                        0 => setup.store.invalidate(&Kind::FEATURES, "a"),
                        1 => setup.store.invalidate_kind(&Kind::FEATURES),
                        _ => setup.store.invalidate_all(),
                    }
                    thread::yield_now();
                }
            });
            for version in 2..=WRITES {
                if version % 10 == 0 {
                    setup.store.init(&flags([("a", item("a", version, "ours"))])).succeed();
                } else {
                    setup.update("a", version);
                }
                acknowledged.store(version, Ordering::SeqCst);
            }
        });
        assert_eq!((setup.version("a"), setup.version_among_all("a")), (Some(WRITES), Some(WRITES)));
        assert_eq!(setup.stored("a"), Some(WRITES), "{setup}");
    }
}

/// Sets the flag also where the threads would otherwise go on for ever after a failed assertion.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// However an update and two inits of any versions overlap, the cache ends with what the database ends with.
fn writers_and_inits_leave_cache_and_database_the_same(database: &Database<'_>) {
    const ROUNDS: u64 = 150;
    for settings in [finite(), forever()] {
        let setup = Setup::new(database, settings);
        setup.core.dawdle();
        for round in 0..ROUNDS {
            let new = |version: u64, writer: &str| item("a", version, &format!("{writer} in round {round}"));
            let init = |version: u64, writer: &str| {
                let others = [("b", new(round, writer)), ("c", new(round, writer))];
                let count = (round % 3) as usize;
                let data =
                    flags([("a", new(version, writer))]).with(Kind::FEATURES, others[..count].to_vec());
                setup.store.init(&data).succeed();
            };
            thread::scope(|scope| {
                scope.spawn(|| init(round * 5 % 7, "one"));
                scope.spawn(|| init(round * 3 % 8, "other"));
                scope.spawn(|| _ = setup.store.upsert(&Kind::FEATURES, "a", &new(8, "update")).succeed());
            });
            let stored = setup.core.inner().get_all(&Kind::FEATURES).succeed().by_key;
            for key in ["a", "b", "c"] {
                assert_eq!(setup.get(key), stored.get(key).cloned(), "{setup}, round {round}: {key}");
            }
            let all = setup.store.all(&Kind::FEATURES).succeed();
            assert_eq!(all.len(), stored.len(), "{setup}, round {round}");
            for (key, item) in all.iter() {
                assert_eq!(Some(item), stored.get(key), "{setup}, round {round}: {key} among all");
            }
        }
    }
}
