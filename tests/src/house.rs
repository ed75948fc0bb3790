//! A server with a folder of its own, and a way to it: what most suites begin with.
//!
//! Refuses to know of anything else around it: who needs a Podman, a machine or a receiver keeps it beside.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Error, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::Api;
use crate::guests;
use crate::server::Server;
use crate::wait::{until_every, until_tried};

/// A server that takes work. It is ended, and its folder removed, when this is dropped.
pub struct House {
    /// The server.
    pub server: Server,
    /// A way to it.
    pub api: Api,
    /// Where it keeps everything. The last one here: it goes when nobody is in it any more.
    pub dir: TempDir,
}

/// A flow of one state that runs a module; `more` is what else the state has, behind a comma.
#[must_use]
pub fn one_state(module: &str, more: &str) -> String {
    format!(
        "StartAt: S\nStates:\n  S: {{Type: Task, Resource: \"wasm:{module}\", End: true{more}}}\n"
    )
}

/// A Map that runs a module for each item of the input.
#[must_use]
pub fn one_map(module: &str) -> String {
    json!({"StartAt": "M", "States": {"M": {"Type": "Map", "ItemsPath": "$", "End": true,
        "ItemProcessor": {"StartAt": "T", "States": {
            "T": {"Type": "Task", "Resource": format!("wasm:{module}"), "End": true}}}}}})
    .to_string()
}

/// What an execution came to: the name of its error, or its output.
#[must_use]
pub fn came_to(shown: &Value) -> Value {
    match &shown["error"] {
        Value::Null => shown["output"].clone(),
        error => error.clone(),
    }
}

impl House {
    /// One with this configuration, as [`Server::new`] takes it.
    ///
    /// # Errors
    /// It does not get ready.
    pub fn new(config: &str) -> Result<House> {
        let dir = tempfile::tempdir()?;
        let server = Server::new(dir.path(), config)?;
        House::of(dir, server)
    }

    /// One whose server was made, in this folder, and not started yet.
    ///
    /// # Errors
    /// It does not get ready.
    pub fn of(dir: TempDir, mut server: Server) -> Result<House> {
        server.start()?;
        let api = Api::new(&server.url())?;
        Ok(House { server, api, dir })
    }

    /// Uploads one of the test programs under a name with this manifest, and publishes a flow of that
    /// name which runs it.
    ///
    /// # Errors
    /// It cannot be built, or the server refuses.
    pub fn step(&self, name: &str, program: &str, grants: &Value) -> Result<()> {
        self.api
            .upload_granted(name, &guests::program(program)?, grants)?;
        self.api.publish(name, &one_state(name, ""))
    }

    /// Runs a step and changes what it read while it runs, again and again, until one ran twice for it:
    /// what came of that one. `before` makes what it reads.
    ///
    /// # Errors
    /// None does.
    pub fn disturbed(
        &self,
        flow: &str,
        input: &Value,
        before: impl Fn() -> Result<()>,
        change: impl Fn() -> Result<()>,
    ) -> Result<Value> {
        let fuel = |shown: &Value| shown["fuel"].as_u64().context("no fuel");
        before()?;
        let once = fuel(&self.api.run(flow, &input.to_string())?)?;
        until_tried("a step that ran twice", || {
            before()?;
            let id = self.api.start(flow, input.to_string())?;
            let path = format!("/v1/executions/{id}");
            until_every(Duration::from_millis(1), "the step", || {
                let runs = self.api.metric("stepwell_steps_running")? >= 1.0;
                let over = || Ok::<_, Error>(self.api.get(&path)?.body["status"] != "RUNNING");
                Ok((runs || over()?).then_some(()))
            })?;
            change()?;
            let shown = self.api.ended(&id)?;
            // Too early or too late for it, it ran once.
            let twice = fuel(&shown)? > once + once / 2;
            Ok(twice.then_some(shown))
        })
    }

    /// Files in the server's own buckets that are no objects.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn unfinished(&self) -> Result<usize> {
        unfinished(&self.server.data().join("buckets"))
    }

    /// Runs a flow and compares what it came to.
    ///
    /// # Panics
    /// It came to something else, or nobody answered.
    #[track_caller]
    pub fn check(&self, flow: &str, input: &Value, expected: &Value) {
        let shown = self.api.run(flow, &input.to_string());
        let shown = shown.expect("an answer");
        assert_eq!(came_to(&shown), *expected, "{input} {shown}");
    }
}

/// Files in a folder of objects that are none: what is not finished, or was left behind.
///
/// # Errors
/// The folder cannot be read.
pub fn unfinished(dir: &Path) -> Result<usize> {
    let names = std::fs::read_dir(dir)?.flatten().map(|e| e.file_name());
    Ok(names
        .filter(|n| n.to_string_lossy().starts_with(".stepwell-part"))
        .count())
}
