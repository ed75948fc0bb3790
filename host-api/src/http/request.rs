//! From the step's input to a typed request: nothing that a step wrote reaches the wire unchecked.
//!
//! Refuses hop-by-hop headers, unknown methods, credentials in the URL and what is over a limit.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TRAILER};
use reqwest::{Method, Url};
use serde_json::Value;
use stepwell_types::limits::{
    HTTP_HEADERS_REFUSED, HTTP_METHODS, HTTP_TIMEOUT_MS_MAX, HTTP_URL_BYTES_MAX,
};
use stepwell_types::{Authentication, Digest, Failure, HttpCall, StepRequest};

/// Most headers of one request.
const HEADERS_MAX: usize = 100;
/// Most bytes of all header names and values of one request.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// Most that a guest's headers may take while it makes them.
pub(crate) const FIELD_BYTES_MAX: usize = HEADER_BYTES_MAX + (16 << 10);
/// How long a call may take if it doesn't say, in milliseconds.
const TIMEOUT_MS: u64 = 30_000;
/// A body up to this is shown whole when two requests are compared.
const DESCRIBED_BYTES_MAX: usize = 4 << 10;
/// Largest response if the call doesn't say, in bytes.
const RESPONSE_BYTES: u64 = 1 << 20;

/// A checked request.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// All of it, or what there is of it before the call leaves.
    pub(crate) body: Vec<u8>,
    /// More of the body follows.
    pub(crate) streams: Option<Streams>,
    /// What follows a body that is here whole.
    pub(crate) trailers: HeaderMap,
    pub(crate) timeout_ms: u64,
    pub(crate) response_bytes_max: u64,
    /// Whose headers go with it.
    pub(crate) connection: Option<String>,
    /// How it proves who sends it.
    pub(crate) authentication: Option<Authentication>,
}

/// A body that streams, and how long it is, if its guest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Streams(pub(crate) Option<u64>);

/// The limits of the host that a call cannot raise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ceilings {
    pub(crate) request_bytes: u64,
    pub(crate) guest_request_bytes: u64,
    pub(crate) response_bytes: u64,
}

/// Reads and checks the input of an `http:request` task.
///
/// # Errors
/// `Stepwell.HttpInvalidRequest`, as the step's failure.
pub(crate) fn check(request: &StepRequest, ceilings: Ceilings) -> Result<Checked, Failure> {
    let call: HttpCall = serde_json::from_str(request.input.text())
        .map_err(|e| invalid(format!("the input is no HTTP call: {e}")))?;
    if call.connection.is_some() && call.authentication.is_some() {
        let cause = "a call has a connection or an authentication, not both";
        return Err(invalid(cause));
    }
    let method = method(&call.method)?;
    let url = super::query::joined(url(&call.url)?, &call.query)?;
    let mut headers = headers(&call)?;
    let body = body(&call, &mut headers)?;
    if body.len() as u64 > ceilings.request_bytes {
        return Err(invalid(format!(
            "the body has {} bytes, the limit is {}",
            body.len(),
            ceilings.request_bytes
        )));
    }
    let safe = matches!(method, Method::GET | Method::HEAD | Method::OPTIONS);
    let key = HeaderName::from_static("idempotency-key");
    if !safe && !headers.contains_key(&key) {
        let value = HeaderValue::from_str(&request.idempotency_key(0))
            .map_err(|_| invalid("the idempotency key is no header value"))?;
        headers.insert(key, value);
    }
    let timeout_ms = call.timeout_ms.unwrap_or(TIMEOUT_MS);
    if !(1..=HTTP_TIMEOUT_MS_MAX).contains(&timeout_ms) {
        return Err(invalid(format!(
            "timeout_ms must be 1 to {HTTP_TIMEOUT_MS_MAX}"
        )));
    }
    let most = ceilings.response_bytes;
    let response_bytes_max = call.response_bytes_max.unwrap_or(RESPONSE_BYTES.min(most));
    if !(1..=most).contains(&response_bytes_max) {
        return Err(invalid(format!(
            "response_bytes_max must be 1 to {most}, the most that this server grants"
        )));
    }
    Ok(Checked {
        method,
        url,
        headers,
        body,
        streams: None,
        trailers: HeaderMap::new(),
        timeout_ms,
        response_bytes_max,
        connection: call.connection,
        authentication: call.authentication,
    })
}

/// Checks a guest's request: the same limits as a Task's.
///
/// # Errors
/// `Stepwell.HttpInvalidRequest`.
pub(super) fn from_guest(
    method: &Method,
    uri: &http::Uri,
    mut headers: HeaderMap,
    (body, streams): (Vec<u8>, Option<Streams>),
    mut trailers: HeaderMap,
) -> Result<Checked, Failure> {
    let method = self::method(method.as_str())?;
    let url = url(&uri.to_string())?;
    bounded(&headers, "headers")?;
    // HTTP/1.1 sends no body of unknown length with these.
    if matches!(method, Method::GET | Method::HEAD) {
        trailers.clear();
    }
    if !trailers.is_empty() {
        let names: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
        let names = HeaderValue::from_str(&names.join(", "))
            .map_err(|_| invalid("the names of the trailers are no header value"))?;
        headers.insert(TRAILER, names);
    }
    Ok(Checked {
        method,
        url,
        headers,
        body,
        streams,
        trailers,
        timeout_ms: HTTP_TIMEOUT_MS_MAX,
        response_bytes_max: RESPONSE_BYTES,
        connection: None,
        authentication: None,
    })
}

impl Checked {
    /// A call of our own that sends a form's text.
    pub(super) fn form(url: Url, headers: HeaderMap, form: String, max: u64) -> Checked {
        Checked {
            method: Method::POST,
            url,
            headers,
            body: form.into_bytes(),
            streams: None,
            trailers: HeaderMap::new(),
            timeout_ms: TIMEOUT_MS,
            response_bytes_max: max,
            connection: None,
            authentication: None,
        }
    }

    /// Whether doing it twice is as good as once.
    pub(crate) fn is_safe(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// The request for people who compare two.
    pub(crate) fn describe(&self) -> String {
        use std::fmt::Write as _;
        let mut text = self.describe_head();
        match std::str::from_utf8(&self.body) {
            Ok("") => {}
            Ok(body) if body.len() <= DESCRIBED_BYTES_MAX => {
                let _ = write!(text, "\n\n{body}");
            }
            _ => {
                let digest = Digest::of(&self.body);
                let _ = write!(text, "\n\n{} bytes, SHA-256 {digest}", self.body.len());
            }
        }
        if self.streams.is_some() {
            text.push_str(", and more");
        }
        for (name, value) in &self.trailers {
            let value = String::from_utf8_lossy(value.as_bytes());
            let _ = write!(text, "\ntrailer {name}: {value}");
        }
        text
    }

    /// All of it but the body.
    pub(super) fn describe_head(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!("{} {}", self.method, self.url);
        for (name, value) in &self.headers {
            let _ = write!(
                text,
                "\n{name}: {}",
                String::from_utf8_lossy(value.as_bytes())
            );
        }
        if let Some(how) = &self.authentication {
            let _ = write!(text, "\n{how:?}");
        }
        text
    }

    /// Names this request: another digest on replay is another request. What follows of a body
    /// that streams is no part of it.
    pub(crate) fn digest(&self) -> Digest {
        let mut bytes = Vec::with_capacity(self.body.len() + 256);
        for part in [self.method.as_str(), self.url.as_str()] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        bytes.extend(spelt(&self.headers));
        bytes.extend((self.body.len() as u64).to_be_bytes());
        bytes.extend(&self.body);
        bytes.extend(spelt(&self.trailers));
        if let Some(streams) = self.streams {
            bytes.extend(format!("{streams:?}").as_bytes());
        }
        // By name: which version it is, the attempt's journal says.
        if let Some(how) = &self.authentication {
            bytes.extend(format!("{how:?}").as_bytes());
        }
        Digest::of(&bytes)
    }
}

/// Headers for a digest. Of none there is nothing.
pub(super) fn spelt(headers: &HeaderMap) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        bytes.extend((name.as_str().len() as u64).to_be_bytes());
        bytes.extend(name.as_str().as_bytes());
        bytes.extend((value.len() as u64).to_be_bytes());
        bytes.extend(value.as_bytes());
    }
    bytes
}

/// A guest's trailers, without those that are not its to say.
///
/// # Errors
/// `Stepwell.HttpInvalidRequest`: too many, or too long.
pub(super) fn trailers(mut all: HeaderMap) -> Result<HeaderMap, Failure> {
    for name in HTTP_HEADERS_REFUSED {
        all.remove(name);
    }
    bounded(&all, "trailers")?;
    Ok(all)
}

fn bounded(headers: &HeaderMap, what: &str) -> Result<(), Failure> {
    if headers.len() > HEADERS_MAX {
        return Err(invalid(format!("more than {HEADERS_MAX} {what}")));
    }
    let bytes = headers.iter().map(|(n, v)| n.as_str().len() + v.len());
    if bytes.sum::<usize>() > HEADER_BYTES_MAX {
        return Err(invalid(format!("{what} over {HEADER_BYTES_MAX} bytes")));
    }
    Ok(())
}

pub(super) fn invalid(cause: impl Into<std::sync::Arc<str>>) -> Failure {
    Failure::new("Stepwell.HttpInvalidRequest", cause)
}

fn method(text: &str) -> Result<Method, Failure> {
    let known = HTTP_METHODS.contains(&text);
    known
        .then(|| Method::from_bytes(text.as_bytes()).ok())
        .flatten()
        .ok_or_else(|| invalid("the method must be GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS"))
}

/// Checks a URL that a step or a redirect names.
pub(super) fn url(text: &str) -> Result<Url, Failure> {
    if text.len() > HTTP_URL_BYTES_MAX {
        return Err(invalid(format!(
            "the URL is over {HTTP_URL_BYTES_MAX} bytes"
        )));
    }
    // The parser would drop some of them in silence, and write the others in another way.
    if text.contains(|c: char| c.is_ascii_control()) {
        return Err(invalid("the URL has control characters"));
    }
    let url = Url::parse(text).map_err(|e| invalid(format!("the URL is wrong: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("the URL must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(
            "credentials in the URL would end up in logs; use an Authorization header",
        ));
    }
    Ok(url)
}

fn headers(call: &HttpCall) -> Result<HeaderMap, Failure> {
    if call.headers.len() > HEADERS_MAX {
        return Err(invalid(format!("more than {HEADERS_MAX} headers")));
    }
    let mut bytes = 0;
    let mut headers = HeaderMap::with_capacity(call.headers.len() + 2);
    for (name, value) in &call.headers {
        let Value::String(value) = value else {
            return Err(invalid(format!("header `{name}` must be a string")));
        };
        bytes += name.len() + value.len();
        if bytes > HEADER_BYTES_MAX {
            return Err(invalid(format!("headers over {HEADER_BYTES_MAX} bytes")));
        }
        // The value isn't repeated in messages: it may be a secret.
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(format!("`{name}` is no header name")))?;
        if HTTP_HEADERS_REFUSED.contains(&parsed.as_str()) {
            return Err(invalid(format!(
                "header `{name}` belongs to the connection"
            )));
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| invalid(format!("header `{name}` has characters that can't be sent")))?;
        if headers.insert(parsed, value).is_some() {
            return Err(invalid(format!("header `{name}` is given twice")));
        }
    }
    Ok(headers)
}

fn body(call: &HttpCall, headers: &mut HeaderMap) -> Result<Vec<u8>, Failure> {
    let (bytes, kind) = match &call.body {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(text)) => (text.clone().into_bytes(), "text/plain; charset=utf-8"),
        Some(value) => (
            serde_json::to_vec(value).map_err(|e| invalid(e.to_string()))?,
            "application/json",
        ),
    };
    headers
        .entry(CONTENT_TYPE)
        .or_insert(HeaderValue::from_static(kind));
    Ok(bytes)
}
