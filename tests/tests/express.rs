//! Express executions on the real server and in the built command: their answers, what is
//! kept of them, and what a `kill -9` in the middle leaves.
//!
//! A receiver outside counts the calls, since it alone remembers what a dead process did.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::bridges::ask::started;
use stepwell_tests::crash::receiver::Receiver;
use stepwell_tests::guests;
use stepwell_tests::server;
use stepwell_tests::wait::until;

/// The same in two languages: fails where the input says `bad`, else gives it back.
const ASL: &str = r#"{"StartAt": "Which", "States": {
    "Which": {"Type": "Choice", "Choices": [{"Variable": "$.bad", "BooleanEquals": true, "Next": "No"}], "Default": "Echo"},
    "No": {"Type": "Fail", "Error": "TooBad", "Cause": "as asked"},
    "Echo": {"Type": "Task", "Resource": "wasm:echo", "End": true}}}"#;
const CLOUDFLOW: &str = "
Type: StateMachine
SpecVersion: v1
Name: either
StartAt: Which
States:
  - Type: Choice
    Name: Which
    Branches:
      - Condition: $Input.bad == true
        Next: No
    Default: Echo
  - Type: Fail
    Name: No
    Code: TooBad
    Detail: as asked
  - Type: Task
    Name: Echo
    Action: FC:InvokeFunction
    Parameters:
      resourceArn: acs:fc:r:1:functions/echo
      body.$: $Input
    End: true
";
/// Calls out, then rests long enough to be killed.
const CALLS: &str = r#"{"StartAt": "Call", "States": {
    "Call": {"Type": "Task", "Resource": "http:request", "ResultPath": "$.called", "Next": "Rest",
        "Parameters": {"method": "POST", "url.$": "$.url", "body": {"case.$": "$.case"}}},
    "Rest": {"Type": "Wait", "Seconds": 3, "Next": "Out"},
    "Out": {"Type": "Pass", "Parameters": {"case.$": "$.case"}, "End": true}}}"#;

/// What the receiver has got for a case: the key of each call.
fn calls(receiver: &Receiver, case: u64) -> Vec<String> {
    let (all, wrong) = receiver.calls();
    assert!(wrong.is_empty(), "{wrong:?}");
    let of_case = all.into_iter().filter(|c| c.body["case"] == case);
    of_case.map(|c| c.key).collect()
}

#[test]
fn a_history_is_kept_only_when_asked_in_each_language() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (_server, api) = started(dir.path(), "")?;
    api.upload("echo", &guests::program("echo")?)?;
    let mut forgotten = Vec::new();
    for (language, definition) in [("asl", ASL), ("cloudflow", CLOUDFLOW)] {
        for keep in ["none", "errors", "all"] {
            let flow = format!("{language}-{keep}");
            api.publish(&format!("{flow}?type=express&history={keep}"), definition)?;
            for bad in [false, true] {
                let input = if bad {
                    r#"{"bad": true}"#
                } else {
                    r#"{"bad": false}"#
                };
                let ended = api.run(&flow, input).context(flow.clone())?;
                let status = if bad { "FAILED" } else { "SUCCEEDED" };
                assert_eq!(ended["status"], status, "{flow}: {ended}");
                assert_eq!(ended["type"], "EXPRESS", "{flow}: {ended}");
                match bad {
                    true => assert_eq!(ended["error"], "TooBad", "{flow}: {ended}"),
                    false => assert_eq!(ended["output"], json!({"bad": false}), "{flow}: {ended}"),
                }
                let id = ended["id"].as_str().context("no id")?;
                let place = format!("/v1/executions/{id}/history");
                let kept = keep == "all" || (keep == "errors" && bad);
                if !kept {
                    forgotten.push(place);
                    continue;
                }
                // The answer comes from memory; what is kept is durable a moment later.
                let events = until("the history", || {
                    let history = api.get(&place)?;
                    Ok(history.body["events"].as_array().cloned())
                })?;
                let first = &events.first().context("none")?["type"];
                let last = &events.last().context("none")?["type"];
                let end = match bad {
                    true => "ExecutionFailed",
                    false => "ExecutionSucceeded",
                };
                assert_eq!((first, last), (&json!("ExecutionStarted"), &json!(end)));
            }
        }
    }
    // Later ones were written by now.
    for place in forgotten {
        let answer = api.get(&place)?;
        assert_eq!(answer.body["code"], "RUN0001", "{place}: {answer:?}");
    }
    Ok(())
}

#[test]
fn what_needs_a_durable_execution_is_refused() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (_server, api) = started(dir.path(), "")?;
    api.upload("echo", &guests::program("echo")?)?;
    api.publish("child", "StartAt: P\nStates: {P: {Type: Pass, End: true}}")?;
    for task in [
        r#""Resource": "callback""#,
        r#""Resource": "activity:print""#,
        r#""Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken", "Parameters": {"FunctionName": "echo", "Payload": {"t.$": "$$.Task.Token"}}"#,
        r#""Resource": "flow:start", "Parameters": {"StateMachineArn": "child", "Input": {}}"#,
    ] {
        let definition = format!(
            r#"{{"StartAt": "T", "States": {{"T": {{"Type": "Task", {task}, "End": true}}}}}}"#
        );
        let answer = api.send("PUT", "/v1/flows/f?type=express", definition)?;
        let said = answer.body.to_string();
        ensure!(answer.status == 422, "{task}: {answer:?}");
        ensure!(said.contains("FLOW0036"), "{task}: {said}");
    }
    Ok(())
}

#[test]
fn a_killed_server_forgets_those_that_were_waited_for() -> Result<()> {
    let receiver = Receiver::start()?;
    let dir = tempfile::tempdir()?;
    let config = format!("[http]\nallow = [\"{}\"]\n", receiver.address());
    let (mut server, api) = started(dir.path(), &config)?;
    api.publish("calls?type=express&history=all", CALLS)?;
    let url = server.url();
    let input = json!({"url": receiver.url(), "case": 1}).to_string();
    let waiter = std::thread::spawn(move || Api::new(&url)?.run("calls", &input));
    until("the call", || {
        Ok((!calls(&receiver, 1).is_empty()).then_some(()))
    })?;
    server.again()?;
    let told = waiter.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
    ensure!(told.is_err(), "the client was told of an end: {told:?}");
    let listed = api.get("/v1/executions?flow=calls")?;
    assert_eq!(listed.body["executions"], json!([]), "{listed:?}");
    // Longer than the rest of its life: at most once means that it does not come back.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(calls(&receiver, 1).len(), 1);
    // The next one is as good as ever.
    let ended = api.run(
        "calls",
        &json!({"url": receiver.url(), "case": 2}).to_string(),
    )?;
    assert_eq!(ended["output"], json!({"case": 2}), "{ended}");
    Ok(())
}

#[test]
fn a_killed_server_begins_those_again_that_it_accepted() -> Result<()> {
    let receiver = Receiver::start()?;
    let dir = tempfile::tempdir()?;
    let config = format!("[http]\nallow = [\"{}\"]\n", receiver.address());
    let (mut server, api) = started(dir.path(), &config)?;
    for keep in ["none", "all"] {
        api.publish(&format!("calls-{keep}?type=express&history={keep}"), CALLS)?;
    }
    let mut accepted = Vec::new();
    for (case, keep) in [(1, "none"), (2, "all")] {
        let input = json!({"url": receiver.url(), "case": case}).to_string();
        let answer = api.send("POST", &format!("/v1/flows/calls-{keep}/executions"), input)?;
        ensure!(answer.status == 202, "{answer:?}");
        let id = answer.body["id"].as_str().context("no id")?.to_owned();
        accepted.push((case, keep, id));
    }
    for (case, ..) in &accepted {
        until("the call", || {
            Ok((!calls(&receiver, *case).is_empty()).then_some(()))
        })?;
    }
    server.again()?;
    for (case, keep, id) in accepted {
        let ended = until("the end", || {
            let shown = api.get(&format!("/v1/executions/{id}"))?.body;
            Ok((shown["status"] != "RUNNING").then_some(shown))
        })?;
        assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
        assert_eq!(ended["output"], json!({"case": case}), "{ended}");
        // Begun again from its start: the call was made twice, under one key.
        let keys = calls(&receiver, case);
        assert_eq!(keys.len(), 2, "{keys:?}");
        assert_eq!(keys[0], keys[1]);
        let history = api.get(&format!("/v1/executions/{id}/history"))?;
        match keep {
            "all" => {
                let events = history.body["events"].as_array().context("no events")?;
                let calls = events.iter().filter(|e| e["type"] == "TaskScheduled");
                assert_eq!(calls.count(), 1, "the history is that of the whole run");
                assert_eq!(events.last().context("none")?["type"], "ExecutionSucceeded");
            }
            _ => assert_eq!(history.body["code"], "RUN0020", "{history:?}"),
        }
        let redrive = api.send("POST", &format!("/v1/executions/{id}/redrive"), "{}")?;
        assert_eq!(redrive.body["code"], "RUN0018", "{redrive:?}");
    }
    Ok(())
}

fn one_shot(
    dir: &Path,
    definition: &str,
    arguments: &[&str],
) -> Result<(Option<i32>, Value, String)> {
    let flow = dir.join("flow.txt");
    std::fs::write(&flow, definition)?;
    let output = Command::new(server::binary()?)
        .arg("run")
        .arg(&flow)
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    let said = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let remarks = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code(), said, remarks))
}

#[test]
fn the_one_shot_command_runs_express_ones() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let history = dir.path().join("history.jsonl");
    let file = history.to_str().context("a strange folder")?;
    let pass = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#;
    let arguments = ["--express", "--input", "[7]", "--history", file];
    let (status, said, _) = one_shot(dir.path(), pass, &arguments)?;
    assert_eq!((status, &said["output"]), (Some(0), &json!([7])));
    let kinds: Vec<Value> = std::fs::read_to_string(&history)?
        .lines()
        .map(|line| Ok(serde_json::from_str::<Value>(line)?["type"].clone()))
        .collect::<Result<_>>()?;
    let all = [
        "ExecutionStarted",
        "PassStateEntered",
        "PassStateExited",
        "ExecutionSucceeded",
    ];
    assert_eq!(kinds, all);
    // Five minutes are the most, whatever the flow says.
    let long = r#"{"TimeoutSeconds": 9000, "StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 301, "End": true}}}"#;
    let (status, said, _) = one_shot(dir.path(), long, &["--express", "--virtual-time"])?;
    assert_eq!((status, &said["status"]), (Some(1), &json!("TIMED_OUT")));
    let (status, said, _) = one_shot(dir.path(), long, &["--virtual-time"])?;
    assert_eq!((status, &said["status"]), (Some(0), &json!("SUCCEEDED")));
    let ask = r#"{"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "callback", "End": true}}}"#;
    let (status, said, remarks) = one_shot(dir.path(), ask, &["--express"])?;
    assert_eq!((status, said), (Some(2), Value::Null));
    ensure!(remarks.contains("FLOW0036"), "{remarks}");
    Ok(())
}
