//! A plain HTTP client for the suites: one call, one status and one JSON body.
//!
//! Refuses to judge: the suites say what they expect.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Body, Method};
use serde_json::Value;

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

    /// Uploads a component and publishes a flow that runs it as its one step.
    ///
    /// # Errors
    /// As [`Api::send`], or the server refuses.
    pub fn one_step(&self, name: &str, wasm: &Path) -> Result<()> {
        self.upload(name, wasm)?;
        let flow = format!(
            "StartAt: S\nStates:\n  S: {{Type: Task, Resource: \"wasm:{name}\", End: true}}\n"
        );
        self.publish(name, &flow)
    }

    /// Uploads a component.
    ///
    /// # Errors
    /// As [`Api::send`], or the server refuses.
    pub fn upload(&self, name: &str, wasm: &Path) -> Result<()> {
        let answer = self.send("PUT", &format!("/v1/modules/{name}"), std::fs::read(wasm)?)?;
        anyhow::ensure!(answer.status < 300, "{name}: {answer:?}");
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
        anyhow::ensure!(answer.status < 300, "{name}: {answer:?}");
        Ok(answer)
    }

    /// Publishes a flow; `name` may carry a query with triggers.
    ///
    /// # Errors
    /// As [`Api::send`], or the server refuses.
    pub fn publish(&self, name: &str, definition: &str) -> Result<()> {
        let answer = self.send("PUT", &format!("/v1/flows/{name}"), definition.to_owned())?;
        anyhow::ensure!(answer.status < 300, "{name}: {answer:?}");
        Ok(())
    }

    /// Runs a flow to its end.
    ///
    /// # Errors
    /// As [`Api::send`], or it does not end within a minute.
    pub fn run(&self, flow: &str, input: &str) -> Result<Value> {
        let path = format!("/v1/flows/{flow}/executions?wait=60");
        let answer = self.send("POST", &path, input.to_owned())?;
        anyhow::ensure!(answer.status == 200, "{flow}: {answer:?}");
        Ok(answer.body)
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

    /// How an execution ended, or stands after 100 s.
    ///
    /// # Errors
    /// As [`Api::send`].
    pub fn ended(&self, id: &str) -> Result<Value> {
        Ok(self.get(&format!("/v1/executions/{id}?wait=100"))?.body)
    }
}
