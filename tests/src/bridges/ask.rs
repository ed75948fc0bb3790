//! What the suites of programs elsewhere begin with and ask a server.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::api::Api;
use crate::server::Server;

/// A server with this configuration that takes work, and a way to it.
///
/// # Errors
/// It does not get ready.
pub fn started(dir: &Path, config: &str) -> Result<(Server, Api)> {
    let mut server = Server::new(dir, config)?;
    server.start()?;
    let api = Api::new(&server.url())?;
    Ok((server, api))
}

/// Expects an execution to have failed so.
///
/// # Panics
/// It did not.
#[track_caller]
pub fn failed(run: &Value, error: &str) {
    assert_eq!(run["error"], error, "{run}");
}

/// An object: JSON, or a text as a string.
///
/// # Errors
/// There is none.
pub fn object(api: &Api, object: &str) -> Result<Value> {
    let answer = api.object(object)?;
    ensure!(answer.status == 200, "{object}: {answer:?}");
    Ok(answer.body)
}

/// A flow of `examples/`.
///
/// # Errors
/// There is none.
pub fn example(name: &str) -> Result<String> {
    let place = xtask::place::root().join(format!("examples/{name}/flow.yaml"));
    Ok(std::fs::read_to_string(place)?)
}
