use std::sync::Arc;

use flagstore_core::{AllData, CacheStatistics, Kind, MemoryStore};

use super::{Setup, finite, forever};
use crate::CacheSettings;
use crate::case::{Case, Database, Succeed, flags, item};
use crate::controlled::Operation;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(unknown_keys_do_not_fill_the_memory),
        Case::new(long_unknown_keys_do_not_fill_the_memory),
        Case::new(unknown_keys_push_out_no_item),
        Case::new(items_make_room_for_others),
        Case::new(what_made_room_is_read_again),
    ]
}

const UNKNOWN: u64 = 100_000;
const MISSING_CAPACITY: u64 = 1_000;

fn statistics(setup: &Setup) -> CacheStatistics {
    setup.store.statistics().unwrap_or_else(|| panic!("{setup}: there is a cache"))
}

/// Above a store in memory, because a hundred thousand calls of a database take their time.
fn in_memory(database: &Database<'_>, settings: CacheSettings) -> Setup {
    let settings = CacheSettings { missing_capacity: MISSING_CAPACITY, ..settings };
    Setup::over(database, settings, Arc::new(MemoryStore::new()))
}

/// However many keys are asked for, only so many are remembered as missing.
fn unknown_keys_do_not_fill_the_memory(database: &Database<'_>) {
    for settings in [finite(), forever()] {
        let setup = in_memory(database, settings);
        for n in 0..UNKNOWN {
            assert_eq!(setup.get(&format!("unknown-{n}")), None, "{setup}");
        }
        let statistics = statistics(&setup);
        assert!(statistics.missing_entries <= MISSING_CAPACITY, "{setup}: {statistics:?}");
        assert!(statistics.missing_entries > 0, "{setup}: {statistics:?}");
        assert_eq!(statistics.entries, 0, "{setup}: {statistics:?}");
        assert!(statistics.evictions >= UNKNOWN - MISSING_CAPACITY, "{setup}: {statistics:?}");
    }
}

/// The limit is one of memory, not only of keys: whoever asks for long ones gets fewer of them remembered.
fn long_unknown_keys_do_not_fill_the_memory(database: &Database<'_>) {
    /// What as many keys take as are remembered, if they are rather long: 100 bytes.
    const MOST_BYTES: u64 = MISSING_CAPACITY * 100;
    let long = "x".repeat(10_000);
    for settings in [finite(), forever()] {
        let setup = in_memory(database, settings);
        for n in 0..MISSING_CAPACITY {
            assert_eq!(setup.get(&format!("{n}-{long}")), None, "{setup}");
        }
        let remembered = statistics(&setup);
        assert!(remembered.missing_entries * 10_000 <= MOST_BYTES, "{setup}: {remembered:?}");

        // A short one that is asked for again and again is remembered all the same.
        (0..10).for_each(|_| drop(setup.get("short")));
        // Whoever asks for the statistics waits until there is room again.
        assert!(statistics(&setup).missing_entries > 0, "{setup}");
        setup.without_the_database(|| assert_eq!(setup.get("short"), None, "{setup}"));
    }
}

/// Flags stay cached, also those that nobody has asked for in the meantime.
fn unknown_keys_push_out_no_item(database: &Database<'_>) {
    for settings in [finite(), forever()] {
        let setup = in_memory(database, settings);
        let items = (0..100).map(|n| (format!("flag-{n}"), item("flag", 1, "")));
        setup.store.init(&AllData::new().with(Kind::FEATURES, items)).succeed();
        for n in 0..20 * MISSING_CAPACITY {
            assert_eq!(setup.get(&format!("unknown-{n}")), None, "{setup}");
        }
        setup.without_the_database(|| {
            (0..100).for_each(|n| assert_eq!(setup.version(&format!("flag-{n}")), Some(1), "{setup}"));
            assert_eq!(setup.all().len(), 100, "{setup}");
        });
    }
}

/// With a limit there are never more items than that, and those that had to go are counted.
fn items_make_room_for_others(database: &Database<'_>) {
    let setup = in_memory(database, CacheSettings { capacity: Some(10), ..finite() });
    for n in 0..100 {
        setup.update(&format!("flag-{n}"), 1);
    }
    let statistics = statistics(&setup);
    assert!(statistics.entries <= 10, "{statistics:?}");
    assert_eq!(statistics.entries + statistics.evictions, 100, "{statistics:?}");
}

/// Nothing is lost with the room: what is not cached is read, one by one and all at once.
fn what_made_room_is_read_again(database: &Database<'_>) {
    let setup = Setup::new(database, CacheSettings { capacity: Some(3), ..finite() });
    setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
    for n in 0..20 {
        setup.update(&format!("flag-{n}"), n);
    }
    // Whoever asks for the statistics waits until there is room again.
    assert!(statistics(&setup).entries <= 3);
    for n in 0..20 {
        assert_eq!(setup.version(&format!("flag-{n}")), Some(n), "flag-{n}");
    }
    assert!(setup.core.calls(Operation::Get) >= 17, "three of them at most were cached");
    assert_eq!(setup.all().len(), 21);
}
