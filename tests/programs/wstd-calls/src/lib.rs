//! Makes the HTTP calls that its input lists with `wstd`, the usual client over `wasi:http`, and says what came.

use serde::{Deserialize, Serialize};
use stepwell_guest::{Context, Failure};
use wstd::http::{Body, Client, Error, ErrorCode, Request};
use wstd::time::Duration;

#[derive(Deserialize)]
struct Input {
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Call {
    #[serde(default = "get")]
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    timeout_ms: Option<u64>,
}

#[derive(Serialize)]
struct Answer {
    status: u16,
    body: String,
}

fn get() -> String {
    "GET".into()
}

fn calls(_: &Context, input: Input) -> Result<Vec<Answer>, Failure> {
    wstd::runtime::block_on(async {
        let mut answers = Vec::new();
        for call in input.calls {
            answers.push(one(call).await?);
        }
        Ok(answers)
    })
}

async fn one(call: Call) -> Result<Answer, Failure> {
    let mut client = Client::new();
    if let Some(ms) = call.timeout_ms {
        client.set_first_byte_timeout(Duration::from_millis(ms));
    }
    let mut request = Request::builder()
        .method(call.method.as_str())
        .uri(call.url);
    for (name, value) in call.headers {
        request = request.header(name, value);
    }
    let request = request
        .body(Body::from(call.body))
        .map_err(|e| Failure::new("Rust.Request", e.to_string()))?;
    let response = client.send(request).await.map_err(failure)?;
    let status = response.status();
    let mut body = response.into_body();
    let body = body.str_contents().await.map_err(failure)?.to_owned();
    if !status.is_success() {
        let name = format!("States.Http.StatusCode.{}", status.as_u16());
        return Err(Failure::new(name, body));
    }
    Ok(Answer {
        status: status.as_u16(),
        body,
    })
}

fn failure(error: Error) -> Failure {
    let name = match error.downcast_ref::<ErrorCode>() {
        Some(code) => format!("Rust.{code:?}"),
        None => "Rust.Error".to_owned(),
    };
    Failure::new(name, format!("{error:#}"))
}

stepwell_guest::step!(calls);
