//! The built command against what Step Functions answered: `stepwell run` on every
//! recorded case, its functions real components, compared by status, output, error
//! and the whole history.
//!
//! Also what scripts depend on: one JSON object on standard output and nothing else,
//! and the exit status.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use stepwell_cases::{Case, Ended, compare};

/// The mark of the slot in `tests/programs/answers`.
const MARK: &[u8] = b"stepwell-answers-slot:";
/// Bytes of that slot, the mark included.
const SLOT_BYTES: usize = 4096;

#[test]
fn every_recorded_case_runs_in_the_built_command() {
    let cases = stepwell_cases::all();
    let guest = stepwell_tests::guests::program("answers").expect("the guest");
    let guest = std::fs::read(guest).expect("its component");
    let binary = stepwell_tests::server::binary().expect("the built command");
    let folder = tempfile::tempdir().expect("a folder");
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<(), String>)>> = Mutex::default();
    let in_scope: Vec<&Case> = cases
        .iter()
        .filter(|c| c.out_of_scope().is_none())
        .collect();
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = in_scope.get(at) else {
                        break;
                    };
                    let place = folder.path().join(at.to_string());
                    let result = run(case, &binary, &guest, &place);
                    done.lock().expect("no worker panics").push((at, result));
                }
            });
        }
    });
    let mut table: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for case in &cases {
        if let Some(why) = case.out_of_scope() {
            table.entry(&case.category).or_default()[2] += 1;
            println!("OUT OF SCOPE {}\n    {why}", case.name);
        }
    }
    let mut failures = 0;
    for (at, result) in done.into_inner().expect("no worker panics") {
        let case = in_scope[at];
        let row = table.entry(&case.category).or_default();
        match (result, case.cannot_hold()) {
            (Ok(()), _) => row[0] += 1,
            (Err(_), Some(why)) => {
                row[2] += 1;
                println!("CANNOT {}\n    {why}", case.name);
            }
            (Err(why), None) => {
                row[1] += 1;
                failures += 1;
                println!("FAILED {}\n    {why}", case.name);
            }
        }
    }
    println!("{:<22} passed failed out of scope", "category");
    for (category, [pass, fail, out]) in &table {
        println!("{category:<22} {pass:>6} {fail:>6} {out:>12}");
    }
    let passed: usize = table.values().map(|row| row[0]).sum();
    println!("{passed} of {} cases passed", in_scope.len());
    assert!(passed > 0, "no case ran");
    assert_eq!(failures, 0, "cases that do not hold in the built command");
}

/// Kinds and behaviours that the handed-out cases lack, so that those which come later run.
#[test]
fn kinds_that_no_recording_has() {
    let guest = stepwell_tests::guests::program("answers").expect("the guest");
    let guest = std::fs::read(guest).expect("its component");
    let binary = stepwell_tests::server::binary().expect("the built command");
    let folder = tempfile::tempdir().expect("a folder");
    let check = |name: &str, json: Value, holds: bool| {
        let case = Case {
            name: name.to_owned(),
            category: "made".to_owned(),
            json,
        };
        let result = run(&case, &binary, &guest, &folder.path().join(name));
        assert_eq!(result.is_ok(), holds, "{name}: {result:?}");
    };
    let slow = "arn:aws:lambda:us-east-1:111111111111:function:slow";
    let definition = json!({"StartAt": "A", "States": {"A": {
        "Type": "Task", "Resource": slow, "TimeoutSeconds": 2, "End": true}}});
    let sleeps = json!({"kind": "execution", "input": {}, "definition": definition,
        "task_behaviour": {"slow": {"behaviour": "sleep"}},
        "expected": {"status": "FAILED", "error": "States.Timeout"},
        "expected_history_types": ["ExecutionStarted", "TaskStateEntered", "LambdaFunctionScheduled",
            "LambdaFunctionStarted", "LambdaFunctionTimedOut", "ExecutionFailed"]});
    check("sleeps", sleeps, true);
    let state = |state: Value, expected: Value| json!({"kind": "test_state", "input": {"a": 1}, "definition": state, "expected": expected});
    let pass = json!({"Type": "Pass", "InputPath": "$.a", "Next": "Later"});
    let next = |name: &str| json!({"status": "SUCCEEDED", "output": 1, "nextState": name});
    check("next", state(pass.clone(), next("Later")), true);
    check("other-next", state(pass, next("Now")), false);
    let caught = json!({"Type": "Parallel", "Branches": [{"StartAt": "F", "States": {
        "F": {"Type": "Fail", "Error": "E", "Cause": "c"}}}], "End": true,
        "Catch": [{"ErrorEquals": ["E"], "Next": "Mend"}]});
    let mended = json!({"status": "CAUGHT_ERROR", "error": "E", "cause": "c", "nextState": "Mend",
        "output": {"Error": "E", "Cause": "c"}});
    check("caught", state(caught, mended), true);
    let refused = |kind: &str, definition: &Value| json!({"kind": kind, "input": {}, "definition": definition, "params": {"type": "EXPRESS"}, "expected": {}});
    let good = json!({"Type": "Pass", "End": true});
    check("taken", refused("test_state_error", &good), false);
    let bad = json!({"Type": "Pass", "InputPath": "a", "End": true});
    check("refused", refused("test_state_error", &bad), true);
    let token = json!({"StartAt": "A", "States": {"A": {
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "Parameters": {"FunctionName": "f"}, "End": true}}});
    check(
        "express",
        refused("create_state_machine_error", &token),
        true,
    );
    let validate = |definition: &Value, result: &str| json!({"kind": "validate", "input": {}, "definition": definition, "expected": {"result": result}});
    let good = json!({"StartAt": "A", "States": {"A": good}});
    let bad = json!({"StartAt": "A", "States": {"A": bad}});
    for (definition, result, holds) in [
        (&good, "OK", true),
        (&good, "FAIL", false),
        (&bad, "OK", false),
        (&bad, "FAIL", true),
    ] {
        let name = format!("validate-{result}-{holds}");
        check(&name, validate(definition, result), holds);
    }
}

fn run(case: &Case, binary: &Path, guest: &[u8], place: &Path) -> Result<(), String> {
    let failed = |e: std::io::Error| e.to_string();
    std::fs::create_dir_all(place).map_err(failed)?;
    let (flow, input) = (place.join("flow.json"), place.join("input.json"));
    let history = place.join("history.jsonl");
    std::fs::write(&flow, case.definition()).map_err(failed)?;
    std::fs::write(&input, case.json["input"].to_string()).map_err(failed)?;
    let mut command = Command::new(binary);
    if case.is_validation() && !case.is_refused() {
        let output = command
            .arg("validate")
            .arg(&flow)
            .output()
            .map_err(failed)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let valid = output.status.success();
        return valid.then_some(()).ok_or_else(|| said.into_owned());
    }
    command.arg("run").arg(&flow);
    command.arg("--input").arg(format!("@{}", input.display()));
    command.arg("--history").arg(&history).arg("--virtual-time");
    if case.is_express() {
        command.arg("--express");
    }
    for (name, file) in modules(case, guest, place)? {
        command
            .arg("--module")
            .arg(format!("{name}={}", file.display()));
    }
    let output = command.stdin(Stdio::null()).output().map_err(failed)?;
    let status = output.status.code();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = match () {
        () if case.is_refused() => 2,
        () if ends_well(case) => 0,
        () => 1,
    };
    if status != Some(expected) {
        return Err(format!("exit status {status:?}, not {expected}: {stderr}"));
    }
    if case.is_refused() {
        let silent = output.stdout.is_empty() && !stderr.is_empty();
        let spoke = "a refusal belongs on standard error, all of it";
        return silent.then_some(()).ok_or_else(|| spoke.into());
    }
    let said: Value = serde_json::from_slice(&output.stdout).map_err(|e| {
        let text = String::from_utf8_lossy(&output.stdout);
        format!("standard output is no JSON ({e}): {text}")
    })?;
    let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
    let ended = Ended {
        status: text("status"),
        output: said.get("output").cloned(),
        failure: said.get("error").map(|_| (text("error"), text("cause"))),
    };
    let lines = std::fs::read_to_string(&history).map_err(failed)?;
    let lines: Result<Vec<Value>, _> = lines.lines().map(serde_json::from_str).collect();
    let lines = lines.map_err(|e| format!("the history is no JSON: {e}"))?;
    compare(case, &ended, Some(&lines))
}

/// A single state that catches an error goes on.
fn ends_well(case: &Case) -> bool {
    let status = case.json["expected"]["status"].as_str();
    matches!(status, Some("SUCCEEDED" | "CAUGHT_ERROR"))
}

/// A component for each function of the case, with its behaviour in the slot.
fn modules(case: &Case, guest: &[u8], place: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let mut out = Vec::new();
    let functions = case.json["task_behaviour"].as_object();
    for (i, (name, spec)) in functions.into_iter().flatten().enumerate() {
        let file = place.join(format!("function-{i}.wasm"));
        std::fs::write(&file, with_answer(guest, spec)?).map_err(|e| e.to_string())?;
        out.push((name.clone(), file));
    }
    Ok(out)
}

fn with_answer(guest: &[u8], spec: &Value) -> Result<Vec<u8>, String> {
    let mut found = guest.windows(MARK.len()).enumerate();
    let mut at = || found.find(|(_, bytes)| *bytes == MARK).map(|(at, _)| at);
    let begin = at().ok_or("the guest has no slot")? + MARK.len();
    if at().is_some() {
        return Err("the guest has two slots".into());
    }
    let text = spec.to_string();
    if text.len() > SLOT_BYTES - MARK.len() {
        return Err("the behaviour is too long for the slot".into());
    }
    let mut out = guest.to_vec();
    out[begin..begin + text.len()].copy_from_slice(text.as_bytes());
    Ok(out)
}
