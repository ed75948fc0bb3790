//! Compares how a run went with what was recorded: end, order of events, events.
//!
//! Refuses partial agreement: the first difference is the answer.

use std::collections::VecDeque;

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
            let history = &settled(&case.json, history, &wildcards);
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
        // Of an execution that ran out of time some recordings tell nothing more.
        let untold = ended.status == "TIMED_OUT" && expected.get("error").is_none();
        let same = wildcards.same(right, &json!(error)) && wildcards.same(why, &json!(cause));
        if !untold && !same {
            return Err(format!("{error:?} {cause:?}, not {right} {why}"));
        }
    }
    Ok(())
}

/// Our events in the order of a recording that sorts those within a Parallel by their text: it
/// gives them ids that are no numbers, and loses `ParallelStateSucceeded`.
fn settled(case: &Value, ours: &[Value], wildcards: &Wildcards) -> Vec<Value> {
    let Some(theirs) = case["expected_history"].as_array() else {
        return ours.to_vec();
    };
    let mut left: VecDeque<Value> = ours.iter().cloned().collect();
    let mut all = Vec::new();
    let mut at = 0;
    while at < theirs.len() {
        let stretch = theirs[at..].iter().take_while(|e| !e["id"].is_number());
        let end = at + stretch.count();
        let mut within: Vec<Value> = left.drain(..(end - at).min(left.len())).collect();
        for recorded in &theirs[at..end] {
            let like = |event: &Value| same_but_for_order(recorded, event, wildcards);
            let found = within.iter().position(like).unwrap_or(0);
            if found < within.len() {
                let mut event = within.remove(found);
                for name in ["id", "previousEventId"] {
                    event[name] = recorded[name].clone();
                }
                all.push(event);
            }
        }
        let succeeded = "ParallelStateSucceeded";
        let lost = left.front().is_some_and(|e| e["type"] == succeeded)
            && theirs.get(end).is_some_and(|e| e["type"] != succeeded);
        if end > at && lost {
            left.pop_front();
        }
        if end < theirs.len() {
            all.extend(left.pop_front());
        }
        at = end + 1;
    }
    all.extend(left);
    all
}

fn same_but_for_order(recorded: &Value, ours: &Value, wildcards: &Wildcards) -> bool {
    let members = recorded.as_object().into_iter().flatten();
    let mut told = members
        .filter(|(name, _)| !matches!(name.as_str(), "id" | "previousEventId" | "timestamp"));
    told.all(|(name, value)| {
        let found = without_foreign(ours.get(name).unwrap_or(&Value::Null));
        wildcards.same(&without_foreign(value), &found)
    })
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
    if expected.iter().all(|e| e["id"].is_number()) {
        expected.sort_by_key(|e| e["id"].as_u64().unwrap_or(0));
    }
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

    /// As the recordings of a Parallel have them.
    #[test]
    fn events_within_a_parallel_are_compared_in_any_order() {
        let event = |id: Value, kind: &str, name: &str| json!({"id": id, "previousEventId": 0, "type": kind, "details": {"name": name}});
        let (in_, out) = ("PassStateEntered", "PassStateExited");
        let recorded = [
            event(json!(1), "ExecutionStarted", ""),
            event(json!([0]), in_, "A"),
            event(json!([0]), in_, "B"),
            event(json!([0]), out, "A"),
            event(json!([0]), out, "B"),
            event(json!(7), "ParallelStateExited", ""),
        ];
        let types: Vec<_> = recorded.iter().map(|e| e["type"].clone()).collect();
        let case = Case {
            json: json!({"expected": {"status": "SUCCEEDED", "output": 1},
                "expected_history_types": types, "expected_history": recorded}),
            ..case()
        };
        let check = |last: &str, ok: bool| {
            let history: Vec<_> = [
                ("ExecutionStarted", ""),
                (in_, "B"),
                (out, "B"),
                (in_, "A"),
                (out, last),
                ("ParallelStateSucceeded", ""),
                ("ParallelStateExited", ""),
            ]
            .iter()
            .enumerate()
            .map(|(i, (kind, name))| event(json!(i + 1), kind, name))
            .collect();
            let found = compare(&case, &ended("SUCCEEDED", json!(1)), Some(&history));
            assert_eq!(found.is_ok(), ok, "{found:?}");
        };
        check("A", true);
        check("C", false);
    }

    #[test]
    fn an_execution_out_of_time_may_be_told_without_an_error() {
        let check = |status: &str, expected: Value, ok: bool| {
            let case = Case {
                json: json!({ "expected": expected }),
                ..case()
            };
            let ended = Ended {
                status: status.into(),
                output: None,
                failure: Some(("States.Timeout".into(), String::new())),
            };
            assert_eq!(compare(&case, &ended, None).is_ok(), ok, "{expected}");
        };
        check("TIMED_OUT", json!({"status": "TIMED_OUT"}), true);
        check(
            "TIMED_OUT",
            json!({"status": "TIMED_OUT", "error": "E"}),
            false,
        );
        check("FAILED", json!({"status": "FAILED"}), false);
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
