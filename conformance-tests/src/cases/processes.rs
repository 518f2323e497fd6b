use std::thread;
use std::time::Instant;

use flagstore_core::{Item, Kind};

use crate::case::{Case, Database, Skip, Succeed, item};
use crate::worker::{FLAGS, Task, Worker, generation};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(highest_version_wins_between_processes),
        Case::new(a_killed_writer_loses_no_acknowledged_update),
        Case::new(a_killed_writer_leaves_no_half_an_init),
    ]
}

/// How often a writer is killed. `FLAGSTORE_KILLS` overrides it, for a long run by hand.
fn kills() -> u64 {
    std::env::var("FLAGSTORE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(10)
}

/// Four processes write versions of one flag at once. No version is applied twice, and the highest is there.
fn highest_version_wins_between_processes(database: &Database<'_>) -> Result<(), Skip> {
    const PROCESSES: u64 = 4;
    const COUNT: u64 = 200;
    let race = |n| Worker::start(database, Task::Race { first: n, step: 3, count: COUNT });
    let workers = (0..PROCESSES).map(race).collect::<Result<Vec<_>, _>>()?;
    let mut applied: Vec<u64> = workers.into_iter().flat_map(Worker::finish).collect();
    applied.sort_unstable();
    let highest = PROCESSES - 1 + (COUNT - 1) * 3;
    assert_eq!(applied.last(), Some(&highest), "the highest version was applied");
    assert!(applied.windows(2).all(|two| two[0] < two[1]), "a version was applied twice: {applied:?}");
    assert_eq!(database.open().get(&Kind::FEATURES, "race").succeed(), Some(item("race", highest, "")));
    Ok(())
}

/// Whatever a process was told is stored, is stored, also when it is killed the next moment.
fn a_killed_writer_loses_no_acknowledged_update(database: &Database<'_>) -> Result<(), Skip> {
    for round in 0..kills() {
        let round = Database { fixture: database.fixture, prefix: format!("{}-{round}", database.prefix) };
        let mut worker = Worker::start(&round, Task::UpsertForever)?;
        let mut acknowledged = worker.wait_for(25);
        acknowledged.extend(worker.kill());
        let last = *acknowledged.last().unwrap_or_else(|| panic!("nothing was acknowledged"));
        let store = round.open();
        for n in last.saturating_sub(FLAGS - 1)..=last {
            let (key, version) = (format!("flag-{}", n % FLAGS), n / FLAGS + 1);
            let stored = store.get(&Kind::FEATURES, &key).succeed().map_or(0, |item| item.version());
            assert!(
                stored >= version,
                "version {version} of {key} was acknowledged, version {stored} is stored"
            );
        }
    }
    Ok(())
}

/// Where an init is atomic, a process that dies within one leaves the data before it or after it.
fn a_killed_writer_leaves_no_half_an_init(database: &Database<'_>) -> Result<(), Skip> {
    if !database.fixture.init_is_atomic() {
        return Err(Skip("inits of this database are not atomic"));
    }
    let expected = generation(1).items(&Kind::FEATURES).count();
    for n in 0..kills() {
        let round = Database { fixture: database.fixture, prefix: format!("{}-{n}", database.prefix) };
        let mut worker = Worker::start(&round, Task::InitForever)?;
        let mut acknowledged = worker.wait_for(2);
        let started = Instant::now();
        acknowledged.extend(worker.wait_for(1));
        // Each round somewhat later in the next init, so that all of it is hit.
        thread::sleep(started.elapsed().mul_f64((n as f64 + 0.5) / kills() as f64));
        acknowledged.extend(worker.kill());
        let last = *acknowledged.last().unwrap_or_else(|| panic!("nothing was acknowledged"));
        let store = round.open();
        let kinds = [Kind::SEGMENTS, Kind::FEATURES].map(|kind| store.get_all(&kind).succeed().by_key);
        let versions: Vec<u64> = kinds.iter().flat_map(|items| items.values().map(Item::version)).collect();
        assert_eq!(versions.len(), 2 * expected, "items are missing");
        assert!(versions.iter().all(|version| *version == versions[0]), "two inits are mixed: {versions:?}");
        assert!(versions[0] >= last, "init {last} was acknowledged, init {} is stored", versions[0]);
        assert!(store.is_initialized().succeed());
    }
    Ok(())
}
