//! An example's `example.toml`: what to upload, publish and send, and what must come.
//!
//! Refuses unknown keys, so that a misspelt expectation is not passed over.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::place;

/// One folder of `examples/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The folder's name, and the flow's.
    #[serde(skip)]
    pub name: String,
    /// The folder.
    #[serde(skip)]
    pub folder: PathBuf,
    /// One line for the reader.
    pub title: String,
    /// The definition, relative to the folder.
    pub flow: PathBuf,
    /// The flow's endpoint: `[async ]METHOD /path`.
    pub trigger: String,
    /// The example whose steps it runs; without it, its own.
    pub steps_of: Option<String>,
    /// Module name to guest package.
    pub modules: BTreeMap<String, String>,
    /// Manifests of modules, relative to the folder, by the module's name.
    #[serde(default)]
    pub grants: BTreeMap<String, PathBuf>,
    /// Further flows that are published first, by name: definitions relative to the folder.
    #[serde(default)]
    pub flows: BTreeMap<String, PathBuf>,
    /// What to put into buckets first.
    #[serde(rename = "object", default)]
    pub objects: Vec<Object>,
    /// What to send, in order.
    #[serde(rename = "case")]
    pub cases: Vec<Case>,
}

/// A file that goes into a bucket.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// `BUCKET/KEY`.
    pub name: String,
    /// The file, relative to the folder.
    pub file: PathBuf,
}

/// One request and its expected end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// One line for the reader.
    pub title: String,
    /// The request's body, a file relative to the folder.
    pub input: PathBuf,
    /// Its type.
    pub content_type: String,
    /// The request's query; `{receiver}` stands for the demo's receiver.
    #[serde(default)]
    pub query: String,
    /// What a person answers, one waiting task after another: JSON texts.
    #[serde(default)]
    pub answer: Vec<String>,
    /// Signals that the execution is sent, `NAME JSON` each.
    #[serde(default)]
    pub signal: Vec<String>,
    /// How the execution ends.
    pub status: String,
    /// The error's name, if it fails.
    pub error: Option<String>,
    /// What its output holds at least.
    pub output: Option<Value>,
    /// Calls that the receiver gets meanwhile.
    pub received: Option<usize>,
}

impl Example {
    /// Reads `examples/NAME/example.toml`.
    ///
    /// # Errors
    /// It is missing or not as described above.
    pub fn read(name: &str) -> Result<Example> {
        let folder = place::root().join("examples").join(name);
        let file = folder.join("example.toml");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let mut example: Example =
            toml::from_str(&text).with_context(|| format!("in {}", file.display()))?;
        example.name = name.to_owned();
        example.folder = folder;
        Ok(example)
    }

    /// The example whose steps it runs.
    #[must_use]
    pub fn steps_of(&self) -> &str {
        self.steps_of.as_deref().unwrap_or(&self.name)
    }

    /// The endpoint's method and path.
    ///
    /// # Errors
    /// The trigger has another form.
    pub fn endpoint(&self) -> Result<(&str, &str)> {
        let plain = self.trigger.strip_prefix("async ").unwrap_or(&self.trigger);
        plain
            .split_once(' ')
            .with_context(|| format!("no METHOD /path: `{}`", self.trigger))
    }
}

/// Whether `real` holds at least `wanted`: objects may have more members.
#[must_use]
pub fn holds(real: &Value, wanted: &Value) -> bool {
    match (real, wanted) {
        (Value::Object(real), Value::Object(wanted)) => wanted
            .iter()
            .all(|(name, wanted)| real.get(name).is_some_and(|real| holds(real, wanted))),
        (Value::Number(real), Value::Number(wanted)) => real.as_f64() == wanted.as_f64(),
        _ => real == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_example_is_well_formed() {
        for name in super::super::EXAMPLES {
            let example = Example::read(name).expect("an example");
            assert!(example.folder.join(&example.flow).exists(), "{name}");
            let steps = place::root().join("examples").join(example.steps_of());
            assert!(steps.join("steps/Cargo.toml").exists(), "{name}");
            assert!(example.endpoint().expect("an endpoint").1.starts_with('/'));
            for file in example.grants.values().chain(example.flows.values()) {
                assert!(example.folder.join(file).exists(), "{name}");
            }
            for object in &example.objects {
                assert!(example.folder.join(&object.file).exists(), "{name}");
            }
            for case in &example.cases {
                assert!(
                    example.folder.join(&case.input).exists(),
                    "{name}: {}",
                    case.title
                );
                for signal in &case.signal {
                    let (_, data) = signal.split_once(' ').expect("NAME JSON");
                    serde_json::from_str::<Value>(data).expect("data is JSON");
                }
                for answer in &case.answer {
                    serde_json::from_str::<Value>(answer).expect("an answer is JSON");
                }
            }
        }
    }

    #[test]
    fn an_output_may_hold_more_but_not_less() {
        let check = |real: Value, wanted: Value, expected: bool| {
            assert_eq!(holds(&real, &wanted), expected, "{real} {wanted}");
        };
        check(json!({"a": 1, "b": 2}), json!({"a": 1.0}), true);
        check(json!({"b": 2}), json!({"a": 1}), false);
        check(json!({"a": {"b": [1]}}), json!({"a": {"b": [1]}}), true);
        check(json!({"a": {"b": [1, 2]}}), json!({"a": {"b": [1]}}), false);
    }
}
