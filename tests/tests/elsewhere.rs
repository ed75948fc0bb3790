//! The bridges against the real thing on this machine: a Podman, an sshd.
//!
//! Each test has its own, and a server of its own that is killed and started again.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::bridges::ask::{example, failed, object, started};
use stepwell_tests::bridges::podman::{IMAGE, Podman};
use stepwell_tests::bridges::sshd::Sshd;
use stepwell_tests::server::Server;
use stepwell_tests::wait::until;

/// A flow whose input is a container's run.
const CONTAINER: &str =
    "StartAt: R\nStates:\n  R: {Type: Task, Resource: \"container:run\", End: true}\n";

stepwell_tests::machine_cases!(Sshd);

fn podman_and_server(dir: &Path) -> Result<(Podman, Server, Api)> {
    let podman = Podman::start(&dir.join("podman"))?;
    let (server, api) = started(dir, &podman.config())?;
    api.publish("run", CONTAINER)?;
    Ok((podman, server, api))
}

/// No container of ours is left, ended or not.
fn no_container_left(podman: &Podman) -> Result<()> {
    until("the removal of every container", || {
        Ok(podman
            .containers()?
            .iter()
            .all(|name| !name.starts_with("stepwell-"))
            .then_some(()))
    })
}

#[test]
fn the_container_example_does_its_work_fails_and_runs_out_of_time() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (podman, _server, api) = podman_and_server(dir.path())?;
    api.publish("container-job", &example("container-job")?)?;
    api.put_object("texts/a.txt", "one two two three\nthree three\n")?;
    api.put_object("texts/empty.txt", "")?;
    let run = api.run("container-job", r#"{"text": "a.txt"}"#)?;
    assert_eq!(run["output"]["words"], 6, "{run}");
    let words = object(&api, "texts/a.txt.words.txt")?;
    assert_eq!(words, "      3 three\n      2 two\n      1 one\n");
    let run = api.run("container-job", r#"{"text": "empty.txt"}"#)?;
    failed(&run, "NoText");
    let cause = run["cause"].as_str().unwrap_or_default();
    assert!(
        cause.contains("ended with 3") && cause.ends_with("the text is empty\n"),
        "{cause}"
    );
    let run = api.run(
        "container-job",
        r#"{"text": "a.txt", "slowly": 600, "timeout_ms": 1500}"#,
    )?;
    failed(&run, "States.Timeout");
    no_container_left(&podman)
}

#[test]
fn a_killed_server_finds_its_container_again() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (podman, mut server, api) = podman_and_server(dir.path())?;
    api.publish("container-job", &example("container-job")?)?;
    api.put_object("texts/a.txt", "one two\n")?;
    let input = json!({"text": "a.txt", "slowly": 6_000});
    let id = api.start("container-job", input.to_string())?;
    until("the container's start", || {
        Ok((podman.starts()? == 1).then_some(()))
    })?;
    for _ in 0..3 {
        server.again()?;
    }
    podman.let_go()?;
    let run = api.ended(&id)?;
    assert_eq!(run["output"]["words"], 2, "{run}");
    assert_eq!(podman.starts()?, 1, "{run}");
    no_container_left(&podman)
}

#[test]
fn a_server_that_stops_leaves_its_container_to_the_next() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (podman, mut server, api) = podman_and_server(dir.path())?;
    // Fed over standard input: a container that may have got half of it would be begun anew.
    let input = json!({"image": IMAGE, "command": ["sh", "-c", "sleep 6000; cat"], "input": {"a": 1}, "output": "json"});
    let id = api.start("run", input.to_string())?;
    until("the container's start", || {
        Ok(podman
            .containers()?
            .iter()
            .any(|name| name.ends_with("-fed"))
            .then_some(()))
    })?;
    // The container runs on, for hours: who waited for it would not end.
    let (status, _) = server.stop(Duration::from_secs(60))?;
    assert!(status.success(), "{status}");
    server.start()?;
    podman.let_go()?;
    let run = api.ended(&id)?;
    assert_eq!(run["output"]["stdout"], json!({"a": 1}), "{run}");
    assert_eq!(podman.starts()?, 1);
    no_container_left(&podman)
}

#[test]
fn a_container_that_nobody_wants_is_removed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (podman, mut server, api) = podman_and_server(dir.path())?;
    let sleeps = json!({"image": IMAGE, "command": ["sleep", "600"]});
    // Cancelled while the server runs.
    let id = api.start("run", sleeps.to_string())?;
    until("the container's start", || {
        Ok((podman.starts()? == 1).then_some(()))
    })?;
    api.send("POST", &format!("/v1/executions/{id}/cancel"), "")?;
    assert_eq!(api.ended(&id)?["status"], "ABORTED");
    no_container_left(&podman)?;
    // Out of time while it does not: the next process finds the container, and nobody wants it.
    let mut began = None;
    // A busy machine may take longer until it begins one.
    for seconds in [15, 60] {
        let bound = format!("TimeoutSeconds: {seconds}, End: true");
        api.publish("late", &CONTAINER.replace("End: true", &bound))?;
        let over = Instant::now() + Duration::from_secs(seconds);
        let id = api.start("late", sleeps.to_string())?;
        let runs = until("the container's start", || {
            if podman.starts()? == 2 {
                return Ok(Some(true));
            }
            let shown = api.get(&format!("/v1/executions/{id}"))?.body;
            Ok((shown["status"] != "RUNNING").then_some(false))
        })?;
        if runs {
            began = Some((id, over));
            break;
        }
    }
    let (id, over) = began.context("no container began in its time")?;
    server.kill()?;
    std::thread::sleep(over.saturating_duration_since(Instant::now()));
    server.start()?;
    failed(&api.ended(&id)?, "States.Timeout");
    no_container_left(&podman)
}

#[test]
fn an_engine_that_comes_back_is_waited_for() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut podman, _server, api) = podman_and_server(dir.path())?;
    let run = json!({"image": IMAGE, "command": ["sh", "-c", "sleep 6000; echo done"]});
    let id = api.start("run", run.to_string())?;
    until("the container's start", || {
        Ok((podman.starts()? == 1).then_some(()))
    })?;
    podman.stop();
    std::thread::sleep(Duration::from_secs(1));
    podman.serve()?;
    podman.let_go()?;
    let run = api.ended(&id)?;
    assert_eq!(run["output"]["stdout"], "done\n", "{run}");
    assert_eq!(podman.starts()?, 1);
    Ok(())
}

#[test]
fn a_container_that_fails_says_how_and_none_gets_more_than_it_was_given() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (podman, _server, api) = podman_and_server(dir.path())?;
    let check = |change: Value, error: &str| -> Result<()> {
        let mut input = json!({"image": IMAGE, "command": ["true"]});
        for (name, value) in change.as_object().context("an object")? {
            input[name] = value.clone();
        }
        let run = api.run("run", &input.to_string())?;
        failed(&run, &format!("Stepwell.{error}"));
        Ok(())
    };
    check(json!({"command": ["nonesuch"]}), "ContainerStartFailed")?;
    check(
        json!({"command": ["sh", "-c", "exit 7"]}),
        "ContainerExitCode",
    )?;
    check(
        json!({"command": ["sh", "-c", "while :; do echo much; done"], "stdout_bytes_max": 1000}),
        "ContainerOutputTooLarge",
    )?;
    check(
        json!({"command": ["echo", "{"], "output": "json"}),
        "ContainerBadOutput",
    )?;
    no_container_left(&podman)?;
    // What one gets: no network, no capability, its own words as they are, bounded memory and processes.
    let look = |command: Value, more: Value| -> Result<String> {
        let mut input = json!({"image": IMAGE, "command": command});
        for (name, value) in more.as_object().context("an object")? {
            input[name] = value.clone();
        }
        let run = api.run("run", &input.to_string())?;
        let text = run["output"]["stdout"].as_str().map(str::to_owned);
        text.with_context(|| run.to_string())
    };
    let links = look(json!(["ls", "/sys/class/net"]), json!({}))?;
    assert_eq!(links, "lo\n");
    let caps = look(json!(["grep", "CapEff", "/proc/self/status"]), json!({}))?;
    assert_eq!(caps, "CapEff:\t0000000000000000\n");
    let odd = "a b'c\"d$(id)`id`\\ \n;|&*?!#~ é";
    let told = look(
        json!(["sh", "-c", "printf '%s|%s' \"$1\" \"$X\"", "sh", odd]),
        json!({"environment": {"X": odd}}),
    )?;
    assert_eq!(told, format!("{odd}|{odd}"));
    let run = json!({"image": IMAGE, "command": ["sh", "-c", "x=aaaaaaaa; while :; do x=$x$x; done"], "memory_mib": 16});
    let run = api.run("run", &run.to_string())?;
    // Podman does not tell the reason; Docker would.
    failed(&run, "Stepwell.ContainerExitCode");
    Ok(())
}

#[test]
fn images_are_fetched_only_when_asked() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let podman = Podman::start(&dir.path().join("podman"))?;
    let config = podman.config().replace(IMAGE, "127.0.0.1:1/*");
    let (_server, api) = started(dir.path(), &config)?;
    api.publish("run", CONTAINER)?;
    for (pull, error) in [
        ("never", "Stepwell.ContainerImageMissing"),
        ("missing", "Stepwell.ContainerPullFailed"),
        ("always", "Stepwell.ContainerPullFailed"),
    ] {
        let input = json!({"image": "127.0.0.1:1/nonesuch", "pull": pull});
        failed(&api.run("run", &input.to_string())?, error);
    }
    Ok(())
}

#[test]
fn without_an_engine_no_container_runs() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (_server, api) = started(dir.path(), "")?;
    api.publish("run", CONTAINER)?;
    let run = api.run("run", &json!({"image": IMAGE}).to_string())?;
    failed(&run, "Stepwell.ContainerNotGranted");
    Ok(())
}

#[test]
fn the_tools_are_here() -> Result<()> {
    // Says what is missing before the others fail for it.
    for (program, version) in [
        ("podman", "--version"),
        ("runc", "--version"),
        ("ssh-keygen", "-?"),
    ] {
        Command::new(program)
            .arg(version)
            .output()
            .with_context(|| {
                format!("{program} is missing; `cargo xtask test bridges` installs it")
            })?;
    }
    ensure!(
        Path::new("/bin/busybox").exists(),
        "busybox-static is missing"
    );
    ensure!(
        Path::new("/usr/sbin/sshd").exists(),
        "openssh-server is missing"
    );
    Ok(())
}

#[test]
fn what_a_program_says_on_standard_error_is_told_while_it_runs() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (podman, server, api) = podman_and_server(dir.path())?;
    let script = "trap 'echo over >&2; exit' USR1; echo begun >&2; while :; do sleep 0.1; done";
    let run = json!({"image": IMAGE, "command": ["sh", "-c", script]});
    let id = api.start("run", run.to_string())?;
    let line = until("its first line", || {
        let page = api.get(&format!("/v1/executions/{id}/logs?state=R"))?.body;
        Ok(page["lines"].get(0).cloned())
    })?;
    assert_eq!(
        (&line["message"], &line["level"]),
        (&json!("begun"), &json!("warn"))
    );
    let shown = api.get(&format!("/v1/executions/{id}"))?.body;
    assert_eq!(shown["status"], "RUNNING", "{shown}");
    let mut follow = Command::new(stepwell_tests::server::binary()?);
    follow.args(["--url", &server.url(), "logs", &id, "--follow"]);
    let follow = follow.stdout(std::process::Stdio::piped()).spawn()?;
    let names = podman.containers()?;
    let name = names.iter().find(|name| name.starts_with("stepwell-"));
    let name = name.context("no container")?;
    let kill = podman
        .command()
        .args(["kill", "--signal", "USR1", name])
        .output()?;
    ensure!(kill.status.success(), "{kill:?}");
    let text = String::from_utf8(follow.wait_with_output()?.stdout)?;
    let told: Vec<&str> = text
        .lines()
        .filter_map(|l| l.split("  R  ").nth(1))
        .collect();
    assert_eq!(told, ["begun", "over"], "{text}");
    assert_eq!(api.ended(&id)?["status"], "SUCCEEDED");
    no_container_left(&podman)
}
