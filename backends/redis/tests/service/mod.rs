//! Finds a server for the suite: that of the environment, or one in a container.

mod container;

use std::thread;
use std::time::{Duration, Instant};

use flagstore_redis::redis::Client;
use testcontainers::{Container, GenericImage};

pub(crate) const URL: &str = "FLAGSTORE_REDIS_URL";
const ADVICE: &str = "Run: eval \"$(scripts/services up redis)\"";

pub(crate) struct Service {
    pub(crate) url: Result<String, String>,
    /// The server itself, if it is in a container.
    _container: Option<Container<GenericImage>>,
}

impl Service {
    /// The server of `FLAGSTORE_REDIS_URL`, or one in a container, or what to do to have one.
    pub(crate) fn find() -> Self {
        let (container, url) = match std::env::var(URL) {
            Ok(url) => (None, Ok(url)),
            Err(_) => match container::start() {
                Ok((container, url)) => (Some(container), Ok(url)),
                Err(error) => {
                    (None, Err(format!("{URL} is not set, and no container starts: {error}. {ADVICE}")))
                }
            },
        };
        let url = url.and_then(|url| match answers(&url) {
            true => Ok(url),
            false => Err(format!("no server answers at {URL}. {ADVICE}")),
        });
        Self { url, _container: container }
    }
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
