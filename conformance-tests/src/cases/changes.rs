use flagstore_core::{CacheMode, CachingStoreWrapper, FeatureStore, Kind};

use crate::case::{Case, Database, Skip, Succeed, wait_for};
use crate::worker::{FLAGS, Task, Worker};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(updates_of_another_process_reach_a_cache),
        Case::new(inits_of_another_process_reach_a_cache),
    ]
}

/// A cache that would never look by itself, and is told of changes.
fn watching(database: &Database<'_>) -> Result<CachingStoreWrapper, Skip> {
    let cache = database.fixture.told_of_changes(&database.prefix);
    let cache = cache.ok_or(Skip("the fixture has nothing that tells of changes"))?;
    Ok(cache.mode(CacheMode::Forever).build().succeed())
}

/// Lets another process write, and each time waits until the cache has what that one has acknowledged, and at
/// last, when nothing follows any more, what it has acknowledged last.
fn follow(
    database: &Database<'_>,
    task: Task,
    count: usize,
    has_seen: impl Fn(u64) -> bool,
) -> Result<(), Skip> {
    let wait = |acknowledged: &[u64]| {
        if let Some(number) = acknowledged.last() {
            wait_for(database.fixture.patience(), &format!("the cache has write {number}"), || {
                has_seen(*number)
            });
        }
    };
    let mut worker = Worker::start(database, task)?;
    for _ in 0..5 {
        wait(&worker.wait_for(count));
    }
    wait(&worker.kill());
    Ok(())
}

/// What another process has updated is in the cache soon, although what is cached would stay forever.
fn updates_of_another_process_reach_a_cache(database: &Database<'_>) -> Result<(), Skip> {
    let cache = watching(database)?;
    assert_eq!(cache.get(&Kind::FEATURES, "flag-0").succeed(), None, "which is cached, too");
    follow(database, Task::UpsertForever, 25, |n| {
        let item = cache.get(&Kind::FEATURES, &format!("flag-{}", n % FLAGS)).succeed();
        item.is_some_and(|item| item.version() > n / FLAGS)
    })
}

/// And so is what it has replaced by an init, one by one and all together.
fn inits_of_another_process_reach_a_cache(database: &Database<'_>) -> Result<(), Skip> {
    let cache = watching(database)?;
    assert!(cache.all(&Kind::FEATURES).succeed().is_empty(), "which is cached, too");
    assert_eq!(cache.get(&Kind::SEGMENTS, "item-7").succeed(), None, "and so is this");
    follow(database, Task::InitForever, 2, |n| {
        let all = cache.all(&Kind::FEATURES).succeed();
        let one = cache.get(&Kind::SEGMENTS, "item-7").succeed();
        !all.is_empty()
            && all.iter().all(|(_, item)| item.version() >= n)
            && one.is_some_and(|item| item.version() >= n)
    })
}
