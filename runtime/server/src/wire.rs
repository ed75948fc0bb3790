//! JSON shapes of the API: keys in snake_case, times as RFC 3339 in UTC with milliseconds.
//!
//! Refuses to decide anything: each shape is written from the orchestrator's own type.

pub mod execution;
pub mod flow;
pub mod grants;
pub mod json;
pub mod log;
pub mod module;
pub mod namespace;
pub mod object;
pub mod problem;
pub mod secret;
pub mod standing;
pub mod target;
pub mod task;
pub mod trace;
pub mod usage;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

/// A JSON response of text that is ready.
pub(crate) fn ready(status: StatusCode, json: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A JSON response of a small shape.
pub(crate) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    ready(status, value_of(body).to_string().into_bytes())
}

/// A JSON response of a shape that holds JSON texts, which stay as they are: numbers and spaces
/// as they were spelt.
pub(crate) fn texts<T: Serialize>(status: StatusCode, body: &T) -> Response {
    ready(status, serde_json::to_vec(body).unwrap_or_default())
}

/// A shape as a value. Our shapes have string keys only, so this cannot fail.
pub(crate) fn value_of<T: Serialize>(body: &T) -> Value {
    serde_json::to_value(body).unwrap_or(Value::Null)
}
