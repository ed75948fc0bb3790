//! Guests that run programs in containers and on machines, on the real Podman and the real sshd.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::bridges::podman::{IMAGE, Podman};
use stepwell_tests::bridges::sshd::Sshd;
use stepwell_tests::guests;
use stepwell_tests::server::Server;
use stepwell_tests::wait::until;

const FLOW: &str = "StartAt: S\nStates:\n  S: {Type: Task, Resource: \"wasm:jobs\", TimeoutSeconds: 120, End: true}\n";

/// Everything that a guest's job may need, and a server that has it.
struct House {
    podman: Podman,
    _sshd: Sshd,
    server: Server,
    api: Api,
}

fn house(dir: &Path, grants: &Value) -> Result<House> {
    house_that_logs(dir, grants, "info")
}

/// The same with this `STEPWELL_LOG`.
fn house_that_logs(dir: &Path, grants: &Value, log: &str) -> Result<House> {
    let podman = Podman::start(&dir.join("podman"))?;
    let sshd = Sshd::start(&dir.join("sshd"))?;
    let machine = sshd.config("worker", "host")?;
    let config = format!("{}{machine}", podman.config());
    let mut server = Server::new(dir, &config)?;
    server.environment([("STEPWELL_LOG".into(), log.into())]);
    server.start()?;
    let api = Api::new(&server.url())?;
    api.upload_granted("jobs", &guests::program("jobs")?, grants)?;
    api.publish("jobs", FLOW)?;
    Ok(House {
        podman,
        _sshd: sshd,
        server,
        api,
    })
}

fn all() -> Value {
    json!({"images": [IMAGE], "machines": ["worker"]})
}

fn no_container_left(podman: &Podman) -> Result<()> {
    until("the removal of every container", || {
        let names = podman.containers()?;
        let left = names.iter().any(|name| name.starts_with("stepwell-"));
        Ok((!left).then_some(()))
    })
}

#[test]
fn programs_end_as_they_do_and_a_timeout_kills_them() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let house = house(dir.path(), &all())?;
    let script = "cat; cat $F; echo \"$A\"; echo why >&2; exit 3";
    let container = json!({"image": IMAGE, "command": ["sh", "-c", script.replace("$F", "/in/f")], "input": "in ", "file": ["/in/f", "file "], "variable": ["A", "$(id)"]});
    let machine = json!({"machine": "worker", "command": ["sh", "-c", script.replace("$F", "in/f")], "input": "in ", "file": ["in/f", "file "], "variable": ["A", "$(id)"]});
    let shown = house
        .api
        .run("jobs", &json!([container, machine]).to_string())?;
    let one = json!({"exit_code": 3, "stdout": "in file $(id)\n", "stderr": "why\n"});
    assert_eq!(shown["output"], json!([one, one]), "{shown}");
    // From its journal, where nobody may run anything.
    let id = shown["id"].as_str().context("no id")?;
    let starts = house.podman.starts()?;
    house.api.replays_the_same(id)?;
    assert_eq!(house.podman.starts()?, starts);
    for slow in [
        json!({"image": IMAGE, "command": ["sleep", "600"], "timeout_ms": 1500}),
        json!({"machine": "worker", "command": ["sleep", "600"], "timeout_ms": 1500}),
    ] {
        let shown = house.api.run("jobs", &json!([slow]).to_string())?;
        assert_eq!(shown["error"], "States.Timeout", "{shown}");
    }
    no_container_left(&house.podman)
}

#[test]
fn what_the_manifest_does_not_name_is_refused() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let house = house(dir.path(), &json!({}))?;
    let check = |job: Value, error: &str| -> Result<()> {
        let shown = house.api.run("jobs", &json!([job]).to_string())?;
        assert_eq!(shown["error"], error, "{shown}");
        Ok(())
    };
    let granted = "Stepwell.NotGranted";
    check(json!({"image": IMAGE, "command": ["true"]}), granted)?;
    check(json!({"machine": "worker", "command": ["true"]}), granted)?;
    assert_eq!(house.podman.starts()?, 0);
    Ok(())
}

#[test]
fn a_killed_server_finds_a_guests_jobs_again_and_begins_none_twice() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut house = house(dir.path(), &all())?;
    let mark = dir.path().join("begun");
    let go = dir.path().join("go");
    let (begun, goes) = (mark.display(), go.display());
    let line = format!("echo x >> {begun}; until [ -e {goes} ]; do sleep 0.1; done; echo there");
    let jobs = json!([
        {"image": IMAGE, "command": ["sh", "-c", "sleep 6000; echo here"]},
        {"machine": "worker", "command": ["sh", "-c", line]},
    ]);
    let id = house.api.start("jobs", jobs.to_string())?;
    let mut again = || -> Result<()> {
        for _ in 0..2 {
            house.server.again()?;
        }
        Ok(())
    };
    until("the container's start", || {
        Ok((house.podman.starts()? == 1).then_some(()))
    })?;
    again()?;
    house.podman.let_go()?;
    until("the program's start", || Ok(mark.exists().then_some(())))?;
    again()?;
    std::fs::write(&go, "")?;
    let shown = house.api.ended(&id)?;
    let told = [&shown["output"][0]["stdout"], &shown["output"][1]["stdout"]];
    assert_eq!(told, ["here\n", "there\n"], "{shown}");
    assert_eq!(house.podman.starts()?, 1);
    assert_eq!(std::fs::read_to_string(&mark)?, "x\n");
    no_container_left(&house.podman)
}

#[test]
fn a_cancel_ends_a_guests_job() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let house = house(dir.path(), &all())?;
    let jobs = json!([{"image": IMAGE, "command": ["sleep", "600"]}]);
    let id = house.api.start("jobs", jobs.to_string())?;
    until("the container's start", || {
        Ok((house.podman.starts()? == 1).then_some(()))
    })?;
    house
        .api
        .send("POST", &format!("/v1/executions/{id}/cancel"), "")?;
    assert_eq!(house.api.ended(&id)?["status"], "ABORTED");
    no_container_left(&house.podman)
}

#[test]
fn what_programs_say_of_a_secret_is_hidden_in_every_log() -> Result<()> {
    const SECRET: &str = "wR4tY8uI2oP6aS9dF3gH-held";
    let dir = tempfile::tempdir()?;
    let grants = json!({"images": [IMAGE], "machines": ["worker"], "secrets": ["held"]});
    // The client of the engine's API would tell all that goes to it.
    let house = house_that_logs(dir.path(), &grants, "info,bollard=trace,russh=debug")?;
    let set = house.api.send("PUT", "/v1/secrets/held", SECRET)?;
    ensure!(set.status == 200, "{set:?}");
    // Within a line, and where a line is cut.
    let script = format!(
        "echo it is $HELD here >&2; echo {}$HELD >&2",
        "x".repeat(1_010)
    );
    let command = json!(["sh", "-c", script]);
    let jobs = json!([
        {"image": IMAGE, "command": command, "secret": ["HELD", "held"]},
        {"machine": "worker", "command": command, "secret": ["HELD", "held"]},
    ]);
    let shown = house.api.run("jobs", &jobs.to_string())?;
    // The guest reads what it gave; the flow's own output may not hold it.
    assert_eq!(shown["error"], "Stepwell.SecretInOutput", "{shown}");
    let id = shown["id"].as_str().context("no id")?;
    let logs = house.api.get(&format!("/v1/executions/{id}/logs"))?.body;
    let lines = logs["lines"].as_array().context("no lines")?;
    let told = |line: &Value| line["message"] == "it is [secret held] here";
    assert_eq!(lines.iter().filter(|line| told(line)).count(), 2, "{logs}");
    assert_eq!(lines.len(), 4, "{logs}");
    for begin in [&SECRET[..8], SECRET] {
        assert!(!logs.to_string().contains(begin), "{logs}");
        let log = std::fs::read_to_string(dir.path().join("server.log"))?;
        assert!(!log.contains(begin), "the server's log has it");
    }
    no_container_left(&house.podman)
}
