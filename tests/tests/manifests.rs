//! A flow's own manifest bounds its states: what the definition names is refused when it is published,
//! what comes from the data when it runs, in the items of its Maps too.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::api::Answer;
use stepwell_tests::house::House;

const PASS: &str = "StartAt: P\nStates: {P: {Type: Pass, End: true}}";

fn house() -> Result<House> {
    let house = House::new("")?;
    for flow in ["orders", "sealed"] {
        house.api.publish(flow, PASS)?;
    }
    house.api.put_object("in/rows", "1\n2\n")?;
    Ok(house)
}

fn publish(house: &House, name: &str, more: Value, query: &str) -> Result<Answer> {
    let kind = [("content-type", "application/vnd.stepwell.publish+json")];
    let path = format!("/v1/flows/{name}{query}");
    house.api.send_with("PUT", &path, &kind, more.to_string())
}

#[track_caller]
fn published(house: &House, name: &str, definition: &Value, grants: &Value) {
    let body = json!({"definition": definition.to_string(), "grants": grants});
    let answer = publish(house, name, body, "").expect("an answer");
    assert_eq!(answer.status, 201, "{name}: {answer:?}");
}

/// The name of the failure, or nothing, and the output.
#[track_caller]
fn ends(house: &House, flow: &str, input: Value, error: &str) -> Value {
    let shown = house.api.run(flow, &input.to_string()).expect("an answer");
    assert_eq!(
        shown["error"].as_str().unwrap_or_default(),
        error,
        "{flow} {input}: {shown}"
    );
    shown["output"].clone()
}

fn one(state: Value) -> Value {
    let mut state = state;
    state["End"] = json!(true);
    json!({"StartAt": "S", "States": {"S": state}})
}

/// A Map whose items each do this, and say how they were refused.
fn each(kind: &str, task: Value) -> Value {
    let mut task = task;
    task["Catch"] = json!([{"ErrorEquals": ["States.ALL"], "Next": "Refused"}]);
    task["Next"] = json!("Done");
    one(json!({"Type": "Map", "ItemsPath": "$", "ItemProcessor": {
    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": kind}, "StartAt": "T", "States": {
        "T": task,
        "Done": {"Type": "Pass", "Result": "done", "End": true},
        "Refused": {"Type": "Pass", "InputPath": "$.Error", "End": true},
    }}}))
}

#[test]
fn what_a_definition_names_is_refused_when_it_is_published() -> Result<()> {
    let house = house()?;
    let map = one(json!({"Type": "Map",
        "ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSONL"},
            "Parameters": {"Bucket": "in", "Key": "rows"}},
        "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED"}, "StartAt": "T", "States": {"T": {
            "Type": "Task", "Resource": "flow:start", "Parameters": {"StateMachineArn": "orders"}, "End": true}}},
        "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "out"}}}));
    let with = |grants: Value| json!({"definition": map.to_string(), "grants": grants});
    let some = json!({"buckets": [{"bucket": "in"}, {"bucket": "out"}]});
    let refused = publish(&house, "all", with(some), "")?;
    ensure!(
        refused.status == 422 && refused.body["code"] == "RUN0043",
        "{refused:?}"
    );
    let missing = refused.body["missing"].to_string();
    ensure!(
        refused.body["missing"].as_array().map(Vec::len) == Some(2),
        "{missing}"
    );
    ensure!(
        missing.contains("state S") && missing.contains("for writing"),
        "{missing}"
    );
    ensure!(
        missing.contains("state T") && missing.contains("orders"),
        "{missing}"
    );
    ensure!(house.api.get("/v1/flows/all")?.status == 404);

    let all = json!({"buckets": [{"bucket": "in"}, {"bucket": "out", "write": true}], "flows": ["orders"]});
    let published = publish(&house, "all", with(all.clone()), "")?;
    ensure!(published.status == 201, "{published:?}");
    let output = ends(&house, "all", json!({}), "");
    ensure!(output["ResultWriterDetails"]["Bucket"] == "out", "{output}");

    // What is new is told, and has to be said again.
    let mut wider = all;
    wider["buckets"][0]["write"] = json!(true);
    wider["flows"] = json!(["orders", "sealed"]);
    let refused = publish(&house, "all", with(wider.clone()), "")?;
    let beyond = json!(["flow sealed", "bucket write in"]);
    ensure!(
        refused.body["code"] == "RUN0027" && refused.body["beyond"] == beyond,
        "{refused:?}"
    );
    let published = publish(&house, "all", with(wider), "?confirm_grants=true")?;
    ensure!(published.status == 201, "{published:?}");

    // A version without a manifest has the last one's.
    let sends = one(json!({"Type": "Task", "Resource": "signal:send",
        "Parameters": {"Name": "n", "Flow": "others", "ExecutionName": "e"}}));
    let inherits = publish(&house, "all", json!({"definition": sends.to_string()}), "")?;
    ensure!(inherits.body["code"] == "RUN0043", "{inherits:?}");
    // And one that never had one is not bounded.
    let free = publish(&house, "free", json!({"definition": sends.to_string()}), "")?;
    ensure!(free.status == 201, "{free:?}");
    Ok(())
}

#[test]
fn items_of_maps_are_bound_by_the_manifest_of_their_flow() -> Result<()> {
    let house = house()?;
    let grants = json!({"flows": ["orders"]});
    let starts =
        json!({"Type": "Task", "Resource": "flow:start", "Parameters": {"StateMachineArn.$": "$"}});
    published(&house, "starts", &each("STANDARD", starts), &grants);
    let output = ends(
        &house,
        "starts",
        json!(["orders", "sealed", "orders:1", "starts"]),
        "",
    );
    let refused = "Stepwell.NotGranted";
    ensure!(
        output == json!(["done", refused, "done", refused]),
        "{output}"
    );
    // Express ones start no flows.
    let calls = json!({"Type": "Task", "Resource": "http:request", "Parameters": {"url.$": "$"}});
    published(&house, "calls", &each("EXPRESS", calls), &grants);
    let output = ends(&house, "calls", json!(["https://example.com/"]), "");
    ensure!(output == json!([refused]), "{output}");
    let sealed = house.api.get("/v1/executions?flow=sealed")?;
    ensure!(sealed.body["executions"] == json!([]), "{sealed:?}");
    Ok(())
}

#[test]
fn a_flow_in_the_place_of_a_function_is_bounded_too() -> Result<()> {
    let house = house()?;
    let call = one(json!({"Type": "Task", "Resource": "arn:aws:lambda:r:1:function:price"}));
    let bound = |flow: &str| {
        json!({"definition": call.to_string(), "resources": {"arn:aws:lambda:r:1:function:price": {"flow": flow}},
            "grants": {"flows": ["orders"]}})
    };
    let refused = publish(&house, "calls", bound("sealed"), "")?;
    ensure!(refused.body["code"] == "RUN0043", "{refused:?}");
    let published = publish(&house, "calls", bound("orders"), "")?;
    ensure!(published.status == 201, "{published:?}");
    ends(&house, "calls", json!({"a": 1}), "");
    Ok(())
}

#[test]
fn what_a_flow_names_and_cannot_have_is_told_when_it_is_published() -> Result<()> {
    let house = house()?;
    let call =
        json!({"url": "https://a.example", "authentication": {"type": "bearer", "secret": "pin"}});
    let call = json!({"Type": "Task", "Resource": "http:request", "Parameters": call, "End": true});
    let call = one(call).to_string();
    let told = |grants: Value| -> Result<Vec<String>> {
        let body = json!({"definition": call, "grants": grants});
        let answer = publish(&house, "pays", body, "?confirm_grants=true")?;
        ensure!(answer.status < 300, "{answer:?}");
        let diagnostics = answer.body["diagnostics"].as_array().cloned();
        let diagnostics = diagnostics.unwrap_or_default();
        let of = |d: &Value| format!("{} {} {}", d["code"], d["severity"], d["message"]);
        Ok(diagnostics.iter().map(of).collect())
    };
    let check = |grants: Value, part: &str| -> Result<()> {
        let told = told(grants)?;
        ensure!(told.len() == 1, "{part}: {told:?}");
        ensure!(told[0].starts_with("\"FLOW0070\" \"warning\""), "{told:?}");
        ensure!(told[0].contains(part), "{part}: {told:?}");
        Ok(())
    };
    check(Value::Null, "no manifest")?;
    check(json!({"secrets": ["other"]}), "does not grant the secret")?;
    check(json!({"secrets": ["pin"]}), "the server has no secret")?;
    let set = house
        .api
        .send("PUT", "/v1/secrets/pin", "correct-horse-battery")?;
    ensure!(set.status < 300, "{set:?}");
    assert_eq!(told(json!({"secrets": ["pin"]}))?, [""; 0]);
    let kind = [("content-type", "application/vnd.stepwell.publish+json")];
    let body = json!({"definition": call, "grants": {"secrets": []}}).to_string();
    let path = "/v1/flows:validate";
    let verdict = house.api.send_with("POST", path, &kind, body)?.body;
    assert_eq!(verdict["valid"], true, "{verdict}");
    assert_eq!(verdict["diagnostics"][0]["code"], "FLOW0070", "{verdict}");
    Ok(())
}

#[test]
fn a_publish_says_what_the_new_version_may_reach_that_the_last_might_not() -> Result<()> {
    let house = house()?;
    let check = |more: Value, gained: &[&str], lost: &[&str]| -> Result<()> {
        let mut body = more;
        body["definition"] = json!(PASS);
        let answer = publish(&house, "grows", body, "?confirm_grants=true")?;
        ensure!(answer.status < 300, "{answer:?}");
        let lines = |name: &str| answer.body.get(name).cloned().unwrap_or(json!([]));
        assert_eq!(lines("gained"), json!(gained), "{answer:?}");
        assert_eq!(lines("lost"), json!(lost), "{answer:?}");
        Ok(())
    };
    let rest = "all else that the server's configuration allows";
    check(json!({}), &[], &[])?;
    let some = json!({"grants": {"secrets": ["pin"], "flows": ["orders"]}});
    check(some.clone(), &["secret pin"], &[rest])?;
    check(some, &[], &[])?;
    check(json!({}), &[], &[])?;
    let other = json!({"grants": {"images": ["a/*"], "flows": ["orders"]}});
    check(other, &["image a/*"], &["secret pin"])?;

    // What a module may reach is the flow's when that is published.
    let api = &house.api;
    let wasm = std::fs::read(stepwell_tests::guests::program("echo")?)?;
    let push = |grants: &str| -> Result<()> {
        let encoded: String = url::form_urlencoded::byte_serialize(grants.as_bytes()).collect();
        let path = format!("/v1/modules/m?confirm_grants=true&grants={encoded}");
        let pushed = api.send("PUT", &path, wasm.clone())?;
        ensure!(pushed.status < 300, "{pushed:?}");
        Ok(())
    };
    let runs =
        json!({"definition": one(json!({"Type": "Task", "Resource": "wasm:m"})).to_string()});
    push("{}")?;
    let first = publish(&house, "runs", runs.clone(), "")?;
    ensure!(first.body.get("gained").is_none(), "{first:?}");
    push(r#"{"machines": ["worker"]}"#)?;
    let next = publish(&house, "runs", runs, "")?;
    assert_eq!(next.body["gained"], json!(["module m: machine worker"]));
    Ok(())
}
