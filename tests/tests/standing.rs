//! What a real server tells who looks after an execution: where it stands and what it waits
//! for, and whose the events of its history are.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::house::House;
use stepwell_tests::wait::until;

/// Waits for one of each kind at the same time.
const ALL: &str = r#"
StartAt: All
States:
  All:
    Type: Parallel
    End: true
    Branches:
      - StartAt: Approve
        States:
          Approve: {Type: Task, Resource: callback, TimeoutSeconds: 3600, End: true}
      - StartAt: Paid
        States:
          Paid: {Type: Task, Resource: "signal:wait", Parameters: {Name: [paid, lost]}, End: true}
      - StartAt: Child
        States:
          Child: {Type: Task, Resource: "flow:start.sync", Parameters: {StateMachineArn: rest}, End: true}
      - StartAt: Later
        States:
          Later: {Type: Wait, Seconds: 3600, End: true}
"#;
const REST: &str = "StartAt: Rest\nStates:\n  Rest: {Type: Wait, Seconds: 3600, End: true}\n";

fn described(house: &House, id: &str) -> Result<Value> {
    Ok(house.api.get(&format!("/v1/executions/{id}"))?.body)
}

/// A description of an execution that is in so many states.
fn standing(house: &House, id: &str, states: u64) -> Result<Value> {
    until("so many states", || {
        let shown = described(house, id)?;
        Ok((shown["active_count"] == states).then_some(shown))
    })
}

/// What the state of this name tells of itself.
fn of<'a>(shown: &'a Value, state: &str) -> Result<&'a Value> {
    let mut all = shown["active"].as_array().into_iter().flatten();
    let found = all.find(|one| one["state"] == state);
    found.with_context(|| format!("no {state} in {shown}"))
}

/// Seconds between two times of a description, of less than a day.
fn apart_seconds(from: &Value, to: &Value) -> Result<i64> {
    let seconds = |at: &Value| -> Result<i64> {
        let text = at.as_str().context("no time")?;
        let part = |range: std::ops::Range<usize>| -> Result<i64> {
            Ok(text.get(range).context("short")?.parse()?)
        };
        Ok(part(11..13)? * 3_600 + part(14..16)? * 60 + part(17..19)?)
    };
    Ok((seconds(to)? - seconds(from)?).rem_euclid(86_400))
}

#[test]
fn an_execution_tells_in_which_states_it_is_and_what_each_waits_for() -> Result<()> {
    let mut house = House::new("")?;
    house.api.publish("rest", REST)?;
    house.api.publish("all", ALL)?;
    let path = "/v1/flows/all/executions?name=order-7";
    let started = house.api.send("POST", path, "{}")?.body;
    let id = started["id"].as_str().context("no id")?.to_owned();
    let before = standing(&house, &id, 5)?;
    house.server.again()?;
    let shown = standing(&house, &id, 5)?;
    assert_eq!(shown["active"], before["active"], "after a crash");
    for (state, index, awaits) in [
        ("All", Value::Null, "4 of 4 branches"),
        ("Approve", json!(0), "its token"),
        ("Paid", json!(1), "signal lost or paid"),
        ("Later", json!(3), "its timer"),
    ] {
        let one = of(&shown, state)?;
        assert_eq!((&one["index"], &one["for"]), (&index, &json!(awaits)));
        assert_eq!((&one["attempt"], &one["queue"]), (&json!(0), &Value::Null));
    }
    for state in ["Approve", "Later"] {
        let one = of(&shown, state)?;
        let seconds = apart_seconds(&one["since"], &one["until"])?;
        assert_eq!(seconds, 3_600, "{one}");
    }
    assert_eq!(of(&shown, "Paid")?["until"], Value::Null);
    let child = until("the child", || {
        let children = house.api.get(&format!("/v1/executions?parent={id}"))?.body;
        Ok(children["executions"][0]["id"].as_str().map(str::to_owned))
    })?;
    assert_eq!(of(&shown, "Child")?["child"], json!(child));
    assert_eq!(described(&house, &child)?["parent_name"], "order-7");
    let (_, text) = house.api.cli(&["describe", &child])?;
    ensure!(text.contains(&format!("  order-7 ({id})\n")), "{text}");
    let (_, text) = house.api.cli(&["describe", &id])?;
    for line in [
        "All waits for 4 of 4 branches (since ",
        "Approve waits for its token (index 0, since ",
        "Paid waits for signal lost or paid (index 1, since ",
        "Later waits for its timer (index 3, since ",
    ] {
        ensure!(text.contains(line), "{line}: {text}");
    }

    let by_name = |command: &str, more: &[&str]| -> Result<String> {
        let args = [&[command, "order-7", "--flow", "all"][..], more].concat();
        let (code, text) = house.api.cli(&args)?;
        ensure!(code == Some(0), "{args:?}: {text}");
        Ok(text)
    };
    ensure!(by_name("describe", &[])?.contains(&id));
    ensure!(by_name("tasks", &[])?.contains("state     Approve\n"));
    ensure!(by_name("history", &["--after", "1"])?.contains("ParallelStateStarted  All\n"));
    ensure!(by_name("logs", &[])?.is_empty());
    let text = by_name("cancel", &[])?;
    assert_eq!(text, format!("order-7 ({id}) is ABORTED\n"));
    let shown = house.api.ended(&id)?;
    assert_eq!(
        (&shown["active_count"], &shown["active"]),
        (&Value::Null, &Value::Null)
    );
    Ok(())
}

#[test]
fn trouble_names_the_execution_and_the_state() -> Result<()> {
    let house = House::new("")?;
    let fail =
        json!({"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "E", "Cause": "c"}}});
    let fails = json!({"StartAt": "All", "States": {"All": {"Type": "Parallel", "Branches": [fail], "End": true}}});
    house.api.publish("fails", &fails.to_string())?;
    let args = ["start", "fails", "--name", "f-1", "--wait"];
    let (code, text) = house.api.cli(&args)?;
    ensure!(code == Some(1), "{text}");
    ensure!(
        text.contains("stepwell: f-1 (0") && text.contains(") FAILED: E: c\n"),
        "{text}"
    );
    let shown = house.api.get("/v1/flows/fails/executions/f-1")?.body;
    assert_eq!(shown["failed_in"], "F", "{shown}");
    let (_, text) = house.api.cli(&["describe", "f-1", "--flow", "fails"])?;
    ensure!(text.contains("failed in     F\n"), "{text}");
    let waited = house.api.run("fails", "{}")?;
    assert_eq!(waited["failed_in"], "F", "{waited}");

    assert_eq!(shown["redrive_status"], "REDRIVABLE", "{shown}");
    let deleted = house.api.send("DELETE", "/v1/flows/fails", "")?;
    ensure!(deleted.status == 204, "{deleted:?}");
    let id = shown["id"].as_str().context("no id")?;
    let list = house.api.get("/v1/executions?flow=fails")?.body;
    for shown in [&described(&house, id)?, &list["executions"][1]] {
        assert_eq!(shown["redrive_status"], "NOT_REDRIVABLE", "{shown}");
        let why = shown["redrive_status_reason"].as_str().context("why")?;
        ensure!(why.contains("its flow was deleted"), "{why}");
    }
    Ok(())
}

#[test]
fn many_states_are_counted_and_some_are_shown() -> Result<()> {
    let house = House::new("")?;
    let wait = json!({"Type": "Task", "Resource": "signal:wait", "Parameters": {"Name": "go"}, "End": true});
    let map = json!({"Type": "Map", "MaxConcurrency": 150, "End": true,
        "ItemProcessor": {"StartAt": "W", "States": {"W": wait}}});
    let flow = json!({"StartAt": "M", "States": {"M": map}}).to_string();
    house.api.publish("many", &flow)?;
    let items = json!(vec![0; 150]).to_string();
    let id = house.api.start("many", items)?;
    let shown = standing(&house, &id, 151)?;
    let active = shown["active"].as_array().context("no states")?;
    assert_eq!((active.len(), &active[0]["state"]), (100, &json!("M")));
    assert_eq!(
        (&active[99]["index"], &active[99]["entry"]),
        (&json!(98), &json!(100))
    );
    let (_, text) = house.api.cli(&["describe", &id])?;
    ensure!(
        text.contains("W waits for signal go (index 0, since "),
        "{text}"
    );
    ensure!(text.contains(") and 98 more\n"), "{text}");
    ensure!(text.contains("and 51 more states\n"), "{text}");
    let list = house.api.get("/v1/executions")?.body;
    assert_eq!(list["executions"][0]["active"], Value::Null, "{list}");
    Ok(())
}

#[test]
fn a_state_in_a_queue_says_what_for() -> Result<()> {
    let house = House::new("[limits.activities.ship]\nconcurrency = 1\n")?;
    let ship = json!({"Type": "Task", "Resource": "activity:ship", "End": true});
    let map = json!({"Type": "Map", "End": true,
        "ItemProcessor": {"StartAt": "Ship", "States": {"Ship": ship}}});
    let flow = json!({"StartAt": "M", "States": {"M": map}}).to_string();
    house.api.publish("ships", &flow)?;
    let id = house.api.start("ships", "[1, 2]")?;
    let shown = standing(&house, &id, 3)?;
    assert_eq!(of(&shown, "Ship")?["for"], "a worker of activity ship");
    assert_eq!(of(&shown, "Ship")?["queue"], Value::Null);
    let polled = house
        .api
        .send("POST", "/v1/activities/ship/poll?wait=20", "")?;
    ensure!(polled.body["token"].is_string(), "{polled:?}");
    let shown = described(&house, &id)?;
    let mut told = Vec::new();
    for one in shown["active"].as_array().context("no states")? {
        told.push((one["for"].as_str(), one["queue"].as_str()));
    }
    let taken = (Some("the worker of activity ship"), None);
    let waits = (
        Some("a worker of activity ship"),
        Some("concurrency limit of activity ship"),
    );
    ensure!(told.contains(&taken) && told.contains(&waits), "{shown}");
    Ok(())
}

#[test]
fn each_event_of_a_history_says_whose_it_is_and_shows_its_data() -> Result<()> {
    let house = House::new("")?;
    let ship = json!({"Type": "Pass", "Parameters": {"of.$": "$"}, "End": true});
    let map = json!({"Type": "Map", "MaxConcurrency": 1, "End": true,
        "ItemProcessor": {"StartAt": "Ship", "States": {"Ship": ship}}});
    let in_branch = json!({"StartAt": "Each", "States": {"Each": map}});
    let other = json!({"StartAt": "Other", "States": {"Other": {"Type": "Pass", "End": true}}});
    let all = json!({"Type": "Parallel", "Branches": [in_branch, other], "End": true});
    let flow = json!({"StartAt": "All", "States": {"All": all}}).to_string();
    house.api.publish("whose", &flow)?;
    let shown = house.api.run("whose", r#"["a", "b"]"#)?;
    let id = shown["id"].as_str().context("no id")?;
    let page = house.api.get(&format!("/v1/executions/{id}/history"))?.body;
    let events = page["events"].as_array().context("no events")?;
    let mut told = Vec::new();
    for event in events {
        let kind = event["type"].as_str().unwrap_or_default();
        told.push((kind, event["state"].as_str(), event["index"].as_u64()));
    }
    for expected in [
        ("ExecutionStarted", None, None),
        ("ParallelStateStarted", Some("All"), None),
        ("MapStateStarted", Some("Each"), Some(0)),
        ("MapIterationStarted", Some("Each"), Some(0)),
        ("PassStateEntered", Some("Ship"), Some(1)),
        ("PassStateExited", Some("Ship"), Some(1)),
        ("MapStateSucceeded", Some("Each"), Some(0)),
        ("PassStateExited", Some("Other"), Some(1)),
        ("ParallelStateSucceeded", Some("All"), None),
        ("ParallelStateExited", Some("All"), None),
        ("ExecutionSucceeded", None, None),
    ] {
        ensure!(told.contains(&expected), "{expected:?} in {told:?}");
    }
    let (_, plain) = house.api.cli(&["history", id])?;
    ensure!(plain.contains("PassStateEntered  Ship[1]\n"), "{plain}");
    ensure!(
        plain.contains("MapIterationStarted  Each[0]  item 1\n"),
        "{plain}"
    );
    ensure!(!plain.contains("\"b\""), "{plain}");
    let data = "PassStateExited  Ship[1]\n       output      {\"of\":\"b\"}\n";
    for follow in [false, true] {
        let mut args = vec!["history", id, "--data"];
        args.extend(follow.then_some("--follow"));
        let (_, text) = house.api.cli(&args)?;
        ensure!(text.contains(data), "{follow}: {text}");
    }
    let (_, lines) = house.api.cli(&["history", id, "--json", "--after", "1"])?;
    let first: Value = serde_json::from_str(lines.lines().next().context("no line")?)?;
    assert_eq!((&first["id"], &first["state"]), (&json!(2), &json!("All")));
    Ok(())
}

/// Whoever looks at a task sees its numbers as they are written.
const NUMBERS: &str = r#"{"a":1.0,"b":1e3,"c":12345678901234567890123}"#;

#[test]
fn tasks_of_all_executions_are_listed_with_whose_they_are() -> Result<()> {
    let house = House::new("")?;
    let asks = "StartAt: Ask\nStates:\n  Ask: {Type: Task, Resource: callback, End: true}\n";
    for flow in ["asks", "others"] {
        house.api.publish(flow, asks)?;
        for name in ["a", "b"] {
            let path = format!("/v1/flows/{flow}/executions?name={name}");
            ensure!(house.api.send("POST", &path, NUMBERS)?.status < 300);
        }
    }
    let list = |more: &[&str]| -> Result<Vec<Value>> {
        let (code, text) = house.api.cli(&[&["tasks", "--json"][..], more].concat())?;
        ensure!(code == Some(0), "{text}");
        let answer: Value = serde_json::from_str(&text)?;
        let tasks = answer["tasks"].as_array().cloned().context(text.clone())?;
        assert_eq!(text.matches(NUMBERS).count(), tasks.len(), "{text}");
        Ok(tasks)
    };
    assert_eq!(list(&[])?.len(), 4);
    assert_eq!(list(&["--state", "Else"])?.len(), 0);
    let asked = list(&["--flow", "asks", "--state", "Ask"])?;
    let mut names: Vec<_> = asked.iter().map(|t| t["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, [Some("a"), Some("b")]);
    let (_, text) = house.api.cli(&["tasks", "--flow", "asks"])?;
    let id = asked[0]["execution"].as_str().context("no id")?;
    let name = asked[0]["name"].as_str().unwrap_or_default();
    ensure!(
        text.contains(&format!("execution  {name} ({id})\n")),
        "{text}"
    );
    ensure!(text.contains("flow       asks@1\n"), "{text}");
    ensure!(text.contains(NUMBERS), "{text}");
    let token = asked[0]["token"].as_str().context("no token")?;
    let (code, text) = house.api.cli(&["token", "succeed", token])?;
    ensure!(code == Some(0), "{text}");
    assert_eq!(house.api.ended(id)?["status"], "SUCCEEDED");
    assert_eq!(list(&["--flow", "asks"])?.len(), 1);
    let (_, text) = house.api.cli(&["tasks", id])?;
    assert_eq!(text, "no task waits for a token\n");
    Ok(())
}

/// Whoever looks for what a flow asks finds it where the flow asks once for each item.
#[test]
fn tasks_of_a_flow_are_those_of_its_items_too() -> Result<()> {
    let house = House::new("")?;
    let flow = json!({"StartAt": "Each", "States": {"Each": {"Type": "Map", "End": true,
        "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED"}, "StartAt": "Ask",
            "States": {"Ask": {"Type": "Task", "Resource": "callback", "End": true}}}}}});
    house.api.publish("each", &flow.to_string())?;
    let path = "/v1/flows/each/executions";
    let started = house.api.send("POST", path, r#"["a","b"]"#)?.body;
    let id = started["id"].as_str().context("no id")?;
    let asked = until("both items ask", || {
        let (_, text) = house.api.cli(&["tasks", "--json", "--flow", "each"])?;
        let answer: Value = serde_json::from_str(&text)?;
        let tasks = answer["tasks"].as_array().cloned().unwrap_or_default();
        Ok((tasks.len() == 2).then_some(tasks))
    })?;
    for task in asked {
        assert_eq!(task["flow"], "each", "{task}");
        let token = task["token"].as_str().context("no token")?;
        let (code, text) = house.api.cli(&["token", "succeed", token])?;
        ensure!(code == Some(0), "{text}");
    }
    assert_eq!(house.api.ended(id)?["status"], "SUCCEEDED");
    Ok(())
}
