//! Other processes: a test starts its own program again, which then writes to the same database.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;

use flagstore_core::{AllData, FeatureStoreCore, Kind, Upsert};

use crate::Fixture;
use crate::case::{Database, Skip, Succeed, item, open};

const JOB: &str = "FLAGSTORE_CONFORMANCE_JOB";

/// What another process is to do, on which fixture and prefix.
pub(crate) struct Job {
    task: Task,
    fixture: String,
    prefix: String,
}

/// Each writes a line for everything that the store has acknowledged, as soon as it has.
#[derive(Clone, Copy)]
pub(crate) enum Task {
    /// Upserts these versions, in that order, of the flag `race`; writes those that were applied.
    Race { first: u64, step: u64, count: u64 },
    /// Upserts versions 1, 2, 3 ... of `flag-0`, then of `flag-1` and so on in turn, until it is killed.
    UpsertForever,
    /// Inits with [`generation`] 1, 2, 3 ... until it is killed.
    InitForever,
}

/// How many flags [`Task::UpsertForever`] writes in turn.
pub(crate) const FLAGS: u64 = 10;

/// Data in which every item carries the number `n`, enough of it that writing takes a while.
pub(crate) fn generation(n: u64) -> AllData {
    let items = || (0..200).map(|i| (format!("item-{i}"), item("item", n, &"text ".repeat(50))));
    AllData::new().with(Kind::SEGMENTS, items()).with(Kind::FEATURES, items())
}

impl Task {
    fn name(self) -> String {
        match self {
            Self::Race { first, step, count } => format!("race {first} {step} {count}"),
            Self::UpsertForever => "upsert".to_owned(),
            Self::InitForever => "init".to_owned(),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let words: Vec<&str> = name.split(' ').collect();
        match words[..] {
            ["race", first, step, count] => Some(Self::Race {
                first: first.parse().ok()?,
                step: step.parse().ok()?,
                count: count.parse().ok()?,
            }),
            ["upsert"] => Some(Self::UpsertForever),
            ["init"] => Some(Self::InitForever),
            _ => None,
        }
    }

    fn run(self, store: &dyn FeatureStoreCore) {
        match self {
            Self::Race { first, step, count } => {
                for version in (0..count).map(|n| first + n * step) {
                    let outcome = store.upsert(&Kind::FEATURES, "race", &item("race", version, "")).succeed();
                    if outcome == Upsert::Applied {
                        acknowledge(version);
                    }
                }
            }
            Self::UpsertForever => {
                for n in 0.. {
                    let (key, version) = (format!("flag-{}", n % FLAGS), n / FLAGS + 1);
                    let outcome = store.upsert(&Kind::FEATURES, &key, &item(&key, version, "")).succeed();
                    assert_eq!(outcome, Upsert::Applied, "nobody else writes");
                    acknowledge(n);
                }
            }
            Self::InitForever => {
                let mut next = generation(1);
                for n in 1.. {
                    store.init(&next).succeed();
                    // Made before the answer, so that who kills this process on it finds the next init under way.
                    next = generation(n + 1);
                    acknowledge(n);
                }
            }
        }
    }
}

fn acknowledge(number: u64) {
    let mut out = std::io::stdout().lock();
    // When nobody reads any more the test is over, and so is this process.
    if writeln!(out, "{number}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

impl Job {
    /// The job that this process was started for, if any.
    pub(crate) fn from_env() -> Option<Self> {
        let text = std::env::var(JOB).ok()?;
        let mut parts = text.splitn(3, '|');
        let (task, fixture, prefix) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { task: Task::parse(task)?, fixture: fixture.to_owned(), prefix: prefix.to_owned() })
    }

    /// Does it.
    pub(crate) fn run(&self, fixtures: &[Arc<dyn Fixture>]) -> ExitCode {
        let Some(fixture) = fixtures.iter().find(|fixture| fixture.name() == self.fixture) else {
            return ExitCode::FAILURE;
        };
        self.task.run(&*open(&**fixture, &self.prefix));
        ExitCode::SUCCESS
    }
}

/// Another process at work. Dropping it kills it.
pub(crate) struct Worker {
    process: Child,
    acknowledged: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts another process with this task on the case's prefix.
    pub(crate) fn start(database: &Database<'_>, task: Task) -> Result<Self, Skip> {
        let Some((variable, value)) = database.fixture.shared_by() else {
            return Err(Skip("no other process can open this fixture's database"));
        };
        let program =
            std::env::current_exe().unwrap_or_else(|error| panic!("where is this program: {error}"));
        let mut process = Command::new(program)
            .env(JOB, format!("{}|{}|{}", task.name(), database.fixture.name(), database.prefix))
            .env(variable, value)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start another process: {error}"));
        let stdout = process.stdout.take().unwrap_or_else(|| panic!("its output was piped"));
        Ok(Self { process, acknowledged: BufReader::new(stdout).lines() })
    }

    /// Waits until `count` more writes are acknowledged, or the process has ended, and returns their numbers.
    pub(crate) fn wait_for(&mut self, count: usize) -> Vec<u64> {
        let lines = self.acknowledged.by_ref().take(count);
        lines.map_while(Result::ok).filter_map(|line| line.parse().ok()).collect()
    }

    /// Waits for the end, which has to be a success, and returns the numbers of all that was acknowledged.
    pub(crate) fn finish(mut self) -> Vec<u64> {
        let acknowledged = self.wait_for(usize::MAX);
        let status = self.process.wait().unwrap_or_else(|error| panic!("no other process: {error}"));
        assert!(status.success(), "the other process failed: {status}");
        acknowledged
    }

    /// Kills it (SIGKILL) in the middle of what it does, and returns the numbers of all that was acknowledged
    /// since the last wait.
    pub(crate) fn kill(mut self) -> Vec<u64> {
        self.process.kill().unwrap_or_else(|error| panic!("cannot kill the other process: {error}"));
        self.wait_for(usize::MAX)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
