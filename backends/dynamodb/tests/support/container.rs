//! DynamoDB Local in a container, where no server is configured and a Docker engine answers.
//!
//! Through Docker's own command: a crate for it would bring some sixty others into the tests of one backend.

use std::process::Command;

/// A container that is removed when it is dropped.
#[derive(Debug)]
pub struct Container {
    id: String,
    pub endpoint: String,
}

impl Container {
    /// Starts one. `None` where that is not possible.
    pub fn start() -> Option<Self> {
        // The version is pinned in one place.
        let compose = include_str!("../../../../docker-compose.yml");
        let image =
            compose.lines().find_map(|line| line.trim().strip_prefix("image: amazon/dynamodb-local"))?;
        let image = format!("amazon/dynamodb-local{image}");
        docker(&["version"])?;
        let run = ["run", "--rm", "--detach", "--publish", "127.0.0.1::8000", &image];
        let serve = ["-jar", "DynamoDBLocal.jar", "-inMemory", "-sharedDb", "-disableTelemetry"];
        let mut container = Self { id: docker(&[&run[..], &serve].concat())?, endpoint: String::new() };
        container.endpoint =
            format!("http://{}", docker(&["port", &container.id, "8000/tcp"])?.lines().next()?);
        Some(container)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = docker(&["rm", "--force", &self.id]);
    }
}

/// What the command says, if it succeeds.
fn docker(arguments: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
