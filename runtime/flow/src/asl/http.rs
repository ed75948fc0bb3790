//! The `Parameters` (in JSONata mode `Arguments`) of an `http:request` Task, as far as they are literal.
//!
//! Asks [`HttpCall`] itself what it accepts, so that the two cannot drift apart.
//! Refuses to judge what comes from the data: that is the bridge's.

use serde_json::{Map, Value};
use stepwell_types::HttpCall;

use super::Compiler;
use crate::call;
use crate::diagnostic::code;
use crate::document::At;
use crate::expression::QueryLanguage;
use crate::jsonata;

const FIELDS_HINT: &str =
    "a call has the fields method, url, headers, body, timeout_ms and response_bytes_max";

/// What one field of a call is.
enum Field {
    Fine,
    Url,
    Unknown,
    Wrong(String),
}

/// Tries one field in an otherwise good call. `None`: its value comes from the data.
fn probe(name: &str, value: Option<&Value>) -> Field {
    let call = |fields: &[(&str, &Value)]| {
        let fields = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).clone()));
        let call = Value::Object(fields.collect::<Map<_, _>>());
        serde_json::from_value::<HttpCall>(call).map_err(|e| e.to_string())
    };
    let url = Value::String("http://x".to_owned());
    // A call that consists of this field alone is whole only if it is the URL.
    if call(&[(name, &url)]).is_ok() {
        return match value.map(|v| call(&[(name, v)])) {
            Some(Err(e)) => Field::Wrong(e),
            _ => Field::Url,
        };
    }
    match call(&[("url", &url), (name, value.unwrap_or(&Value::Null))]) {
        Ok(_) => Field::Fine,
        Err(e) if e.starts_with("unknown field") => Field::Unknown,
        Err(e) if value.is_some() => Field::Wrong(e),
        Err(_) => Field::Fine,
    }
}

/// Whether a string `{% … %}` occurs in it.
fn has_expression(value: &Value) -> bool {
    match value {
        Value::String(text) => jsonata::marked(text).is_some(),
        Value::Array(items) => items.iter().any(has_expression),
        Value::Object(map) => map.values().any(has_expression),
        _ => false,
    }
}

impl<'t> Compiler<'t, '_> {
    /// Reports fields that no call has, literal values of the wrong type, and a
    /// call without a URL.
    pub(super) fn http_parameters(&mut self, at: &At<'_, 't>) {
        let jsonata = self.language == QueryLanguage::Jsonata;
        let field = if jsonata { "Arguments" } else { "Parameters" };
        let Some(parameters) = at.get(field) else {
            return;
        };
        if self.query(&parameters, field).is_some() || !self.is_object(&parameters) {
            return;
        }
        let mut url = false;
        for member in parameters.members() {
            let name = member.name.strip_suffix(".$").filter(|_| !jsonata);
            let value = member.value.value();
            let open = name.is_some() || (jsonata && has_expression(&value));
            let known = (!open).then_some(&value);
            let place = parameters.member_name(member);
            match probe(name.unwrap_or(&member.name), known) {
                Field::Fine => self.http_field(&parameters.member(member), &member.name, open),
                Field::Url => {
                    url = true;
                    if !open {
                        call::url(self.report, &parameters.member(member));
                    }
                }
                Field::Unknown => self.report.error_hint(
                    &place,
                    code::UNKNOWN_FIELD,
                    format!(
                        "an HTTP call has no field {:?}",
                        crate::path::clip(&member.name)
                    ),
                    Some(FIELDS_HINT.to_owned()),
                ),
                Field::Wrong(error) => {
                    url |= member.name.eq_ignore_ascii_case("url");
                    self.report.error(
                        &parameters.member(member),
                        code::WRONG_TYPE,
                        format!("this does not fit an HTTP call: {error}"),
                    );
                }
            }
        }
        if !url {
            self.report.error_hint(
                &parameters,
                code::MISSING_FIELD,
                "an HTTP call needs a url".to_owned(),
                Some(FIELDS_HINT.to_owned()),
            );
        }
    }
}

impl<'t> Compiler<'t, '_> {
    /// A field whose type is right, of which the value may still be wrong.
    fn http_field(&mut self, at: &At<'_, 't>, name: &str, open: bool) {
        let jsonata = self.language == QueryLanguage::Jsonata;
        match name.to_ascii_lowercase().as_str() {
            "method" if !open => call::method(self.report, at),
            "headers" => call::headers(self.report, at, &|name, value| match jsonata {
                true => has_expression(value),
                false => name.ends_with(".$"),
            }),
            "timeout_ms" | "timeoutms" if !open => call::timeout_ms(self.report, at),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, probe};
    use serde_json::{Value, json};

    #[test]
    fn fields_are_those_of_a_call() {
        let check = |name: &str, value: Option<Value>, expected: &str| {
            let got = match probe(name, value.as_ref()) {
                Field::Fine => "fine",
                Field::Url => "url",
                Field::Unknown => "unknown",
                Field::Wrong(_) => "wrong",
            };
            assert_eq!(got, expected, "{name} {value:?}");
        };
        check("url", Some(json!("http://a")), "url");
        check("Url", Some(json!("http://a")), "url");
        check("url", None, "url");
        check("URL", None, "url");
        check("url", Some(json!(1)), "wrong");
        check("URL", Some(json!(1)), "wrong");
        check("method", Some(json!("PUT")), "fine");
        check("Method", None, "fine");
        check("method", Some(json!(1)), "wrong");
        check("headers", Some(json!({"a.$": "$.a"})), "fine");
        check("headers", Some(json!([])), "wrong");
        check("body", Some(json!({"a.$": "$.a"})), "fine");
        check("timeout_ms", Some(json!(5)), "fine");
        check("timeout_ms", Some(json!("5")), "wrong");
        check("timeout_ms", None, "fine");
        check("uri", Some(json!("http://a")), "unknown");
        check("uri", None, "unknown");
    }
}
