//! Steps that start executions and send them signals: once, whatever dies, and only where they
//! were granted it.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::guests;
use stepwell_tests::house::{House, one_state};
use stepwell_tests::server::binary;
use stepwell_tests::wait::until;

/// Waits for one signal, and ends with its data.
const TAKER: &str = "StartAt: W\nStates:\n  W: {Type: Task, Resource: \"signal:wait\", Parameters: {Name: go}, OutputPath: $.Data, End: true}\n";
const PASS: &str = "StartAt: P\nStates:\n  P: {Type: Pass, End: true}\n";

fn house() -> Result<House> {
    let house = House::new("")?;
    for (name, flow) in [("taker", TAKER), ("pass", PASS), ("other", TAKER)] {
        house.api.publish(name, flow)?;
    }
    Ok(house)
}

/// Uploads the guest with this manifest, and publishes a flow of it.
fn module(house: &House, grants: &Value, more: &str) -> Result<()> {
    let wasm = guests::program("executions")?;
    house.api.upload_granted("executions", &wasm, grants)?;
    house.api.publish("acts", &flow(more))
}

fn start(house: &House, acts: &Value) -> Result<String> {
    house.api.start("acts", acts.to_string())
}

fn children(house: &House, id: &str) -> Result<Vec<Value>> {
    let path = format!("/v1/executions?parent={id}&limit=1000");
    let page = house.api.get(&path)?.body;
    Ok(page["executions"].as_array().cloned().unwrap_or_default())
}

/// How many signals came to an execution.
fn came(house: &House, id: &str) -> Result<usize> {
    let history = house.api.get(&format!("/v1/executions/{id}/history"))?;
    let history = history.body.to_string();
    Ok(history.matches("\"SignalReceived\"").count())
}

#[track_caller]
fn fails(house: &House, acts: Value, error: &str) {
    house.check("acts", &acts, &json!(error));
}

fn flow(more: &str) -> String {
    one_state("executions", &format!(", TimeoutSeconds: 120{more}"))
}

#[test]
fn a_step_starts_an_execution_and_tells_it_to_go_on() -> Result<()> {
    let house = house()?;
    module(&house, &json!({"flows": ["taker", "pass"]}), "")?;
    let acts = json!([
        {"do": "start", "flow": "taker", "input": {"of": "a step"}},
        {"do": "signal", "name": "go", "data": {"n": 1}},
        {"do": "start", "flow": "taker", "name": "named"},
        {"do": "start", "flow": "taker", "name": "named"},
        {"do": "signal", "flow": "taker", "execution": "named", "name": "go", "data": 2},
        {"do": "start", "flow": "pass", "input": [7]},
    ]);
    let id = start(&house, &acts)?;
    let shown = house.api.ended(&id)?;
    let told = &shown["output"];
    assert_eq!(told[2], told[3], "{shown}");
    assert_eq!(told[4], told[2]);
    let child = house.api.ended(told[0].as_str().unwrap_or_default())?;
    assert_eq!(child["output"], json!({"n": 1}), "{child}");
    assert_eq!(child["input"], json!({"of": "a step"}));
    assert_eq!(child["parent"], json!(id));
    assert_eq!(child["name"], json!(format!("{id}-1-0")));
    let named = house.api.ended(told[2].as_str().unwrap_or_default())?;
    assert_eq!(
        (&named["output"], &named["name"]),
        (&json!(2), &json!("named"))
    );
    assert_eq!(children(&house, &id)?.len(), 3);
    house.api.replays_the_same(&id)?;
    assert_eq!(children(&house, &id)?.len(), 3, "a replay starts nothing");
    Ok(())
}

#[test]
fn what_the_manifest_does_not_name_is_refused_and_mistakes_have_names() -> Result<()> {
    let house = house()?;
    let other = house
        .api
        .send("POST", "/v1/flows/other/executions?name=o", "{}")?;
    let other = other.body["id"].as_str().unwrap_or_default().to_owned();
    let start = json!([{"do": "start", "flow": "taker"}]);
    module(&house, &json!({}), "")?;
    fails(&house, start.clone(), "Stepwell.NotGranted");
    module(&house, &json!({"flows": ["other"]}), "")?;
    fails(&house, start, "Stepwell.NotGranted");
    module(
        &house,
        &json!({"flows": ["taker", "gone"], "secrets": ["pin"]}),
        "",
    )?;
    let secret = house
        .api
        .send("PUT", "/v1/secrets/pin", "correct-horse-battery")?;
    ensure!(secret.status < 300, "{secret:?}");
    let by_id = json!([{"do": "signal", "to": other, "name": "go"}]);
    fails(&house, by_id, "Stepwell.NotGranted");
    let by_name = json!([{"do": "signal", "flow": "other", "execution": "o", "name": "go"}]);
    fails(&house, by_name, "Stepwell.NotGranted");
    assert_eq!(came(&house, &other)?, 0);
    fails(
        &house,
        json!([{"do": "start", "flow": "gone"}]),
        "Stepwell.NoFlow",
    );
    let odd = json!([{"do": "start", "flow": "taker", "name": "a b"}]);
    fails(&house, odd, "Stepwell.ExecutionInvalid");
    let taken = json!([
        {"do": "start", "flow": "taker", "name": "t", "input": 1},
        {"do": "start", "flow": "taker", "name": "t", "input": 2},
    ]);
    fails(&house, taken, "Stepwell.NameTaken");
    let t = |name: &str| json!({"do": "signal", "flow": "taker", "execution": "t", "name": name});
    fails(&house, json!([t("a b")]), "Stepwell.ExecutionInvalid");
    fails(&house, json!([t("go"), t("go")]), "Stepwell.ExecutionEnded");
    let nobody = json!([{"do": "signal", "flow": "taker", "execution": "nobody", "name": "go"}]);
    fails(&house, nobody, "Stepwell.NoExecution");
    let nobody = json!([{"do": "signal", "to": "0".repeat(26), "name": "go"}]);
    fails(&house, nobody, "Stepwell.NoExecution");
    let large = json!([{"do": "start", "flow": "taker"}, {"do": "signal", "name": "x", "data": "y".repeat(1 << 20)}]);
    fails(&house, large, "Stepwell.ExecutionInvalid");
    let slips =
        json!([{"do": "start", "flow": "taker"}, {"do": "signal", "name": "go", "secret": "pin"}]);
    fails(&house, slips, "Stepwell.SecretInOutput");
    Ok(())
}

#[test]
fn a_wider_manifest_is_shown_and_wants_to_be_confirmed() -> Result<()> {
    let house = house()?;
    module(&house, &json!({"flows": ["taker"]}), "")?;
    let wasm = std::fs::read(guests::program("executions")?)?;
    let wider = json!({"flows": ["taker", "pass"]}).to_string();
    let wider: String = url::form_urlencoded::byte_serialize(wider.as_bytes()).collect();
    let path = format!("/v1/modules/executions?grants={wider}");
    let refused = house.api.send("PUT", &path, wasm)?;
    assert_eq!(refused.status, 409, "{refused:?}");
    assert_eq!(refused.body["code"], "RUN0027");
    assert_eq!(refused.body["beyond"], json!(["flow pass"]));
    let (_, text) = house.api.cli(&["module", "describe", "executions"])?;
    ensure!(text.contains("flow") && text.contains("taker"), "{text}");
    Ok(())
}

#[test]
fn a_retry_starts_and_sends_nothing_twice() -> Result<()> {
    let house = house()?;
    let retry = ", Retry: [{ErrorEquals: [Test.Failed], IntervalSeconds: 1, MaxAttempts: 3}]";
    module(&house, &json!({"flows": ["taker"]}), retry)?;
    let acts = json!([
        {"do": "start", "flow": "taker"},
        {"do": "signal", "name": "early"},
        {"do": "fail", "until": 2},
        {"do": "signal", "name": "go", "data": 1},
    ]);
    let id = start(&house, &acts)?;
    let shown = house.api.ended(&id)?;
    assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    let children = children(&house, &id)?;
    assert_eq!(children.len(), 1, "{children:?}");
    let child = children[0]["id"].as_str().unwrap_or_default();
    assert_eq!(house.api.ended(child)?["output"], 1);
    assert_eq!(came(&house, child)?, 2);
    Ok(())
}

#[test]
fn a_killed_server_starts_and_sends_nothing_twice_and_loses_nothing() -> Result<()> {
    const ROUNDS: usize = 40;
    let mut house = house()?;
    module(&house, &json!({"flows": ["taker"]}), "")?;
    let mut acts = Vec::new();
    for n in 0..ROUNDS {
        acts.push(json!({"do": "start", "flow": "taker", "input": n}));
        acts.push(json!({"do": "signal", "name": "go", "data": n}));
    }
    let acts = Value::Array(acts);
    let ids = [
        start(&house, &acts)?,
        start(&house, &acts)?,
        start(&house, &acts)?,
    ];
    for kill in 0..10 {
        // Spread over their work, and at another moment of it each time.
        until("so many children", || {
            let all = ids
                .iter()
                .map(|id| -> Result<usize> { Ok(children(&house, id)?.len()) });
            let all: Result<usize> = all.sum();
            Ok((all? >= 11 * kill).then_some(()))
        })?;
        std::thread::sleep(Duration::from_millis(3 * kill as u64));
        house.server.again()?;
    }
    for id in ids {
        let shown = house.api.ended(&id)?;
        assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
        let children = children(&house, &id)?;
        assert_eq!(children.len(), ROUNDS, "{children:?}");
        for child in children {
            let child = child["id"].as_str().unwrap_or_default();
            let shown = house.api.ended(child)?;
            assert_eq!(shown["output"], shown["input"], "{shown}");
            assert_eq!(came(&house, child)?, 1, "{child}");
        }
    }
    Ok(())
}

#[test]
fn a_one_shot_run_has_the_same_door() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("acts.yaml"), flow(""))?;
    std::fs::write(path("taker.yaml"), TAKER)?;
    std::fs::write(path("grants.json"), r#"{"flows": ["taker"]}"#)?;
    let acts = json!([
        {"do": "start", "flow": "taker"},
        {"do": "signal", "name": "go", "data": 3},
        {"do": "signal", "name": "go", "data": 4},
    ]);
    let out = Command::new(binary()?)
        .args(["run", &path("acts.yaml"), "--virtual-time"])
        .args(["--flow", &format!("taker={}", path("taker.yaml"))])
        .args([
            "--module",
            &format!("executions={}", guests::program("executions")?.display()),
        ])
        .args(["--grants", &format!("executions={}", path("grants.json"))])
        .args(["--input", &acts.to_string()])
        .output()?;
    let text = String::from_utf8(out.stdout)?;
    let shown: Value = serde_json::from_str(&text)
        .with_context(|| text + &String::from_utf8_lossy(&out.stderr))?;
    assert_eq!(shown["error"], "Stepwell.ExecutionEnded", "{shown}");
    Ok(())
}
