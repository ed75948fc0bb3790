//! The real server with real modules, as its users meet it.

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::bridges::ask::started;
use stepwell_tests::guests;
use stepwell_tests::server::{Server, binary};
use stepwell_tests::wait::until;

#[track_caller]
fn expect(
    api: &Api,
    method: &str,
    path: &str,
    body: impl Into<reqwest::Body>,
    want: u16,
    part: &str,
) {
    match api.send(method, path, body) {
        Ok(a) => assert!(
            a.status == want && a.body.to_string().contains(part),
            "{method} {path}: wanted {want} with {part}, got {} {}",
            a.status,
            a.body
        ),
        Err(e) => panic!("{method} {path}: {e:#}"),
    }
}

/// A component of nothing but an import that no host has.
fn component_with_a_strange_import() -> Vec<u8> {
    let name = b"acme:missing/thing@1.0.0";
    let mut out = b"\0asm\x0d\0\x01\0".to_vec();
    // One type: an instance without exports.
    out.extend([7, 3, 1, 0x42, 0]);
    let length = u8::try_from(name.len()).unwrap_or(0);
    out.extend([10, length + 5, 1, 0, length]);
    out.extend(name);
    out.extend([5, 0]);
    out
}

#[test]
fn bad_uploads_are_refused_and_the_server_stays_up() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut server, api) = started(dir.path(), "upload_bytes_max = 104857600\n")?;
    let put = |name: &str, body: Vec<u8>, want, part: &str| {
        expect(
            &api,
            "PUT",
            &format!("/v1/modules/{name}"),
            body,
            want,
            part,
        );
    };
    put("text", b"hello".to_vec(), 422, "BOX0001");
    put("core", b"\0asm\x01\0\0\0".to_vec(), 422, "BOX0002");
    put(
        "strange",
        component_with_a_strange_import(),
        422,
        "acme:missing/thing",
    );
    put("empty", b"\0asm\x0d\0\x01\0".to_vec(), 422, "BOX0004");
    put(
        "broken",
        b"\0asm\x0d\0\x01\0\x07\xff".to_vec(),
        422,
        "BOX00",
    );
    put("large", vec![0; 200 << 20], 413, "API0006");
    expect(&api, "GET", "/v1/modules", "", 200, r#"{"modules":[]}"#);
    api.one_step("echo", &guests::program("echo")?)?;
    assert_eq!(api.run("echo", r#"{"a":1}"#)?["output"], json!({"a": 1}));
    let (status, _) = server.stop(Duration::from_secs(20))?;
    assert!(status.success(), "{status}");

    // The same module, and a compiler that may take a millisecond.
    server.configure("[compile]\nwall_ms = 1\n")?;
    server.start()?;
    let wasm = std::fs::read(guests::program("json-step")?)?;
    put("slow", wasm, 422, "BOX0006");
    expect(&api, "GET", "/healthz", "", 200, "ok");
    assert_eq!(api.run("echo", "[2]")?["output"], json!([2]));
    Ok(())
}

#[test]
fn bad_steps_fail_by_name_and_the_server_stays_up() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let config = "[steps]\nfuel = 3000000000\nmemory_mib = 1000\n";
    let (_server, api) = started(dir.path(), config)?;
    for (guest, input, error) in [
        ("spin", "{}", "Stepwell.FuelExhausted"),
        ("memory-bomb", "{}", "Stepwell.MemoryExceeded"),
        ("recursion-bomb", "1", "Stepwell.StackOverflow"),
        ("bad-json", "{}", "Stepwell.InvalidOutput"),
        ("big-output", "104857600", "Stepwell.OutputTooLarge"),
        ("panics", "{}", "Stepwell.Trap"),
        ("fail", r#"{"error":"My.Error","cause":"why"}"#, "My.Error"),
    ] {
        api.one_step(guest, &guests::program(guest)?)?;
        let ended = api.run(guest, input)?;
        let got = (ended["status"].as_str(), ended["error"].as_str());
        assert_eq!(got, (Some("FAILED"), Some(error)), "{guest}: {ended}");
    }
    // A flow that only turns in a circle.
    let circle = r#"{"StartAt": "A", "States": {
        "A": {"Type": "Pass", "Next": "B"},
        "B": {"Type": "Choice", "Choices": [{"Variable": "$.never", "IsPresent": true, "Next": "C"}], "Default": "A"},
        "C": {"Type": "Succeed"}}}"#;
    api.publish("circle", circle)?;
    let ended = api.run("circle", "{}")?;
    assert_eq!(ended["error"], "Stepwell.EndlessLoop", "{ended}");
    expect(&api, "GET", "/readyz", "", 200, "ready");
    Ok(())
}

#[test]
fn bad_requests_are_refused_and_the_server_stays_up() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut server = Server::new(dir.path(), "")?;
    server.environment([("STEPWELL_TOKEN".into(), "correct-horse".into())]);
    server.start()?;
    let api = Api::new(&server.url())?.with_token("wrong-horse");
    expect(&api, "GET", "/v1/flows", "", 401, "API0003");
    let api = api.with_token("correct-horse");
    api.publish("pass", "StartAt: P\nStates: {P: {Type: Pass, End: true}}")?;
    let start = "/v1/flows/pass/executions?name=one";
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let unknown = "StartAt: P\nStates: {P: {Type: Pas, Nxt: Q, End: true}}";
    expect(&api, "PUT", "/v1/flows/bad", unknown, 422, "did you mean");
    expect(
        &api,
        "POST",
        "/v1/flows/pass/executions",
        deep.clone(),
        400,
        "API0005",
    );
    expect(&api, "PUT", "/v1/flows/deep", deep, 422, "FLOW0003");
    expect(&api, "POST", start, "{\"n\":1}", 202, "\"new\":true");
    expect(&api, "POST", start, "{\"n\":1}", 202, "\"new\":false");
    expect(&api, "POST", start, "{\"n\":2}", 409, "RUN0004");

    // A disk with less room than is wanted: reads go on, starts wait for room.
    server.stop(Duration::from_secs(20))?;
    server.configure("disk_floor_mib = 100000000\n")?;
    server.spawn()?;
    // Not ready also means not yet open: what tells is a start that is refused.
    until("a start that is refused", || {
        let answer = api.send("POST", "/v1/flows/pass/executions", "{}");
        Ok(answer.is_ok_and(|a| a.status == 503).then_some(()))
    })?;
    expect(
        &api,
        "POST",
        "/v1/flows/pass/executions",
        "{}",
        503,
        "RUN0006",
    );
    expect(
        &api,
        "GET",
        "/v1/flows/pass/executions/one",
        "",
        200,
        "SUCCEEDED",
    );
    server.stop(Duration::from_secs(20))?;
    server.configure("")?;
    server.start()?;
    assert_eq!(api.run("pass", "{}")?["status"], "SUCCEEDED");
    Ok(())
}

#[test]
fn a_step_that_takes_longer_than_its_state_allows_times_out() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (_server, api) = started(dir.path(), "[steps]\nfuel = 1000000000000\n")?;
    api.upload("spin", &guests::program("spin")?)?;
    let slow = "StartAt: S\nStates:\n  S: {Type: Task, Resource: \"wasm:spin\", TimeoutSeconds: 1, End: true}\n";
    api.publish("slow", slow)?;
    let ended = api.run("slow", "{}")?;
    assert_eq!(ended["error"], "States.Timeout", "{ended}");
    Ok(())
}

#[test]
fn who_waits_for_a_step_that_outlives_a_stop_is_told_its_id() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let config = "stop_seconds = 1\n[steps]\nfuel = 1000000000000\nwall_ms = 900000\n";
    let (mut server, api) = started(dir.path(), config)?;
    api.one_step("spin", &guests::program("spin")?)?;
    let waiters: Vec<_> = (0..4)
        .map(|_| {
            let url = server.url();
            let start = "/v1/flows/spin/executions?wait=60";
            std::thread::spawn(move || Api::new(&url)?.send("POST", start, "{}"))
        })
        .collect();
    until("all of them", || {
        let list = api.get("/v1/executions?flow=spin")?.body;
        let running = list["executions"].as_array().map_or(0, Vec::len);
        Ok((running == waiters.len()).then_some(()))
    })?;
    // Who ends a group of processes may signal each of them and the group: one wish. It finds both there,
    // however slow we are.
    for signal in [Signal::STOP, Signal::TERM, Signal::INT, Signal::CONT] {
        server.signal(signal)?;
    }
    let (status, _) = server.ends(Duration::from_secs(60))?;
    assert!(status.success(), "{status}");
    let mut told = Vec::new();
    for waiter in waiters {
        let answer = waiter.join().ok().context("a waiter panicked")??;
        assert_eq!(answer.status, 202, "{answer:?}");
        told.push(answer.body["id"].as_str().context("an id")?.to_owned());
    }
    server.start()?;
    for id in told {
        let path = format!("/v1/executions/{id}");
        expect(&api, "GET", &path, "", 200, "RUNNING");
        expect(
            &api,
            "POST",
            &format!("{path}/cancel"),
            "{}",
            200,
            "ABORTED",
        );
    }
    Ok(())
}

#[test]
fn a_stop_lets_go_of_waiters_and_a_start_takes_up_again() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut server, api) = started(dir.path(), "")?;
    let ask = "StartAt: A\nStates:\n  A: {Type: Task, Resource: callback, End: true}\n";
    api.publish("ask?trigger=POST%20/ask&trigger=async%20PUT%20/ask", ask)?;
    let url = server.url();
    // One caller waits for the end, one follows the events, one polls for work, and a command
    // waits for another end, while the server is stopped.
    let command = Command::new(binary()?)
        .args(["start", "ask", "--name", "c", "--wait", "60"])
        .env("STEPWELL_URL", server.url())
        .env_remove("STEPWELL_TOKEN")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let waiter = std::thread::spawn(move || {
        let api = Api::new(&url)?;
        api.send("POST", "/v1/flows/ask/executions?name=w&wait=60", "{}")
    });
    let named = |name: &str| -> Result<String> {
        until(name, || {
            let found = api.get(&format!("/v1/flows/ask/executions/{name}"))?;
            Ok(found.body["id"].as_str().map(str::to_owned))
        })
    };
    let (id, other) = (named("w")?, named("c")?);
    let url = server.url();
    let events = format!("/v1/executions/{id}/events");
    let (told, hears) = mpsc::channel::<()>();
    let tail = std::thread::spawn(move || Api::new(&url)?.tail(&events, || drop(told)));
    // Nothing is sent: whoever has it lets go of it.
    let _ = hears.recv();
    let asked = || api.metric("stepwell_http_in_flight");
    let before = asked()?;
    let (url, idle) = (server.url(), "/v1/activities/idle/poll?wait=60");
    let worker = std::thread::spawn(move || Api::new(&url)?.send("POST", idle, ""));
    until(
        "the worker's poll",
        || Ok((asked()? > before).then_some(())),
    )?;
    let (status, took) = server.stop(Duration::from_secs(60))?;
    // The waiters would have waited for a minute.
    assert!(
        status.success() && took < Duration::from_secs(50),
        "{status} after {took:?}"
    );
    let waited = waiter.join().ok().context("the waiter panicked")??;
    assert_eq!(
        (waited.status, waited.body["id"].as_str()),
        (202, Some(&*id)),
        "{waited:?}"
    );
    let worker = worker.join().ok().context("the worker panicked")??;
    assert_eq!(worker.status, 503, "{worker:?}");
    let tail = tail.join().ok().context("the tail panicked")??;
    assert!(
        tail.contains("TaskStateEntered") && !tail.contains("event: end"),
        "{tail}"
    );

    server.start()?;
    for (id, output) in [(&id, "[7]"), (&other, "[8]")] {
        let tasks = api.get(&format!("/v1/executions/{id}/tasks"))?;
        let token = tasks.body["tasks"][0]["token"].as_str();
        let path = format!("/v1/tasks/{}/succeed", token.context("a token")?);
        expect(&api, "POST", &path, output, 204, "");
    }
    let command = command.wait_with_output()?;
    let said = String::from_utf8_lossy(&command.stdout);
    assert_eq!((command.status.code(), said.trim()), (Some(0), "[8]"));
    let remark = String::from_utf8_lossy(&command.stderr);
    assert!(remark.contains(&other), "{remark}");
    let path = format!("/v1/executions/{id}?wait=10");
    expect(&api, "GET", &path, "", 200, r#""output":[7]"#);
    // The tail goes on where it broke off.
    let seen = tail.matches("\nid: ").count() + usize::from(tail.starts_with("id: "));
    let rest = api.get(&format!("/v1/executions/{id}/events?after={seen}"))?;
    let rest = rest.body.as_str().unwrap_or_default().to_owned();
    assert!(
        rest.contains(&format!("id: {}\n", seen + 1)),
        "{seen}: {rest}"
    );
    assert!(
        rest.contains("ExecutionSucceeded") && rest.contains("event: end"),
        "{rest}"
    );
    Ok(())
}

#[test]
fn endpoints_start_flows() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (_server, api) = started(dir.path(), "trigger_wait_seconds = 1\n")?;
    let pass = "StartAt: P\nStates: {P: {Type: Pass, OutputPath: $.body, End: true}}";
    let fail = "StartAt: F\nStates: {F: {Type: Fail, Error: My.Error, Cause: why}}";
    let wait = "StartAt: W\nStates: {W: {Type: Wait, Seconds: 100, End: true}}";
    api.publish(
        "pass?trigger=POST%20/pass/{id}&trigger=async%20PUT%20/pass/{id}",
        pass,
    )?;
    api.publish("fail?trigger=GET%20/fail", fail)?;
    api.publish("wait?trigger=GET%20/wait", wait)?;
    expect(&api, "POST", "/t/pass/7", "hello", 200, "hello");
    expect(&api, "PUT", "/t/pass/7", "hello", 202, "\"new\":true");
    expect(&api, "GET", "/t/fail", "", 502, "My.Error");
    expect(&api, "GET", "/t/wait", "", 202, "RUNNING");
    expect(&api, "GET", "/t/pass/7", "", 405, "API0002");
    // An endpoint moves with its flow, and goes with it.
    api.publish("pass?trigger=POST%20/moved", pass)?;
    expect(&api, "POST", "/t/pass/7", "", 404, "API0001");
    expect(&api, "POST", "/t/moved", "x", 200, "x");
    api.publish("pass?trigger=", pass)?;
    expect(&api, "POST", "/t/moved", "x", 404, "API0001");
    Ok(())
}

/// The counting rules of the service that users come from: the start counts one.
#[test]
fn usage_counts_transitions_and_survives_a_kill() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut server, api) = started(dir.path(), "")?;
    api.upload("echo", &guests::program("echo")?)?;
    let task = |name: &str| {
        format!(
            r#"{{"StartAt": "{name}", "States": {{"{name}": {{"Type": "Task", "Resource": "wasm:echo", "End": true}}}}}}"#
        )
    };
    let (one, two, three) = (task("T1"), task("T2"), task("T3"));
    let branches = format!(
        r#"{{"StartAt": "P", "States": {{"P": {{"Type": "Parallel", "Branches": [{one}, {two}, {three}], "End": true}}}}}}"#
    );
    let map = format!(
        r#"{{"StartAt": "M", "States": {{"M": {{"Type": "Map", "ItemProcessor": {one}, "End": true}}}}}}"#
    );
    let choice = r#"{"StartAt": "C", "States": {
        "C": {"Type": "Choice", "Choices": [{"Variable": "$.n", "NumericEquals": 1, "Next": "S"}]},
        "S": {"Type": "Succeed"}}}"#;
    let cases = [
        ("branches", branches.as_str(), "{}", 4),
        ("map", map.as_str(), "[1, 2, 3, 4]", 5),
        ("choice", choice, r#"{"n": 1}"#, 2),
    ];
    for (name, flow, input, want) in cases {
        api.publish(name, flow)?;
        for _ in 0..3 {
            let ended = api.run(name, input)?;
            let got = (ended["status"].as_str(), ended["transitions"].as_u64());
            assert_eq!(got, (Some("SUCCEEDED"), Some(want)), "{ended}");
        }
    }
    let report = |api: &Api| -> Result<Vec<(Value, u64)>> {
        let rows = api.get("/v1/usage")?.body["usage"].clone();
        let rows = rows.as_array().context("no report")?;
        let mut sums = std::collections::BTreeMap::new();
        for row in rows {
            let sum = sums.entry(row["flow"].to_string()).or_insert(0);
            *sum += row["transitions"].as_u64().unwrap_or(0);
        }
        Ok(sums.into_iter().map(|(flow, n)| (json!(flow), n)).collect())
    };
    let before = report(&api)?;
    assert_eq!(
        before.iter().map(|(_, n)| *n).collect::<Vec<_>>(),
        [12, 6, 15]
    );
    server.again()?;
    assert_eq!(report(&api)?, before);
    Ok(())
}

#[test]
fn the_command_line_tells_by_its_exit_status() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (server, api) = started(dir.path(), "")?;
    let binary = binary()?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path = dir.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let pass = file(
        "pass.yaml",
        "StartAt: P\nStates: {P: {Type: Pass, End: true}}",
    )?;
    let fail = file(
        "fail.yaml",
        "StartAt: F\nStates: {F: {Type: Fail, Error: E, Cause: c}}",
    )?;
    let bad = file(
        "bad.yaml",
        "StartAt: X\nStates: {P: {Type: Pass, End: true}}",
    )?;
    let text = file("text.wasm", "hello")?;
    let url = server.url();
    let check = |args: &[&str], status: i32, part: &str| -> Result<()> {
        let out = Command::new(&binary)
            .args(args)
            .env("STEPWELL_URL", &url)
            .env_remove("STEPWELL_TOKEN")
            .output()?;
        let both = [out.stdout, out.stderr].concat();
        let both = String::from_utf8_lossy(&both);
        let fits = out.status.code() == Some(status) && both.contains(part);
        anyhow::ensure!(
            fits,
            "{args:?}: wanted {status} with {part}, got {:?}: {both}",
            out.status
        );
        Ok(())
    };
    check(&["validate", &pass], 0, "valid")?;
    check(&["validate", &bad], 1, "bad.yaml:1:10: error[FLOW0011]")?;
    let latin = dir.path().join("latin.yaml");
    std::fs::write(&latin, b"Comment: x\nStartAt: caf\xe9\n")?;
    let latin = latin.display().to_string();
    check(&["validate", &latin], 1, "latin.yaml:2:13: error[FLOW0001]")?;
    check(&["validate", &latin, "--json"], 1, r#""valid":false"#)?;
    let long = file("long.yaml", &"# long\n".repeat(200_000))?;
    check(&["validate", &long], 1, "error[FLOW0002]")?;
    check(&["validate", "/nonexistent.yaml"], 5, "cannot read")?;
    check(
        &["run", &pass, "--input", "[1]"],
        0,
        r#"{"status":"SUCCEEDED","output":[1]}"#,
    )?;
    check(
        &["run", &fail],
        1,
        r#"{"status":"FAILED","error":"E","cause":"c"}"#,
    )?;
    check(&["run", &bad], 2, "FLOW0011")?;
    let wide = file("wide.json", "{\n  \"a\": 1\r\n}")?;
    let one_line = r#"{"status":"SUCCEEDED","output":{   "a": 1  }}"#;
    check(&["run", &pass, "--input", &format!("@{wide}")], 0, one_line)?;
    let nowhere = "/nonexistent/history";
    check(&["run", &pass, "--history", nowhere], 2, "cannot write")?;
    check(
        &["run", &pass, "--input", "{"],
        2,
        "cannot be taken as JSON",
    )?;
    check(&["nonsense"], 2, "Usage")?;
    check(
        &["flow", "publish", "pass", &pass, "--trigger", "POST /p"],
        0,
        "POST /t/p",
    )?;
    check(
        &["flow", "publish", "bad", &bad],
        2,
        "1:10: error[FLOW0011]",
    )?;
    check(&["flow", "publish", "fail", &fail], 0, "fail@1")?;
    api.publish(
        "asks",
        "StartAt: A\nStates: {A: {Type: Task, Resource: callback, End: true}}",
    )?;
    check(&["module", "push", "text", &text], 4, "BOX0001")?;
    let folder = dir.path().display().to_string();
    check(&["module", "push", "text", &folder], 5, "no regular file")?;
    // Numbers come back as they are written.
    let numbers = r#"{"a":1.0,"b":1e3,"c":12345678901234567890123}"#;
    let start = ["start", "pass", "--input", numbers, "--name", "numbers"];
    check(&[&start[..], &["--wait"]].concat(), 0, numbers)?;
    check(&["describe", "numbers", "--flow", "pass"], 0, numbers)?;
    check(&["poll", "nobody", "--wait", "0", "--json"], 6, "null\n")?;
    check(&["start", "fail", "--wait"], 1, "FAILED: E: c")?;
    for (flow, status, part) in [
        ("pass", 0, "SUCCEEDED"),
        ("fail", 1, "E: c"),
        ("asks", 6, "RUNNING"),
    ] {
        let path = format!("/v1/flows/{flow}/executions");
        let started = api.send("POST", &path, "{}")?.body;
        let id = started["id"].as_str().context("an id")?;
        check(&["describe", id, "--wait", "1"], status, part)?;
        check(&["describe", id], 0, part)?;
    }
    check(&["start", "none"], 4, "RUN0002")?;
    check(&["list", "--flow", "pass", "--json"], 0, "SUCCEEDED")?;
    check(
        &["list", "--flow", "pass"],
        0,
        "pass@1  STANDARD  SUCCEEDED",
    )?;
    let lent = format!("b={}", dir.path().display());
    for (args, status, part) in [
        (
            &["object", "put", "b/in/p.yaml", &pass][..],
            0,
            "b/in/p.yaml is there (47 B)",
        ),
        (&["object", "get", "b/in/p.yaml"], 0, "StartAt: P"),
        (&["object", "ls"], 0, "kept"),
        (&["object", "ls", "b/in/"], 0, "in/p.yaml"),
        (&["object", "ls", "c"], 4, "BUCKET0001"),
        (&["object", "put", "b/../p", &pass], 2, "no part of a key"),
        (&["object", "put", "b", &pass], 2, "BUCKET/KEY"),
        (&["object", "rm", "b/in/p.yaml"], 0, "is gone"),
        (&["object", "get", "b/in/p.yaml"], 4, "BUCKET0001"),
        (
            &["run", &pass, "--bucket", &lent, "--bucket-write", &lent],
            2,
            "given twice",
        ),
        (
            &["run", &pass, "--bucket", "b=/nonexistent/x"],
            2,
            "BUCKET0009",
        ),
    ] {
        check(args, status, part)?;
    }
    check(&["describe", "01m83d5n7q1a0yxsket02cfw4d"], 4, "RUN0001")?;
    check(&["list", "--url", "http://127.0.0.1:1"], 3, "cannot reach")?;
    check(
        &["serve", "--listen", "0.0.0.0:0", "--data", "unused"],
        2,
        "API0011",
    )?;
    // It holds files of ours, and a server's store is not among them.
    let here = dir.path().display().to_string();
    check(
        &["serve", "--listen", "127.0.0.1:0", "--data", &here],
        5,
        "STORE0005",
    )?;
    Ok(())
}
