//! What the suites of programs elsewhere ask a server, and how they wait for what must come.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::api::Api;
use crate::server::Server;

/// A server with this configuration that takes work, and a way to it.
///
/// # Errors
/// It does not get ready.
pub fn started(dir: &Path, config: &str) -> Result<(Server, Api)> {
    let mut server = Server::new(dir, config)?;
    server.spawn()?;
    server.ready()?;
    let api = Api::new(&server.url())?;
    Ok((server, api))
}

/// Looks until there is something, for three minutes of looking.
///
/// # Errors
/// It does not come, or cannot be looked for.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    for _ in 0..4_500 {
        if let Some(found) = look()? {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(40));
    }
    bail!("{what} did not come")
}

/// Starts an execution and gives its id.
///
/// # Errors
/// As [`Api::start`].
pub fn start(api: &Api, flow: &str, input: &Value) -> Result<String> {
    api.start(flow, input.to_string())
}

/// How an execution ended.
///
/// # Errors
/// It does not end.
pub fn ended(api: &Api, id: &str) -> Result<Value> {
    until("the execution's end", || {
        let answer = api.get(&format!("/v1/executions/{id}"))?;
        Ok((answer.body["status"] != "RUNNING").then_some(answer.body))
    })
}

/// Expects an execution to have failed so.
///
/// # Panics
/// It did not.
#[track_caller]
pub fn failed(run: &Value, error: &str) {
    assert_eq!(run["error"], error, "{run}");
}

/// Makes an object, named `BUCKET/KEY`.
///
/// # Errors
/// The server refuses.
pub fn put(api: &Api, object: &str, text: &str) -> Result<()> {
    let answer = api.send("PUT", &path(object)?, text.to_owned())?;
    ensure!(answer.status < 300, "{answer:?}");
    Ok(())
}

/// An object: JSON, or a text as a string.
///
/// # Errors
/// There is none.
pub fn object(api: &Api, object: &str) -> Result<Value> {
    let answer = api.get(&path(object)?)?;
    ensure!(answer.status == 200, "{object}: {answer:?}");
    Ok(answer.body)
}

fn path(object: &str) -> Result<String> {
    let (bucket, key) = object.split_once('/').context("BUCKET/KEY")?;
    Ok(format!("/v1/buckets/{bucket}/objects/{key}"))
}

/// A flow of `examples/`.
///
/// # Errors
/// There is none.
pub fn example(name: &str) -> Result<String> {
    let place = xtask::place::root().join(format!("examples/{name}/flow.yaml"));
    Ok(std::fs::read_to_string(place)?)
}
