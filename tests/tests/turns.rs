//! Limits outwards on images and machines, on a real Podman and a real sshd: who waits is seen, outlives the
//! server, and goes in turn; what goes at once is counted by the far side.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::bridges::ask::{failed, started};
use stepwell_tests::bridges::machine::Machine as _;
use stepwell_tests::bridges::podman::{IMAGE, Podman};
use stepwell_tests::bridges::sshd::Sshd;
use stepwell_tests::machines::{House, MACHINE};
use stepwell_tests::server::{self, Server};
use stepwell_tests::wait::until;

const CONTAINER: &str =
    "StartAt: R\nStates:\n  R: {Type: Task, Resource: \"container:run\", End: true}\n";

/// One target as the API shows it.
fn target(api: &Api, name: &str) -> Result<Value> {
    let all = api.get("/v1/targets")?.body;
    let all = all["targets"].as_array().context("no targets")?;
    let found = all.iter().find(|t| t["name"] == name);
    Ok(found.cloned().unwrap_or_default())
}

/// Waits until so many are under way there, and so many wait.
fn until_counted(api: &Api, name: &str, under_way: u32, waiting: u32) -> Result<()> {
    until("the target's figures", || {
        let shown = target(api, name)?;
        let both = (&shown["under_way"], &shown["waiting"]);
        Ok((both == (&json!(under_way), &json!(waiting))).then_some(()))
    })
}

/// What an execution waits for.
fn waits(api: &Api, id: &str) -> Result<String> {
    until("a reason", || {
        let shown = api.get(&format!("/v1/executions/{id}"))?.body;
        ensure!(shown["status"] == "RUNNING", "{shown}");
        Ok(shown["waiting"][0]["for"].as_str().map(str::to_owned))
    })
}

fn metrics(api: &Api) -> Result<String> {
    let text = api.get("/metrics")?.body;
    text.as_str().map(str::to_owned).context("no text")
}

fn printed(server: &Server, args: &[&str]) -> Result<String> {
    let run = Command::new(server::binary()?)
        .args(args)
        .args(["--url", &server.url()])
        .env_remove("STEPWELL_TOKEN")
        .output()?;
    ensure!(run.status.success(), "{run:?}");
    Ok(String::from_utf8_lossy(&run.stdout).into_owned())
}

/// Of those who began, exactly so many wait, each with this reason, and everybody who asks sees it.
fn seen(server: &Server, api: &Api, ids: &[String], waiting: usize, why: &str) -> Result<()> {
    let mut found = None;
    let mut reasons = 0;
    for id in ids {
        let shown = api.get(&format!("/v1/executions/{id}"))?.body;
        if let Some(reason) = shown["waiting"][0]["for"].as_str() {
            assert_eq!(reason, why, "{shown}");
            reasons += 1;
            found = Some(id);
        }
    }
    assert_eq!(reasons, waiting);
    let shown = printed(server, &["describe", found.context("nobody waits")?])?;
    assert!(shown.contains(why), "{shown}");
    let (kind, name) = why
        .rsplit_once(" of ")
        .and_then(|(_, target)| target.split_once(' '))
        .context("a target")?;
    let listed = printed(server, &["targets"])?;
    assert!(listed.contains(name), "{listed}");
    let metrics = metrics(api)?;
    let line = format!("stepwell_target_waiting{{kind=\"{kind}\",name=\"{name}\"}} {waiting}");
    assert!(metrics.contains(&line), "{line}: {metrics}");
    Ok(())
}

/// The most that were there at once, and how many came: of lines that begin with `+` and `-`.
fn at_once<'a>(lines: impl Iterator<Item = &'a str>) -> (usize, usize) {
    let (mut now, mut most, mut came) = (0_usize, 0, 0);
    for line in lines {
        if line.starts_with('+') {
            now += 1;
            came += 1;
            most = most.max(now);
        } else {
            now = now.saturating_sub(1);
        }
    }
    (most, came)
}

#[test]
fn programs_on_a_machine_go_in_turn_over_the_deaths_of_the_server() -> Result<()> {
    let mut house = House::<Sshd>::new("[limits.machines.worker]\nconcurrency = 2\n")?;
    let folder = house.machine.folder();
    let turns = || -> Result<String> {
        let line = format!("cat '{folder}/turns' 2>/dev/null || true");
        house.machine.shell(&line)
    };
    let go = format!("{folder}/go");
    let script = format!(
        "echo + >> '{folder}/turns'; until [ -e '{go}' ]; do sleep 0.2; done; echo - >> '{folder}/turns'"
    );
    let input = json!({"machine": "worker", "command": ["sh", "-c", script]});
    let ids: Vec<String> = (0..6)
        .map(|_| house.api.start("run", input.to_string()))
        .collect::<Result<_>>()?;
    until("two programs", || {
        Ok((turns()?.lines().count() == 2).then_some(()))
    })?;
    let why = "concurrency limit of machine worker";
    for death in 0..3 {
        if death > 0 {
            house.server.again()?;
        }
        until_counted(&house.api, "worker", 2, 4)?;
        seen(&house.server, &house.api, &ids, 4, why)?;
        assert_eq!(turns()?.lines().count(), 2, "after {death} deaths");
    }
    std::fs::write(&go, "")?;
    for id in &ids {
        assert_eq!(house.api.ended(id)?["status"], "SUCCEEDED");
    }
    assert_eq!(at_once(turns()?.lines()), (2, 6), "{}", turns()?);

    // So many a second: the second one waits, and a server that knows of no limit lets it go.
    let own = house.machine.address().config("worker", "host")?;
    let rate = "[limits.machines.worker]\nper_second = 0.001\nburst = 1\n";
    house.server.configure(&format!("{own}{rate}"))?;
    house.server.again()?;
    let first = house.api.start("run", input.to_string())?;
    assert_eq!(house.api.ended(&first)?["status"], "SUCCEEDED");
    let second = house.api.start("run", input.to_string())?;
    let why = "rate limit of machine worker";
    assert_eq!(waits(&house.api, &second)?, why);
    seen(
        &house.server,
        &house.api,
        std::slice::from_ref(&second),
        1,
        why,
    )?;
    house.server.configure(&own)?;
    house.server.again()?;
    assert_eq!(house.api.ended(&second)?["status"], "SUCCEEDED");
    assert_eq!(at_once(turns()?.lines()).1, 8);
    house.no_run_left()
}

#[test]
fn a_machine_that_is_away_opens_its_circuit_until_it_is_back() -> Result<()> {
    let limits = "[limits.machines.worker]\nconcurrency = 1\n[limits.breaker]\nfailures = 1\nopen_ms = 20000\n";
    let mut house = House::<Sshd>::new(limits)?;
    let input = json!({"machine": "worker", "command": ["true"]});
    house.machine.stop()?;
    let id = house.api.start("run", input.to_string())?;
    until_counted(&house.api, "worker", 1, 0)?;
    let behind = house.api.start("run", input.to_string())?;
    until_counted(&house.api, "worker", 1, 1)?;
    // Whoever waits for it hears of it, too.
    failed(&house.api.ended(&behind)?, "Stepwell.CircuitOpen");
    failed(&house.api.ended(&id)?, "Stepwell.MachineUnreachable");
    let shown = target(&house.api, "worker")?;
    assert_eq!(shown["circuit"], "open", "{shown}");
    assert_eq!(shown["failed"], 1, "{shown}");
    failed(
        &house.api.run("run", &input.to_string())?,
        "Stepwell.CircuitOpen",
    );
    let listed = printed(&house.server, &["targets"])?;
    assert!(listed.contains("open"), "{listed}");
    let metrics = metrics(&house.api)?;
    let line = "stepwell_target_circuit{kind=\"machine\",name=\"worker\"} 2";
    assert!(metrics.contains(line), "{metrics}");
    house.machine.serve()?;
    let again = MACHINE.replace(
        "End: true",
        "Retry: [{ErrorEquals: [Stepwell.CircuitOpen], IntervalSeconds: 1, MaxAttempts: 100, MaxDelaySeconds: 1}], End: true",
    );
    house.api.publish("again", &again)?;
    let id = house.api.start("again", input.to_string())?;
    assert_eq!(house.api.ended(&id)?["status"], "SUCCEEDED");
    assert_eq!(target(&house.api, "worker")?["circuit"], "closed");
    house.no_run_left()
}

#[test]
fn connections_to_a_machine_are_shared_bounded_counted_and_end_when_nobody_needs_them() -> Result<()>
{
    let mut house = House::<Sshd>::new("")?;
    let own = house.machine.address().config("worker", "host")?;
    // Longer than it takes until a silent machine is asked whether it is there.
    let few = "connections = 1\nidle_seconds = 17\n[limits.machines.worker]\nconcurrency = 12\n";
    house.server.configure(&format!("{own}{few}"))?;
    house.server.again()?;
    let counted = |expected: usize| -> Result<()> {
        let shown = target(&house.api, "worker")?;
        assert_eq!(shown["connections"], expected, "{shown}");
        let metrics = metrics(&house.api)?;
        let line =
            format!("stepwell_target_connections{{kind=\"machine\",name=\"worker\"}} {expected}");
        assert!(metrics.contains(&line), "{metrics}");
        Ok(())
    };
    let folder = house.machine.folder();
    let go = format!("{folder}/go");
    // More programs than commands that one connection has room for.
    let script = format!(
        "echo $$ >> '{}'; until [ -e '{go}' ]; do sleep 0.3; done",
        house.ledger()
    );
    let input = json!({"machine": "worker", "command": ["sh", "-c", script]});
    let before = house.machine.accepted()?;
    let ids: Vec<String> = (0..10)
        .map(|_| house.api.start("run", input.to_string()))
        .collect::<Result<_>>()?;
    house.until_begun(10)?;
    assert_eq!(house.machine.sessions()?, 1);
    counted(1)?;
    std::fs::write(&go, "")?;
    for id in &ids {
        assert_eq!(house.api.ended(id)?["status"], "SUCCEEDED");
    }
    house.no_run_left()?;
    until("the end of the last connection", || {
        Ok((house.machine.sessions()? == 0).then_some(()))
    })?;
    // The look at what an earlier life left may have had one of its own.
    let made = house.machine.accepted()? - before;
    assert!(made <= 1, "{made} connections were made");
    counted(0)?;
    // The next one makes its own.
    let run = house.api.run("run", &input.to_string())?;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    assert_eq!(house.machine.accepted()? - before, made + 1);
    house.no_run_left()
}

#[test]
fn containers_of_an_image_go_in_turn_over_the_deaths_of_the_server() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let podman = Podman::start(&dir.path().join("podman"))?;
    let limit = |text: &str| format!("{}[limits.images.\"{IMAGE}\"]\n{text}", podman.config());
    let (mut server, api) = started(dir.path(), &limit("concurrency = 2\n"))?;
    api.publish("run", CONTAINER)?;
    let script = "trap 'exit 0' USR1; while :; do sleep 0.1; done";
    let input = json!({"image": IMAGE, "command": ["sh", "-c", script]});
    let ids: Vec<String> = (0..5)
        .map(|_| api.start("run", input.to_string()))
        .collect::<Result<_>>()?;
    let started = |count: usize| {
        until("a container's start", || {
            Ok((podman.starts()? == count).then_some(()))
        })
    };
    started(2)?;
    let why = format!("concurrency limit of image {IMAGE}");
    for death in 0..3 {
        if death > 0 {
            server.again()?;
        }
        until_counted(&api, IMAGE, 2, 3)?;
        seen(&server, &api, &ids, 3, &why)?;
        assert_eq!(podman.starts()?, 2, "after {death} deaths");
    }
    let end_one = || -> Result<()> {
        let names = podman.running()?;
        let name = names.first().context("none runs")?;
        let mut kill = podman.command();
        let kill = kill.args(["kill", "--signal", "USR1", name]).output()?;
        ensure!(kill.status.success(), "{kill:?}");
        Ok(())
    };
    for count in 3..=5 {
        end_one()?;
        started(count)?;
    }
    until("the end of all", || {
        if !podman.running()?.is_empty() {
            // It may have ended between the two.
            let _ = end_one();
        }
        let ended = |id: &String| -> Result<bool> {
            let shown = api.get(&format!("/v1/executions/{id}"))?.body;
            Ok(shown["status"] != "RUNNING")
        };
        let all = ids.iter().map(ended).collect::<Result<Vec<bool>>>()?;
        Ok(all.iter().all(|ended| *ended).then_some(()))
    })?;
    for id in &ids {
        assert_eq!(api.ended(id)?["status"], "SUCCEEDED");
    }
    let turns = podman.turns()?;
    assert_eq!(at_once(turns.lines()), (2, 5), "{turns}");

    // So many a second, over a death.
    server.configure(&limit("per_second = 0.001\nburst = 1\n"))?;
    server.again()?;
    let quick = json!({"image": IMAGE, "command": ["true"]});
    let first = api.start("run", quick.to_string())?;
    assert_eq!(api.ended(&first)?["status"], "SUCCEEDED");
    let second = api.start("run", quick.to_string())?;
    let why = format!("rate limit of image {IMAGE}");
    assert_eq!(waits(&api, &second)?, why);
    seen(&server, &api, std::slice::from_ref(&second), 1, &why)?;
    server.configure(&podman.config())?;
    server.again()?;
    assert_eq!(api.ended(&second)?["status"], "SUCCEEDED");
    assert_eq!(podman.starts()?, 7);
    Ok(())
}
