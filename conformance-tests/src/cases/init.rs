use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use flagstore_core::{AllData, Item, Kind};

use crate::case::{Case, Database, Skip, Succeed, flags, item, parse, tombstone};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(an_empty_database_is_not_initialized),
        Case::new(marks_the_store_initialized),
        Case::new(is_seen_by_another_handle),
        Case::new(without_data_marks_the_store_initialized),
        Case::new(with_empty_kinds_marks_the_store_initialized),
        Case::new(an_update_alone_does_not_initialize),
        Case::new(replaces_everything),
        Case::new(ignores_versions),
        Case::new(empties_a_kind_that_is_given_without_items),
        Case::new(leaves_other_kinds_alone),
        Case::new(can_be_repeated_with_the_same_data),
        Case::new(stores_ten_thousand_items),
        Case::new(is_never_seen_half_done),
        Case::new(writes_dependencies_before_their_dependents),
        Case::new(writes_segments_behind_those_in_their_rules),
        Case::new(marks_the_store_when_everything_is_there),
        Case::new(removes_when_everything_else_is_there),
    ]
}

/// A database that nobody has written to is not initialized.
fn an_empty_database_is_not_initialized(database: &Database<'_>) {
    assert!(!database.open().is_initialized().succeed());
}

/// After an init the store is initialized.
fn marks_the_store_initialized(database: &Database<'_>) {
    let store = database.open();
    store.init(&flags([("a", item("a", 1, ""))])).succeed();
    assert!(store.is_initialized().succeed());
}

/// Another process's init is seen, also by a handle that has looked before.
fn is_seen_by_another_handle(database: &Database<'_>) {
    let (writer, reader) = (database.open(), database.open());
    assert!(!reader.is_initialized().succeed());
    writer.init(&flags([("a", item("a", 1, ""))])).succeed();
    assert!(reader.is_initialized().succeed());
}

/// An environment may have no flags: no data at all is data too.
fn without_data_marks_the_store_initialized(database: &Database<'_>) {
    let store = database.open();
    store.init(&AllData::new()).succeed();
    assert!(store.is_initialized().succeed());
}

/// Kinds without a single item are no reason to fail.
fn with_empty_kinds_marks_the_store_initialized(database: &Database<'_>) {
    let store = database.open();
    let nothing = || Vec::<(String, Item)>::new();
    store.init(&AllData::new().with(Kind::SEGMENTS, nothing()).with(Kind::FEATURES, nothing())).succeed();
    assert!(store.is_initialized().succeed());
    assert!(store.get_all(&Kind::FEATURES).succeed().by_key.is_empty());
}

/// Items alone do not make a store initialized: somebody may be half-way through.
fn an_update_alone_does_not_initialize(database: &Database<'_>) {
    let store = database.open();
    let _ = store.upsert(&Kind::FEATURES, "a", &item("a", 1, "")).succeed();
    assert!(!store.is_initialized().succeed());
}

/// What the data does not name is gone, and what it names is as it says, in every kind.
fn replaces_everything(database: &Database<'_>) {
    let store = database.open();
    let before =
        [("kept", item("kept", 1, "before")), ("gone", item("gone", 1, "")), ("dead", tombstone("dead", 1))];
    store.init(&AllData::new().with(Kind::FEATURES, before.clone()).with(Kind::SEGMENTS, before)).succeed();

    let after = [("kept", item("kept", 2, "after")), ("new", item("new", 1, ""))];
    store
        .init(&AllData::new().with(Kind::FEATURES, after.clone()).with(Kind::SEGMENTS, after.clone()))
        .succeed();

    for kind in [Kind::FEATURES, Kind::SEGMENTS] {
        let all = store.get_all(&kind).succeed().by_key;
        assert_eq!(all.len(), 2, "{kind} has {:?}", all.keys());
        for (key, item) in &after {
            assert_eq!(all.get(*key), Some(item), "{kind}/{key}");
            assert_eq!(store.get(&kind, key).succeed().as_ref(), Some(item), "{kind}/{key}");
        }
        assert_eq!(store.get(&kind, "gone").succeed(), None);
        assert_eq!(store.get(&kind, "dead").succeed(), None, "a tombstone is replaced like any item");
    }
}

/// An init is the truth, also where it is older than what is stored.
fn ignores_versions(database: &Database<'_>) {
    let store = database.open();
    store.init(&flags([("a", item("a", 10, "")), ("b", item("b", 5, "before"))])).succeed();
    let (a, b) = (item("a", 3, ""), item("b", 5, "after"));
    store.init(&flags([("a", a.clone()), ("b", b.clone())])).succeed();
    assert_eq!(store.get(&Kind::FEATURES, "a").succeed(), Some(a), "a lower version");
    assert_eq!(store.get(&Kind::FEATURES, "b").succeed(), Some(b), "the same version with another text");
}

/// A kind that is given without items becomes empty.
fn empties_a_kind_that_is_given_without_items(database: &Database<'_>) {
    let store = database.open();
    store.init(&flags([("a", item("a", 1, ""))])).succeed();
    store.init(&flags([])).succeed();
    assert!(store.get_all(&Kind::FEATURES).succeed().by_key.is_empty());
}

/// A kind that is not given stays as it is.
fn leaves_other_kinds_alone(database: &Database<'_>) {
    let store = database.open();
    let mock = Kind::new("mock1");
    let kept = item("a", 7, "mock");
    store.init(&AllData::new().with(mock.clone(), [("a", kept.clone())])).succeed();
    store.init(&flags([("a", item("a", 1, ""))])).succeed();
    assert_eq!(store.get(&mock, "a").succeed(), Some(kept));
}

/// A poller sends the same data again and again.
fn can_be_repeated_with_the_same_data(database: &Database<'_>) {
    let store = database.open();
    let data = flags([("a", item("a", 1, "")), ("dead", tombstone("dead", 2))]);
    for _ in 0..3 {
        store.init(&data).succeed();
        let all = store.get_all(&Kind::FEATURES).succeed().by_key;
        assert_eq!(all.len(), 2);
        assert_eq!(all["a"], item("a", 1, ""));
        assert!(store.is_initialized().succeed());
    }
}

/// A large environment arrives whole.
fn stores_ten_thousand_items(database: &Database<'_>) {
    const COUNT: usize = 10_000;
    let store = database.open();
    let items = (0..COUNT).map(|n| (format!("flag-{n}"), item("flag", 1, &format!("number {n}"))));
    store.init(&AllData::new().with(Kind::FEATURES, items)).succeed();
    let all = store.get_all(&Kind::FEATURES).succeed().by_key;
    assert_eq!(all.len(), COUNT);
    assert_eq!(all["flag-9999"], item("flag", 1, "number 9999"));
}

/// Where an init is atomic, whoever reads all items at once sees those of one init.
fn is_never_seen_half_done(database: &Database<'_>) -> Result<(), Skip> {
    const ITEMS: usize = 50;
    if !database.fixture.init_is_atomic() {
        return Err(Skip("inits of this database are not atomic"));
    }
    let generation = |n: u64| {
        AllData::new().with(Kind::FEATURES, (0..ITEMS).map(|i| (format!("f{i}-{}", n % 2), item("f", n, ""))))
    };
    let writer = database.open();
    writer.init(&generation(1)).succeed();
    while_writing(
        |_| (2..60).for_each(|n| writer.init(&generation(n)).succeed()),
        || {
            let reader = database.open();
            move || {
                let all = reader.get_all(&Kind::FEATURES).succeed().by_key;
                let versions: Vec<u64> = all.values().map(Item::version).collect();
                assert_eq!(versions.len(), ITEMS, "a reader saw a part of an init");
                assert!(versions.iter().all(|v| *v == versions[0]), "a reader saw two inits: {versions:?}");
            }
        },
    );
    Ok(())
}

/// Whoever sees a new dependent sees its new dependencies too, even where an init is not atomic.
fn writes_dependencies_before_their_dependents(database: &Database<'_>) {
    let generation = |n: u64| {
        let top = parse(&format!(r#"{{"version":{n},"prerequisites":[{{"key":"base","variation":0}}]}}"#));
        AllData::new()
            .with(Kind::FEATURES, [("top", top), ("base", item("base", n, ""))])
            .with(Kind::SEGMENTS, [("segment", item("segment", n, ""))])
    };
    let writer = database.open();
    writer.init(&generation(1)).succeed();
    while_writing(
        |_| (2..100).for_each(|n| writer.init(&generation(n)).succeed()),
        || {
            let reader = database.open();
            let version = move |kind: &Kind, key: &str| {
                reader
                    .get(kind, key)
                    .succeed()
                    .unwrap_or_else(|| panic!("{kind}/{key} disappeared"))
                    .version()
            };
            move || {
                let top = version(&Kind::FEATURES, "top");
                let base = version(&Kind::FEATURES, "base");
                assert!(base >= top, "saw version {top} of a flag before that of its prerequisite ({base})");
                let segment = version(&Kind::SEGMENTS, "segment");
                assert!(
                    segment >= base,
                    "saw version {base} of a flag before that of the segments ({segment})"
                );
            }
        },
    );
}

/// Whoever sees a new segment sees the new segments that its rules name, whatever the order in which they come.
fn writes_segments_behind_those_in_their_rules(database: &Database<'_>) {
    let outer = |n: u64, inner: &str| {
        let clause = format!(r#"{{"op":"segmentMatch","attribute":"","values":[{inner:?}]}}"#);
        parse(&format!(r#"{{"version":{n},"rules":[{{"clauses":[{clause}]}}]}}"#))
    };
    // One comes before what it names in the data, the other one in the alphabet.
    let generation = |n: u64| {
        AllData::new().with(
            Kind::SEGMENTS,
            [("a", outer(n, "b")), ("c", item("c", n, "")), ("b", outer(n, "c")), ("d", outer(n, "a"))],
        )
    };
    let writer = database.open();
    writer.init(&generation(1)).succeed();
    while_writing(
        |_| (2..100).for_each(|n| writer.init(&generation(n)).succeed()),
        || {
            let reader = database.open();
            move || {
                let mut before = 0;
                for key in ["d", "a", "b", "c"] {
                    let segment = reader.get(&Kind::SEGMENTS, key).succeed();
                    let version = segment.unwrap_or_else(|| panic!("{key} disappeared")).version();
                    assert!(
                        version >= before,
                        "saw version {before} of a segment before that of {key} ({version})"
                    );
                    before = version;
                }
            }
        },
    );
}

/// How often a first init is watched.
const ROUNDS: usize = 10;

/// More items than any database takes in one request, so that the init has a middle.
fn many(name: &'static str) -> impl Iterator<Item = (String, Item)> {
    (0..60).map(move |n| (format!("{name}-{n}"), item(name, 1, "")))
}

/// Whoever finds the store initialized for the first time finds everything in it.
fn marks_the_store_when_everything_is_there(database: &Database<'_>) {
    let kinds = [Kind::SEGMENTS, Kind::FEATURES];
    let data = kinds.iter().fold(AllData::new(), |data, kind| data.with(kind.clone(), many("item")));
    for round in 0..ROUNDS {
        let prefix = format!("{}-{round}", database.prefix);
        let writer = database.open_prefix(&prefix);
        while_writing(
            |_| writer.init(&data).succeed(),
            || {
                let reader = database.open_prefix(&prefix);
                let kinds = &kinds;
                move || {
                    if reader.is_initialized().succeed() {
                        for kind in kinds {
                            let there = reader.get_all(kind).succeed().by_key.len();
                            assert_eq!(
                                there,
                                many("item").count(),
                                "initialized, and {kind} are not all there"
                            );
                        }
                    }
                }
            },
        );
    }
}

/// Whoever misses something that an init removes finds everything that it brings.
fn removes_when_everything_else_is_there(database: &Database<'_>) {
    let data = |name| AllData::new().with(Kind::FEATURES, many(name));
    for round in 0..ROUNDS {
        let prefix = format!("{}-{round}", database.prefix);
        let writer = database.open_prefix(&prefix);
        writer.init(&data("old")).succeed();
        while_writing(
            |_| writer.init(&data("new")).succeed(),
            || {
                let reader = database.open_prefix(&prefix);
                let are_there = move |name| {
                    let all = reader.get_all(&Kind::FEATURES).succeed().by_key;
                    many(name).all(|(key, _)| all.contains_key(&key))
                };
                move || {
                    if !are_there("old") {
                        assert!(are_there("new"), "an old flag is gone, and the new ones are not all there");
                    }
                }
            },
        );
    }
}

/// Runs `write` once, and meanwhile, on another thread, what `reader` makes, at least once and until the end.
fn while_writing<R: FnMut()>(write: impl FnOnce(&AtomicBool) + Send, reader: impl FnOnce() -> R + Send) {
    let written = AtomicBool::new(false);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut read = reader();
            loop {
                let last = written.load(Ordering::Acquire);
                read();
                if last {
                    break;
                }
            }
        });
        write(&written);
        written.store(true, Ordering::Release);
        if let Err(panic) = reading.join() {
            std::panic::resume_unwind(panic);
        }
    });
}
