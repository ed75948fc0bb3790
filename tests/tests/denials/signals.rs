//! Signals, executions that steps start, and task tokens: what is not granted, names and ids that are
//! none, and what was never given out.

use serde_json::{Value, json};

use super::house::{House, Row, ask, run};

const UNGRANTED: &str = "Stepwell.NotGranted";
/// Waits for one signal, and ends.
pub const TAKER: &str = "StartAt: W\nStates:\n  W: {Type: Task, Resource: \"signal:wait\", Parameters: {Name: go}, End: true}\n";

/// What is no name of a flow, an execution or a signal.
fn no_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "",
        " ",
        "a b",
        "-x",
        ".",
        "..",
        "../taker",
        "a/b",
        "go\n",
        "go\r\nx: y",
        "go\u{0}",
        "go\u{202e}",
        "gö",
        "ｇｏ",
        "go;id",
        "$(id)",
    ]
    .map(str::to_owned)
    .into();
    names.push("g".repeat(129));
    names
}

/// What is no execution's id, whatever it looks like.
fn no_ids(id: &str) -> Vec<String> {
    vec![
        String::new(),
        "x".into(),
        format!("{id}\u{0}"),
        format!("{id} "),
        format!("{id}0"),
        id[..25].into(),
        format!("../{id}"),
        "Z".repeat(26),
        "０".repeat(26),
    ]
}

pub fn rows(house: &House) -> Vec<Row> {
    let mut rows = Vec::new();
    by_task(house, &mut rows);
    by_step(house, &mut rows);
    by_request(house, &mut rows);
    rows
}

fn by_task(house: &House, rows: &mut Vec<Row>) {
    let invalid = "Stepwell.SignalInvalid";
    let mut send = |call: Value, error| rows.push(run("send", &call.to_string(), call, error));
    let to = |name: &str| json!({"Name": name, "Flow": "taker", "ExecutionName": "t"});
    let changed = |field: &str, value: Value| {
        let mut call = to("later");
        call[field] = value;
        call
    };
    send(to("later"), "");
    for name in no_names() {
        send(to(&name), invalid);
        send(changed("Flow", json!(name)), invalid);
        send(changed("ExecutionName", json!(name)), invalid);
    }
    for id in no_ids(&house.sealed) {
        send(json!({"Name": "later", "Execution": id}), invalid);
    }
    // Who sends is not the sender's to say, and nobody is meant twice.
    send(changed("Sender", json!(house.sealed)), invalid);
    send(changed("Execution", json!(house.sealed)), invalid);
    send(json!({"Name": "later"}), invalid);
    send(json!({"Name": "later", "Flow": "taker"}), invalid);
    send(
        json!({"Name": ["later"], "Flow": "taker", "ExecutionName": "t"}),
        invalid,
    );
    let missing = "Stepwell.NoExecution";
    send(
        json!({"Name": "later", "Execution": "0".repeat(26)}),
        missing,
    );
    send(changed("Flow", json!("sealed")), missing);
    send(changed("Flow", json!("TAKER")), missing);
    let large = "x".repeat(1 << 20);
    let row = run(
        "send",
        "too much data",
        changed("Data", json!(large)),
        "Stepwell.SignalTooLarge",
    );
    rows.push(row);
    let mut wait = |call: Value| rows.push(run("wait", &call.to_string(), call, invalid));
    for name in no_names() {
        wait(json!({ "Name": name }));
        wait(json!({"Name": ["go", name]}));
    }
    wait(json!({"Name": []}));
    wait(json!({"Name": (0..17).map(|n| format!("n{n}")).collect::<Vec<_>>()}));
    wait(json!({"Name": {"of": "anybody"}}));
    wait(json!({"Name": "go", "Execution": house.sealed}));
    wait(json!({}));
}

fn by_step(house: &House, rows: &mut Vec<Row>) {
    let start = |flow: &str, name: Value| json!([{"do": "start", "flow": flow, "name": name}]);
    let by_id = |to: &str, name: &str| json!([{"do": "signal", "to": to, "name": name}]);
    let named = |flow: &str, execution: &str, name: &str| json!([{"do": "signal", "flow": flow, "execution": execution, "name": name}]);
    for acts in [
        start("taker", Value::Null),
        by_id(&house.taker, "go"),
        by_id(&"0".repeat(26), "go"),
        named("taker", "t", "go"),
    ] {
        rows.push(run("executions-none", &acts.to_string(), acts, UNGRANTED));
    }
    let mut act =
        |acts: Value, error| rows.push(run("executions-some", &acts.to_string(), acts, error));
    act(start("taker", Value::Null), "");
    act(by_id(&house.taker, "later"), "");
    act(named("taker", "t", "later"), "");
    for flow in [
        "sealed",
        "executions-some",
        "TAKER",
        "taker ",
        "taker\u{0}",
        "taker/../sealed",
        "../sealed",
        "*",
        "",
    ] {
        act(start(flow, Value::Null), UNGRANTED);
        act(named(flow, "s", "go"), UNGRANTED);
    }
    act(by_id(&house.sealed, "go"), UNGRANTED);
    let (invalid, missing) = ("Stepwell.ExecutionInvalid", "Stepwell.NoExecution");
    for name in no_names() {
        act(start("taker", json!(name)), invalid);
        act(by_id(&house.taker, &name), invalid);
        act(named("taker", &name, "later"), missing);
    }
    for id in no_ids(&house.taker) {
        act(by_id(&id, "later"), invalid);
    }
    act(by_id(&"0".repeat(26), "later"), missing);
    act(start("gone", Value::Null), "Stepwell.NoFlow");
    let large =
        json!([{"do": "signal", "to": house.taker, "name": "later", "data": "x".repeat(1 << 20)}]);
    rows.push(run("executions-some", "too much data", large, invalid));
    let slips = json!([{"do": "signal", "to": house.taker, "name": "later", "secret": "token"}]);
    rows.push(run(
        "executions-some",
        "a secret that slips out",
        slips,
        "Stepwell.SecretInOutput",
    ));
}

/// Paths that clients may have made up.
fn by_request(house: &House, rows: &mut Vec<Row>) {
    let mut post = |path: String, error| rows.push(ask("POST", &path, b"{}", error));
    let (taker, sealed) = (&house.taker, &house.sealed);
    post(format!("/v1/executions/{taker}/signals/later"), "");
    for name in ["a%20b", "%2e%2e%2fgo", "go%00", "go%0a", "g%C3%B6", "-x"] {
        post(format!("/v1/executions/{taker}/signals/{name}"), "RUN0014");
    }
    for id in ["x", "%00", "..%2fx"] {
        post(format!("/v1/executions/{id}/signals/go"), "API0008");
    }
    post(format!("/v1/executions/{sealed}x/signals/go"), "API0008");
    post(
        format!("/v1/executions/{}/signals/go", "0".repeat(26)),
        "RUN0001",
    );
    // A token that nobody was given answers nothing.
    for end in ["succeed", "fail", "heartbeat"] {
        for token in [sealed.as_str(), "x", "%00", "..%2f..%2fx"] {
            post(format!("/v1/tasks/{token}/{end}"), "API0008");
        }
        post(format!("/v1/tasks/{}/{end}", "A".repeat(59)), "RUN0009");
    }
}
