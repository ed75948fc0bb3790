//! Recorded cases: a definition, an input, and what Step Functions itself answered.
//!
//! Shared by all suites that compare with them: the interpreter's, the one-shot
//! command's, the simulator's. Refuses to know how a flow is run.

mod behaviour;
mod compare;
mod functions;
mod single;
mod wildcards;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub use behaviour::{Answer, behave};
pub use compare::{Ended, compare};
pub use functions::Functions;
pub use wildcards::Wildcards;

/// One recorded case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its file's name without the ending.
    pub name: String,
    /// What kind of thing it is about.
    pub category: String,
    /// All of it, as the collection's README describes it.
    pub json: Value,
}

impl Case {
    /// Whether the definition must be refused.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        let invalid = self.is_validation() && self.json["expected"]["result"] == "FAIL";
        invalid || self.kind().ends_with("error")
    }

    /// Whether the definition is only looked at, and never run.
    #[must_use]
    pub fn is_validation(&self) -> bool {
        self.kind() == "validate"
    }

    /// Whether the definition is that of a single state.
    #[must_use]
    pub fn is_state(&self) -> bool {
        self.kind().starts_with("test_state")
    }

    /// Whether the definition is that of an express machine.
    #[must_use]
    pub fn is_express(&self) -> bool {
        let types = [&self.json["type"], &self.json["params"]["type"]];
        self.kind() == "express_sync" || types.iter().any(|t| **t == "EXPRESS")
    }

    fn kind(&self) -> &str {
        self.json["kind"].as_str().unwrap_or_default()
    }

    /// Why a case in scope cannot hold, if it is one of those.
    #[must_use]
    pub fn cannot_hold(&self) -> Option<&'static str> {
        let behaviours = self.json["task_behaviour"].as_object();
        let mut behaviours = behaviours.into_iter().flatten();
        if behaviours.any(|(_, spec)| spec["behaviour"] == "large")
            && self.json["expected"]["status"] != "SUCCEEDED"
        {
            return Some("a function returns 257 KiB, and data may have 32 MiB here");
        }
        None
    }

    /// The definition, as JSON text; of a single state a machine that runs it.
    #[must_use]
    pub fn definition(&self) -> String {
        let written = &self.json["definition"];
        if self.is_state() {
            return single::machine(written).to_string();
        }
        written.to_string()
    }

    /// Why a case is out of scope, if it asks about another interface of the service than a run's.
    #[must_use]
    pub fn out_of_scope(&self) -> Option<&'static str> {
        match self.category.as_str() {
            "sfn_api_logs" => Some(
                "it refuses a loggingConfiguration of CreateStateMachine, and there are no CloudWatch logs here: a flow is published by another API",
            ),
            "sfn_api_versioning" => Some(
                "it refuses a versionDescription of CreateStateMachine, and versions here have no description: each publish is one",
            ),
            _ => None,
        }
    }
}

/// The whole collection.
///
/// # Panics
/// It is not there, or a file in it is no case.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for category in entries(&folder()) {
        read(&category, &mut cases);
    }
    assert!(!cases.is_empty(), "no case in {}", folder().display());
    cases
}

/// The collection's folder: a folder for each category, a file for each case.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("asl")
}

/// Reads a folder of cases.
///
/// # Panics
/// A file is no case: the collection is broken.
fn read(folder: &Path, cases: &mut Vec<Case>) {
    for path in entries(folder) {
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a readable case");
        let json: Value = serde_json::from_str(&text).expect("a case in JSON");
        cases.push(Case {
            name: stem(&path),
            category: json["category"].as_str().unwrap_or("?").to_owned(),
            json,
        });
    }
}

fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn there_are_cases_of_each_kind() {
        let cases = all();
        assert!(cases.len() >= 569, "{} cases", cases.len());
        assert!(cases.iter().any(Case::is_refused));
        for status in ["SUCCEEDED", "FAILED"] {
            let found = cases.iter().any(|c| c.json["expected"]["status"] == status);
            assert!(found, "none ends {status}");
        }
        let apart = cases.iter().filter(|c| c.out_of_scope().is_some());
        assert!(apart.count() >= 5);
    }

    #[test]
    fn each_kind_is_told_apart() {
        let check = |json: Value, expected: [bool; 4]| {
            let case = Case {
                name: "c".into(),
                category: "c".into(),
                json: json.clone(),
            };
            let found = [
                case.is_refused(),
                case.is_validation(),
                case.is_state(),
                case.is_express(),
            ];
            assert_eq!(found, expected, "{json}");
        };
        check(json!({"kind": "execution"}), [false; 4]);
        check(json!({"kind": "express_sync"}), [false, false, false, true]);
        check(json!({"kind": "test_state"}), [false, false, true, false]);
        check(
            json!({"kind": "test_state_error"}),
            [true, false, true, false],
        );
        check(
            json!({"kind": "create_state_machine_error", "params": {"type": "EXPRESS"}}),
            [true, false, false, true],
        );
        check(
            json!({"kind": "validate", "expected": {"result": "OK"}}),
            [false, true, false, false],
        );
        check(
            json!({"kind": "validate", "expected": {"result": "FAIL"}}),
            [true, true, false, false],
        );
    }
}
