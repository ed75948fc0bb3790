//! A plain HTTP client for the suites: one call, one status and one JSON body; and the built command as
//! another client of the same server.
//!
//! Refuses to judge: the suites say what they expect.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Body, Method};
use serde_json::Value;

use crate::house::one_state;
use crate::server::binary;

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body as JSON; as a string when it is none.
    pub body: Value,
}

/// A way to one server.
pub struct Api {
    url: String,
    token: Option<String>,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Api {
    /// To the server at `url`, as `http://ADDRESS`.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn new(url: &str) -> Result<Api> {
        // Fails only when there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Api {
            url: url.to_owned(),
            token: None,
            http: reqwest::Client::builder()
                .no_proxy()
                // Servers come and go here: a kept connection may be a dead one's.
                .pool_max_idle_per_host(0)
                .timeout(Duration::from_secs(120))
                .build()?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        })
    }

    /// The same, with this bearer token from now on.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Api {
        self.token = Some(token.to_owned());
        self
    }

    /// One request.
    ///
    /// # Errors
    /// The server cannot be reached, or breaks off.
    pub fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Result<Answer> {
        self.send_with(method, path, &[], body)
    }

    /// One request with headers of its own.
    ///
    /// # Errors
    /// As [`Api::send`].
    pub fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Result<Answer> {
        let method: Method = method.parse()?;
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let request = request.body(body);
        self.runtime.block_on(async {
            let response = request.send().await.with_context(|| path.to_owned())?;
            let status = response.status().as_u16();
            let text = response.text().await?;
            let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
            Ok(Answer { status, body })
        })
    }

    /// A GET.
    ///
    /// # Errors
    /// As [`Api::send`].
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", path, Body::default())
    }

    /// A GET whose answer comes bit by bit; `told` hears of the first of it, and the whole is given.
    ///
    /// # Errors
    /// As [`Api::send`].
    pub fn tail(&self, path: &str, told: impl FnOnce()) -> Result<String> {
        let request = self.http.get(format!("{}{path}", self.url));
        let mut told = Some(told);
        self.runtime.block_on(async {
            let mut response = request.send().await?;
            let mut text = Vec::new();
            while let Some(piece) = response.chunk().await? {
                text.extend_from_slice(&piece);
                if let Some(told) = told.take() {
                    told();
                }
            }
            Ok(String::from_utf8(text)?)
        })
    }

    /// A number on the page of metrics, by how its line begins.
    ///
    /// # Errors
    /// As [`Api::send`], or there is no such line.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let page = self.get("/metrics")?.body;
        let text = page.as_str().context("no metrics page")?;
        let line = text.lines().find(|l| l.starts_with(name));
        let line = line.with_context(|| format!("no {name} in {text}"))?;
        Ok(line.rsplit(' ').next().context("no value")?.parse()?)
    }

    /// Uploads a component and publishes a flow that runs it as its one step.
    ///
    /// # Errors
    /// As [`Api::send`], or the server refuses.
    pub fn one_step(&self, name: &str, wasm: &Path) -> Result<()> {
        self.upload(name, wasm)?;
        self.publish(name, &one_state(name, ""))
    }

    /// Uploads a component.
    ///
    /// # Errors
    /// As [`Api::send`], or the server refuses.
    pub fn upload(&self, name: &str, wasm: &Path) -> Result<()> {
        let answer = self.send("PUT", &format!("/v1/modules/{name}"), std::fs::read(wasm)?)?;
        ensure!(answer.status < 300, "{name}: {answer:?}");
        Ok(())
    }

    /// Uploads a component with its manifest, which may be wider than the version's before.
    ///
    /// # Errors
    /// As [`Api::send`], or the server refuses.
    pub fn upload_granted(&self, name: &str, wasm: &Path, grants: &Value) -> Result<Answer> {
        let grants: String =
            url::form_urlencoded::byte_serialize(grants.to_string().as_bytes()).collect();
        let path = format!("/v1/modules/{name}?grants={grants}&confirm_grants=true");
        let answer = self.send("PUT", &path, std::fs::read(wasm)?)?;
        ensure!(answer.status < 300, "{name}: {answer:?}");
        Ok(answer)
    }

    /// Publishes a flow; `name` may carry a query with triggers.
    ///
    /// # Errors
    /// As [`Api::send`], or the server refuses.
    pub fn publish(&self, name: &str, definition: &str) -> Result<()> {
        let answer = self.send("PUT", &format!("/v1/flows/{name}"), definition.to_owned())?;
        ensure!(answer.status < 300, "{name}: {answer:?}");
        Ok(())
    }

    /// Makes an object, named `BUCKET/KEY`.
    ///
    /// # Errors
    /// As [`Api::send`], or the server refuses.
    pub fn put_object(&self, object: &str, bytes: impl Into<Body>) -> Result<()> {
        let answer = self.send("PUT", &object_path(object)?, bytes)?;
        ensure!(answer.status < 300, "{object}: {answer:?}");
        Ok(())
    }

    /// Asks for an object: JSON, or a text as a string.
    ///
    /// # Errors
    /// As [`Api::send`].
    pub fn object(&self, object: &str) -> Result<Answer> {
        self.get(&object_path(object)?)
    }

    /// Runs a flow to its end.
    ///
    /// # Errors
    /// As [`Api::send`], or it does not end.
    pub fn run(&self, flow: &str, input: &str) -> Result<Value> {
        let path = format!("/v1/flows/{flow}/executions?wait=20");
        let answer = self.send("POST", &path, input.to_owned())?;
        match (answer.status, answer.body["id"].as_str()) {
            (200, _) => Ok(answer.body),
            (202, Some(id)) => self.ended(id),
            _ => bail!("{flow}: {answer:?}"),
        }
    }

    /// Starts an execution, and gives its id; `flow` is the flow's name.
    ///
    /// # Errors
    /// As [`Api::send`], or the server refuses.
    pub fn start(&self, flow: &str, input: impl Into<Body>) -> Result<String> {
        let path = format!("/v1/flows/{flow}/executions");
        let answer = self.send("POST", &path, input)?;
        let id = answer.body["id"].as_str().map(str::to_owned);
        id.with_context(|| format!("{flow}: {answer:?}"))
    }

    /// How an execution ended.
    ///
    /// # Errors
    /// As [`Api::send`], or it does not end, for three minutes of waiting.
    pub fn ended(&self, id: &str) -> Result<Value> {
        let path = format!("/v1/executions/{id}?wait=20");
        let mut shown = Value::Null;
        for _ in 0..9 {
            shown = self.get(&path)?.body;
            if shown["status"] != "RUNNING" {
                return Ok(shown);
            }
        }
        bail!("{id} does not end: {shown}")
    }

    /// The built command, asked of the same server: its exit status, and all that it printed.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn cli(&self, args: &[&str]) -> Result<(Option<i32>, String)> {
        let mut command = Command::new(binary()?);
        command.args(["--url", &self.url]).args(args);
        match &self.token {
            Some(token) => command.env("STEPWELL_TOKEN", token),
            None => command.env_remove("STEPWELL_TOKEN"),
        };
        let run = command.output()?;
        let text = [run.stdout, run.stderr].concat();
        Ok((
            run.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        ))
    }

    /// Runs the attempt of an execution's state `S` again from its journal, and wants the same result.
    ///
    /// # Errors
    /// It came to something else.
    pub fn replays_the_same(&self, id: &str) -> Result<()> {
        let (code, text) = self.cli(&["replay", id, "--state", "S"])?;
        ensure!(
            code == Some(0) && text.contains("the result is the same, bit for bit"),
            "{id}: {text}"
        );
        Ok(())
    }
}

fn object_path(object: &str) -> Result<String> {
    let (bucket, key) = object.split_once('/').context("BUCKET/KEY")?;
    Ok(format!("/v1/buckets/{bucket}/objects/{key}"))
}
