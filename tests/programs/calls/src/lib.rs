//! Makes the HTTP calls that its input lists, one after another or all at once, and says what came.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepwell_guest::http::Request;
use stepwell_guest::{Context, Failure, info};

#[derive(Deserialize)]
struct Input {
    calls: Vec<Call>,
    /// All are sent before any is waited for.
    #[serde(default)]
    at_once: bool,
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
    /// The body is this text so many times.
    #[serde(default = "once")]
    times: usize,
    /// The body is written piece by piece.
    #[serde(default)]
    streamed: bool,
    /// It is dropped before its end.
    #[serde(default)]
    broken: bool,
    /// These follow a body that is written piece by piece; and what follows the answer's is told.
    trailers: Option<Vec<(String, String)>>,
    timeout_ms: Option<u64>,
    /// Says how the body came instead of what it was.
    #[serde(default)]
    pieces: bool,
}

#[derive(Serialize)]
struct Answer {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pieces: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trailers: Option<Vec<(String, String)>>,
}

fn get() -> String {
    "GET".into()
}

fn once() -> usize {
    1
}

fn calls(_: &Context, input: Input) -> Result<Vec<Answer>, Failure> {
    let requests: Vec<Request> = input.calls.iter().map(request).collect();
    let mut answers = Vec::new();
    if input.at_once {
        let started: Result<Vec<_>, _> = requests.iter().map(Request::start).collect();
        for (call, started) in input.calls.iter().zip(started?) {
            answers.push(answer(call, started.wait()?)?);
        }
        return Ok(answers);
    }
    for (call, request) in input.calls.iter().zip(&requests) {
        let response = if call.streamed {
            streamed(call, request)?
        } else {
            request.send()?
        };
        answers.push(answer(call, response)?);
        info!("call {} is answered", answers.len());
    }
    Ok(answers)
}

fn streamed(call: &Call, request: &Request) -> Result<stepwell_guest::http::Response, Failure> {
    let (mut upload, started) = request.stream()?;
    for _ in 0..call.times {
        upload.write(call.body.as_bytes())?;
    }
    if call.broken {
        drop(upload);
    } else {
        let trailers = call.trailers.iter().flatten();
        let trailers: Vec<_> = trailers.map(|(n, v)| (n.as_str(), v.as_str())).collect();
        upload.finish_with(&trailers)?;
    }
    started.wait()
}

fn request(call: &Call) -> Request {
    let mut request = Request::new(&call.method, &call.url);
    if !call.streamed {
        request = request.body(call.body.repeat(call.times));
    }
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    match call.timeout_ms {
        Some(ms) => request.timeout(Duration::from_millis(ms)),
        None => request,
    }
}

fn answer(call: &Call, response: stepwell_guest::http::Response) -> Result<Answer, Failure> {
    let mut response = response.ok()?;
    let status = response.status;
    let kind = response.header("content-type").map(str::to_owned);
    let location = response.header("location").map(str::to_owned);
    let mut sizes = Vec::new();
    let mut body = Vec::new();
    while let Some(piece) = response.chunk()? {
        sizes.push(piece.len());
        body.extend(piece);
    }
    let trailers = match call.trailers {
        Some(_) => Some(told(response.trailers()?)),
        None => None,
    };
    Ok(Answer {
        status,
        kind,
        location,
        body: (!call.pieces).then(|| String::from_utf8_lossy(&body).into_owned()),
        pieces: call.pieces.then_some(sizes),
        trailers,
    })
}

fn told(trailers: Vec<(String, Vec<u8>)>) -> Vec<(String, String)> {
    let text =
        |(name, value): (String, Vec<u8>)| (name, String::from_utf8_lossy(&value).into_owned());
    trailers.into_iter().map(text).collect()
}

stepwell_guest::step!(calls);
