//! The client commands: one request each, and its answer for people or as JSON.
//!
//! Refuses to be clever: what the server says is what is shown.

mod commands;
mod follow;
mod logs;
mod object;
mod replay;
mod secret;
mod show;
mod state;
mod tasks;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::config::LISTEN;
use crate::exit::{Exit, Trouble};
use crate::{output, system};

pub use logs::logs;
pub use object::object;
pub use replay::replay;
pub use secret::secret;
pub use state::state;
pub use tasks::tasks;

pub use commands::{
    cancel, describe, flow, graph, history, list, module, poll, redrive, signal, start, targets,
    token, usage, validate,
};

/// A server, and how to show its answers.
pub struct Remote {
    base: Url,
    token: Option<String>,
    http: reqwest::Client,
    runtime: Runtime,
    /// Whether answers are shown as the JSON that they are.
    json: bool,
}

impl Remote {
    /// Connects to nothing yet.
    pub fn new(url: Option<String>, json: bool) -> Result<Remote, Trouble> {
        let url = url.unwrap_or_else(|| format!("http://{LISTEN}"));
        let bad = |e: &dyn std::fmt::Display| Trouble::usage(format!("--url {url}: {e}"));
        let base =
            Url::parse(&url).map_err(|_| bad(&"this is no URL; begin with http:// or https://"))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(bad(&"begin with http:// or https://"));
        }
        // Fails only when there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("stepwell/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&base) {
            http = http.no_proxy();
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Trouble::system)?;
        Ok(Remote {
            token: system::variable("STEPWELL_TOKEN"),
            http: http.build().map_err(|e| Trouble::system(reason(&e)))?,
            base,
            runtime,
            json,
        })
    }

    /// The same server, for another thread.
    fn another(&self) -> Result<Remote, Trouble> {
        Remote::new(Some(self.base.to_string()), self.json)
    }

    /// A request to `/v1/SEGMENTS…`; segments are encoded.
    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(segments);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    fn get(&self, segments: &[&str]) -> RequestBuilder {
        self.request(Method::GET, segments)
    }

    fn post(&self, segments: &[&str]) -> RequestBuilder {
        self.request(Method::POST, segments)
    }

    /// The id of an execution that is given by it, or by its name.
    fn id_of(&self, id: &str, flow: Option<&String>) -> Result<String, Trouble> {
        let Some(flow) = flow else {
            return Ok(id.to_owned());
        };
        let found = self.value(self.get(&["flows", flow, "executions", id]), &["id"])?;
        Ok(output::field(&found, "id").unwrap_or_default())
    }

    /// The answer's text: a JSON object with these members. A refusal is trouble, and so is
    /// an answer that a Stepwell server would not give.
    fn text(&self, request: RequestBuilder, members: &[&str]) -> Result<String, Trouble> {
        let text = self.whole(request)?;
        self.expect(&text, members)?;
        Ok(text)
    }

    /// The answer as JSON, with these members.
    fn value(&self, request: RequestBuilder, members: &[&str]) -> Result<Value, Trouble> {
        self.expect(&self.whole(request)?, members)
    }

    /// The answer's text, empty for status 204; a refusal is trouble.
    fn whole(&self, request: RequestBuilder) -> Result<String, Trouble> {
        self.runtime.block_on(async {
            let response = self.send(request).await?;
            response.text().await.map_err(|e| self.unreachable(&e))
        })
    }

    /// Sends what is answered by nothing but status 204.
    fn nothing(&self, request: RequestBuilder) -> Result<(), Trouble> {
        let status = self.runtime.block_on(self.send(request))?.status();
        if status == StatusCode::NO_CONTENT {
            return Ok(());
        }
        let status = status.as_u16();
        Err(self.stranger(&format!("it answered with status {status}, not 204")))
    }

    fn expect(&self, text: &str, members: &[&str]) -> Result<Value, Trouble> {
        let value: Value = serde_json::from_str(text)
            .map_err(|e| self.stranger(&format!("its answer is not JSON ({e})")))?;
        for name in members {
            if value.get(name).is_none() {
                return Err(self.stranger(&format!("its answer has no `{name}`")));
            }
        }
        Ok(value)
    }

    /// Whether something was done is not known, so this is never a success.
    fn stranger(&self, why: &str) -> Trouble {
        let message = format!(
            "what answers at {} is no Stepwell server: {why}\n  hint: --url or STEPWELL_URL says where the server is",
            self.base
        );
        Trouble::new(Exit::Refused, message)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Trouble> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        self.taken(response).await
    }

    /// An answer that is none of a refusal.
    async fn taken(&self, response: Response) -> Result<Response, Trouble> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.text().await.unwrap_or_default();
        let problem: Value = serde_json::from_str(&body).unwrap_or_default();
        Err(refusal(status.as_u16(), &problem))
    }

    fn unreachable(&self, e: &reqwest::Error) -> Trouble {
        let message = format!(
            "cannot reach the server at {}: {}\n  hint: `stepwell serve` starts one; --url or STEPWELL_URL says where it is",
            self.base,
            reason(e)
        );
        Trouble::new(Exit::Unreachable, message)
    }
}

fn parse(text: &str) -> Result<Value, Trouble> {
    serde_json::from_str(text).map_err(|e| {
        let message = format!("the server's answer is not JSON ({e}); is it a Stepwell server?");
        Trouble::new(Exit::Refused, message)
    })
}

/// A refusal in words. An invalid flow is the user's, with status 2.
fn refusal(status: u16, problem: &Value) -> Trouble {
    let code = output::field(problem, "code");
    let detail = output::field(problem, "detail");
    let mut message = match (&code, detail) {
        (Some(code), Some(detail)) => format!("{code}: {detail}"),
        _ => format!("the server answered with status {status}"),
    };
    let diagnostics = problem.get("diagnostics").and_then(Value::as_array);
    for d in diagnostics.into_iter().flatten() {
        message.push_str("\n  ");
        message.push_str(&show::diagnostic(d));
    }
    if code.as_deref() == Some("API0003") {
        message.push_str("\n  hint: set STEPWELL_TOKEN to the server's token");
    }
    let exit = if code.as_deref() == Some("RUN0008") {
        Exit::Usage
    } else {
        Exit::Refused
    };
    Trouble {
        exit,
        message,
        problem: problem.is_object().then(|| problem.clone()),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// The innermost reason: the outer ones repeat the address.
fn reason(e: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = e;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(problem: Value, want_exit: Exit, want: &str) {
        let trouble = refusal(418, &problem);
        assert_eq!((trouble.exit, trouble.message.as_str()), (want_exit, want));
    }

    #[test]
    fn refusals() {
        check(
            json!({"code": "RUN0001", "detail": "there is no execution x"}),
            Exit::Refused,
            "RUN0001: there is no execution x",
        );
        check(
            json!({"code": "RUN0008", "detail": "not valid", "diagnostics": [
                {"code": "FLOW0011", "severity": "error", "line": 4, "column": 12,
                 "pointer": "/StartAt", "message": "no such state", "hint": "did you mean A?"}]}),
            Exit::Usage,
            "RUN0008: not valid\n  4:12: error[FLOW0011] no such state (at /StartAt); did you mean A?",
        );
        check(
            Value::Null,
            Exit::Refused,
            "the server answered with status 418",
        );
    }

    #[test]
    fn urls() {
        for (url, want) in [
            ("http://127.0.0.1:1", true),
            ("http://localhost", true),
            ("http://[::1]:9", true),
            ("http://example.com", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), want, "{url}");
        }
        assert!(Remote::new(Some("ftp://x".into()), false).is_err());
        let remote = Remote::new(Some("http://h/base/".into()), false).unwrap();
        let url = remote
            .get(&["flows", "a/b"])
            .build()
            .unwrap()
            .url()
            .to_string();
        assert_eq!(url, "http://h/base/v1/flows/a%2Fb");
    }
}
