//! LaunchDarkly's SDKs of other languages, each in a program of its own.

use std::any::Any;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::database::Database;
use crate::peer::{Evaluated, Peer};
use crate::program::Program;
use crate::upstream::Upstream;

/// One SDK. All its clients are in one process, since some languages take seconds to start.
pub struct Official {
    name: &'static str,
    versions: String,
    program: Arc<Mutex<Program>>,
    clients: AtomicU64,
}

impl fmt::Debug for Official {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Official {
    /// # Errors
    ///
    /// That the program does not start.
    pub fn go(folder: &Path) -> Result<Self, String> {
        Self::start("Go", Command::new(folder.join("go/peer")))
    }

    /// # Errors
    ///
    /// That the program does not start.
    pub fn python(folder: &Path) -> Result<Self, String> {
        let mut command = Command::new(folder.join("python/bin/python"));
        command.arg(folder.join("python/peer.py"));
        Self::start("Python", command)
    }

    /// # Errors
    ///
    /// That the program does not start.
    pub fn node(folder: &Path) -> Result<Self, String> {
        let mut command = Command::new("node");
        command.arg(folder.join("node/peer.js"));
        Self::start("Node", command)
    }

    /// # Errors
    ///
    /// That the program does not start.
    pub fn java(folder: &Path) -> Result<Self, String> {
        let mut command = Command::new("java");
        let class_path = format!("{0}/java:{0}/java/lib/*", folder.display());
        command.args(["-XX:+UseSerialGC", "-cp", &class_path, "Peer"]);
        Self::start("Java", command)
    }

    fn start(name: &'static str, mut command: Command) -> Result<Self, String> {
        // Their DynamoDB clients want both, even where they are told others.
        command.envs([("AWS_ACCESS_KEY_ID", "dummy"), ("AWS_SECRET_ACCESS_KEY", "dummy")]);
        command.env("AWS_REGION", "us-east-1");
        let mut program = Program::start(name, command)?;
        let hello = program.answer()?;
        let versions = hello["versions"].as_str().unwrap_or_default().to_owned();
        Ok(Self { name, versions, program: Arc::new(Mutex::new(program)), clients: AtomicU64::new(0) })
    }

    /// A client, which follows the stream if there is one, and only reads otherwise.
    fn open(&self, database: &Database, stream: Option<&str>) -> Result<Client, String> {
        let id = self.clients.fetch_add(1, Ordering::Relaxed).to_string();
        let request = json!({"open": {
            "id": id,
            "store": database.kind.name(),
            "url": database.url,
            "table": database.table,
            "prefix": database.prefix,
            "stream": stream,
        }});
        self.program.lock().unwrap().ask(&request)?;
        Ok(Client { id, program: Arc::clone(&self.program) })
    }
}

impl Peer for Official {
    fn name(&self) -> &str {
        self.name
    }

    fn versions(&self) -> String {
        self.versions.clone()
    }

    fn evaluates_big_segments(&self) -> bool {
        true
    }

    fn follow(&self, upstream: &Upstream, database: &Database) -> Result<Box<dyn Any>, String> {
        Ok(Box::new(self.open(database, Some(&upstream.url()))?))
    }

    fn evaluate(&self, database: &Database, flags: &[&str], user: &str) -> Result<Evaluated, String> {
        let client = self.open(database, None)?;
        let request = json!({"evaluate": {"id": client.id, "flags": flags, "user": user}});
        let answer = self.program.lock().unwrap().ask(&request)?;
        Evaluated::deserialize(answer).map_err(|error| format!("{}: {error}", self.name))
    }
}

/// One client in the program, which is closed when this is dropped.
struct Client {
    id: String,
    program: Arc<Mutex<Program>>,
}

impl Drop for Client {
    fn drop(&mut self) {
        // Nothing depends on its end.
        let _: Result<Value, String> = self.program.lock().unwrap().ask(&json!({"close": self.id}));
    }
}
