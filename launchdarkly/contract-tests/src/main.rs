#![doc = include_str!("../README.md")]

mod big_segments;
mod client;
mod commands;
mod config;
mod contexts;
mod listeners;
mod migrations;
mod service;
mod sources;
mod store;
mod tested;
mod variant;

use std::io;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use service::Service;
use variant::Variant;

/// Where it listens unless `CONTRACT_TESTS_PORT` says otherwise.
const PORT: &str = "8123";

fn main() -> io::Result<()> {
    let variant = Variant::from_env().map_err(io::Error::other)?;
    let port = std::env::var("CONTRACT_TESTS_PORT").unwrap_or_else(|_| PORT.to_owned());
    Runtime::new()?.block_on(async {
        let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
        eprintln!("contract tests: {variant:?}, listening on {}", listener.local_addr()?);
        let (router, stopped) = Service::new(variant).router();
        axum::serve(listener, router).with_graceful_shutdown(stopped).await
    })
}
