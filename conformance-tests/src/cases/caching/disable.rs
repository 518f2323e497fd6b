use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use flagstore_core::{ErrorKind, Kind};

use super::{Setup, caching, forever};
use crate::case::{Case, Database, Succeed, flags, item};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(later_reads_ask_the_database),
        Case::new(writes_are_no_longer_cached),
        Case::new(twice_is_like_once),
        Case::new(a_failed_write_is_not_seen_before_it_is_written),
        Case::new(readers_at_that_moment_are_safe),
    ]
}

/// Nothing that was cached is served any more, and nothing that is read now is cached.
fn later_reads_ask_the_database(database: &Database<'_>) {
    for setup in caching(database) {
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        assert_eq!(setup.get("missing"), None, "{setup}");
        setup.store.disable_cache();
        setup.another_writes("missing", 1);
        for version in 2..5 {
            setup.another_writes("a", version);
            assert_eq!(setup.version("a"), Some(version), "{setup}");
            assert_eq!(setup.version_among_all("a"), Some(version), "{setup}");
        }
        assert_eq!(setup.version("missing"), Some(1), "{setup}");
        assert!(setup.store.initialized(), "{setup}: that has not changed");
    }
}

/// What is written now is read from the database.
fn writes_are_no_longer_cached(database: &Database<'_>) {
    for setup in caching(database) {
        setup.store.disable_cache();
        setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
        setup.another_writes("a", 2);
        assert_eq!((setup.version("a"), setup.version_among_all("a")), (Some(2), Some(2)), "{setup}");
        setup.update("a", 3);
        setup.another_writes("a", 4);
        assert_eq!((setup.version("a"), setup.version_among_all("a")), (Some(4), Some(4)), "{setup}");
    }
}

/// A second time it does nothing.
fn twice_is_like_once(database: &Database<'_>) {
    for setup in caching(database) {
        setup.another_writes("a", 1);
        for _ in 0..2 {
            setup.store.disable_cache();
            assert_eq!((setup.version("a"), setup.all().len()), (Some(1), 1), "{setup}");
            assert_eq!(setup.store.statistics(), None, "{setup}");
        }
    }
}

/// Where nothing is cached, a failed init is not seen and initializes nothing. It is written back all the same.
fn a_failed_write_is_not_seen_before_it_is_written(database: &Database<'_>) {
    let setup = Setup::new(database, forever());
    setup.store.disable_cache();
    setup.core.fail(ErrorKind::Unavailable);
    assert!(setup.store.init(&flags([("a", item("a", 1, ""))])).is_err());
    setup.upsert_in_vain("a", 2);
    assert!(!setup.store.initialized());
    assert!(setup.store.get(&Kind::FEATURES, "a").is_err());
    setup.end_outage(super::STALE);
    assert_eq!((setup.version("a"), setup.store.initialized()), (Some(2), true));
}

/// Whoever reads while it happens gets what is stored, and so does everybody after it.
fn readers_at_that_moment_are_safe(database: &Database<'_>) {
    for round in 0..20 {
        for setup in caching(database) {
            setup.another_writes("a", 1);
            let is_over = AtomicBool::new(false);
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        while !is_over.load(Ordering::SeqCst) {
                            assert_eq!((setup.version("a"), setup.all().len()), (Some(1), 1), "{setup}");
                        }
                    });
                }
                setup.wait_for("the readers", || round % 2 == 0 || setup.core.all_calls() > 0);
                setup.store.disable_cache();
                is_over.store(true, Ordering::SeqCst);
            });
            setup.another_writes("a", 2);
            assert_eq!((setup.version("a"), setup.version_among_all("a")), (Some(2), Some(2)), "{setup}");
        }
    }
}
