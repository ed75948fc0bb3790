//! From a response to the step's outcome: read within a limit, told in Step Functions' error names.
//!
//! Refuses to read past the limit, whatever `Content-Length` says.

use base64::Engine as _;
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use serde_json::{Map, Value, json};
use stepwell_types::{Data, Failure, limits::CAUSE_CHARS_MAX};

/// Most characters of a body that a failure's cause repeats.
const CAUSE_BODY_CHARS_MAX: usize = CAUSE_CHARS_MAX / 2;

/// A response, read whole.
pub(crate) struct Received {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Reads the body of a response.
///
/// # Errors
/// `Stepwell.HttpResponseTooLarge`, or the connection's failure.
pub(crate) async fn read(
    mut response: reqwest::Response,
    bytes_max: u64,
) -> Result<Received, Failure> {
    let too_large = || {
        Failure::new(
            "Stepwell.HttpResponseTooLarge",
            format!("the response is over the limit of {bytes_max} bytes"),
        )
    };
    if response.content_length().is_some_and(|n| n > bytes_max) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(super::send::failure)? {
        if (body.len() + chunk.len()) as u64 > bytes_max {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Received {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        body,
    })
}

impl Received {
    /// The step's outcome: `{"status", "headers", "body"}`, or a failure for a status from 400.
    pub(crate) fn outcome(self) -> Result<Data, Failure> {
        let status = self.status;
        let failed = status.is_client_error() || status.is_server_error();
        let mut output = Map::new();
        output.insert("status".into(), json!(status.as_u16()));
        output.insert("headers".into(), Value::Object(headers(&self.headers)));
        let (body, encoding) = body(&self.headers, self.body);
        output.insert("body".into(), body);
        if let Some(encoding) = encoding {
            output.insert("body_encoding".into(), encoding.into());
        }
        if !failed {
            return Ok(Data::from_value(Value::Object(output)));
        }
        let mut cause = Value::Object(output.clone()).to_string();
        if cause.chars().count() > CAUSE_CHARS_MAX {
            let text = match output.get("body") {
                Some(Value::String(text)) => text.clone(),
                other => other.map(Value::to_string).unwrap_or_default(),
            };
            let start: String = text.chars().take(CAUSE_BODY_CHARS_MAX).collect();
            output.insert("body".into(), start.into());
            output.insert("body_cut".into(), true.into());
            cause = Value::Object(output).to_string();
        }
        let cause: String = cause.chars().take(CAUSE_CHARS_MAX).collect();
        let name = format!("States.Http.StatusCode.{}", status.as_u16());
        Err(Failure::new(name, cause))
    }
}

/// Lower-case names; values of a repeated header joined by a comma.
fn headers(received: &HeaderMap) -> Map<String, Value> {
    let mut map = Map::new();
    for name in received.keys() {
        let values: Vec<_> = received
            .get_all(name)
            .iter()
            .map(|v| String::from_utf8_lossy(v.as_bytes()))
            .collect();
        map.insert(name.as_str().to_owned(), values.join(", ").into());
    }
    map
}

/// JSON when the content type says so and it is; else text; else base 64, and its name.
fn body(headers: &HeaderMap, bytes: Vec<u8>) -> (Value, Option<&'static str>) {
    if says_json(headers)
        && let Ok(value) = serde_json::from_slice(&bytes)
    {
        return (value, None);
    }
    match String::from_utf8(bytes) {
        Ok(text) => (text.into(), None),
        Err(e) => {
            let text = base64::engine::general_purpose::STANDARD.encode(e.as_bytes());
            (text.into(), Some("base64"))
        }
    }
}

fn says_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}
