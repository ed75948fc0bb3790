//! The `Parameters` (in JSONata mode `Arguments`) of a Task that calls out, as far as they are literal.
//!
//! Asks the call's own type what it accepts, so that the two cannot drift apart.
//! Refuses to judge what comes from the data: that is the bridge's.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use stepwell_types::{ContainerCall, HttpCall, MachineCall};

use super::{Compiler, fit};
use crate::diagnostic::code;
use crate::document::At;
use crate::expression::QueryLanguage;
use crate::jsonata;
use crate::signal::{self, SendCall, WaitCall};

/// What a bridge's input looks like.
pub(super) struct Shape {
    /// As messages call it.
    what: &'static str,
    /// Its fields, for the author.
    hint: &'static str,
    /// The fields that it cannot do without, each with a value that fits.
    needed: fn() -> Vec<(&'static str, Value)>,
    /// Whether the type takes it.
    check: fn(Value) -> Result<(), String>,
}

/// `http:request`.
pub(super) const HTTP: Shape = Shape {
    what: "an HTTP call",
    hint: "a call has the fields method, url, query, headers, body, timeout_ms, response_bytes_max, connection and authentication",
    needed: || vec![("url", json!("http://x"))],
    check: takes::<HttpCall>,
};

/// `container:run`.
pub(super) const CONTAINER: Shape = Shape {
    what: "a container's run",
    hint: "a run has the fields image, command, entrypoint, environment, working_directory, user, input, files, outputs, output, exit_codes, network, memory_mib, cpus, pids, timeout_ms, stdout_bytes_max and pull",
    needed: || vec![("image", json!("x"))],
    check: takes::<ContainerCall>,
};

/// `vm:run`.
pub(super) const MACHINE: Shape = Shape {
    what: "a machine's run",
    hint: "a run has the fields machine, command, environment, working_directory, input, files, outputs, output, exit_codes, timeout_ms and stdout_bytes_max",
    needed: || vec![("machine", json!("x")), ("command", json!(["x"]))],
    check: takes::<MachineCall>,
};

/// `signal:send`. Whom it is for is said in one of two ways: see [`SendCall`].
pub(super) const SEND_SIGNAL: Shape = Shape {
    what: "a signal that is sent",
    hint: "it has the fields name, data, and execution, or flow and execution_name",
    needed: || vec![("name", json!("x"))],
    check: |call| {
        let call = serde_json::from_value::<SendCall>(call).map_err(|e| e.to_string())?;
        call.check()
    },
};

/// `signal:wait`.
pub(super) const WAIT_SIGNAL: Shape = Shape {
    what: "a wait for a signal",
    hint: "it has the field name: a name, or a list of names of which the first to come is taken",
    needed: || vec![("name", json!("x"))],
    check: |call| {
        let call = serde_json::from_value::<WaitCall>(call).map_err(|e| e.to_string())?;
        call.names().map(drop)
    },
};

fn takes<T: DeserializeOwned>(call: Value) -> Result<(), String> {
    let taken = serde_json::from_value::<T>(call);
    taken.map(drop).map_err(|e| e.to_string())
}

/// What one field of a call is.
enum Field {
    Fine,
    Unknown,
    Wrong(String),
}

impl Shape {
    /// Tries one field in an otherwise good call. `None`: its value comes from the data.
    fn probe(&self, name: &str, value: Option<&Value>) -> Field {
        let others = (self.needed)().into_iter();
        let others = others.filter(|(other, _)| !other.eq_ignore_ascii_case(name));
        let mut call: Map<_, _> = others.map(|(n, v)| (n.to_owned(), v)).collect();
        call.insert(name.to_owned(), value.cloned().unwrap_or(Value::Null));
        match (self.check)(Value::Object(call)) {
            Ok(()) => Field::Fine,
            // One within the value is the value's fault.
            Err(e) if e.starts_with(&format!("unknown field `{name}`")) => Field::Unknown,
            Err(e) if value.is_some() => Field::Wrong(e),
            Err(_) => Field::Fine,
        }
    }
}

/// Whether a string `{% … %}` occurs in it.
pub(super) fn has_expression(value: &Value) -> bool {
    match value {
        Value::String(text) => jsonata::marked(text).is_some(),
        Value::Array(items) => items.iter().any(has_expression),
        Value::Object(map) => map.values().any(has_expression),
        _ => false,
    }
}

/// Whether a member `NAME.$` occurs in it.
fn has_path(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_path),
        Value::Object(map) => map
            .iter()
            .any(|(name, value)| name.ends_with(".$") || has_path(value)),
        _ => false,
    }
}

impl<'t> Compiler<'t, '_> {
    /// Reports fields that no such call has, literal values of the wrong type, and what a
    /// call cannot do without.
    pub(super) fn call_parameters(&mut self, at: &At<'_, 't>, shape: &Shape) {
        let jsonata = self.language == QueryLanguage::Jsonata;
        let field = if jsonata { "Arguments" } else { "Parameters" };
        let Some(parameters) = at.get(field) else {
            return;
        };
        if self.query(&parameters, field).is_some() || !self.is_object(&parameters) {
            return;
        }
        let mut missing: Vec<&str> = (shape.needed)().into_iter().map(|(n, _)| n).collect();
        let mut given = Vec::new();
        for member in parameters.members() {
            let path = member.name.strip_suffix(".$").filter(|_| !jsonata);
            let name = path.unwrap_or(&member.name);
            let value = member.value.value();
            let open = match jsonata {
                true => has_expression(&value),
                false => path.is_some() || has_path(&value),
            };
            let known = (!open).then_some(&value);
            let place = parameters.member_name(member);
            given.push(name.to_ascii_lowercase().replace('_', ""));
            match shape.probe(name, known) {
                Field::Fine => {
                    missing.retain(|needed| !needed.eq_ignore_ascii_case(name));
                    if shape.what == HTTP.what {
                        self.http_field(&parameters.member(member), &member.name, open);
                    }
                }
                Field::Unknown => self.report.error_hint(
                    &place,
                    code::UNKNOWN_FIELD,
                    format!(
                        "{} has no field {:?}",
                        shape.what,
                        crate::path::clip(&member.name)
                    ),
                    Some(shape.hint.to_owned()),
                ),
                Field::Wrong(error) => {
                    missing.retain(|needed| !needed.eq_ignore_ascii_case(name));
                    self.report.error(
                        &parameters.member(member),
                        code::WRONG_TYPE,
                        format!("this does not fit {}: {}", shape.what, fit::said(&error)),
                    );
                }
            }
        }
        for needed in missing {
            self.report.error_hint(
                &parameters,
                code::MISSING_FIELD,
                format!("{} needs the field {needed}", shape.what),
                Some(shape.hint.to_owned()),
            );
        }
        if shape.what == SEND_SIGNAL.what {
            let has = |name: &str| given.iter().any(|given| given == name);
            let named = (has("flow"), has("executionname"));
            if !matches!(
                (has("execution"), named),
                (true, (false, false)) | (false, (true, true))
            ) {
                let message = signal::WHOM.to_owned();
                self.report.error(&parameters, code::MISSING_FIELD, message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, HTTP, MACHINE, Shape};
    use serde_json::{Value, json};

    #[test]
    fn fields_are_those_of_a_call() {
        let check = |shape: &Shape, name: &str, value: Option<Value>, expected: &str| {
            let got = match shape.probe(name, value.as_ref()) {
                Field::Fine => "fine",
                Field::Unknown => "unknown",
                Field::Wrong(_) => "wrong",
            };
            assert_eq!(got, expected, "{name} {value:?}");
        };
        check(&HTTP, "url", Some(json!("http://a")), "fine");
        check(&HTTP, "Url", Some(json!("http://a")), "fine");
        check(&HTTP, "URL", None, "fine");
        check(&HTTP, "url", Some(json!(1)), "wrong");
        check(&HTTP, "URL", Some(json!(1)), "wrong");
        check(&HTTP, "method", Some(json!("PUT")), "fine");
        check(&HTTP, "Method", None, "fine");
        check(&HTTP, "method", Some(json!(1)), "wrong");
        check(&HTTP, "headers", Some(json!({"a.$": "$.a"})), "fine");
        check(&HTTP, "headers", Some(json!([])), "wrong");
        check(&HTTP, "body", Some(json!({"a.$": "$.a"})), "fine");
        check(&HTTP, "timeout_ms", Some(json!(5)), "fine");
        check(&HTTP, "timeout_ms", Some(json!("5")), "wrong");
        check(&HTTP, "timeout_ms", None, "fine");
        check(&HTTP, "uri", Some(json!("http://a")), "unknown");
        check(&HTTP, "uri", None, "unknown");
        let by = |secret: Value| Some(json!({"type": "bearer", "secret": secret}));
        check(&HTTP, "authentication", by(json!("token")), "fine");
        check(&HTTP, "authentication", by(json!(1)), "wrong");
        let more = json!({"type": "bearer", "secret": "token", "user": "u"});
        check(&HTTP, "authentication", Some(more), "wrong");
        check(&MACHINE, "Machine", Some(json!("m")), "fine");
        check(&MACHINE, "command", Some(json!(["ls"])), "fine");
        check(&MACHINE, "Command", Some(json!("ls")), "wrong");
        check(&MACHINE, "image", None, "unknown");
    }
}
