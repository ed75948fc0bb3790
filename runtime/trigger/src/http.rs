//! An HTTP request as the input of an execution.
//!
//! Refuses to pass on credentials: what is in an input is in the history.

use std::sync::Arc;

use base64::Engine as _;
use stepwell_types::limits::{NAME_BYTES_MAX, PAYLOAD_BYTES_MAX};
use stepwell_types::{Data, StartRequest};

use crate::{Error, query};

/// A request as the server received it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method, upper case.
    pub method: &'a str,
    /// The path below the server's prefix, as it came (not decoded).
    pub path: &'a str,
    /// The path's parameters, decoded.
    pub parameters: &'a [(String, String)],
    /// What stands after `?`, as it came; empty when there is none.
    pub query: &'a str,
    /// Names in lower case and values, in order. Bounded by the server.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The whole body.
    pub body: &'a [u8],
}

/// Headers that never reach an input. Credentials would be kept in the history;
/// the others tell of the client, the way here, the connection or one try, so that
/// whoever tries again with the same `Idempotency-Key` still sends the same input.
const LEFT_OUT: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "authorization",
    "baggage",
    "cache-control",
    "connection",
    "content-length",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "keep-alive",
    "max-forwards",
    "pragma",
    "priority",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-api-key",
    "x-correlation-id",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// The start that a request to an endpoint of `flow` wishes for.
///
/// The input is one JSON object: `method`, `path`, `parameters` (of the path),
/// `query` and `headers` (objects; names of headers in lower case, repeated ones
/// joined by `, `; a query name that occurs more than once has a list), and `body`:
/// JSON when the content type says so, text when it is UTF-8, `null` when empty.
/// Other bytes come as `body_base64` instead. `Idempotency-Key` is the execution's name.
/// # Errors
/// `API0101`, `API0102`, `API0104`, `API0105`.
pub fn start(flow: Arc<str>, request: &Request<'_>) -> Result<StartRequest, Error> {
    let keys = request
        .headers
        .iter()
        .filter(|(name, _)| *name == IDEMPOTENCY_KEY)
        .map(|(_, value)| *value);
    let name = execution_name(keys)?;
    let mut out = String::with_capacity(256 + request.body.len());
    out.push_str("{\"method\":");
    push_string(&mut out, request.method);
    out.push_str(",\"path\":");
    push_string(&mut out, request.path);
    out.push_str(",\"parameters\":");
    let parameters = request.parameters.iter().cloned().map(one).collect();
    push_value(&mut out, serde_json::Value::Object(parameters));
    out.push_str(",\"query\":");
    push_value(&mut out, query_object(request.query)?);
    out.push_str(",\"headers\":");
    push_value(&mut out, header_object(request.headers));
    push_body(&mut out, request)?;
    out.push('}');
    if out.len() > PAYLOAD_BYTES_MAX {
        return Err(Error::TooLarge {
            bytes: out.len(),
            max: PAYLOAD_BYTES_MAX,
        });
    }
    Ok(StartRequest {
        flow,
        version: None,
        name,
        input: Data::from_valid_text(out),
    })
}

fn one((name, value): (String, String)) -> (String, serde_json::Value) {
    (name, serde_json::Value::String(value))
}

/// The header that makes a start repeatable, in lower case.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The execution name that the values of a request's `Idempotency-Key` headers give,
/// bare or as a quoted string; `None` when there is no such header.
/// # Errors
/// `API0101` for a key that cannot be a name, and for a second one.
pub fn execution_name<'a>(
    keys: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<Arc<str>>, Error> {
    let mut keys = keys.into_iter();
    let Some(raw) = keys.next() else {
        return Ok(None);
    };
    if keys.next().is_some() {
        return Err(Error::BadKey);
    }
    let text = std::str::from_utf8(raw).map_err(|_| Error::BadKey)?.trim();
    let bare = text
        .strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .unwrap_or(text);
    let begins_well = bare
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    let fits = bare.len() <= NAME_BYTES_MAX
        && bare
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if begins_well && fits {
        Ok(Some(Arc::from(bare)))
    } else {
        Err(Error::BadKey)
    }
}

fn query_object(text: &str) -> Result<serde_json::Value, Error> {
    use serde_json::Value;
    let mut out = serde_json::Map::new();
    for (name, value) in query::pairs(text)? {
        let value = Value::String(value);
        match out.get_mut(&name) {
            None => {
                out.insert(name, value);
            }
            Some(Value::Array(list)) => list.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Ok(Value::Object(out))
}

fn header_object(headers: &[(&str, &[u8])]) -> serde_json::Value {
    use serde_json::Value;
    let mut out = serde_json::Map::new();
    for (name, raw) in headers {
        if LEFT_OUT.contains(name) {
            continue;
        }
        // A value that is not UTF-8 keeps what can be read of it.
        let value = String::from_utf8_lossy(raw);
        match out.get_mut(*name) {
            Some(Value::String(first)) => {
                first.push_str(", ");
                first.push_str(&value);
            }
            _ => {
                out.insert((*name).to_owned(), Value::String(value.into_owned()));
            }
        }
    }
    Value::Object(out)
}

fn push_body(out: &mut String, request: &Request<'_>) -> Result<(), Error> {
    if request.body.is_empty() {
        out.push_str(",\"body\":null");
        return Ok(());
    }
    let text = std::str::from_utf8(request.body);
    if says_json(request.headers) {
        let text = text.map_err(|e| Error::BadJson(format!("not UTF-8: {e}")))?;
        // Checked, within the depth limit, and passed on as it came.
        Data::parse(text).map_err(|e| Error::BadJson(e.to_string()))?;
        out.push_str(",\"body\":");
        out.push_str(text.trim_ascii());
    } else if let Ok(text) = text {
        out.push_str(",\"body\":");
        push_string(out, text);
    } else {
        out.push_str(",\"body_base64\":\"");
        base64::engine::general_purpose::STANDARD.encode_string(request.body, out);
        out.push('"');
    }
    Ok(())
}

/// `application/json`, or any type with the suffix `+json`.
fn says_json(headers: &[(&str, &[u8])]) -> bool {
    let Some((_, raw)) = headers.iter().find(|(n, _)| *n == "content-type") else {
        return false;
    };
    let text = String::from_utf8_lossy(raw);
    let kind = text.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    kind == "application/json" || kind == "text/json" || kind.ends_with("+json")
}

fn push_string(out: &mut String, text: &str) {
    push_value(out, serde_json::Value::from(text));
}

fn push_value(out: &mut String, value: serde_json::Value) {
    out.push_str(&value.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Request<'static> = Request {
        method: "POST",
        path: "/orders",
        parameters: &[],
        query: "",
        headers: &[],
        body: b"",
    };

    #[track_caller]
    fn check(request: Request<'_>, want: &str) {
        let got = start("f".into(), &request).map(|s| s.input.text().to_owned());
        let got = match got {
            Ok(text) => {
                let value: Result<serde_json::Value, _> = serde_json::from_str(&text);
                assert!(value.is_ok(), "input is not JSON: {text}");
                text
            }
            Err(e) => e.to_string(),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn inputs() {
        check(
            EMPTY,
            r#"{"method":"POST","path":"/orders","parameters":{},"query":{},"headers":{},"body":null}"#,
        );
        check(
            Request {
                method: "PUT",
                path: "/orders/a%20b",
                parameters: &[("id".into(), "a b".into())],
                query: "x=1&y=2&x=3&x=4",
                headers: &[
                    ("content-type", b"application/json; charset=utf-8"),
                    ("content-length", b"44"),
                    ("authorization", b"Bearer secret"),
                    ("cookie", b"sid=secret"),
                    ("x-api-key", b"secret"),
                    ("traceparent", b"00-1-2-3"),
                    ("user-agent", b"curl/8"),
                    ("accept", b"*/*"),
                    ("x-forwarded-for", b"10.0.0.1"),
                    ("x-a", b"1"),
                    ("x-a", b"2"),
                ],
                body: b" {\"big\": 12345678901234567890123, \"k\":1.10}\n",
            },
            r#"{"method":"PUT","path":"/orders/a%20b","parameters":{"id":"a b"},"query":{"x":["1","3","4"],"y":"2"},"headers":{"content-type":"application/json; charset=utf-8","x-a":"1, 2"},"body":{"big": 12345678901234567890123, "k":1.10}}"#,
        );
    }

    #[track_caller]
    fn check_body(content_type: &str, body: &[u8], want: &str) {
        let headers: &[(&str, &[u8])] = &[("content-type", content_type.as_bytes())];
        let request = Request {
            headers,
            body,
            ..EMPTY
        };
        let text = match start("f".into(), &request) {
            Ok(start) => start.input.text().to_owned(),
            Err(e) => e.to_string(),
        };
        assert!(text.contains(want), "{text}");
    }

    #[test]
    fn bodies() {
        check_body("text/plain", b"hi \"there\"", r#""body":"hi \"there\""}"#);
        check_body("application/json", b"[1]", r#""body":[1]}"#);
        check_body(
            "application/cloudevents+json",
            b"{\"a\":1}",
            r#""body":{"a":1}}"#,
        );
        check_body(
            "application/octet-stream",
            b"\xff\x00",
            r#""body_base64":"/wA="}"#,
        );
        check_body("application/json", b"{", "API0102");
        check_body("application/json", b"\xff", "API0102");
        let deep = "[".repeat(10_000);
        check_body("application/json", deep.as_bytes(), "API0102");
    }

    #[track_caller]
    fn check_name(keys: &[&str], want: Result<Option<&str>, Error>) {
        let headers: Vec<(&str, &[u8])> = keys
            .iter()
            .map(|k| ("idempotency-key", k.as_bytes()))
            .collect();
        let request = Request {
            headers: &headers,
            ..EMPTY
        };
        let got = start("f".into(), &request).map(|s| s.name);
        assert_eq!(got, want.map(|n| n.map(Arc::from)), "{keys:?}");
    }

    #[test]
    fn idempotency_keys() {
        check_name(&[], Ok(None));
        check_name(&["order-7"], Ok(Some("order-7")));
        check_name(&["\"8e03978e-40d5\""], Ok(Some("8e03978e-40d5")));
        check_name(&[""], Err(Error::BadKey));
        check_name(&["-x"], Err(Error::BadKey));
        check_name(&["a b"], Err(Error::BadKey));
        check_name(&["a/b"], Err(Error::BadKey));
        check_name(&["a", "a"], Err(Error::BadKey));
        check_name(
            &["a".repeat(128).as_str()],
            Ok(Some("a".repeat(128).as_str())),
        );
        check_name(&["a".repeat(129).as_str()], Err(Error::BadKey));
    }
}
