use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use flagstore_redis::redis::{Client, Connection, FromRedisValue, RedisResult};
use flagstore_redis::{RedisStore, RedisStoreBuilder};
use tempfile::TempDir;

use crate::eventually;

/// A server process of a test, killed on drop, so also when the test panics.
pub(crate) struct Server {
    process: Option<Child>,
    pub(crate) port: u16,
    arguments: Vec<String>,
    folder: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With these arguments besides the port.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        let mut server = Self::stopped(arguments);
        server.start_again();
        server
    }

    /// One that is not running yet.
    pub(crate) fn stopped(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { process: None, port: free_port(), arguments, folder: TempDir::new().unwrap() }
    }

    pub(crate) fn start_again(&mut self) {
        let port = self.port.to_string();
        let ports = match self.arguments.iter().any(|argument| argument == "--tls-port") {
            true => ["--port".to_owned(), "0".to_owned(), "--tls-port".to_owned(), port],
            false => ["--port".to_owned(), port, "--tcp-backlog".to_owned(), "64".to_owned()],
        };
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        // A configuration file, because Sentinel wants one.
        let file = self.folder.path().join("redis.conf");
        if !file.exists() {
            File::create(&file).unwrap();
        }
        let tls = self.arguments.iter().filter(|argument| *argument != "--tls-port");
        let process = Command::new(program())
            .arg(file)
            .args(ports)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(self.folder.path())
            .args(tls)
            .stdout(Stdio::from(log))
            .stdin(Stdio::null())
            .spawn();
        self.process = Some(process.unwrap());
        eventually("redis-server listens", || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it again as a node of a cluster that reaches no other, and that no other reaches.
    pub(crate) fn isolate(&mut self) {
        self.stop();
        let path = self.folder.path().join("nodes.conf");
        let nodes = std::fs::read_to_string(&path).unwrap();
        let lines = nodes.lines().map(|line| match line.split_once('@') {
            Some((node, rest)) if !line.contains("myself") => {
                let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
                format!("{node}@1{rest}\n")
            }
            _ => format!("{line}\n"),
        });
        std::fs::write(&path, lines.collect::<String>()).unwrap();
        let bus = self.arguments.iter().position(|argument| argument == "--cluster-port").unwrap() + 1;
        self.arguments[bus] = free_port().to_string();
        self.start_again();
    }

    /// Stops it from answering, with all connections open; `CONT` ends that.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([format!("-{signal}"), pid]).status().unwrap().success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn builder(&self) -> RedisStoreBuilder {
        RedisStore::builder().url(self.url())
    }

    pub(crate) fn store(&self) -> RedisStore {
        self.builder().build().unwrap()
    }

    /// A connection that is not the store's.
    pub(crate) fn raw(&self) -> Connection {
        let client = Client::open(self.url()).unwrap();
        // Again, if it becomes a replica or a master just now, and so closes its connections.
        client.get_connection().or_else(|_| client.get_connection()).unwrap()
    }

    /// The answer to a command of several words.
    pub(crate) fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        ask(&mut self.raw(), words)
    }

    /// The same of a server that may be about to change: Sentinel has it close all its connections.
    pub(crate) fn try_ask<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        try_ask(&mut self.raw(), words)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn ask<T: FromRedisValue>(connection: &mut Connection, words: &[&str]) -> T {
    try_ask(connection, words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

fn try_ask<T: FromRedisValue>(connection: &mut Connection, words: &[&str]) -> RedisResult<T> {
    let mut command = flagstore_redis::redis::Cmd::new();
    command.arg(words);
    command.query(connection)
}

/// What is started: `redis-server`, or that of `FLAGSTORE_REDIS_SERVER`, such as `valkey-server`.
pub(crate) fn program() -> String {
    std::env::var("FLAGSTORE_REDIS_SERVER").unwrap_or("redis-server".to_owned())
}

/// Of those below the system's own, so that no outgoing connection has it when a server is started again.
pub(crate) fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + (std::process::id() % 90) as u16 * 200;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 200;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
