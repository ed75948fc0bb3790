//! What the Task resources `signal:send` and `signal:wait` take as their input.
//!
//! JSON names in lower case, or capitalised as in Step Functions. Refuses to know who is there
//! to be sent a signal.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};
use stepwell_types::limits::{NAME_BYTES_MAX, SIGNAL_NAMES_MAX};
use stepwell_types::{ExecutionId, Recipient};

/// How a signal says whom it is for.
pub(crate) const WHOM: &str =
    "a signal says whom it is for: by execution, its id, or by flow and execution_name";

/// The input of `signal:wait`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitCall {
    /// The signal's name, or several, of which the first to come is taken.
    #[serde(alias = "Name")]
    pub name: Names,
}

/// One name or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a name, or a list of names")]
pub enum Names {
    /// One.
    One(Arc<str>),
    /// The first of these to come.
    Any(Vec<Arc<str>>),
}

/// The input of `signal:send`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendCall {
    /// The signal's name.
    #[serde(alias = "Name")]
    pub name: Arc<str>,
    /// The id of the execution that it is for.
    #[serde(default, alias = "Execution")]
    pub execution: Option<Arc<str>>,
    /// In place of the id: the flow of the execution.
    #[serde(default, alias = "Flow")]
    pub flow: Option<Arc<str>>,
    /// In place of the id: the execution's name.
    #[serde(default, alias = "ExecutionName")]
    pub execution_name: Option<Arc<str>>,
    /// What is sent; `{}` when absent.
    #[serde(default = "nothing", alias = "Data")]
    pub data: Value,
}

impl WaitCall {
    /// The names, each once.
    /// # Errors
    /// One is no name, or they are none or too many.
    pub fn names(self) -> Result<Vec<Arc<str>>, String> {
        let mut names = match self.name {
            Names::One(name) => vec![name],
            Names::Any(names) => names,
        };
        if names.is_empty() || names.len() > SIGNAL_NAMES_MAX {
            return Err(format!(
                "a wait is for 1 to {SIGNAL_NAMES_MAX} names of signals"
            ));
        }
        names
            .iter()
            .try_for_each(|name| is_name("a signal", name))?;
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }
}

impl SendCall {
    /// Checks each field by itself.
    /// # Errors
    /// One is no name, or no id.
    pub fn check(&self) -> Result<(), String> {
        is_name("a signal", &self.name)?;
        self.id()?;
        let flow = self.flow.as_deref();
        flow.map_or(Ok(()), |flow| is_name("a flow", flow))?;
        let name = self.execution_name.as_deref();
        name.map_or(Ok(()), |name| is_name("an execution", name))
    }

    /// Whom it is for.
    /// # Errors
    /// As [`SendCall::check`]; or it is not said whom, or twice.
    pub fn recipient(&self) -> Result<Recipient, String> {
        self.check()?;
        match (self.id()?, &self.flow, &self.execution_name) {
            (Some(id), None, None) => Ok(Recipient::Execution(id)),
            (None, Some(flow), Some(name)) => Ok(Recipient::Named {
                flow: Arc::clone(flow),
                name: Arc::clone(name),
            }),
            _ => Err(WHOM.to_owned()),
        }
    }

    fn id(&self) -> Result<Option<ExecutionId>, String> {
        let Some(text) = &self.execution else {
            return Ok(None);
        };
        let id = text.parse();
        id.map(Some)
            .map_err(|_| format!("{:?} is no id of an execution", crate::path::clip(text)))
    }
}

fn nothing() -> Value {
    Value::Object(Map::new())
}

/// Checks a name of a signal, a flow or an execution.
fn is_name(what: &str, name: &str) -> Result<(), String> {
    let fine = name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if fine {
        return Ok(());
    }
    Err(format!(
        "{:?} is no name of {what}: 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ -, beginning with a letter or digit",
        crate::path::clip(name)
    ))
}

#[cfg(test)]
mod tests {
    use super::{SendCall, WaitCall};
    use serde_json::{Value, json};

    #[test]
    fn waits() {
        let check = |call: Value, expected: Result<&[&str], &str>| {
            let names = serde_json::from_value::<WaitCall>(call.clone())
                .map_err(|e| e.to_string())
                .and_then(WaitCall::names);
            match (names, expected) {
                (Ok(names), Ok(expected)) => {
                    let names: Vec<&str> = names.iter().map(|n| &**n).collect();
                    assert_eq!(names, expected, "{call}");
                }
                (Err(e), Err(part)) => assert!(e.contains(part), "{call}: {e}"),
                (got, _) => panic!("{call}: {got:?}"),
            }
        };
        check(json!({"name": "paid"}), Ok(&["paid"]));
        check(json!({"Name": ["b", "a", "b"]}), Ok(&["a", "b"]));
        check(json!({"Name": []}), Err("1 to 16 names"));
        check(json!({"Name": vec!["n"; 17]}), Err("1 to 16 names"));
        check(json!({"Name": "a b"}), Err("no name of a signal"));
        check(json!({"Name": ""}), Err("no name of a signal"));
        check(json!({"Name": "n".repeat(129)}), Err("no name of a signal"));
        check(json!({"Name": 1}), Err("a name, or a list of names"));
        check(json!({"Names": "a"}), Err("unknown field `Names`"));
        check(json!([]), Err(""));
    }

    #[test]
    fn sends() {
        let check = |call: Value, expected: Option<&str>| {
            let to = serde_json::from_value::<SendCall>(call.clone())
                .map_err(|e| e.to_string())
                .and_then(|call| call.recipient());
            match (to, expected) {
                (Ok(_), None) => {}
                (Err(e), Some(part)) => assert!(e.contains(part), "{call}: {e}"),
                (got, _) => panic!("{call}: {got:?}"),
            }
        };
        let id = "0".repeat(26);
        check(json!({"name": "n", "execution": id}), None);
        check(
            json!({"Name": "n", "Flow": "f", "ExecutionName": "e", "Data": 1}),
            None,
        );
        check(json!({"name": "n"}), Some("whom it is for"));
        check(json!({"name": "n", "flow": "f"}), Some("whom it is for"));
        check(
            json!({"name": "n", "execution": id, "flow": "f"}),
            Some("whom"),
        );
        check(json!({"name": "n", "execution": "x"}), Some("no id"));
        check(
            json!({"name": "n", "flow": "f", "execution_name": "/"}),
            Some("no name of an execution"),
        );
        check(
            json!({"name": "n/", "execution": id}),
            Some("no name of a signal"),
        );
        check(json!({"execution": id}), Some("missing field `name`"));
        check(json!({"name": "n", "to": id}), Some("unknown field `to`"));
    }
}
