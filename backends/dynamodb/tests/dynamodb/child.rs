//! Tests whose subject is a whole process: its environment, its threads. The program starts itself again.

use std::fmt;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flagstore_core::{FeatureStoreCore, Kind};
use flagstore_dynamodb::aws_sdk_dynamodb::config::BehaviorVersion;
use flagstore_dynamodb::{Bridge, DynamoDbStore, DynamoDbStoreBuilder};
use tokio::runtime::Builder;

use crate::flags;
use crate::support::plain_client::plain_client;
use crate::support::{PATIENCE, Server};

const TASK: &str = "FLAGSTORE_DYNAMODB_TASK";
const TABLE: &str = "FLAGSTORE_DYNAMODB_TASK_TABLE";
const ENDPOINT: &str = "FLAGSTORE_DYNAMODB_TASK_ENDPOINT";

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Task {
    /// Gets an item through a store that was told nothing but its table.
    Get,
    /// The same through an SdkConfig that was loaded from the environment.
    GetByConfig,
    /// Gets an item with the default timeouts until it fails with the same error twice and at once, and says each
    /// error when it is a new one.
    GetOften,
    /// Counts the bridge's threads before, while and after there are stores.
    Threads,
}

/// Runs the task in a process with no more environment than this, and returns what it says.
pub(crate) fn run(task: Task, server: &Server, environment: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .env_clear()
        // Not the machine's own files and role.
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env(TASK, format!("{task:?}"))
        .env(TABLE, &server.table)
        .env(ENDPOINT, &server.endpoint)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// In such a process, does what was asked of it.
pub(crate) fn work_if_asked() -> Option<ExitCode> {
    let asked = std::env::var(TASK).ok()?;
    let table = std::env::var(TABLE).unwrap();
    match [Task::Get, Task::GetByConfig, Task::GetOften, Task::Threads]
        .into_iter()
        .find(|task| format!("{task:?}") == asked)
        .unwrap()
    {
        Task::Get => get(DynamoDbStore::builder(&table)),
        Task::GetByConfig => {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(plain_client());
            get(DynamoDbStore::builder(&table).sdk_config(runtime.block_on(loader.load())));
        }
        Task::GetOften => get_often(&table),
        Task::Threads => threads(&Server::at(&std::env::var(ENDPOINT).unwrap(), table)),
    }
    Some(ExitCode::SUCCESS)
}

fn say(said: impl fmt::Display) {
    println!("{said}");
}

fn get(builder: DynamoDbStoreBuilder) {
    let store = builder.timeout(PATIENCE).build().unwrap();
    match store.get(&Kind::FEATURES, "a") {
        Ok(found) => say(format!("found {} in {store}", found.is_some())),
        Err(error) => say(format!("{:?} {error}", error.kind())),
    }
}

fn get_often(table: &str) {
    let store = DynamoDbStore::builder(table).build().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut last = String::new();
    loop {
        let start = Instant::now();
        let error = store.get(&Kind::FEATURES, "a").unwrap_err().to_string();
        if error == last && start.elapsed() < Duration::from_millis(100) {
            return;
        }
        if error != last {
            say(&error);
        }
        last = error;
        assert!(Instant::now() < deadline, "{last}");
    }
}

/// Stores are used and dropped everywhere; in the end none of their threads is left.
fn threads(server: &Server) {
    let server = server.anew();
    let bridges = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
        names.filter(|name| name.trim() == "dynamodb-bridge").count()
    };
    for runtime in
        [Builder::new_current_thread().build(), Builder::new_multi_thread().worker_threads(1).build()]
    {
        runtime.unwrap().block_on(async {
            let store = server.store();
            store.init(&flags(100, 1, 10)).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..20 {
                    scope.spawn(|| assert!(store.get(&Kind::FEATURES, "flag-1").unwrap().is_some()));
                }
            });
            say(format!("{} threads", bridges()));
            drop(store);
        });
    }
    let bridge = Arc::new(Bridge::new("dynamodb").unwrap());
    let stores: Vec<DynamoDbStore> = (0..50)
        .map(|_| server.anew().builder().timeout(PATIENCE).bridge(Arc::clone(&bridge)).build().unwrap())
        .collect();
    for store in &stores {
        assert_eq!(store.get(&Kind::FEATURES, "a").unwrap(), None);
    }
    say(format!("{} threads of 50 stores", bridges()));
    // One goes, and the others go on.
    let mut stores = stores;
    drop(stores.pop());
    assert_eq!(stores[0].get(&Kind::FEATURES, "a").unwrap(), None);
    drop((stores, bridge));
    let deadline = Instant::now() + PATIENCE;
    while bridges() > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    say(format!("{} threads in the end", bridges()));
}
