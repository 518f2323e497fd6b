//! Which flags have changed, as Java's `DataSourceUpdatesImplTest`, Python's `test_data_sink` and Go's
//! `flag_tracker_impl_test` have it, and what others change besides.

use std::sync::Arc;
use std::sync::mpsc::channel;

use flagstore_core::{
    AllData, CacheMode, Change, ChangeSource, ChangeWatch, DataSourceUpdateSink, FeatureStore,
    FeatureStoreCore, FlagTracker, Item, Kind, SharedChangeSource, StalePolicy,
};
use parking_lot::Mutex;

use crate::support::{
    Changes, Database, LONG, cached, environment, flag, flag_requiring, flags, item, matching, wait_until,
};

/// A sink and the tracker of its changes, with this data in the store.
fn tracked(all_data: &AllData) -> (DataSourceUpdateSink, FlagTracker) {
    let store = cached(&Database::default()).build().unwrap();
    store.init(all_data).unwrap();
    let tracker = FlagTracker::builder(store.clone()).build();
    (DataSourceUpdateSink::builder(store).flag_tracker(tracker.clone()).build(), tracker)
}

fn init(sink: &DataSourceUpdateSink, all_data: &AllData) {
    assert_eq!(sink.init(all_data), flagstore_core::Delivery::Stored);
}

fn upsert(sink: &DataSourceUpdateSink, kind: &Kind, key: &str, item: &Item) {
    assert_eq!(sink.upsert(kind, key, item), flagstore_core::Delivery::Stored);
}

fn delete(sink: &DataSourceUpdateSink, kind: &Kind, key: &str, version: u64) {
    assert_eq!(sink.delete(kind, key, version), flagstore_core::Delivery::Stored);
}

/// What was not there before has changed.
#[test]
fn init_announces_newly_added_flags() {
    let (sink, tracker) = tracked(&environment([("a", flag(1))], [("s", flag(1))]));
    let changes = Changes::of(&tracker);
    init(&sink, &environment([("a", flag(1)), ("b", flag(1))], [("s", flag(1)), ("t", flag(1))]));
    assert_eq!(changes.next(), ["b"]);
    changes.are_over(&sink);
}

#[test]
fn an_update_announces_a_newly_added_flag() {
    let (sink, tracker) = tracked(&flags([("a", flag(1))]));
    let changes = Changes::of(&tracker);
    upsert(&sink, &Kind::FEATURES, "b", &flag(1));
    assert_eq!(changes.next(), ["b"]);
    changes.are_over(&sink);
}

/// Another version is a change, and so is another content of the same version, which an init may bring.
#[test]
fn init_announces_updated_flags() {
    let (sink, tracker) = tracked(&flags([("same", flag(1)), ("newer", flag(1)), ("other", flag(1))]));
    let changes = Changes::of(&tracker);
    let other = item(r#"{"version":1,"on":true}"#);
    init(&sink, &flags([("same", flag(1)), ("newer", flag(2)), ("other", other)]));
    assert_eq!(changes.next(), ["newer", "other"]);
    changes.are_over(&sink);
}

#[test]
fn an_update_announces_the_flag() {
    let (sink, tracker) = tracked(&flags([("a", flag(1)), ("b", flag(1))]));
    let changes = Changes::of(&tracker);
    upsert(&sink, &Kind::FEATURES, "a", &flag(2));
    assert_eq!(changes.next(), ["a"]);
    changes.are_over(&sink);
}

/// Python announces these too, which is wrong.
#[test]
fn an_update_that_was_rejected_is_no_change() {
    let (sink, tracker) = tracked(&flags([("a", flag(2))]));
    let changes = Changes::of(&tracker);
    upsert(&sink, &Kind::FEATURES, "a", &flag(1));
    upsert(&sink, &Kind::FEATURES, "a", &flag(2));
    delete(&sink, &Kind::FEATURES, "a", 2);
    changes.are_over(&sink);
}

#[test]
fn init_announces_deleted_flags() {
    let (sink, tracker) = tracked(&flags([("a", flag(1)), ("b", flag(1)), ("c", flag(1))]));
    let changes = Changes::of(&tracker);
    init(&sink, &flags([("a", flag(1)), ("c", Item::tombstone("c", 2).unwrap())]));
    assert_eq!(changes.next(), ["b", "c"]);
    changes.are_over(&sink);
}

/// A flag that is deleted has vanished, once. One that was never there has not.
#[test]
fn a_deletion_announces_the_flag() {
    let (sink, tracker) = tracked(&flags([("a", flag(1))]));
    let changes = Changes::of(&tracker);
    delete(&sink, &Kind::FEATURES, "a", 2);
    assert_eq!(changes.next(), ["a"]);
    delete(&sink, &Kind::FEATURES, "a", 3);
    delete(&sink, &Kind::FEATURES, "unknown", 1);
    changes.are_over(&sink);
}

/// Over any number of prerequisites, whether by an init or by an update.
#[test]
fn flags_whose_prerequisites_changed_are_announced() {
    let all_data = |version| {
        flags([
            ("low", flag(version)),
            ("middle", flag_requiring(1, &["low"])),
            ("high", flag_requiring(1, &["other", "middle"])),
            ("other", flag(1)),
        ])
    };
    let (sink, tracker) = tracked(&all_data(1));
    let changes = Changes::of(&tracker);
    init(&sink, &all_data(2));
    assert_eq!(changes.next(), ["high", "low", "middle"]);
    upsert(&sink, &Kind::FEATURES, "low", &flag(3));
    assert_eq!(changes.next(), ["high", "low", "middle"]);
    delete(&sink, &Kind::FEATURES, "low", 4);
    assert_eq!(changes.next(), ["high", "low", "middle"]);
    changes.are_over(&sink);
}

/// Through segments in segments.
#[test]
fn flags_whose_segments_changed_are_announced() {
    let all_data = |version| {
        environment(
            [("direct", matching(1, &["inner"])), ("indirect", matching(1, &["outer"])), ("other", flag(1))],
            [("inner", flag(version)), ("outer", matching(1, &["inner"]))],
        )
    };
    let (sink, tracker) = tracked(&all_data(1));
    let changes = Changes::of(&tracker);
    init(&sink, &all_data(2));
    assert_eq!(changes.next(), ["direct", "indirect"]);
    upsert(&sink, &Kind::SEGMENTS, "inner", &flag(3));
    assert_eq!(changes.next(), ["direct", "indirect"]);
    delete(&sink, &Kind::SEGMENTS, "inner", 4);
    assert_eq!(changes.next(), ["direct", "indirect"]);
    changes.are_over(&sink);
}

/// What a flag depends on may be removed, and may appear later than the flag.
#[test]
fn what_is_not_there_is_depended_on_too() {
    let user = || ("user", matching(1, &["segment"]));
    let (sink, tracker) = tracked(&environment([user()], [("segment", flag(1))]));
    let changes = Changes::of(&tracker);
    init(&sink, &flags([user()]));
    assert_eq!(changes.next(), ["user"]);
    upsert(&sink, &Kind::SEGMENTS, "segment", &flag(2));
    assert_eq!(changes.next(), ["user"]);
}

/// What a flag depended on before its update does not matter to it any more.
#[test]
fn dependencies_follow_the_updates() {
    let segments = [("before", flag(1)), ("after", flag(1))];
    let (sink, tracker) = tracked(&environment([("a", matching(1, &["before"]))], segments));
    let changes = Changes::of(&tracker);
    upsert(&sink, &Kind::FEATURES, "a", &matching(2, &["after"]));
    assert_eq!(changes.next(), ["a"]);
    upsert(&sink, &Kind::SEGMENTS, "before", &flag(2));
    changes.are_over(&sink);
    upsert(&sink, &Kind::SEGMENTS, "after", &flag(2));
    assert_eq!(changes.next(), ["a"]);
}

/// Whoever is told can read the new data, and nobody is called on the thread of the write.
#[test]
fn the_new_data_can_be_read_by_then() {
    let (sink, tracker) = tracked(&flags([]));
    let (tell, told) = channel();
    let store = Arc::clone(sink.store());
    let writer = std::thread::current().id();
    let _listener = tracker.add_listener(move |change| {
        let version = store.get(&Kind::FEATURES, &change.key).unwrap().unwrap().version();
        tell.send((version, std::thread::current().id() == writer)).unwrap();
    });
    upsert(&sink, &Kind::FEATURES, "a", &flag(7));
    assert_eq!(told.recv_timeout(LONG), Ok((7, false)));
}

/// Listeners come and go. The first has nothing to catch up with, and neither has the next first.
#[test]
fn listeners_hear_of_what_changes_while_they_listen() {
    let (sink, tracker) = tracked(&flags([("a", flag(1))]));
    upsert(&sink, &Kind::FEATURES, "a", &flag(2));
    let first = Changes::of(&tracker);
    let second = Changes::of(&tracker);
    upsert(&sink, &Kind::FEATURES, "a", &flag(3));
    assert_eq!((first.next(), second.next()), (["a".to_owned()], ["a".to_owned()]));
    drop(first);
    upsert(&sink, &Kind::FEATURES, "a", &flag(4));
    assert_eq!(second.next(), ["a"]);
    drop(second);
    upsert(&sink, &Kind::FEATURES, "a", &flag(5));
    let third = Changes::of(&tracker);
    upsert(&sink, &Kind::FEATURES, "b", &flag(1));
    assert_eq!(third.next(), ["b"]);
    third.are_over(&sink);
}

/// The store is not asked for anything while nobody listens.
#[test]
fn nothing_is_done_while_nobody_listens() {
    let database = Database::default();
    let store = cached(&database).mode(CacheMode::Off).build().unwrap();
    let notices = Notices::default();
    let tracker = FlagTracker::builder(store.clone()).changes(notices.clone()).build();
    let sink = DataSourceUpdateSink::builder(store).flag_tracker(tracker.clone()).build();
    init(&sink, &flags([("a", flag(1))]));
    upsert(&sink, &Kind::FEATURES, "a", &flag(2));
    notices.tell(Change::Anything);
    assert_eq!(database.reads(), 0);

    let listened = Changes::of(&tracker);
    upsert(&sink, &Kind::FEATURES, "a", &flag(3));
    assert_eq!(listened.next(), ["a"]);
    drop(listened);
    let before = database.reads();
    upsert(&sink, &Kind::FEATURES, "a", &flag(4));
    upsert(&sink, &Kind::FEATURES, "a", &flag(5));
    notices.tell(Change::Anything);
    // A listener has both kinds read once, and the write another item.
    Changes::of(&tracker).are_over(&sink);
    assert_eq!(database.reads(), before + 3);
}

/// Of two threads that write at once neither brings back what the other has replaced.
#[test]
fn each_write_of_many_threads_is_announced() {
    const THREADS: u64 = 4;
    const WRITES: u64 = 50;
    let (sink, tracker) = tracked(&flags([]));
    let latest: Arc<Mutex<Option<Item>>> = Arc::default();
    let told = Arc::new(Mutex::new(0));
    let _listener = tracker.add_listener({
        let (store, latest, told) = (Arc::clone(sink.store()), Arc::clone(&latest), Arc::clone(&told));
        move |change| {
            *latest.lock() = store.get(&Kind::FEATURES, &change.key).unwrap();
            *told.lock() += 1;
        }
    });
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let sink = &sink;
            scope.spawn(move || {
                for write in 0..WRITES {
                    upsert(sink, &Kind::FEATURES, "a", &flag(write * THREADS + thread));
                }
            });
        }
    });
    let last = flag(WRITES * THREADS - 1);
    wait_until("the last version", || *latest.lock() == Some(last.clone()));
    assert!(*told.lock() <= THREADS * WRITES, "no write is announced twice");
}

/// In `Forever` the cache goes on with what the database has not taken, so flags have changed.
#[test]
fn what_the_cache_takes_without_the_database_is_a_change() {
    let database = Database::default();
    let store = cached(&database).mode(CacheMode::Forever).build().unwrap();
    let tracker = FlagTracker::builder(store.clone()).build();
    let status = store.status_provider();
    let sink =
        DataSourceUpdateSink::builder(store).store_status(status).flag_tracker(tracker.clone()).build();
    init(&sink, &flags([("a", flag(1))]));
    let changes = Changes::of(&tracker);
    database.switch_off();
    assert_eq!(sink.upsert(&Kind::FEATURES, "a", &flag(2)), flagstore_core::Delivery::Pending);
    assert_eq!(changes.next(), ["a"]);
}

/// Otherwise they change when the database has it.
#[test]
fn what_the_database_takes_later_is_a_change_then() {
    let database = Database::default();
    let store = cached(&database).mode(CacheMode::Off).build().unwrap();
    let notices = Notices::default();
    let tracker = FlagTracker::builder(store.clone()).changes(notices.clone()).build();
    store.init(&flags([("a", flag(1))])).unwrap();
    let changes = Changes::of(&tracker);
    database.switch_off();
    database.memory.upsert(&Kind::FEATURES, "a", &flag(2)).map(drop).unwrap();
    notices.tell(Change::Kind(Kind::FEATURES));
    wait_until("a look", || database.reads() >= 3);
    database.switch_on();
    assert_eq!(changes.next(), ["a"]);
}

/// If the store fails when somebody begins to listen, all flags count as new when it is back.
#[test]
fn who_begins_to_listen_in_an_outage_misses_nothing() {
    let database = Database::default();
    let store = cached(&database).mode(CacheMode::Off).build().unwrap();
    store.init(&flags([("a", flag(1)), ("b", flag(1))])).unwrap();
    let tracker = FlagTracker::builder(store).build();
    database.switch_off();
    let changes = Changes::of(&tracker);
    database.switch_on();
    assert_eq!(changes.next(), ["a", "b"]);
}

/// What another process writes is announced, and only what differs. The cache has learned of it first.
#[test]
fn changes_of_others_are_announced() {
    let database = Database::default();
    let notices = Notices::default();
    let changes = SharedChangeSource::new(notices.clone());
    let store = cached(&database).mode(CacheMode::Forever).changes(changes.clone()).build().unwrap();
    let sink = DataSourceUpdateSink::builder(store.clone());
    store.init(&environment([("a", matching(1, &["s"])), ("b", flag(1))], [("s", flag(1))])).unwrap();
    let tracker = FlagTracker::builder(store).changes(changes).build();
    let sink = sink.flag_tracker(tracker.clone()).build();
    let changes = Changes::of(&tracker);

    database.memory.upsert(&Kind::FEATURES, "b", &flag(2)).map(drop).unwrap();
    database.memory.upsert(&Kind::FEATURES, "c", &flag(1)).map(drop).unwrap();
    notices.tell(Change::Kind(Kind::FEATURES));
    assert_eq!(changes.next(), ["b", "c"]);

    database.memory.upsert(&Kind::SEGMENTS, "s", &flag(2)).map(drop).unwrap();
    notices.tell(Change::Kind(Kind::from("users")));
    notices.tell(Change::Anything);
    assert_eq!(changes.next(), ["a"]);
    notices.tell(Change::Anything);
    changes.are_over(&sink);
}

/// Whatever the cache does with what is old: it may answer with that first, and ask the database behind it.
#[test]
fn changes_of_others_are_announced_by_any_policy() {
    let policies = [
        StalePolicy::Evict,
        StalePolicy::Refresh { max_age: None },
        StalePolicy::RefreshAsync { max_age: None },
    ];
    for policy in policies {
        let database = Database::default();
        let notices = Notices::default();
        let changes = SharedChangeSource::new(notices.clone());
        let store = cached(&database).stale_policy(policy).changes(changes.clone()).build().unwrap();
        store.init(&flags([("a", flag(1))])).unwrap();
        let tracker = FlagTracker::builder(store).changes(changes).build();
        let changes = Changes::of(&tracker);
        for version in 2..5 {
            database.memory.upsert(&Kind::FEATURES, "a", &flag(version)).map(drop).unwrap();
            notices.tell(Change::Anything);
            assert_eq!(changes.next(), ["a"], "{policy:?}");
        }
    }
}

/// A cache may answer with what it has while its database is away. What has changed there shows afterwards.
#[test]
fn what_changed_during_an_outage_is_announced_after_it() {
    let database = Database::default();
    let notices = Notices::default();
    let changes = SharedChangeSource::new(notices.clone());
    let policy = StalePolicy::Refresh { max_age: None };
    let store = cached(&database).stale_policy(policy).changes(changes.clone()).build().unwrap();
    store.init(&flags([("a", flag(1))])).unwrap();
    let status = store.status_provider();
    let tracker = FlagTracker::builder(store.clone()).store_status(status).changes(changes).build();
    let changes = Changes::of(&tracker);
    database.switch_off();
    assert!(store.upsert(&Kind::FEATURES, "b", &flag(1)).is_err(), "now the outage is known");
    database.memory.upsert(&Kind::FEATURES, "a", &flag(2)).map(drop).unwrap();
    notices.tell(Change::Anything);
    assert!(store.get(&Kind::FEATURES, "c").is_err());
    database.switch_on();
    let mut told: Vec<String> = changes.next::<1>().into();
    while told.last().is_some_and(|key| key != "a") {
        told.extend(changes.next::<1>());
    }
}

/// Tells of changes when it is told to.
#[derive(Clone, Default)]
struct Notices(Arc<Mutex<Option<Callback>>>);

type Callback = Arc<dyn Fn(Change) + Send + Sync>;

impl Notices {
    fn tell(&self, change: Change) {
        let callback = self.0.lock().clone();
        callback.unwrap()(change);
    }
}

impl ChangeSource for Notices {
    fn watch(&self, on_change: Box<dyn Fn(Change) + Send + Sync>) -> ChangeWatch {
        *self.0.lock() = Some(on_change.into());
        ChangeWatch::new(())
    }
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notices")
    }
}
