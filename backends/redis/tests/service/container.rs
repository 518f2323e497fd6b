//! Redis in a container, where no server is configured and a Docker engine answers.

use testcontainers::core::IntoContainerPort;
use testcontainers::core::error::Result;
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage};

const PORT: u16 = 6379;

/// Starts it, and says where it will answer in a moment. The container is removed when it is dropped.
pub(crate) fn start() -> Result<(Container<GenericImage>, String)> {
    // The version is pinned in one place.
    let compose = include_str!("../../../../docker-compose.yml");
    let mut images = compose.lines().filter_map(|line| line.trim().strip_prefix("image: redis:"));
    let tag = images.next().expect("docker-compose.yml has the image");
    let container = GenericImage::new("redis", tag).with_exposed_port(PORT.tcp()).start()?;
    let url = format!("redis://{}:{}", container.get_host()?, container.get_host_port_ipv4(PORT)?);
    Ok((container, url))
}
