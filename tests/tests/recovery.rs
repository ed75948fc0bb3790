//! What a restart keeps of its promises: stops that come early, starts that come again,
//! steps that were running when the process died.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use stepwell_tests::api::Api;
use stepwell_tests::bridges::ask::started;
use stepwell_tests::guests;
use stepwell_tests::house::House;
use stepwell_tests::server::{Server, binary};
use stepwell_tests::wait::until;

#[test]
fn a_stop_is_heard_from_the_open_port_on() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut server = Server::new(dir.path(), "")?;
    for _ in 0..5 {
        server.spawn()?;
        server.listening()?;
        let (status, _) = server.stop(Duration::from_secs(20))?;
        assert!(status.success(), "{status}: {}", server.log_end());
    }
    server.start()
}

#[test]
fn an_idempotency_key_finds_its_execution_after_a_crash() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut server, api) = started(dir.path(), "")?;
    let ask = "StartAt: A\nStates:\n  A: {Type: Task, Resource: callback, End: true}\n";
    let pass = "StartAt: P\nStates: {P: {Type: Pass, End: true}}";
    api.publish("ask", ask)?;
    api.publish("pass", pass)?;
    // One that still runs when the process dies, one that has ended and left memory.
    for (flow, key) in [("ask", "order-7"), ("pass", "\"8e03978e-40d5\"")] {
        let start = |body: &str| {
            let path = format!("/v1/flows/{flow}/executions");
            api.send_with("POST", &path, &[("idempotency-key", key)], body.to_owned())
        };
        let first = start("[1]")?;
        assert_eq!(
            (first.status, &first.body["new"]),
            (202, &json!(true)),
            "{first:?}"
        );
        for crash in [false, true] {
            if crash {
                server.again()?;
            }
            let again = start("[1]")?;
            let id = &first.body["id"];
            assert_eq!((again.status, &again.body["id"]), (202, id), "{again:?}");
            assert_eq!(again.body["new"], false);
            let other = start("[2]")?;
            assert_eq!(
                (other.status, &other.body["code"]),
                (409, &json!("RUN0004")),
                "{other:?}"
            );
            assert_eq!(&other.body["execution_id"], id);
        }
        let named = api.get(&format!(
            "/v1/flows/{flow}/executions/{}",
            key.trim_matches('"')
        ))?;
        assert_eq!(named.body["id"], first.body["id"], "{named:?}");
    }
    Ok(())
}

#[test]
fn a_command_goes_on_waiting_when_the_server_dies_in_its_first_wait() -> Result<()> {
    let mut house = House::new("")?;
    let ask = "StartAt: A\nStates:\n  A: {Type: Task, Resource: callback, End: true}\n";
    house.api.publish("ask", ask)?;
    let asked = |house: &House| house.api.metric("stepwell_http_in_flight");
    let before = asked(&house)?;
    let command = Command::new(binary()?)
        .args([
            "--url",
            &house.server.url(),
            "start",
            "ask",
            "--name",
            "c",
            "--wait",
        ])
        .env_remove("STEPWELL_TOKEN")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let id = until("the execution", || {
        let found = house.api.get("/v1/flows/ask/executions/c")?;
        Ok(found.body["id"].as_str().map(str::to_owned))
    })?;
    // Its start was answered, and what is on the way for long now is the look that waits.
    let mut looks = 0;
    until("the command's wait", || {
        let waits = asked(&house)? > before;
        looks = if waits { looks + 1 } else { 0 };
        Ok((looks > 20).then_some(()))
    })?;
    house.server.again()?;
    let tasks = house.api.get(&format!("/v1/executions/{id}/tasks"))?.body;
    let token = tasks["tasks"][0]["token"].as_str().context("a token")?;
    let path = format!("/v1/tasks/{token}/succeed");
    let answer = house.api.send("POST", &path, "[7]")?;
    assert_eq!(answer.status, 204, "{answer:?}");
    let done = command.wait_with_output()?;
    assert!(done.status.success(), "{done:?}");
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "[7]");
    Ok(())
}

/// Waits until the step is seen running; `false`: its execution is parked instead.
fn runs_again(api: &Api, killer: &str, deaths: u32) -> Result<bool> {
    until("the step, running or parked", || {
        let shown = api.get(killer)?.body;
        if !shown["parked"].is_null() {
            let error = &shown["parked"]["error"];
            anyhow::ensure!(error == "Stepwell.StepKillsServer", "{shown}");
            return Ok(Some(false));
        }
        // Others work beside it, suspected or not.
        let input = format!("[{deaths}]");
        let output = api.run("healthy", &input)?["output"].clone();
        anyhow::ensure!(output == json!([deaths]), "{output}");
        let runs = api.metric("stepwell_steps_running")? >= 1.0;
        Ok(runs.then_some(true))
    })
}

/// Nothing but the process's death tells what a step did to it: so whoever kills the
/// server each time that this step is seen running is, to the server, that step.
#[test]
fn a_step_that_kills_the_server_is_parked_after_three_deaths() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let config = "[steps]\nfuel = 1000000000000\nwall_ms = 600000\n";
    let (mut server, api) = started(dir.path(), config)?;
    api.one_step("killer", &guests::program("spin")?)?;
    api.one_step("healthy", &guests::program("echo")?)?;
    let killer = api.send("POST", "/v1/flows/killer/executions", "{}")?.body;
    let killer = format!("/v1/executions/{}", killer["id"].as_str().context("no id")?);
    let mut deaths = 0;
    while runs_again(&api, &killer, deaths)? {
        server.kill()?;
        deaths += 1;
        server.start()?;
    }
    // A kill can meet the step between two slices, where it is on no processor.
    assert!((3..=5).contains(&deaths), "parked after {deaths} deaths");
    assert_eq!(api.run("healthy", "[9]")?["output"], json!([9]));
    let cancelled = api.send("POST", &format!("{killer}/cancel"), "")?;
    assert_eq!(cancelled.body["status"], "ABORTED", "{cancelled:?}");
    Ok(())
}
