//! What a container gets and what it does not, and where its image comes from: on a real Podman, and on
//! registries of the test's own.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use std::os::unix::net::UnixListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::bridges::ask::{failed, started};
use stepwell_tests::bridges::podman::{IMAGE, Podman};
use stepwell_tests::bridges::receiver::Receiver;
use stepwell_tests::bridges::registry::{Mood, Registry};

/// A flow whose input is a container's run.
const CONTAINER: &str =
    "StartAt: R\nStates:\n  R: {Type: Task, Resource: \"container:run\", End: true}\n";

/// A line of shell in the image, with more fields of the call.
fn line(script: &str, more: &Value) -> String {
    let mut input = json!({"image": IMAGE, "command": ["sh", "-c", script]});
    for (name, value) in more.as_object().into_iter().flatten() {
        input[name] = value.clone();
    }
    input.to_string()
}

fn said(run: &Value) -> Result<String> {
    let text = run["output"]["stdout"].as_str().map(str::to_owned);
    text.with_context(|| run.to_string())
}

#[test]
fn a_container_has_the_processors_memory_processes_and_network_that_it_was_given() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let podman = Podman::start(&dir.path().join("podman"))?;
    let receiver = Receiver::start()?;
    let config = format!("{}networks = [\"host\"]\n", podman.config());
    let (_server, api) = started(dir.path(), &config)?;
    api.publish("run", CONTAINER)?;

    // As the kernel has it: in folders by kind, or in one.
    let look = |folder: &str, old: &str, new: &str| {
        format!("cd /sys/fs/cgroup/{folder} 2>/dev/null && cat {old} || cat /sys/fs/cgroup/{new}")
    };
    let cpu = look("cpu", "cpu.cfs_quota_us cpu.cfs_period_us", "cpu.max");
    let memory = look("memory", "memory.limit_in_bytes", "memory.max");
    let pids = look("pids", "pids.max", "pids.max");
    let script = format!("({cpu}); ({memory}); ({pids})");
    let more = json!({"cpus": 0.5, "memory_mib": 48, "pids": 17});
    let told = said(&api.run("run", &line(&script, &more))?)?;
    let told: Vec<&str> = told.split_whitespace().collect();
    assert_eq!(told, ["50000", "100000", "50331648", "17"], "{told:?}");
    // Without a word it gets the server's own, not the machine's.
    let told = said(&api.run("run", &line(&script, &json!({})))?)?;
    let told: Vec<&str> = told.split_whitespace().collect();
    assert_eq!(told, ["100000", "100000", "268435456", "128"], "{told:?}");

    let forks = "i=0; while [ $i -lt 30 ]; do sleep 5 & i=$((i+1)); done; echo all";
    let refused = api.run("run", &line(forks, &json!({"pids": 8})))?;
    failed(&refused, "Stepwell.ContainerExitCode");
    let cause = refused["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("fork") && !cause.contains("all"), "{cause}");
    let made = api.run("run", &line(forks, &json!({"pids": 64})))?;
    assert_eq!(said(&made)?, "all\n");

    // The same call, without a network and with one.
    let call = format!("wget -q -O /dev/null {} && echo there", receiver.url("/in"));
    let alone = api.run("run", &line(&call, &json!({})))?;
    failed(&alone, "Stepwell.ContainerExitCode");
    assert_eq!(receiver.calls().len(), 0, "nothing came");
    let granted = api.run("run", &line(&call, &json!({"network": "host"})))?;
    assert_eq!(said(&granted)?, "there\n");
    assert_eq!(receiver.calls().len(), 1, "it came");
    let other = api.run("run", &line(&call, &json!({"network": "bridge"})))?;
    failed(&other, "Stepwell.ContainerNotGranted");

    // A manifest has to name the network, too.
    let kind = [("content-type", "application/vnd.stepwell.publish+json")];
    for (networks, error) in [
        (json!([]), Some("Stepwell.NotGranted")),
        (json!(["lab"]), Some("Stepwell.NotGranted")),
        (json!(["host"]), None),
    ] {
        let grants = json!({"images": [IMAGE], "networks": networks});
        let body = json!({"definition": CONTAINER, "grants": grants}).to_string();
        let path = "/v1/flows/bound?confirm_grants=true";
        let published = api.send_with("PUT", path, &kind, body)?;
        ensure!(published.status < 300, "{published:?}");
        let run = api.run("bound", &line(&call, &json!({"network": "host"})))?;
        match error {
            Some(error) => failed(&run, error),
            None => assert_eq!(said(&run)?, "there\n"),
        }
        let run = api.run("bound", &line("true", &json!({})))?;
        assert_eq!(run["status"], "SUCCEEDED", "{run}");
    }
    assert_eq!(receiver.calls().len(), 2);
    Ok(())
}

#[test]
fn an_image_is_fetched_when_its_call_says_so_and_what_keeps_it_away_is_named() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let registry = Registry::start(&dir.path().join("registry"))?;
    let podman = Podman::beside(&dir.path().join("podman"), &registry.address.to_string())?;
    let config = format!("{}pull_timeout_ms = 15000\n", podman.config());
    let config = config.replace(IMAGE, &format!("{}/*", registry.address));
    let breaker = "[limits.breaker]\nfailures = 0\n";
    let (_server, api) = started(dir.path(), &format!("{config}{breaker}"))?;
    api.publish("run", CONTAINER)?;
    let run = |image: &str, pull: &str| -> Result<Value> {
        let input = json!({"image": image, "command": ["sh", "-c", "echo $SAYS"], "pull": pull});
        api.run("run", &input.to_string())
    };
    let now = |pull: &str| run(&registry.image(), pull);
    let refused = |pull: &str, word: &str| -> Result<()> {
        let shown = now(pull)?;
        failed(&shown, "Stepwell.ContainerPullFailed");
        let cause = shown["cause"].as_str().unwrap_or_default();
        assert!(cause.contains(word), "{cause}");
        Ok(())
    };
    failed(&now("never")?, "Stepwell.ContainerImageMissing");
    assert_eq!(registry.asked(), 0, "nobody asked");
    // What cannot be fetched, before anything is there.
    registry.turn(Mood::Login)?;
    refused("missing", "unauthorized")?;
    registry.turn(Mood::Silent)?;
    refused("missing", "longer than 15000 ms")?;
    registry.turn(Mood::Away)?;
    refused("missing", "connection refused")?;
    registry.turn(Mood::Open)?;
    let none = format!("{}/jobs/nonesuch", registry.address);
    failed(&run(&none, "missing")?, "Stepwell.ContainerPullFailed");

    let before = registry.asked();
    assert_eq!(said(&now("missing")?)?, "one\n");
    assert!(registry.asked() > before, "it came from there");
    // The tag means another image there: who does not ask keeps what is here.
    registry.says("two");
    let before = registry.asked();
    for pull in ["never", "missing"] {
        assert_eq!(said(&now(pull)?)?, "one\n", "{pull}");
    }
    assert_eq!(registry.asked(), before, "nobody asked");
    assert_eq!(said(&now("always")?)?, "two\n");
    assert_eq!(said(&now("never")?)?, "two\n");
    // Who insists on the newest gets none where nobody can say what that is.
    registry.turn(Mood::Away)?;
    refused("always", "connection refused")?;
    assert_eq!(said(&now("missing")?)?, "two\n");
    Ok(())
}

#[test]
fn an_engine_that_says_nothing_is_given_up_after_a_minute() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("engine.sock");
    // Connections are taken, and nobody reads them: as with an engine that is stopped.
    let _listener = UnixListener::bind(&socket)?;
    let config = format!("[containers]\nsocket = {socket:?}\nimages = [\"{IMAGE}\"]\n");
    let (_server, api) = started(dir.path(), &config)?;
    api.publish("run", CONTAINER)?;
    let input = json!({"image": IMAGE, "timeout_ms": 5_000});
    let id = api.start("run", input.to_string())?;
    std::thread::sleep(Duration::from_secs(60));
    let run = api.ended(&id)?;
    failed(&run, "Stepwell.ContainerEngineUnavailable");
    seen_badly(&api)
}

/// The image's target has failed once, and holds no place.
fn seen_badly(api: &Api) -> Result<()> {
    let all = api.get("/v1/targets")?.body;
    let all = all["targets"].as_array().context("no targets")?;
    let found = all.iter().find(|t| t["name"] == IMAGE);
    let found = found.context("no such target")?;
    let counted = (&found["failed"], &found["under_way"]);
    assert_eq!(counted, (&json!(1), &json!(0)), "{found}");
    Ok(())
}
