//! What a resource map binds a name to: one of our resources, or a flow or an HTTP call that
//! takes what the task has for the service or function of that name.
//!
//! Refuses to look up whether a flow is there: the resolver does, where it is used.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stepwell_types::HttpCall;

use super::flow_name;
use crate::call;
use crate::diagnostic::Report;
use crate::document::{self, At};
use crate::suggest;

/// What a name from elsewhere means here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One of our resources, such as `wasm:NAME`: the task runs it as if the definition named it.
    Resource(String),
    /// A flow, started with the task's input.
    Flow(FlowTarget),
    /// The fields of an HTTP call but its body, which is the task's input.
    Call(Map<String, Value>),
}

/// A flow in the place of a service or function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowTarget {
    /// `NAME`, `NAME:VERSION`, or an ARN that ends in `stateMachine:NAME`.
    pub flow: String,
    /// Whether the task ends with the flow, and with its output; default `true`.
    #[serde(default = "yes")]
    pub wait: bool,
}

fn yes() -> bool {
    true
}

const FORMS: &str =
    "a target is a resource such as \"wasm:NAME\", an object with `flow`, or an object with `url`";
/// Fields of a call.
const FIELDS: [&str; 9] = [
    "url",
    "method",
    "query",
    "headers",
    "body",
    "timeout_ms",
    "response_bytes_max",
    "connection",
    "authentication",
];
/// Methods whose call has a body.
const METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

impl Target {
    /// Reads a target: a resource as it is, the others as a JSON object.
    /// # Errors
    /// It is none; one sentence.
    pub fn parse(text: &str) -> Result<Target, String> {
        if !text.starts_with('{') {
            super::parse(text).map_err(|bad| bad.message)?;
            return Ok(Target::Resource(text.to_owned()));
        }
        let object = serde_json::from_str::<Map<String, Value>>(text);
        let object = object.map_err(|e| format!("{FORMS}; {e}"))?;
        if object.contains_key("flow") {
            let target = serde_json::from_value::<FlowTarget>(Value::Object(object));
            let target = target.map_err(|e| e.to_string())?;
            return match flow_name(&target.flow) {
                Some(_) => Ok(Target::Flow(target)),
                None => Err(format!(
                    "{:?} names no flow: write its name, NAME:VERSION, or an ARN that ends in stateMachine:NAME",
                    crate::path::clip(&target.flow)
                )),
            };
        }
        call(object).map(Target::Call)
    }

    /// The text that [`Target::parse`] reads.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Target::Resource(name) => name.clone(),
            Target::Flow(target) => serde_json::json!(target).to_string(),
            Target::Call(call) => Value::Object(call.clone()).to_string(),
        }
    }
}

/// The call, with its method.
fn call(mut object: Map<String, Value>) -> Result<Map<String, Value>, String> {
    if !object.contains_key("url") {
        return Err(FORMS.to_owned());
    }
    // Each has an older spelling too: `TimeoutMs`.
    let bare = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let known = |name: &str| FIELDS.iter().any(|field| bare(field) == bare(name));
    if let Some(unknown) = object.keys().find(|name| !known(name.as_str())) {
        let hint = suggest::hint(unknown, FIELDS.iter().copied());
        let hint = hint.unwrap_or_else(|| format!("it has {}", FIELDS.join(", ")));
        return Err(format!(
            "a call in a resource map has no field {:?}; {hint}",
            crate::path::clip(unknown)
        ));
    }
    if object.contains_key("body") {
        return Err("a call in a resource map has no body: that is the task's input".to_owned());
    }
    let method = object.entry("method").or_insert_with(|| "POST".into());
    if let Some(method) = method.as_str()
        && !METHODS.contains(&method)
    {
        return Err(format!(
            "the method of a call in a resource map is one of {}, which take the task's input as their body, and not {:?}",
            METHODS.join(", "),
            crate::path::clip(method)
        ));
    }
    let whole = Value::Object(object.clone());
    let text = whole.to_string();
    serde_json::from_value::<HttpCall>(whole).map_err(|e| format!("this is no HTTP call: {e}"))?;
    let mut report = Report::default();
    if let Some(root) = document::parse(&text, &mut report) {
        let at = At::root(&root);
        if let Some(field) = at.get("url") {
            call::url(&mut report, &field);
        }
        if let Some(field) = at.get("headers") {
            call::headers(&mut report, &field, &|_, _| false);
        }
        if let Some(field) = at.get("timeout_ms") {
            call::timeout_ms(&mut report, &field);
        }
    }
    match report.finish().1.into_iter().next() {
        None => Ok(object),
        Some(found) => Err(found.message),
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn forms() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let got = Target::parse(text);
            let round = got.as_ref().map(Target::text);
            match (round, expected) {
                (Ok(text), Ok(expected)) => {
                    assert_eq!(text, expected);
                    assert_eq!(Target::parse(&text), got, "{text}");
                }
                (Err(said), Err(expected)) => assert!(said.contains(expected), "{text}: {said}"),
                (got, expected) => panic!("{text}: {got:?} {expected:?}"),
            }
        };
        check("wasm:a@2", Ok("wasm:a@2"));
        check("nothing", Err("no resource"));
        check(
            r#"{"flow": "orders"}"#,
            Ok(r#"{"flow":"orders","wait":true}"#),
        );
        check(
            r#"{"flow": "orders:3", "wait": false}"#,
            Ok(r#"{"flow":"orders:3","wait":false}"#),
        );
        check(r#"{"flow": "a b"}"#, Err("names no flow"));
        check(
            r#"{"flow": "a", "url": "https://a/"}"#,
            Err("unknown field"),
        );
        check(r#"{"flow": 1}"#, Err("a string"));
        check(
            r#"{"url": "https://a/b"}"#,
            Ok(r#"{"url":"https://a/b","method":"POST"}"#),
        );
        check(
            r#"{"url": "https://a/b", "method": "GET"}"#,
            Err("POST, PUT, PATCH, DELETE"),
        );
        check(
            r#"{"url": "https://a/b", "body": 1}"#,
            Err("the task's input"),
        );
        check(r#"{"url": "a"}"#, Err("no URL"));
        check(r#"{"url": "https://u:p@a/"}"#, Err("credentials"));
        check(
            r#"{"url": "https://a/", "headers": {"host": "b"}}"#,
            Err("the connection"),
        );
        check(
            r#"{"url": "https://a/", "timeout_ms": 0}"#,
            Err("1 to 900000"),
        );
        check(
            r#"{"url": "https://a/", "uri": 1}"#,
            Err("no field \"uri\"; did you mean \"url\"?"),
        );
        check(
            r#"{"url": "https://a/", "nope": 1}"#,
            Err("it has url, method"),
        );
        check(r#"{"uri": 1}"#, Err("an object with `flow`"));
        check("{", Err("an object with `flow`"));
    }
}
