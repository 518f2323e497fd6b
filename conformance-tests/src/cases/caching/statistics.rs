use std::time::Duration;

use flagstore_core::{CacheStatistics, ErrorKind, Kind};

use super::{Setup, caching, finite, off};
use crate::case::{Case, Database, Succeed, flags, item, tombstone};
use crate::controlled::Operation;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(hits_and_misses_are_counted),
        Case::new(loads_are_counted_by_success),
        Case::new(what_is_cached_is_counted),
        Case::new(there_are_none_without_a_cache),
    ]
}

fn statistics(setup: &Setup) -> CacheStatistics {
    setup.store.statistics().unwrap_or_else(|| panic!("{setup}: there is a cache"))
}

/// Every read is one or the other, and what is found to be missing is a hit the second time.
fn hits_and_misses_are_counted(database: &Database<'_>) {
    for setup in caching(database) {
        let counted = || {
            let statistics = statistics(&setup);
            (statistics.hits, statistics.misses)
        };
        assert_eq!(counted(), (0, 0), "{setup}");
        setup.another_writes("a", 1);
        setup.get("a");
        setup.get("missing");
        setup.all();
        assert_eq!(counted(), (0, 3), "{setup}");
        setup.get("a");
        setup.all();
        assert_eq!(counted(), (2, 3), "{setup}");
        // All items were read in between, and one of them may be this one.
        setup.get("missing");
        setup.get("missing");
        let (hits, misses) = counted();
        assert!(hits >= 3 && hits + misses == 7, "{setup}: {hits} hits, {misses} misses");
        setup.update("a", 2);
        assert_eq!(counted(), (hits, misses), "{setup}: a write is neither");
    }
}

/// A load is one call of the database that was made for a miss.
fn loads_are_counted_by_success(database: &Database<'_>) {
    let setup = Setup::new(database, finite());
    assert_eq!(statistics(&setup).total_load_time, Duration::ZERO);
    setup.get("a");
    setup.all();
    setup.core.fail_only(Operation::Get, ErrorKind::Other);
    assert!(setup.store.get(&Kind::FEATURES, "b").is_err());
    let statistics = statistics(&setup);
    assert_eq!((statistics.loads, statistics.failed_loads), (2, 1));
    assert!(statistics.total_load_time > Duration::ZERO);
}

/// Items and tombstones together, and keys without an item for themselves.
fn what_is_cached_is_counted(database: &Database<'_>) {
    for setup in caching(database) {
        let counted = || {
            let statistics = statistics(&setup);
            (statistics.entries, statistics.missing_entries)
        };
        setup.store.init(&flags([("a", item("a", 1, "")), ("dead", tombstone("dead", 1))])).succeed();
        assert_eq!(counted(), (2, 0), "{setup}");
        setup.get("missing");
        assert_eq!(counted(), (2, 1), "{setup}");
        setup.store.invalidate_all();
        assert_eq!(counted().0, 2, "{setup}: what is in doubt is still known");
    }
}

/// Neither from the beginning nor after the cache was disabled.
fn there_are_none_without_a_cache(database: &Database<'_>) {
    assert_eq!(Setup::new(database, off()).store.statistics(), None);
    for setup in caching(database) {
        assert!(setup.store.statistics().is_some(), "{setup}");
        setup.store.disable_cache();
        assert_eq!(setup.store.statistics(), None, "{setup}");
    }
}
