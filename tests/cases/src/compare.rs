//! Compares how a run went with what was recorded: end, order of events, events.
//!
//! Refuses partial agreement: the first difference is the answer.

use serde_json::{Value, json};

use crate::{Case, Wildcards, single};

/// How an execution ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// `SUCCEEDED`, `FAILED`, `TIMED_OUT` or `ABORTED`.
    pub status: String,
    /// The output of one that succeeded.
    pub output: Option<Value>,
    /// Error and cause of one that did not.
    pub failure: Option<(String, String)>,
}

/// Compares an end, and a history unless `history` is `None`.
///
/// # Errors
/// What differs, in words.
pub fn compare(case: &Case, ended: &Ended, history: Option<&[Value]>) -> Result<(), String> {
    let wildcards = Wildcards::of(&case.json);
    let expected = &case.json["expected"];
    end(expected, ended, &wildcards)?;
    match history {
        Some(history) => {
            let next = expected.get("nextState").and_then(Value::as_str);
            let found = single::second(history);
            if case.is_state() && next != found {
                return Err(format!("{found:?} is the next state, not {next:?}"));
            }
            types(&case.json, history)?;
            events(&case.json, history, &wildcards)
        }
        None => Ok(()),
    }
}

fn end(expected: &Value, ended: &Ended, wildcards: &Wildcards) -> Result<(), String> {
    // A single state that would be retried fails, and one that catches goes on.
    let status = match expected["status"].as_str() {
        Some("RETRIABLE") => Some("FAILED"),
        Some("CAUGHT_ERROR") => Some("SUCCEEDED"),
        other => other,
    };
    if status != Some(ended.status.as_str()) {
        return Err(format!(
            "status {} {:?}, not {}",
            ended.status, ended.failure, expected["status"]
        ));
    }
    if let Some(output) = &ended.output
        && !wildcards.same(&expected["output"], output)
    {
        return Err(format!("output {output}, not {}", expected["output"]));
    }
    if let Some((error, cause)) = &ended.failure {
        let none = json!("");
        let right = expected.get("error").unwrap_or(&none);
        let why = expected.get("cause").unwrap_or(&none);
        if !wildcards.same(right, &json!(error)) || !wildcards.same(why, &json!(cause)) {
            return Err(format!("{error:?} {cause:?}, not {right} {why}"));
        }
    }
    Ok(())
}

fn types(case: &Value, ours: &[Value]) -> Result<(), String> {
    let Some(expected) = case["expected_history_types"].as_array() else {
        return Ok(());
    };
    let mut expected: Vec<&Value> = expected.iter().collect();
    if expected.first().is_some_and(|t| *t != "ExecutionStarted") {
        expected.reverse();
    }
    let found: Vec<&Value> = ours.iter().map(|e| &e["type"]).collect();
    if found != expected {
        return Err(format!("history {found:?}, not {expected:?}"));
    }
    Ok(())
}

fn events(case: &Value, ours: &[Value], wildcards: &Wildcards) -> Result<(), String> {
    let Some(expected) = case["expected_history"].as_array() else {
        return Ok(());
    };
    let mut expected: Vec<&Value> = expected.iter().collect();
    expected.sort_by_key(|e| e["id"].as_u64().unwrap_or(0));
    // Of two recordings that differ in nothing else, one lets the end of a distributed Map
    // follow MapRunSucceeded, and one MapRunStarted.
    let unsettled: Vec<&Value> = expected
        .windows(3)
        .filter(|three| three[0]["type"] == "MapRunSucceeded")
        .map(|three| three[2])
        .collect();
    for (theirs, ours) in expected.iter().zip(ours) {
        let Some(members) = theirs.as_object() else {
            continue;
        };
        for (key, value) in members {
            let open = key == "previousEventId" && unsettled.contains(theirs);
            if key == "timestamp" || open {
                continue;
            }
            let value = without_foreign(value);
            let found = without_foreign(ours.get(key).unwrap_or(&Value::Null));
            if !wildcards.same(&value, &found) {
                return Err(format!(
                    "event {}: {key} is {found}, not {value}",
                    ours["id"]
                ));
            }
        }
    }
    Ok(())
}

/// Members that name another house's regions.
fn without_foreign(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(map) = value.as_object_mut() {
        map.remove("region");
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Case {
        Case {
            name: "c".into(),
            category: "c".into(),
            json: json!({
                "expected": {"status": "SUCCEEDED", "output": {"a": 1}},
                "expected_history_types": ["ExecutionStarted", "ExecutionSucceeded"],
            }),
        }
    }

    fn ended(status: &str, output: Value) -> Ended {
        Ended {
            status: status.into(),
            output: Some(output),
            failure: None,
        }
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let check = |ended: Ended, types: &[&str], start: &str| {
            let history: Vec<_> = types.iter().map(|t| json!({"type": t})).collect();
            let answer = compare(&case(), &ended, Some(&history));
            match answer {
                Ok(()) => assert_eq!(start, ""),
                Err(why) => assert!(!start.is_empty() && why.starts_with(start), "{why}"),
            }
        };
        let right = ["ExecutionStarted", "ExecutionSucceeded"];
        check(ended("SUCCEEDED", json!({"a": 1})), &right, "");
        check(ended("FAILED", json!({"a": 1})), &right, "status");
        check(ended("SUCCEEDED", json!({"a": 2})), &right, "output");
        check(ended("SUCCEEDED", json!({"a": 1})), &right[..1], "history");
    }

    #[test]
    fn a_single_state_says_what_is_next() {
        let check = |status: &str, next: Value, ended: Ended, start: &str| {
            let case = Case {
                name: "c".into(),
                category: "c".into(),
                json: json!({"kind": "test_state",
                    "expected": {"status": status, "nextState": next, "output": 1}}),
            };
            let event = |what: &str, name: &str| json!({(what): {"name": name}});
            let (entered, exited) = ("stateEnteredEventDetails", "stateExitedEventDetails");
            let history = [
                event(entered, "StateUnderTest"),
                event(entered, "Inside"),
                event(exited, "Inside"),
                event(exited, "StateUnderTest"),
                event(entered, "B"),
            ];
            match compare(&case, &ended, Some(&history)) {
                Ok(()) => assert_eq!(start, ""),
                Err(why) => assert!(!start.is_empty() && why.starts_with(start), "{why}"),
            }
        };
        let failed = Ended {
            failure: Some((String::new(), String::new())),
            output: None,
            ..ended("FAILED", json!(1))
        };
        check("SUCCEEDED", json!("B"), ended("SUCCEEDED", json!(1)), "");
        check("CAUGHT_ERROR", json!("B"), ended("SUCCEEDED", json!(1)), "");
        check("RETRIABLE", json!("B"), failed, "");
        check(
            "SUCCEEDED",
            json!("C"),
            ended("SUCCEEDED", json!(1)),
            "Some(\"B\")",
        );
        check(
            "SUCCEEDED",
            json!(null),
            ended("SUCCEEDED", json!(1)),
            "Some(\"B\")",
        );
        check("FAILED", json!("B"), ended("SUCCEEDED", json!(1)), "status");
    }
}
