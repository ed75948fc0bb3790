//! From a response to the step's outcome: read within a limit, told in Step Functions' error names.
//!
//! Refuses to read past the limit, whatever `Content-Length` says.

use base64::Engine as _;
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use serde_json::{Map, Value};
use stepwell_types::limits::{CAUSE_CHARS_MAX, JSON_VALUES_MAX, PAYLOAD_BYTES_MAX};
use stepwell_types::{Data, Failure};

use super::room::Share;

/// Most characters of a body that a failure's cause repeats.
const CAUSE_BODY_CHARS_MAX: usize = CAUSE_CHARS_MAX / 2;

/// A response, read whole.
pub(crate) struct Received {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Of the room for all answers, what the body takes.
    _share: Share,
}

/// Reads the body of a response, as far as there is room for it: it waits for that, and whoever
/// sends it waits too.
///
/// # Errors
/// `Stepwell.HttpResponseTooLarge`, or the connection's failure.
pub(crate) async fn read(
    mut response: reqwest::Response,
    bytes_max: u64,
    mut share: Share,
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
    let announced = response.content_length().unwrap_or(0);
    grow(&mut body, announced, &mut share).await;
    while let Some(chunk) = response.chunk().await.map_err(super::send::failure)? {
        let bytes = (body.len() + chunk.len()) as u64;
        if bytes > bytes_max {
            return Err(too_large());
        }
        if bytes > body.capacity() as u64 {
            let twice = 2 * body.capacity() as u64;
            grow(&mut body, twice.min(bytes_max).max(bytes), &mut share).await;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Received {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        body,
        _share: share,
    })
}

/// Makes a body as large as this, once there is room for it.
async fn grow(body: &mut Vec<u8>, bytes: u64, share: &mut Share) {
    share.up_to(bytes).await;
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    body.reserve_exact(bytes.saturating_sub(body.len()));
}

impl Received {
    /// The step's outcome: `{"status", "headers", "body"}`, or a failure for a status from
    /// 400. A JSON body stays the text that came: as values it would take many times that.
    /// `hide` takes out of a text what must not be in it, before it is cut.
    pub(crate) fn outcome(self, hide: &dyn Fn(String) -> String) -> Result<Data, Failure> {
        let status = self.status;
        let as_json = says_json(&self.headers);
        let headers = Value::Object(headers(&self.headers)).to_string();
        let told = Told {
            status: status.as_u16(),
            headers: &headers,
        };
        let text = match String::from_utf8(self.body) {
            Ok(body) => {
                let raw = as_json.then(|| told.text(body.trim_ascii(), ""));
                // Checked whole, as deep as it is now: who reads it must be able to.
                let checked = raw.map(|text| Data::check(&text).map(|()| text));
                let bad = status.is_client_error() || status.is_server_error();
                match checked {
                    Some(Ok(text)) => text,
                    // Sound as far as it was read. As text it would be another answer than a
                    // smaller one is.
                    Some(Err(e)) if e.is_data() && !bad => return Err(too_many_values()),
                    _ => told.text(&Value::from(body).to_string(), ""),
                }
            }
            Err(e) => {
                let body = base64::engine::general_purpose::STANDARD.encode(e.as_bytes());
                drop(e);
                told.text(&format!("\"{body}\""), r#","body_encoding":"base64""#)
            }
        };
        if status.is_client_error() || status.is_server_error() {
            return Err(failure(status, hide(text)));
        }
        if text.len() > PAYLOAD_BYTES_MAX {
            return Err(Failure::new(
                "Stepwell.HttpResponseTooLarge",
                format!(
                    "the response is {} bytes as JSON, over the limit of {PAYLOAD_BYTES_MAX}",
                    text.len()
                ),
            ));
        }
        Ok(Data::from_valid_text(text))
    }
}

fn too_many_values() -> Failure {
    Failure::new(
        "Stepwell.HttpResponseTooLarge",
        format!("the response is JSON of more than {JSON_VALUES_MAX} values and keys"),
    )
}

/// What comes before a body.
struct Told<'a> {
    status: u16,
    headers: &'a str,
}

impl Told<'_> {
    /// The output with this body, which is JSON, and these further members.
    fn text(&self, body: &str, more: &str) -> String {
        let (status, headers) = (self.status, self.headers);
        format!(r#"{{"status":{status},"headers":{headers},"body":{body}{more}}}"#)
    }
}

/// The failure of a bad status; its cause is the output, with the body cut if it is long.
fn failure(status: StatusCode, text: String) -> Failure {
    let name = format!("States.Http.StatusCode.{}", status.as_u16());
    if text.len() <= CAUSE_CHARS_MAX {
        return Failure::new(name, text);
    }
    let mut cause = text;
    if let Ok(Value::Object(mut output)) = serde_json::from_str::<Value>(&cause) {
        let body = match output.get("body") {
            Some(Value::String(text)) => text.clone(),
            other => other.map(Value::to_string).unwrap_or_default(),
        };
        let start: String = body.chars().take(CAUSE_BODY_CHARS_MAX).collect();
        output.insert("body".into(), start.into());
        output.insert("body_cut".into(), true.into());
        cause = Value::Object(output).to_string();
    }
    Failure::new(
        name,
        cause.chars().take(CAUSE_CHARS_MAX).collect::<String>(),
    )
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
