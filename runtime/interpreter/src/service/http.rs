//! `http:invoke`: the call of the HTTP bridge from its parameters, its answer from the bridge's.
//! Source: AWS Step Functions Developer Guide, "Call HTTPS APIs in Step Functions workflows".

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use stepwell_types::{Data, Failure};

/// How long a call may take, in milliseconds, as there.
const TIMEOUT_MS: u64 = 60_000;

/// The input of the bridge.
pub(super) fn call(input: &Data, connection: Option<&str>) -> Result<Data, Failure> {
    let input = input.value();
    let text = |name: &str| input.get(name).and_then(Value::as_str);
    let url = text("ApiEndpoint").ok_or_else(|| invalid("ApiEndpoint must be a string"))?;
    let method = text("Method").ok_or_else(|| invalid("Method must be a string"))?;
    let mut headers = flat_headers(input.get("Headers"))?;
    let transform = input.get("Transform");
    let mut body = input.get("RequestBody").cloned();
    match transform
        .and_then(|t| t.get("RequestBodyEncoding"))
        .and_then(Value::as_str)
    {
        None | Some("NONE") => {}
        Some("URL_ENCODED") => {
            let format = transform
                .and_then(|t| t.get("RequestEncodingOptions"))
                .and_then(|o| o.get("ArrayFormat"))
                .and_then(Value::as_str);
            let form = form(
                body.as_ref().unwrap_or(&Value::Null),
                format.unwrap_or("INDICES"),
            )?;
            body = Some(form.into());
            if !headers
                .keys()
                .any(|k| k.eq_ignore_ascii_case("content-type"))
            {
                let kind = "application/x-www-form-urlencoded";
                headers.insert("Content-Type".to_owned(), kind.into());
            }
        }
        Some(other) => {
            return Err(invalid(format!(
                "RequestBodyEncoding is NONE or URL_ENCODED, not {other:?}"
            )));
        }
    }
    let mut call = Map::new();
    call.insert("method".to_owned(), method.into());
    call.insert("url".to_owned(), url.into());
    match input.get("QueryParameters") {
        None | Some(Value::Null) => {}
        Some(Value::Object(query)) => {
            call.insert("query".to_owned(), query.clone().into());
        }
        Some(_) => return Err(invalid("QueryParameters must be an object")),
    }
    call.insert("headers".to_owned(), headers.into());
    if let Some(body) = body {
        call.insert("body".to_owned(), body);
    }
    call.insert("timeout_ms".to_owned(), TIMEOUT_MS.into());
    let named = input
        .get("Authentication")
        .and_then(|a| a.get("ConnectionArn"))
        .and_then(Value::as_str);
    if let Some(connection) = connection.or(named) {
        call.insert("connection".to_owned(), connection.into());
    }
    Ok(Data::from_value(Value::Object(call)))
}

/// `{ResponseBody, Headers, StatusCode, StatusText}` from the bridge's `{status, headers, body}`.
pub(super) fn answer(output: &Data) -> Data {
    let value = output.value();
    let status = value.get("status").and_then(Value::as_u64).unwrap_or(0);
    let mut headers = Map::new();
    for (name, text) in value
        .get("headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        headers.insert(name.clone(), json!([text]));
    }
    Data::from_value(json!({
        "Headers": headers,
        "ResponseBody": value.get("body"),
        "StatusCode": status,
        "StatusText": reason(status),
    }))
}

fn invalid(cause: impl Into<std::sync::Arc<str>>) -> Failure {
    Failure::new("Stepwell.HttpInvalidRequest", cause)
}

/// Headers as strings; a list of values is joined by a comma.
fn flat_headers(given: Option<&Value>) -> Result<Map<String, Value>, Failure> {
    let mut out = Map::new();
    match given {
        None | Some(Value::Null) => {}
        Some(Value::Object(map)) => {
            for (name, value) in map {
                let joined = match value {
                    Value::Array(all) => all
                        .iter()
                        .map(plain)
                        .collect::<Option<Vec<_>>>()
                        .map(|v| v.join(", ")),
                    one => plain(one),
                };
                let text = joined.ok_or_else(|| {
                    invalid(format!(
                        "header {name:?} must be a string or a list of strings"
                    ))
                })?;
                out.insert(name.clone(), text.into());
            }
        }
        Some(_) => return Err(invalid("Headers must be an object")),
    }
    Ok(out)
}

/// The text of a string, number or boolean.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// A body as a form. Nested objects are written `a[b]=c`.
fn form(body: &Value, arrays: &str) -> Result<String, Failure> {
    if !["INDICES", "REPEAT", "COMMAS", "BRACKETS", "NONE"].contains(&arrays) {
        return Err(invalid(format!(
            "ArrayFormat is INDICES, REPEAT, COMMAS, BRACKETS or NONE, not {arrays:?}"
        )));
    }
    let Value::Object(map) = body else {
        return Err(invalid("a body to be URL-encoded must be an object"));
    };
    let mut pairs = Vec::new();
    for (name, value) in map {
        pair(name, value, arrays, &mut pairs);
    }
    Ok(pairs.join("&"))
}

/// Depth is bounded by that of payloads.
fn pair(name: &str, value: &Value, arrays: &str, out: &mut Vec<String>) {
    let mut put = |name: &str, text: &str| {
        out.push(format!("{}={}", percent(name), percent(text)));
    };
    match value {
        Value::Null => put(name, ""),
        Value::Object(map) => {
            for (key, value) in map {
                pair(&format!("{name}[{key}]"), value, arrays, out);
            }
        }
        Value::Array(all) if arrays == "COMMAS" => {
            let texts: Vec<_> = all
                .iter()
                .map(|v| plain(v).unwrap_or_else(|| v.to_string()))
                .collect();
            put(name, &texts.join(","));
        }
        Value::Array(_) if arrays == "NONE" => put(name, &value.to_string()),
        Value::Array(all) => {
            for (i, value) in all.iter().enumerate() {
                let name = match arrays {
                    "REPEAT" => name.to_owned(),
                    "BRACKETS" => format!("{name}[]"),
                    _ => format!("{name}[{i}]"),
                };
                pair(&name, value, arrays, out);
            }
        }
        one => put(name, &plain(one).unwrap_or_default()),
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters; a space is `+`, as forms have it.
fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Source: RFC 9110, section 15.
fn reason(status: u64) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use stepwell_types::{Data, HttpCall};

    use super::{answer, call};

    fn made(input: Value) -> HttpCall {
        let data = call(&Data::from_value(input), Some("c")).expect("a call");
        serde_json::from_str(data.text()).expect("what the bridge reads")
    }

    #[test]
    fn the_query_goes_with_the_call() {
        let check = |query: Value, expected: Value| {
            let input =
                json!({"ApiEndpoint": "http://a", "Method": "GET", "QueryParameters": query});
            assert_eq!(Value::Object(made(input).query), expected);
        };
        check(json!(null), json!({}));
        check(
            json!({"q": "x y", "n": [1, true]}),
            json!({"q": "x y", "n": [1, true]}),
        );
    }

    #[test]
    fn a_form_is_encoded() {
        let check = |format: &str, expected: &str| {
            let call = made(json!({
                "ApiEndpoint": "http://a", "Method": "POST",
                "RequestBody": {"a": [1, "é"], "b": {"c": "d e"}},
                "Transform": {"RequestBodyEncoding": "URL_ENCODED",
                    "RequestEncodingOptions": {"ArrayFormat": format}},
            }));
            assert_eq!(call.body, Some(json!(expected)));
            assert_eq!(
                call.headers["Content-Type"],
                "application/x-www-form-urlencoded"
            );
        };
        check("INDICES", "a%5B0%5D=1&a%5B1%5D=%C3%A9&b%5Bc%5D=d+e");
        check("REPEAT", "a=1&a=%C3%A9&b%5Bc%5D=d+e");
        check("COMMAS", "a=1%2C%C3%A9&b%5Bc%5D=d+e");
        check("BRACKETS", "a%5B%5D=1&a%5B%5D=%C3%A9&b%5Bc%5D=d+e");
    }

    #[test]
    fn what_is_no_call_is_said() {
        let check = |input: Value| {
            let failure = call(&Data::from_value(input), None).expect_err("no call");
            assert_eq!(&*failure.error, "Stepwell.HttpInvalidRequest");
        };
        check(json!({}));
        check(json!({"ApiEndpoint": 1, "Method": "GET"}));
        check(json!({"ApiEndpoint": "http://a", "Method": "GET", "Headers": {"a": {}}}));
        check(json!({"ApiEndpoint": "http://a", "Method": "GET", "QueryParameters": []}));
    }

    #[test]
    fn the_answer_has_their_names() {
        let output = json!({"status": 201, "headers": {"a": "b"}, "body": {"x": 1}});
        let got = answer(&Data::from_value(output));
        let expected = json!({"Headers": {"a": ["b"]}, "ResponseBody": {"x": 1},
            "StatusCode": 201, "StatusText": "Created"});
        assert_eq!(got.value(), &expected);
    }
}
