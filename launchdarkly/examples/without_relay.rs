//! A deployment without a Relay Proxy, by processes of one machine: one streams an environment into a database, and
//! three others read it, with the official client in daemon mode, and are told of each change.
//!
//! ```sh
//! cargo run -p flagstore-launchdarkly --example without_relay                            # on an SQLite file
//! cargo run -p flagstore-launchdarkly --example without_relay redis://localhost:6379     # on Redis, with push
//! ```
//!
//! LaunchDarkly's part is played by a stand-in, so it needs no network and no account. It changes a flag ten times, and
//! shows how long it took until each of the three had been told and had evaluated the new value.

use std::env;
use std::error::Error;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use flagstore_conformance::StandIn;
use flagstore_core::{AllData, Item, Kind};
use flagstore_launchdarkly::sources::{LaunchDarklyService, StreamingDataSourceBuilder};
use flagstore_launchdarkly::{DataSystem, DataSystemBuilder};
use flagstore_redis::{RedisStore, redis};
use flagstore_sqlite::SqliteStore;
use launchdarkly_server_sdk::{Client, ConfigBuilder, ContextBuilder, NullEventProcessorBuilder};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const FLAG: &str = "greeting";
const READERS: usize = 3;
const CHANGES: u64 = 10;

/// The variable that tells a process what prefix its deployment has in Redis.
const PREFIX: &str = "WITHOUT_RELAY_PREFIX";

/// How long to wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let folder = tempfile::tempdir()?;
            let file = folder.path().join("flags.db");
            deploy(&file.to_string_lossy())
        }
        ["feed", database, service] => feed(database, service),
        ["read", database] => read(database),
        [database] => deploy(database),
        _ => Err("usage: without_relay [redis://HOST:PORT]".into()),
    }
}

/// The whole deployment: LaunchDarkly, and the processes of an application.
fn deploy(database: &str) -> Result<()> {
    let launchdarkly = StandIn::start()?;
    launchdarkly.init(&AllData::new().with(Kind::FEATURES, [(FLAG, greeting(1)?)]));

    let (tell, told) = channel();
    let mut processes = vec![Process::start(&["feed", database, &launchdarkly.url()], 0, &tell)?];
    wait_for(&told, 1, "valid")?;
    println!(
        "1 process streams into {}",
        if database.starts_with("redis") { "Redis" } else { "an SQLite file" }
    );
    for number in 1..=READERS {
        processes.push(Process::start(&["read", database], number, &tell)?);
    }
    wait_for(&told, READERS, &text(1))?;
    println!("{READERS} processes read from it, and evaluate {FLAG} to {:?}", text(1));

    let mut times = Vec::new();
    for version in 2..2 + CHANGES {
        let changed = Instant::now();
        launchdarkly.upsert(&Kind::FEATURES, FLAG, &greeting(version)?);
        wait_for(&told, READERS, &text(version))?;
        times.push(changed.elapsed());
    }
    times.sort();
    println!(
        "{CHANGES} changes, each told to all of them: half of them within {:.1?}, all within {:.1?}",
        times[times.len() / 2],
        times[times.len() - 1]
    );

    processes.into_iter().try_for_each(Process::end)?;
    if database.starts_with("redis") { leave_nothing_in(database) } else { Ok(()) }
}

/// Removes what this deployment has put into a Redis that others use too.
fn leave_nothing_in(database: &str) -> Result<()> {
    let mut connection = redis::Client::open(database)?.get_connection()?;
    let prefix = prefix();
    let keys = ["features", "segments", "$inited"].map(|name| format!("{prefix}:{name}"));
    redis::cmd("DEL").arg(&keys).exec(&mut connection)?;
    Ok(())
}

/// That of the deployment whose first process this is.
fn prefix() -> String {
    format!("without-relay-{}", std::process::id())
}

/// The process that has the connection to LaunchDarkly.
fn feed(database: &str, service: &str) -> Result<()> {
    let service = LaunchDarklyService::new("sdk-key").relay_proxy(service);
    let system = open(database, false)?.data_source(StreamingDataSourceBuilder::new(service)).build()?;
    if !system.wait_for_initialization(PATIENCE) {
        return Err(format!("no flags: {:?}", system.data_source_status_provider()).into());
    }
    println!("valid");
    wait_for_the_end()?;
    if system.close(PATIENCE) { Ok(()) } else { Err("the source did not end".into()) }
}

/// A process that has none, and is told of changes all the same.
fn read(database: &str) -> Result<()> {
    let system = open(database, true)?.build()?;
    let config = ConfigBuilder::new("sdk-key").event_processor(&NullEventProcessorBuilder::new());
    let client = Arc::new(Client::build(system.configure(config).build()?)?);
    if !system.wait_for_initialization(PATIENCE) {
        return Err("nobody feeds the database".into());
    }
    let context = ContextBuilder::new("user-ana").build()?;
    let evaluate = {
        let client = Arc::clone(&client);
        move || client.str_variation(&context, FLAG, "no greeting".to_owned())
    };
    let first = evaluate();
    let _listener = system.flag_tracker().add_listener(move |_| println!("{}", evaluate()));
    println!("{first}");
    wait_for_the_end()?;
    client.close();
    if system.close(PATIENCE) { Ok(()) } else { Err("the watch did not end".into()) }
}

/// A data system on an SQLite file or a Redis server, which watches what others write if it has to.
fn open(database: &str, watch: bool) -> Result<DataSystemBuilder> {
    if database.starts_with("redis") {
        let store = RedisStore::builder().url(database).prefix(env::var(PREFIX)?).build()?;
        let changes = watch.then(|| store.changes());
        let system = DataSystem::builder(store);
        return Ok(match changes {
            Some(changes) => system.changes(changes),
            None => system,
        });
    }
    let store = SqliteStore::builder(Path::new(database)).build()?;
    let changes = watch.then(|| store.changes(Duration::from_millis(5)));
    let system = DataSystem::builder(store);
    Ok(match changes {
        Some(changes) => system.changes(changes),
        None => system,
    })
}

fn text(version: u64) -> String {
    format!("hello {version}")
}

fn greeting(version: u64) -> Result<Item> {
    Ok(Item::parse(format!(
        r#"{{"key":"{FLAG}","version":{version},"on":true,"variations":["{}"],"fallthrough":{{"variation":0}},
            "targets":[],"rules":[],"prerequisites":[],"salt":"","clientSide":false}}"#,
        text(version)
    ))?)
}

/// This program again, in another part. It goes on until its input ends.
struct Process {
    child: Child,
    input: ChildStdin,
}

impl Process {
    /// Starts it, and has every line that it prints sent on with its number.
    fn start(arguments: &[&str], number: usize, lines: &Sender<(usize, String)>) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(arguments)
            .env(PREFIX, prefix())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("it has no input")?;
        let output = child.stdout.take().ok_or("it has no output")?;
        let lines = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(io::Result::ok) {
                if lines.send((number, line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, input })
    }

    fn end(self) -> Result<()> {
        let Self { mut child, input } = self;
        drop(input);
        let status = child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("a process ended with {status}").into()) }
    }
}

/// Waits until that many processes have said this.
fn wait_for(told: &Receiver<(usize, String)>, count: usize, line: &str) -> Result<()> {
    let mut who = Vec::new();
    while who.len() < count {
        let (number, said) =
            told.recv_timeout(PATIENCE).map_err(|_| format!("waited in vain for {line:?}"))?;
        if said == line && !who.contains(&number) {
            who.push(number);
        }
    }
    Ok(())
}

fn wait_for_the_end() -> io::Result<()> {
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}
