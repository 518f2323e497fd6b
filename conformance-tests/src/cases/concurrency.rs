use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use flagstore_core::{FeatureStoreCore, Item, Kind, Upsert};
use parking_lot::Mutex;

use crate::case::{Case, Database, Succeed, flags, item, parse};
use crate::linearizability::{Call, Recorded, Stored, is_linearizable};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(external_writer_with_lower_versions_loses),
        Case::new(external_writer_with_a_higher_version_wins),
        Case::new(highest_version_wins_on_one_key),
        Case::new(highest_version_wins_on_many_keys),
        Case::new(one_version_is_applied_once),
        Case::new(history_of_one_key_is_linearizable),
    ]
}

/// Runs all of these at once, each on its own thread, and returns what they return.
fn at_once<T: Send, F: FnOnce() -> T + Send>(runs: Vec<F>) -> Vec<T> {
    let start = Barrier::new(runs.len());
    let start = &start;
    thread::scope(|scope| {
        let running: Vec<_> = runs
            .into_iter()
            .map(|run| {
                scope.spawn(move || {
                    start.wait();
                    run()
                })
            })
            .collect();
        running.into_iter().map(joined).collect()
    })
}

/// What the thread returned; its panic is ours.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// While others write 2, 3 and 4, our 10 is applied and stays.
fn external_writer_with_lower_versions_loses(database: &Database<'_>) {
    with_external_writer(database, 10, &[2, 3, 4], |key, ours, _external| {
        assert_eq!(*ours, Upsert::Applied);
        item(key, 10, "ours")
    });
}

/// While another writes 3, our 2 may be applied before it and never after it.
fn external_writer_with_a_higher_version_wins(database: &Database<'_>) {
    with_external_writer(database, 2, &[3], |key, ours, external| {
        let theirs = item(key, 3, "external");
        assert_eq!(external, [Upsert::Applied]);
        assert!([Upsert::Applied, Upsert::Stale(theirs.clone())].contains(ours), "{ours:?}");
        theirs
    });
}

/// Writes our version while another writes its own, and checks that what is stored then is `expected`.
fn with_external_writer(
    database: &Database<'_>,
    our_version: u64,
    external_versions: &[u64],
    expected: impl Fn(&str, &Upsert, &[Upsert]) -> Item,
) {
    let (ours, external) = (database.open(), database.open());
    let upsert = |store: &dyn FeatureStoreCore, key: &str, version: u64, writer: &str| {
        store.upsert(&Kind::FEATURES, key, &item(key, version, writer)).succeed()
    };
    for key in (0..20).map(|round| format!("flag-{round}")) {
        assert_eq!(upsert(&*ours, &key, 1, "before"), Upsert::Applied);
        let start = Barrier::new(2);
        let (our_outcome, external_outcomes) = thread::scope(|scope| {
            let (external, key, start) = (&*external, &key, &start);
            let writing = scope.spawn(move || -> Vec<Upsert> {
                start.wait();
                external_versions.iter().map(|version| upsert(external, key, *version, "external")).collect()
            });
            start.wait();
            (upsert(&*ours, key, our_version, "ours"), joined(writing))
        });
        let expected = expected(&key, &our_outcome, &external_outcomes);
        assert_eq!(ours.get(&Kind::FEATURES, &key).succeed(), Some(expected));
    }
}

const WRITERS: usize = 8;

/// The versions that one of the writers uses: in an order of its own, and none that another one uses.
fn versions_of(writer: usize, count: u64) -> Vec<u64> {
    let mut versions: Vec<u64> = (0..count).map(|n| n * WRITERS as u64 + writer as u64 + 1).collect();
    // Multiplying by an odd number shuffles: the same in each run, different for each writer.
    versions
        .sort_unstable_by_key(|version| version.wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ (writer as u64) << 1));
    versions
}

/// From eight threads, each with its own handle and its own order of versions, again and again.
fn highest_version_wins_on_one_key(database: &Database<'_>) {
    for round in 0..20 {
        race(database, &[&format!("flag-{round}")], 4);
    }
}

/// The same over many keys at once: a conflict is about one flag, never about the environment.
fn highest_version_wins_on_many_keys(database: &Database<'_>) {
    race(database, &["a", "b", "c", "d", "e", "f", "g", "h"], 8);
}

fn race(database: &Database<'_>, keys: &[&str], each: u64) {
    let writer = |n: usize| {
        let store = database.open();
        move || {
            let mut outcomes = Vec::new();
            for version in versions_of(n, each) {
                for key in keys {
                    let outcome = store.upsert(&Kind::FEATURES, key, &item(key, version, "")).succeed();
                    outcomes.push((*key, version, outcome));
                }
            }
            outcomes
        }
    };
    let outcomes: Vec<_> = at_once((0..WRITERS).map(writer).collect()).into_iter().flatten().collect();
    let highest = each * WRITERS as u64;
    let store = database.open();
    for key in keys {
        assert_eq!(store.get(&Kind::FEATURES, key).succeed(), Some(item(key, highest, "")), "{key}");
    }
    for (key, version, outcome) in outcomes {
        match outcome {
            Upsert::Stale(current) => {
                assert!(current.version() >= version, "{key}: {version} is newer than {current:?}");
                assert!(version < highest, "{key}: the highest version was refused");
            }
            Upsert::Applied => {}
        }
    }
}

/// Of several writers of the same version one is told that it is stored, and it is.
fn one_version_is_applied_once(database: &Database<'_>) {
    let stores: Vec<_> = (0..WRITERS).map(|_| database.open()).collect();
    for round in 0..20 {
        let key = format!("flag-{round}");
        let writer = |n: usize| {
            let (store, key) = (&stores[n], &key);
            move || store.upsert(&Kind::FEATURES, key, &item(key, 1, &format!("writer {n}"))).succeed()
        };
        let outcomes = at_once((0..WRITERS).map(writer).collect());
        let applied: Vec<usize> = (0..WRITERS).filter(|n| outcomes[*n] == Upsert::Applied).collect();
        assert_eq!(applied.len(), 1, "applied were writers {applied:?}");
        let stored = item(&key, 1, &format!("writer {}", applied[0]));
        assert_eq!(stores[0].get(&Kind::FEATURES, &key).succeed(), Some(stored.clone()));
        let stale = outcomes.iter().filter(|outcome| **outcome == Upsert::Stale(stored.clone())).count();
        assert_eq!(stale, WRITERS - 1, "the others learn of it: {outcomes:?}");
    }
}

/// Init, upsert and get on one key by four threads explain each other, in some order, in every round.
fn history_of_one_key_is_linearizable(database: &Database<'_>) {
    const ROUNDS: u32 = 40;
    const THREADS: u32 = 4;
    const CALLS: u32 = 8;
    let stores: Vec<_> = (0..THREADS).map(|_| database.open()).collect();
    for round in 0..ROUNDS {
        let key = format!("flag-{round}");
        let recorder = Recorder { key: &key, clock: AtomicU64::new(0), history: Mutex::default() };
        let caller = |thread: u32| {
            let (store, recorder) = (&*stores[thread as usize], &recorder);
            move || (0..CALLS).for_each(|n| recorder.call(store, round, thread * CALLS + n))
        };
        at_once((0..THREADS).map(caller).collect());
        let history = recorder.history.into_inner();
        assert!(is_linearizable(&history), "no order explains this history: {history:#?}");
    }
}

/// Calls a store, and writes down what it returned, and when.
struct Recorder<'a> {
    key: &'a str,
    clock: AtomicU64,
    history: Mutex<Vec<Recorded>>,
}

impl Recorder<'_> {
    /// The call of this number: one init in eleven, three reads in eleven, else an update with a version near
    /// those of the others.
    fn call(&self, store: &dyn FeatureStoreCore, round: u32, id: u32) {
        let chance = (round * 31 + id).wrapping_mul(2_654_435_761) >> 8;
        let version = u64::from(1 + id / 4 + chance % 5);
        let write = parse(&format!(r#"{{"version":{version},"writer":{id}}}"#));
        let began = self.tick();
        let call = match chance % 11 {
            0 => {
                store.init(&flags([(self.key, write)])).succeed();
                Call::Init((version, id))
            }
            1..=3 => Call::Get(stored(store.get(&Kind::FEATURES, self.key).succeed())),
            _ => match store.upsert(&Kind::FEATURES, self.key, &write).succeed() {
                Upsert::Applied => Call::Applied((version, id)),
                Upsert::Stale(current) => Call::Stale { given: version, current: stored(Some(current)) },
            },
        };
        let ended = self.tick();
        self.history.lock().push(Recorded { call, began, ended });
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }
}

/// What an item says of the write that it is from.
fn stored(item: Option<Item>) -> Stored {
    let writer = |item: &Item| {
        let text = item.json().rsplit_once(':').map(|(_, text)| text.trim_end_matches('}'));
        text.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("the text changed: {item:?}"))
    };
    item.map(|item| (item.version(), writer(&item)))
}
