//! DynamoDB Local in a container, where no server is configured and a Docker engine answers.

use testcontainers::core::IntoContainerPort;
use testcontainers::core::error::Result;
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage, ImageExt};

const PORT: u16 = 8000;
const COMMAND: [&str; 5] = ["-jar", "DynamoDBLocal.jar", "-inMemory", "-sharedDb", "-disableTelemetry"];

/// Starts it, and says where it will answer in a moment. The container is removed when it is dropped.
pub fn start() -> Result<(Container<GenericImage>, String)> {
    // The version is pinned in one place.
    let compose = include_str!("../../../../docker-compose.yml");
    let mut images =
        compose.lines().filter_map(|line| line.trim().strip_prefix("image: amazon/dynamodb-local:"));
    let tag = images.next().expect("docker-compose.yml has the image");
    let image = GenericImage::new("amazon/dynamodb-local", tag).with_exposed_port(PORT.tcp());
    let container = image.with_cmd(COMMAND).start()?;
    let endpoint = format!("http://{}:{}", container.get_host()?, container.get_host_port_ipv4(PORT)?);
    Ok((container, endpoint))
}
