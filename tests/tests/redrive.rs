//! Redrive on the real server: after a kill, with another input, with another version, twice at once.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stepwell_tests::api::Api;
use stepwell_tests::bridges::ask;
use stepwell_tests::guests;
use stepwell_tests::server::Server;

fn started(dir: &Path) -> Result<(Server, Api)> {
    let (server, api) = ask::started(dir, "")?;
    api.upload("echo", &guests::program("echo")?)?;
    api.upload("fail", &guests::program("fail")?)?;
    Ok((server, api))
}

fn history(api: &Api, id: &str) -> Result<Vec<Value>> {
    let page = api.get(&format!("/v1/executions/{id}/history?limit=1000"))?;
    Ok(page.body["events"].as_array().context("no events")?.clone())
}

/// How often a state of this name was entered.
fn entered(events: &[Value], name: &str) -> usize {
    let named = |e: &&Value| e["stateEnteredEventDetails"]["name"] == name;
    events.iter().filter(named).count()
}

fn count(events: &[Value], kind: &str) -> usize {
    events.iter().filter(|e| e["type"] == kind).count()
}

fn transitions_used(api: &Api, flow: &str) -> Result<u64> {
    let body = api.get(&format!("/v1/usage?flow={flow}"))?.body;
    let rows = body["usage"].as_array().context("no usage")?.clone();
    let sum = rows.iter().filter_map(|r| r["transitions"].as_u64()).sum();
    Ok(sum)
}

/// `Good` and the first item succeed, the second item fails until its state is another: later
/// than a slow machine takes for the others, which its failure would end.
fn nested(resource: &str) -> String {
    format!(
        r#"{{"StartAt": "P", "States": {{"P": {{"Type": "Parallel", "End": true, "Branches": [
            {{"StartAt": "Good", "States": {{"Good": {{"Type": "Task", "Resource": "wasm:echo", "End": true}}}}}},
            {{"StartAt": "M", "States": {{"M": {{"Type": "Map", "MaxConcurrency": 1, "ItemsPath": "$.items", "End": true,
                "ItemProcessor": {{"StartAt": "Which", "States": {{
                    "Which": {{"Type": "Choice", "Choices": [{{"Variable": "$.bad", "IsPresent": true, "Next": "Later"}}], "Default": "E"}},
                    "Later": {{"Type": "Wait", "Seconds": 1, "Next": "T"}},
                    "E": {{"Type": "Task", "Resource": "wasm:echo", "End": true}},
                    "T": {{"Type": "Task", "Resource": "{resource}", "End": true}}}}}}}}}}}}]}}}}}}"#
    )
}

#[test]
fn a_kill_between_failure_and_redrive_loses_nothing() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut server, api) = started(dir.path())?;
    api.publish("nested", &nested("wasm:fail"))?;
    let input = r#"{"items": [{"n": 1}, {"bad": 2, "error": "Boom"}, {"n": 3}]}"#;
    let failed = api.run("nested", input)?;
    ensure!(
        failed["status"] == "FAILED" && failed["error"] == "Boom",
        "{failed}"
    );
    ensure!(failed["redrive_status"] == "REDRIVABLE", "{failed}");
    let id = failed["id"].as_str().context("no id")?.to_owned();
    let path = format!("/v1/executions/{id}");
    let before = history(&api, &id)?;
    server.again()?;

    // The same version fails again: once more the failed state, and nothing else.
    let answer = api.send("POST", &format!("{path}/redrive"), "")?;
    ensure!(
        answer.status == 202 && answer.body["redrive_count"] == 1,
        "{:?}",
        answer.body
    );
    let failed = api.get(&format!("{path}?wait=20"))?.body;
    ensure!(
        failed["status"] == "FAILED" && failed["redrive_count"] == 1,
        "{failed}"
    );
    server.again()?;

    // A version that does not fit, one that there is not, and one that does.
    api.publish("nested", &nested("wasm:fail").replace("\"T\"", "\"U\""))?;
    let answer = api.send("POST", &format!("{path}/redrive?version=2"), "")?;
    ensure!(
        answer.status == 422 && answer.body["code"] == "RUN0019",
        "{:?}",
        answer.body
    );
    ensure!(
        answer.body["detail"].to_string().contains("no state 'T'"),
        "{:?}",
        answer.body
    );
    let answer = api.send("POST", &format!("{path}/redrive?version=9"), "")?;
    ensure!(answer.status == 404, "{:?}", answer.body);
    ensure!(
        api.get(&path)?.body["status"] == "FAILED",
        "a refusal changes nothing"
    );
    api.publish("nested", &nested("wasm:echo"))?;
    let answer = api.send("POST", &format!("{path}/redrive?version=3"), "")?;
    ensure!(
        answer.status == 202 && answer.body["version"] == 3,
        "{:?}",
        answer.body
    );
    let done = api.get(&format!("{path}?wait=20"))?.body;
    ensure!(
        done["status"] == "SUCCEEDED" && done["version"] == 3,
        "{done}"
    );
    ensure!(
        done["redrive_count"] == 2 && done["redrive_status"] == "NOT_REDRIVABLE",
        "{done}"
    );
    ensure!(done["output"][1][1]["bad"] == 2, "{done}");
    server.again()?;

    // The history shows all runs, and that what succeeded was not done again.
    let events = history(&api, &id)?;
    ensure!(
        events.len() > before.len() && events[..before.len()] == before[..],
        "one history"
    );
    let kinds = (
        count(&events, "ExecutionFailed"),
        count(&events, "ExecutionRedriven"),
    );
    ensure!(kinds == (2, 2), "{kinds:?}");
    let times = ["Good", "E", "T", "Which"].map(|name| entered(&events, name));
    ensure!(times == [1, 2, 3, 3], "{times:?}");
    let last = events.last().context("no events")?;
    ensure!(last["type"] == "ExecutionSucceeded", "{last}");
    let all: usize = events
        .iter()
        .filter(|e| e["stateEnteredEventDetails"].is_object())
        .count();
    ensure!(
        done["transitions"] == all,
        "{} is not {all}",
        done["transitions"]
    );
    ensure!(
        transitions_used(&api, "nested")? == all as u64,
        "usage counts what was entered"
    );
    let answer = api.send("POST", &format!("{path}/redrive"), "")?;
    ensure!(
        answer.status == 409 && answer.body["code"] == "RUN0018",
        "{:?}",
        answer.body
    );
    Ok(())
}

#[test]
fn a_redriven_execution_runs_like_any_other() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut server, api) = started(dir.path())?;
    api.publish(
        "ask",
        r#"{"TimeoutSeconds": 300, "StartAt": "Ask", "States": {
            "Ask": {"Type": "Task", "Resource": "callback", "Parameters": {"t.$": "$$.Task.Token"}, "End": true}}}"#,
    )?;
    let id = api.send("POST", "/v1/flows/ask/executions", "{}")?.body["id"].clone();
    let path = format!("/v1/executions/{}", id.as_str().context("no id")?);
    let token = || -> Result<String> {
        let tasks = api.get(&format!("{path}/tasks"))?.body;
        let token = tasks["tasks"][0]["token"].as_str();
        Ok(token.with_context(|| tasks.to_string())?.to_owned())
    };
    let old = token()?;
    // It runs: there is nothing to redrive.
    let answer = api.send("POST", &format!("{path}/redrive"), "")?;
    ensure!(
        answer.status == 409 && answer.body["code"] == "RUN0018",
        "{:?}",
        answer.body
    );
    api.send("POST", &format!("{path}/cancel"), "")?;
    // Two at once: one wins.
    let statuses = std::thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| api.send("POST", &format!("{path}/redrive"), "")));
        both.map(|t| t.join().ok().and_then(Result::ok).map(|a| a.status))
    });
    let mut statuses: Vec<_> = statuses.into_iter().flatten().collect();
    statuses.sort_unstable();
    ensure!(statuses == [202, 409], "{statuses:?}");
    server.again()?;
    // The token of the first entry is nobody's, and the new one works after a kill.
    let answer = api.send("POST", &format!("/v1/tasks/{old}/succeed"), "1")?;
    ensure!(answer.status == 409, "{} {:?}", answer.status, answer.body);
    let new = token()?;
    ensure!(new != old, "a redrive is a new entry");
    // Cancelled and redriven once more.
    ensure!(
        api.send("POST", &format!("{path}/cancel"), "")?.status == 200,
        "it can be cancelled"
    );
    ensure!(
        api.send("POST", &format!("{path}/redrive"), "")?.status == 202,
        "and redriven"
    );
    let newest = token()?;
    ensure!(
        api.send("POST", &format!("/v1/tasks/{newest}/succeed"), "7")?
            .status
            < 300,
        "taken"
    );
    let done = api.get(&format!("{path}?wait=20"))?.body;
    ensure!(
        done["status"] == "SUCCEEDED" && done["output"] == 7,
        "{done}"
    );
    ensure!(
        done["redrive_count"] == 2 && done["transitions"] == 3,
        "{done}"
    );
    Ok(())
}

#[test]
fn the_command_line_redrives_with_another_input() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (server, api) = started(dir.path())?;
    api.publish(
        "one",
        r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "F"},
            "F": {"Type": "Task", "Resource": "wasm:fail", "End": true}}}"#,
    )?;
    let failed = api.run("one", r#"{"error": "Boom"}"#)?;
    let id = failed["id"].as_str().context("no id")?;
    let binary = std::env::current_exe()?;
    let binary = binary
        .ancestors()
        .nth(2)
        .context("no folder")?
        .join("stepwell");
    let check = |args: &[&str], status: i32, part: &str| -> Result<()> {
        let out = Command::new(&binary)
            .args(args)
            .env("STEPWELL_URL", server.url())
            .env_remove("STEPWELL_TOKEN")
            .output()?;
        let both = [out.stdout, out.stderr].concat();
        let both = String::from_utf8_lossy(&both);
        let fits = out.status.code() == Some(status) && both.contains(part);
        ensure!(
            fits,
            "{args:?}: wanted {status} with {part}, got {:?}: {both}",
            out.status
        );
        Ok(())
    };
    check(&["redrive", id, "--wait"], 1, "FAILED: Boom")?;
    check(&["redrive", id, "--state", "A", "--input", "{}"], 4, "'F'")?;
    check(
        &["redrive", id, "--input", r#"{"times": 0}"#, "--wait"],
        0,
        r#"{"times":0}"#,
    )?;
    check(&["redrive", id], 4, "RUN0018")?;
    check(&["history", id], 0, "ExecutionRedriven")?;
    check(&["describe", id], 0, "redrives")
}
