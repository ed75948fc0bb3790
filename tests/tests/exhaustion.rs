//! What a server does when something runs out: the disk's room, the compiler's time, a turn's.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock; the rule is for the runtime"
)]

#[path = "../../runtime/sandbox/tests/all/wat_guest.rs"]
#[allow(dead_code, reason = "the sandbox's tests use the rest")]
mod wat_guest;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use stepwell_tests::api::{Answer, Api};
use stepwell_tests::bridges::ask::started;
use stepwell_tests::server::Server;
use stepwell_tests::wait;

const ASK: &str = "StartAt: A\nStates:\n  A: {Type: Task, Resource: callback, End: true}\n";
const PASS: &str = "StartAt: P\nStates: {P: {Type: Pass, End: true}}";

/// Tells a test that it runs in namespaces of its own.
const APART: &str = "STEPWELL_TEST_APART";

/// A small file system of its own; it goes with the guard.
struct Disk(PathBuf);

impl Disk {
    /// An error: this user may not mount.
    fn mount(at: &Path, mib: u32) -> Result<Disk> {
        std::fs::create_dir_all(at)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]);
        let out = mount.arg(at).output().context("mount")?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.success(), "{}", said.trim());
        Ok(Disk(at.to_owned()))
    }

    /// Takes all but so much.
    fn fill_but(&self, mib: u64) -> Result<PathBuf> {
        let about = rustix::fs::statvfs(&self.0)?;
        let bytes = (about.f_bavail * about.f_frsize).saturating_sub(mib << 20);
        let path = self.0.join("filler");
        let mut file = File::create(&path)?;
        std::io::copy(&mut std::io::repeat(7).take(bytes), &mut file)?;
        Ok(path)
    }

    /// Takes every byte that is left.
    fn fill(&self) -> Result<PathBuf> {
        let path = self.0.join("filler");
        let mut file = File::create(&path)?;
        let mut part = vec![7u8; 1 << 20];
        while !part.is_empty() {
            if file.write_all(&part).is_err() {
                part.truncate(part.len() / 2);
            }
        }
        Ok(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a server that is still dying keeps it a moment longer.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Runs a test of this file again, as the root of a user and a mount namespace of its own: so
/// everybody may mount, unless the machine forbids such namespaces.
fn again_apart(test: &str, why: &anyhow::Error) -> Result<()> {
    let mut again = Command::new("unshare");
    again.args(["--user", "--map-root-user", "--mount", "--"]);
    again.arg(std::env::current_exe()?);
    again.args(["--exact", test, "--nocapture"]).env(APART, "1");
    let out = again.output().context("unshare, of util-linux")?;
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    if out.status.success() && said.contains("1 passed") {
        println!("{said}");
        return Ok(());
    }
    bail!(
        "no disk could be filled: this user may not mount ({why:#}), and in namespaces of its own the test failed too; run it as root, or allow those (kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns):\n{said}"
    )
}

/// A disk for the data directory; `None`: the test ran apart, and passed there.
fn mounted(dir: &tempfile::TempDir, test: &str) -> Result<Option<Disk>> {
    match Disk::mount(&dir.path().join("data"), 400) {
        Ok(disk) => Ok(Some(disk)),
        Err(why) if std::env::var_os(APART).is_none() => again_apart(test, &why).map(|()| None),
        Err(why) => Err(why),
    }
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    wait::until(what, || Ok(holds()?.then_some(())))
}

fn readiness(api: &Api) -> u16 {
    api.get("/readyz").map_or(0, |a| a.status)
}

fn token(api: &Api, id: &str) -> Result<String> {
    let tasks = api.get(&format!("/v1/executions/{id}/tasks"))?.body;
    let token = tasks["tasks"][0]["token"].as_str();
    Ok(token.with_context(|| format!("{id}: {tasks}"))?.to_owned())
}

/// A start while the disk is full: refused by name, and never taken in silence.
fn refused(answer: &Answer) -> bool {
    answer.status == 503 && answer.body["code"] == "RUN0006"
}

#[test]
fn a_really_full_disk_loses_nothing_and_is_got_over() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(disk) = mounted(&dir, "a_really_full_disk_loses_nothing_and_is_got_over")? else {
        return Ok(());
    };
    let (mut server, api) = started(dir.path(), "disk_floor_mib = 64\n")?;
    api.publish("ask", ASK)?;
    api.publish("pass", PASS)?;
    let start = |flow: &str, input: &Value| {
        api.send(
            "POST",
            &format!("/v1/flows/{flow}/executions"),
            input.to_string(),
        )
    };
    let mut ids = Vec::new();
    for n in 0..20 {
        let answer = start("ask", &json!(n))?;
        ids.push(
            answer.body["id"]
                .as_str()
                .with_context(|| format!("{answer:?}"))?
                .to_owned(),
        );
    }
    let tokens = ids
        .iter()
        .map(|id| token(&api, id))
        .collect::<Result<Vec<_>>>()?;

    let filler = disk.fill()?;
    until("the server says that its disk is full", || {
        Ok(readiness(&api) == 503)
    })?;
    ensure!(
        refused(&start("pass", &json!(1))?),
        "a start on a full disk"
    );
    let again = api.send("PUT", "/v1/flows/more", PASS)?;
    ensure!(refused(&again), "a publish on a full disk: {again:?}");
    let shown = api.get(&format!("/v1/executions/{}", ids[0]))?;
    ensure!(shown.status == 200, "what is there is shown: {shown:?}");

    // Work that was accepted may end, as long as what was set aside lasts; if it does
    // not, the process ends rather than promise what it cannot keep.
    let mut acknowledged = Vec::new();
    for (id, token) in ids.iter().zip(&tokens) {
        let padding = "x".repeat(200_000);
        let path = format!("/v1/tasks/{token}/succeed");
        match api.send(
            "POST",
            &path,
            json!({ "id": id, "padding": padding }).to_string(),
        ) {
            Ok(answer) if answer.status == 204 => acknowledged.push(id.clone()),
            Ok(answer) => ensure!(answer.status >= 500, "{answer:?}"),
            Err(_) => break,
        }
    }
    println!(
        "{} of {} answers were taken on the full disk",
        acknowledged.len(),
        ids.len()
    );
    // Whether it lived or not: the next process starts on the full disk.
    let died = server.kill().is_err();
    println!("the server had ended by itself: {died}");
    server.spawn()?;
    until("a restart on the full disk says so", || {
        Ok(readiness(&api) == 503)
    })?;
    ensure!(
        refused(&start("pass", &json!(1))?),
        "a start after a restart"
    );

    std::fs::remove_file(filler)?;
    until("it comes back when there is room", || {
        Ok(readiness(&api) == 200)
    })?;
    let ended = start("pass", &json!(2))?;
    ensure!(ended.status == 202, "{ended:?}");
    for (id, token) in ids.iter().zip(&tokens) {
        let shown = api.get(&format!("/v1/executions/{id}"))?.body;
        let status = shown["status"].as_str().unwrap_or_default();
        if acknowledged.contains(id) {
            ensure!(
                status == "SUCCEEDED" && shown["output"]["id"] == **id,
                "{id} is lost"
            );
        } else if status == "RUNNING" {
            let path = format!("/v1/tasks/{token}/succeed");
            let answer = api.send("POST", &path, "1")?;
            ensure!(answer.status == 204, "{id}: {answer:?}");
        } else {
            ensure!(status == "SUCCEEDED", "{id}: {shown}");
        }
    }
    Ok(())
}

/// A call that is refused as soon as it has begun, when it is told to.
const CALL: &str = "StartAt: A\nStates:\n  A: {Type: Task, Resource: callback, Next: C}\n  C: {Type: Task, Resource: \"http:request\", Parameters: {method: GET, url: \"http://127.0.0.1:1/\"}, End: true}\n";
const RESULTS: &str = r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "End": true, "ItemsPath": "$",
    "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED"}, "StartAt": "A",
        "States": {"A": {"Type": "Task", "Resource": "callback", "End": true}}},
    "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "out", "Prefix": "all"}}}}}"#;

#[test]
fn results_of_a_map_wait_for_room_and_are_not_lost() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(disk) = mounted(&dir, "results_of_a_map_wait_for_room_and_are_not_lost")? else {
        return Ok(());
    };
    // One place for all calls, files of results among them.
    let config = "disk_floor_mib = 64\n[experimental]\nloops = 1\ncalls_max = 1\n";
    let (mut server, api) = started(dir.path(), config)?;
    api.publish("results", RESULTS)?;
    api.publish("call", CALL)?;
    let other = api.start("call", "1")?;
    let items: Vec<u32> = (0..3).collect();
    let id = api.start("results", json!(items).to_string())?;
    let mut children = Vec::new();
    until("the items wait", || {
        let all = api.get(&format!("/v1/executions?parent={id}"))?.body;
        let all = all["executions"].as_array().cloned().unwrap_or_default();
        children = all
            .iter()
            .filter_map(|one| Some(one["id"].as_str()?.to_owned()))
            .collect();
        let waits = |id: &String| token(&api, id).is_ok();
        Ok(children.len() == items.len() && children.iter().all(waits))
    })?;

    let filler = disk.fill_but(40)?;
    until("the server says that its disk is full", || {
        Ok(readiness(&api) == 503)
    })?;
    for child in &children {
        let path = format!("/v1/tasks/{}/succeed", token(&api, child)?);
        let answer = api.send("POST", &path, json!({"of": child}).to_string())?;
        ensure!(answer.status == 204, "{child}: {answer:?}");
    }
    let waits = |server: &Server| {
        server
            .log_end()
            .contains("results wait for room on the disk")
    };
    until("its results wait", || Ok(waits(&server)))?;
    let nothing_is_there = || -> Result<()> {
        let shown = api.get(&format!("/v1/executions/{id}"))?.body;
        ensure!(shown["status"] == "RUNNING", "{shown}");
        let objects = api.get("/v1/buckets/out/objects")?;
        let none = objects.body["objects"].as_array().is_none_or(Vec::is_empty);
        ensure!(none, "{objects:?}");
        Ok(())
    };
    nothing_is_there()?;
    // Their place is another's meanwhile.
    let path = format!("/v1/tasks/{}/succeed", token(&api, &other)?);
    let answer = api.send("POST", &path, "1")?;
    ensure!(answer.status == 204, "{answer:?}");
    let shown = api.ended(&other)?;
    ensure!(shown["error"] == "Stepwell.HttpDenied", "{shown}");
    // The next process begins on the full disk, and waits too.
    server.kill()?;
    server.spawn()?;
    until("a restart on the full disk says so", || {
        Ok(readiness(&api) == 503)
    })?;
    nothing_is_there()?;

    std::fs::remove_file(filler)?;
    let shown = api.ended(&id)?;
    ensure!(shown["status"] == "SUCCEEDED", "{shown}");
    let key = shown["output"]["ResultWriterDetails"]["Key"].as_str();
    let key = key.with_context(|| format!("{shown}"))?;
    let object = |key: &str| api.get(&format!("/v1/buckets/out/objects/{key}"));
    let manifest = object(key)?.body;
    let file = manifest["ResultFiles"]["SUCCEEDED"][0]["Key"].as_str();
    let records = object(file.with_context(|| format!("{manifest}"))?)?.body;
    ensure!(
        records.as_array().map(Vec::len) == Some(items.len()),
        "{records}"
    );
    Ok(())
}

/// Functions that a compiler takes long for, many of them: five times the processor time
/// that the test allows, on a quick machine.
fn slow_module() -> Vec<u8> {
    let mut text = String::from(r#"(memory (export "memory") 2) "#);
    for n in 0..600 {
        text.push_str(&format!(
            "(func $f{n} (param i32) (result i32) (local i32 i64 f64)\n"
        ));
        for depth in 0..40 {
            text.push_str("(loop (block (br_if 0 (i32.eqz (local.get 0)))\n");
            for k in 0..30 {
                text.push_str(&format!(
                    "(local.set 2 (i64.xor (i64.mul (local.get 2) (i64.const {})) (i64.extend_i32_u (i32.load offset={k} (local.get 0)))))\n(local.set 1 (i32.add (local.get 1) (i32.wrap_i64 (local.get 2))))\n",
                    n * 7919 + depth * 31 + k + 1
                ));
            }
        }
        text.push_str(&"))".repeat(40));
        text.push_str("(local.get 1))\n");
    }
    text.push_str(&wat_guest::echo());
    wat_guest::compile(&wat_guest::step("", "", &text))
}

/// Few bytes, and a thousand variables that are live across 1,200 loops inside one another:
/// minutes of a processor and gigabytes of memory for each thing that a compiler keeps of a
/// variable and a loop.
fn deep_module() -> Vec<u8> {
    const FUNCTIONS: usize = 8;
    const LOCALS: usize = 1_000;
    const LOOPS: usize = 1_200;
    let mut text = String::from(r#"(memory (export "memory") 2) "#);
    for n in 0..FUNCTIONS {
        text.push_str(&format!("(func $f{n} (param i32) (result i64) (local"));
        text.push_str(&" i64".repeat(LOCALS));
        text.push_str(")\n");
        text.push_str(&"loop\n".repeat(LOOPS));
        for local in 1..=LOCALS {
            let from = 1 + local % LOCALS;
            text.push_str(&format!(
                "local.get {from} local.get {local} i64.add local.set {local}\n"
            ));
        }
        text.push_str(&"local.get 0 br_if 0 end\n".repeat(LOOPS));
        text.push_str("local.get 1)\n");
    }
    text.push_str(&wat_guest::echo());
    wat_guest::compile(&wat_guest::step("", "", &text))
}

#[test]
fn a_module_that_takes_long_to_compile_is_refused_in_time() -> Result<()> {
    let time = "cpu_seconds = 3\nwall_ms = 8000\n";
    refused_while_flows_run(slow_module(), time, "BOX0006")?;
    refused_while_flows_run(deep_module(), time, "BOX0006")
}

#[test]
fn a_module_that_takes_much_memory_to_compile_is_refused() -> Result<()> {
    refused_while_flows_run(deep_module(), "memory_mib = 512\n", "BOX0007")
}

fn refused_while_flows_run(wasm: Vec<u8>, limits: &str, code: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (server, api) = started(dir.path(), &format!("[compile]\n{limits}"))?;
    api.publish("pass", PASS)?;
    println!("a valid component of {} bytes", wasm.len());
    let url = server.url();
    let upload = std::thread::spawn(move || -> Result<(Answer, Duration)> {
        let begun = Instant::now();
        let answer = Api::new(&url)?.send("PUT", "/v1/modules/slow", wasm)?;
        Ok((answer, begun.elapsed()))
    });
    let mut slowest = Duration::ZERO;
    let mut answered = 0;
    while !upload.is_finished() {
        let begun = Instant::now();
        let ended = api.run("pass", "{}")?;
        ensure!(ended["status"] == "SUCCEEDED", "{ended}");
        slowest = slowest.max(begun.elapsed());
        answered += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    let (answer, took) = upload.join().ok().context("the upload panicked")??;
    println!("refused after {took:?}; meanwhile {answered} flows, the slowest in {slowest:?}");
    ensure!(
        answer.status == 422 && answer.body["code"] == *code,
        "{answer:?}"
    );
    ensure!(took < Duration::from_secs(120), "the limit did not hold");
    ensure!(
        answered > 3 && slowest < Duration::from_secs(60),
        "the server stalled: {answered} flows ended, the slowest after {slowest:?}"
    );
    let modules = api.get("/v1/modules")?;
    ensure!(modules.body == json!({ "modules": [] }), "{modules:?}");
    Ok(())
}

const SORTS: &str = r#"{"QueryLanguage": "JSONata", "StartAt": "S", "States": {
    "S": {"Type": "Pass", "Output": "{% $sort($states.input) %}", "End": true}}}"#;
const ASKS_AND_SORTS: &str = r#"{"QueryLanguage": "JSONata", "StartAt": "A", "States": {
    "A": {"Type": "Task", "Resource": "callback", "Next": "S"},
    "S": {"Type": "Pass", "Output": "{% $sort($states.input) %}", "End": true}}}"#;

#[test]
fn a_turn_that_takes_too_long_parks_its_execution_and_nobody_else_waits() -> Result<()> {
    let dir = tempfile::tempdir()?;
    // What is sorted takes some hundred times as long.
    let (mut server, api) = started(dir.path(), "[experimental]\nturn_ms_max = 1\n")?;
    for (name, flow) in [("sorts", SORTS), ("asks", ASKS_AND_SORTS), ("pass", PASS)] {
        api.publish(name, flow)?;
    }
    let numbers: Vec<u32> = (0..60_000u32)
        .map(|n| n.wrapping_mul(2_654_435_761))
        .collect();
    let numbers = json!(numbers).to_string();
    let answer = api.send("POST", "/v1/flows/sorts/executions", numbers.clone())?;
    ensure!(
        answer.status == 422 && answer.body["code"] == "RUN0022",
        "{answer:?}"
    );
    let started = api.send("POST", "/v1/flows/asks/executions", "1")?;
    let id = started.body["id"].as_str().context("an id")?.to_owned();
    let path = format!("/v1/tasks/{}/succeed", token(&api, &id)?);
    let answer = api.send("POST", &path, numbers)?;
    ensure!(answer.body["code"] == "RUN0022", "{answer:?}");
    ensure!(api.run("pass", "{}")?["status"] == "SUCCEEDED");
    let parked = |api: &Api| -> Result<bool> {
        let shown = api.get(&format!("/v1/executions/{id}"))?.body;
        Ok(shown["status"] == "RUNNING" && shown["parked"]["error"] == "Stepwell.TurnStuck")
    };
    until("it is parked", || parked(&api))?;
    server.again()?;
    ensure!(parked(&api)?, "parked after a restart too");
    let history = api.get(&format!("/v1/executions/{id}/history"))?;
    ensure!(history.status == 200, "{history:?}");
    let cancelled = api.send("POST", &format!("/v1/executions/{id}/cancel"), "{}")?;
    ensure!(cancelled.status < 300, "{cancelled:?}");
    until("it ends", || {
        let shown = api.get(&format!("/v1/executions/{id}"))?.body;
        Ok(shown["status"] == "ABORTED")
    })
}
