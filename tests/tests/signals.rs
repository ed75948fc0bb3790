//! Signals to executions of the real server: by API and command line, early and late, over kills.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::house::House;
use stepwell_tests::server::binary;
use stepwell_tests::wait::until;

/// Waits for a payment, then for the first of two further signals, and answers the last's sender.
const ORDER: &str = r#"
StartAt: Paid
States:
  Paid:
    Type: Task
    Resource: signal:wait
    Parameters: {Name: paid}
    ResultPath: $.paid
    Next: Way
  Way:
    Type: Task
    Resource: signal:wait
    TimeoutSeconds: 60
    Parameters: {Name: [shipped, lost]}
    ResultPath: $.way
    Catch: [{ErrorEquals: [States.Timeout], ResultPath: $.late, Next: Late}]
    End: true
  Late: {Type: Pass, End: true}
"#;
/// Sends one to an execution by its name, and then by its id.
const CLERK: &str = r#"
StartAt: Paid
States:
  Paid:
    Type: Task
    Resource: signal:send
    Parameters: {Flow: order, "ExecutionName.$": $.order, Name: paid, Data: {amount: 12}}
    ResultPath: $.sent
    Next: Lost
  Lost:
    Type: Task
    Resource: signal:send
    Parameters: {"Execution.$": $.sent.Execution, Name: lost}
    Catch: [{ErrorEquals: [Stepwell.ExecutionEnded], ResultPath: $.refused, Next: Over}]
    End: true
  Over: {Type: Pass, End: true}
"#;

fn house() -> Result<House> {
    let house = House::new("")?;
    house.api.publish("order", ORDER)?;
    house.api.publish("clerk", CLERK)?;
    Ok(house)
}

fn start(house: &House, name: &str) -> Result<String> {
    let path = format!("/v1/flows/order/executions?name={name}");
    let answer = house.api.send("POST", &path, "{}")?;
    let id = answer.body["id"].as_str().map(str::to_owned);
    id.with_context(|| format!("{answer:?}"))
}

fn signal(house: &House, path: &str, key: Option<&str>, data: &str) -> Result<(u16, Value)> {
    let headers: Vec<_> = key
        .map(|key| ("idempotency-key", key))
        .into_iter()
        .collect();
    let path = format!("/v1/{path}");
    let answer = house
        .api
        .send_with("POST", &path, &headers, data.to_owned())?;
    Ok((answer.status, answer.body["code"].clone()))
}

/// The metric of signals has this value, in a moment.
fn counts(house: &House, outcome: &str, value: u64) -> Result<()> {
    let line = format!("stepwell_signals_total{{outcome=\"{outcome}\"}} {value}\n");
    until(&line, || {
        let text = house.api.get("/metrics")?.body;
        let there = text.as_str().is_some_and(|text| text.contains(&line));
        Ok(there.then_some(()))
    })
}

/// The command line with something on its standard input.
fn cli(house: &House, args: &[&str], input: &str) -> Result<(Option<i32>, String)> {
    let mut child = Command::new(binary()?)
        .args(["--url", &house.server.url()])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("its input")?
        .write_all(input.as_bytes())?;
    let out = child.wait_with_output()?;
    let text = [out.stdout, out.stderr].concat();
    Ok((out.status.code(), String::from_utf8(text)?))
}

#[test]
fn signals_come_once_early_or_late_and_over_kills() -> Result<()> {
    let mut house = house()?;
    let id = start(&house, "o-1")?;
    let paid = format!("executions/{id}/signals/paid");
    // What is for later comes first.
    let shipped = "flows/order/executions/o-1/signals/shipped";
    let done = (204, Value::Null);
    assert_eq!(signal(&house, shipped, Some("parcel"), r#"{"n":1}"#)?, done);
    house.server.again()?;
    assert_eq!(signal(&house, shipped, Some("parcel"), r#"{"n":1}"#)?, done);
    let other = signal(&house, shipped, Some("parcel"), r#"{"n":2}"#)?;
    assert_eq!(other, (409, json!("RUN0031")));
    assert_eq!(signal(&house, &paid, None, r#"{"amount":12}"#)?, done);
    let shown = house.api.ended(&id)?;
    assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    assert_eq!(shown["output"]["paid"]["Data"], json!({"amount": 12}));
    assert_eq!(shown["output"]["paid"]["Sender"], Value::Null);
    assert_eq!(shown["output"]["way"]["Name"], "shipped");
    assert_eq!(shown["output"]["way"]["Data"], json!({"n": 1}));
    // A repetition is none of an execution that has ended; another signal is.
    assert_eq!(signal(&house, shipped, Some("parcel"), r#"{"n":1}"#)?, done);
    assert_eq!(signal(&house, &paid, None, "{}")?, (409, json!("RUN0011")));
    let path = format!("/v1/executions/{id}/history");
    let history = house.api.get(&path)?.body.to_string();
    assert_eq!(history.matches("SignalReceived").count(), 2, "{history}");
    Ok(())
}

#[test]
fn refusals_say_why() -> Result<()> {
    let house = house()?;
    let id = start(&house, "o-1")?;
    let paid = format!("executions/{id}/signals/paid");
    let nobody = format!("executions/{}/signals/paid", "0".repeat(26));
    let check = |path: &str, data: &str, status: u16, code: &str| -> Result<()> {
        assert_eq!(
            signal(&house, path, None, data)?,
            (status, json!(code)),
            "{path}"
        );
        Ok(())
    };
    check(&nobody, "{}", 404, "RUN0001")?;
    check(
        "flows/order/executions/o-2/signals/paid",
        "{}",
        404,
        "RUN0001",
    )?;
    check("executions/x/signals/paid", "{}", 400, "API0008")?;
    check(&paid, "{", 400, "API0005")?;
    check(&format!("{paid}%20"), "{}", 400, "RUN0014")?;
    check(&format!("{paid}?a=1"), "{}", 400, "API0004")?;
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    check(&paid, &large, 413, "API0006")?;
    let key = signal(&house, &paid, Some("a b"), "{}")?;
    assert_eq!(key, (400, json!("API0101")));
    let shipped = format!("executions/{id}/signals/shipped");
    for n in 0..1_000 {
        let sent = signal(&house, &shipped, None, &n.to_string())?;
        ensure!(sent.0 == 204, "{n}: {sent:?}");
    }
    check(&shipped, "1000", 429, "RUN0030")?;
    let shown = house.api.get(&format!("/v1/executions/{id}"))?.body;
    assert_eq!(shown["signals_kept"], 1_000, "{shown}");
    let first = shown["signals"].as_array().context("no signals")?;
    assert_eq!((first.len(), &first[99]["bytes"]), (100, &json!(2)));
    assert_eq!(first[0]["name"], "shipped");
    assert!(first[0]["received"].is_string() && first[0]["sender"].is_null());
    let (_, text) = cli(&house, &["describe", &id], "")?;
    ensure!(text.contains("1000: shipped (100), and 900 more"), "{text}");
    counts(&house, "kept", 1_000)?;
    assert_eq!(signal(&house, &paid, None, "")?, (204, Value::Null));
    let shown = house.api.ended(&id)?;
    assert_eq!(shown["output"]["way"]["Data"], 0, "{shown}");
    // The payment, which was waited for.
    counts(&house, "delivered", 1)?;
    counts(&house, "kept", 1_000)?;
    // Of those above only what came to a loop: a name or JSON that is none did not.
    counts(&house, "refused", 2)?;
    let flow = house
        .api
        .send("PUT", "/v1/flows/fast?type=express", ORDER)?;
    assert_eq!((flow.status, &flow.body["code"]), (422, &json!("RUN0008")));
    ensure!(flow.body.to_string().contains("FLOW0036"), "{flow:?}");
    Ok(())
}

#[test]
fn flows_and_the_command_line_send_them_too() -> Result<()> {
    let mut house = house()?;
    let id = start(&house, "o-1")?;
    let path = "/v1/flows/clerk/executions";
    let clerk = house.api.send("POST", path, r#"{"order":"o-1"}"#)?;
    house.server.again()?;
    let clerk = house
        .api
        .ended(clerk.body["id"].as_str().unwrap_or_default())?;
    assert_eq!(clerk["output"]["Execution"], json!(id), "{clerk}");
    let shown = house.api.ended(&id)?;
    assert_eq!(shown["output"]["paid"]["Sender"], clerk["id"], "{shown}");
    assert_eq!(shown["output"]["way"]["Name"], "lost");
    let late = house.api.run("clerk", r#"{"order":"o-1"}"#)?;
    assert_eq!(late["error"], "Stepwell.ExecutionEnded", "{late}");
    let nobody = house.api.run("clerk", r#"{"order":"o-9"}"#)?;
    assert_eq!(nobody["error"], "Stepwell.NoExecution", "{nobody}");

    let id = start(&house, "o-2")?;
    let args = ["signal", id.as_str(), "paid", "--data", "-"];
    let (code, text) = cli(&house, &args, r#"{"amount":3}"#)?;
    assert_eq!(
        (code, text.trim()),
        (Some(0), format!("paid is with {id}").as_str())
    );
    let args = ["signal", "o-2", "lost", "--flow", "order", "--key", "k"];
    assert_eq!(cli(&house, &args, "")?.0, Some(0));
    let shown = house.api.ended(&id)?;
    assert_eq!(shown["output"]["paid"]["Data"], json!({"amount": 3}));
    assert_eq!(shown["output"]["way"]["Data"], json!({}));
    let args = ["signal", id.as_str(), "paid"];
    let (code, text) = cli(&house, &args, "")?;
    assert_eq!(code, Some(4));
    ensure!(text.contains("RUN0011"), "{text}");
    Ok(())
}

#[test]
fn a_one_shot_run_sends_and_takes_and_waits_for_nobody() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let run = |flow: &str| -> Result<Value> {
        let file = dir.path().join("flow.yaml");
        std::fs::write(&file, flow)?;
        let out = Command::new(binary()?)
            .args(["run", "--virtual-time", "--input", "{}"])
            .arg(&file)
            .output()?;
        let text = String::from_utf8(out.stdout)?;
        serde_json::from_str(&text).with_context(|| text + &String::from_utf8_lossy(&out.stderr))
    };
    let own = run(r#"
StartAt: S
States:
  S: {Type: Task, Resource: "signal:send", Parameters: {"Execution.$": $$.Execution.Id, Name: go, Data: 7}, Next: W}
  W: {Type: Task, Resource: "signal:wait", Parameters: {Name: go}, OutputPath: $.Data, End: true}
"#)?;
    assert_eq!(own, json!({"status": "SUCCEEDED", "output": 7}));
    let late = run(r#"
StartAt: W
States:
  W: {Type: Task, Resource: "signal:wait", TimeoutSeconds: 86400, Parameters: {Name: go}, End: true}
"#)?;
    assert_eq!(late["error"], "States.Timeout", "{late}");
    let never = run(r#"
StartAt: W
States:
  W: {Type: Task, Resource: "signal:wait", Parameters: {Name: go}, End: true}
"#)?;
    assert_eq!(never["error"], "Stepwell.NobodyAnswers", "{never}");
    Ok(())
}
