//! DynamoDB Local in a container, where no server is configured and a Docker engine answers.

use std::collections::HashMap;

use testcontainers::bollard::models::{HostConfig, PortBinding};
use testcontainers::core::IntoContainerPort;
use testcontainers::core::error::Result;
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage, ImageExt};

const HOST: &str = "127.0.0.1";
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
    let container = image.with_cmd(COMMAND).with_host_config_modifier(for_this_machine_only).start()?;
    let endpoint = format!("http://{HOST}:{}", container.get_host_port_ipv4(PORT)?);
    Ok((container, endpoint))
}

/// As in docker-compose.yml: left alone, it would listen on every network, and has no password.
fn for_this_machine_only(config: &mut HostConfig) {
    let any_port = PortBinding { host_ip: Some(HOST.to_owned()), host_port: Some("0".to_owned()) };
    config.publish_all_ports = None;
    config.port_bindings = Some(HashMap::from([(format!("{PORT}/tcp"), Some(vec![any_port]))]));
}
