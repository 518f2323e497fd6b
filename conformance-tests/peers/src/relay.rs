//! LaunchDarkly's Relay Proxy.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::database::{Database, DatabaseKind};
use crate::peer::{Evaluated, Evaluation, Peer};
use crate::upstream::Upstream;
use crate::wait::wait_for;

const SDK_KEY: &str = "sdk-key";

/// The Relay's program.
#[derive(Debug)]
pub struct RelayProxy(PathBuf);

/// A running Relay, which ends when this is dropped.
#[derive(Debug)]
pub struct Relay {
    child: Child,
    address: String,
    log: NamedTempFile,
}

impl RelayProxy {
    /// The one in the folder that `scripts/peers` has built.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(folder.join("go/ld-relay"))
    }

    /// Starts one that follows the stream and keeps what it says in the database, uncached.
    ///
    /// # Errors
    ///
    /// That it does not start.
    pub fn start(&self, upstream: &Upstream, database: &Database) -> Result<Relay, String> {
        let port = free_port();
        let log =
            NamedTempFile::new().map_err(|error| format!("the Relay needs a file for its log: {error}"))?;
        let output = |file: &File| file.try_clone().map_or_else(|_| Stdio::null(), Stdio::from);
        let mut command = Command::new(&self.0);
        command
            .arg("--from-env")
            .stdout(output(log.as_file()))
            .stderr(output(log.as_file()))
            .envs([("STREAM_URI", upstream.url()), ("BASE_URI", upstream.url())])
            .envs([("CLIENT_SIDE_BASE_URI", upstream.url()), ("EVENTS_HOST", upstream.url())])
            .env("DISABLE_INTERNAL_USAGE_METRICS", "1")
            .env("PORT", port.to_string())
            // Without LaunchDarkly, it serves what the database has.
            .envs([("INIT_TIMEOUT", "1s"), ("IGNORE_CONNECTION_ERRORS", "1")])
            .envs([("LD_ENV_test", SDK_KEY), ("LD_CLIENT_SIDE_ID_test", "environment")])
            .env("LD_PREFIX_test", &database.prefix)
            .env("CACHE_TTL", "0s");
        match database.kind {
            DatabaseKind::Redis => command.envs([("USE_REDIS", "1"), ("REDIS_URL", &database.url)]),
            DatabaseKind::DynamoDb => command
                .envs([("USE_DYNAMODB", "1"), ("DYNAMODB_URL", &database.url)])
                .env("DYNAMODB_TABLE", &database.table)
                .envs([("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "dummy")])
                .env("AWS_SECRET_ACCESS_KEY", "dummy"),
        };
        let child = command.spawn().map_err(|error| {
            format!("{} does not start: {error}. Run: scripts/peers go", self.0.display())
        })?;
        Ok(Relay { child, address: format!("http://127.0.0.1:{port}"), log })
    }
}

impl Relay {
    /// What the Relay serves at a path, once it does.
    ///
    /// # Errors
    ///
    /// That it does not, with the end of its log.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        let url = format!("{}{path}", self.address);
        wait_for(&format!("the Relay to serve {path}"), || {
            let mut response = ureq::get(&url).header("Authorization", SDK_KEY).call().ok()?;
            response.body_mut().read_json().ok()
        })
        .map_err(|error| format!("{error}\n{}", self.log()))
    }

    /// The end of it.
    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.log.path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Another program may take it before the Relay does; then the Relay says so, and the test fails.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port()
}

impl Peer for RelayProxy {
    fn name(&self) -> &str {
        "Relay"
    }

    fn versions(&self) -> String {
        // The last word of a line of its log.
        let said = Command::new(&self.0).arg("--version").output();
        let said =
            said.map(|output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned());
        said.unwrap_or_default().split_whitespace().last().unwrap_or_default().to_owned()
    }

    fn evaluates_big_segments(&self) -> bool {
        false
    }

    fn follow(&self, upstream: &Upstream, database: &Database) -> Result<Box<dyn Any>, String> {
        Ok(Box::new(self.start(upstream, database)?))
    }

    fn evaluate(&self, database: &Database, flags: &[&str], user: &str) -> Result<Evaluated, String> {
        let upstream = Upstream::away();
        let relay = self.start(&upstream, database)?;
        let context = URL_SAFE.encode(format!(r#"{{"kind":"user","key":"{user}"}}"#));
        let served = relay.get(&format!("/sdk/evalx/contexts/{context}"))?;
        let served = served.as_object().ok_or("the Relay serves something else than flags")?;
        let all: BTreeMap<_, _> =
            served.iter().map(|(key, flag)| (key.clone(), flag["value"].clone())).collect();
        let evaluation = |flag: &&str| match all.get(*flag) {
            Some(value) => Evaluation { value: value.clone(), ..Evaluation::default() },
            None => Evaluation { error: Some("FLAG_NOT_FOUND".to_owned()), ..Evaluation::default() },
        };
        let results = flags.iter().map(|flag| ((*flag).to_owned(), evaluation(flag))).collect();
        Ok(Evaluated { results, all })
    }
}
