//! Finds a server for the suite: that of the environment, or one in a container.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use flagstore_redis::redis::Client;

pub(crate) const URL: &str = "FLAGSTORE_REDIS_URL";

/// That of docker-compose.yml.
const IMAGE: &str = "redis:7.4.11-alpine";

pub(crate) struct Service {
    pub(crate) url: Result<String, String>,
    /// Removed on drop.
    container: Option<String>,
}

impl Service {
    pub(crate) fn find() -> Self {
        let (url, container) = match std::env::var(URL) {
            Ok(url) => (Ok(url), None),
            Err(_) => match start_container() {
                Some((url, container)) => (Ok(url), Some(container)),
                None => (Err(format!("set {URL}, or: eval \"$(scripts/services up redis)\"")), None),
            },
        };
        let url = url.and_then(|url| match answers(&url) {
            true => Ok(url),
            false => Err(format!("no server answers at {URL}; start one: scripts/services up redis")),
        });
        Self { url, container }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(container) = &self.container {
            let _ = docker(&["rm", "--force", container]);
        }
    }
}

/// With the `docker` command: the crate testcontainers brings a hundred others for the same.
fn start_container() -> Option<(String, String)> {
    docker(&["info"])?;
    let container = docker(&["run", "--detach", "--rm", "--publish", "127.0.0.1::6379", IMAGE])?;
    let address = docker(&["port", &container, "6379/tcp"]);
    match address.as_ref().and_then(|address| address.lines().next()) {
        Some(address) => Some((format!("redis://{address}"), container)),
        None => docker(&["rm", "--force", &container]).and(None),
    }
}

fn docker(arguments: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// One that has just been started takes a moment.
fn answers(url: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    let ping = || {
        let client = Client::open(url).ok()?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(1)).ok()?;
        flagstore_redis::redis::cmd("PING").exec(&mut connection).ok()
    };
    while ping().is_none() {
        if Instant::now() > deadline {
            return false;
        }
        thread::park_timeout(Duration::from_millis(50));
    }
    true
}
