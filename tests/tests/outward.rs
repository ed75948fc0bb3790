//! Limits outwards, on a real server that calls a real one: who waits is seen and survives a crash,
//! `Retry-After` is honoured, a dead target's circuit opens and closes.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock; the rule is for the runtime"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::bridges::ask;
use stepwell_tests::bridges::receiver::Receiver;
use stepwell_tests::guests;
use stepwell_tests::port::Port;
use stepwell_tests::server::Server;
use stepwell_tests::wait::{until, until_tried};

const HTTP: &str =
    "StartAt: S\nStates:\n  S: {Type: Task, Resource: \"http:request\", End: true}\n";
const CALLS: &str = "StartAt: S\nStates:\n  S: {Type: Task, Resource: \"wasm:calls\", End: true}\n";

/// A server with these limits that may call the receiver, by a Task and by a guest.
fn started(dir: &Path, receiver: &Receiver, limits: &str) -> Result<(Server, Api)> {
    started_with(dir, &[receiver], limits)
}

/// The same with several receivers, the first of which the guest may call.
fn started_with(dir: &Path, receivers: &[&Receiver], limits: &str) -> Result<(Server, Api)> {
    let allowed: Vec<String> = receivers.iter().map(|r| r.address.to_string()).collect();
    let address = receivers.first().context("a receiver")?.address;
    let config = format!("stop_seconds = 3600\n[http]\nallow = {allowed:?}\n{limits}");
    let (server, api) = ask::started(dir, &config)?;
    api.publish("http", HTTP)?;
    let grants = json!({"http": [{"host": "127.0.0.1", "ports": [address.port()]}]});
    api.upload_granted("calls", &guests::program("calls")?, &grants)?;
    api.publish("calls", CALLS)?;
    Ok((server, api))
}

fn input(receiver: &Receiver, path: &str) -> String {
    json!({"method": "POST", "url": receiver.url(path), "body": "x"}).to_string()
}

/// Waits until an execution waits for a turn, and says what for.
fn waits(api: &Api, id: &str) -> Result<String> {
    until("what it waits for", || {
        let shown = api.get(&format!("/v1/executions/{id}"))?.body;
        ensure!(shown["status"] == "RUNNING", "{shown}");
        let waiting = &shown["waiting"][0];
        let Some(reason) = waiting["for"].as_str() else {
            return Ok(None);
        };
        ensure!(waiting["state"] == "S", "{shown}");
        ensure!(waiting["since"].is_string(), "{shown}");
        Ok(Some(reason.to_owned()))
    })
}

fn target(api: &Api, receiver: &Receiver) -> Result<Value> {
    let all = api.get("/v1/targets")?.body;
    let name = receiver.address.to_string();
    let all = all["targets"].as_array().context("no targets")?;
    let found = all.iter().find(|t| t["name"] == *name);
    found.cloned().context("the receiver is no target")
}

#[test]
fn who_waits_is_seen_outlives_a_crash_and_a_stop_and_goes_in_turn() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let receiver = Receiver::start()?;
    let limits = format!("[limits.hosts.\"{}\"]\nconcurrency = 1\n", receiver.address);
    let (mut server, api) = started(dir.path(), &receiver, &limits)?;
    let held = api.start("http", input(&receiver, "/held"))?;
    receiver.until(1)?;
    let task = api.start("http", input(&receiver, "/task"))?;
    let call: Value = serde_json::from_str(&input(&receiver, "/guest"))?;
    let guest = api.start("calls", json!({"calls": [call]}).to_string())?;
    let why = format!("concurrency limit of host {}", receiver.address);
    assert_eq!(waits(&api, &task)?, why);
    assert_eq!(waits(&api, &guest)?, why);
    let shown = api.cli(&["describe", &task])?.1;
    assert!(shown.contains("waiting for"), "{shown}");
    assert!(shown.contains(&why), "{shown}");
    let seen = target(&api, &receiver)?;
    assert_eq!(
        (&seen["under_way"], &seen["waiting"], &seen["concurrency"]),
        (&json!(1), &json!(2), &json!(1)),
        "{seen}"
    );
    let shown = api.cli(&["targets"])?.1;
    assert!(shown.contains(&receiver.address.to_string()), "{shown}");
    let metrics = api.get("/metrics")?.body.to_string();
    assert!(metrics.contains("stepwell_target_waiting"), "{metrics}");

    // Nothing of those who wait has left, and nothing of them is lost.
    assert_eq!(receiver.calls().len(), 1);
    server.again()?;
    receiver.open();
    api.ended(&held)?;
    for id in [&task, &guest] {
        let shown = api.ended(id)?;
        assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
        assert!(shown.get("waiting").is_none(), "{shown}");
    }
    let calls = receiver.calls();
    let of = |path: &str| calls.iter().filter(|(p, _)| p == path).count();
    assert_eq!((of("/task"), of("/guest")), (1, 1), "{calls:?}");
    Ok(())
}

#[test]
fn who_waits_goes_in_the_old_order_after_a_crash() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let receiver = Receiver::start()?;
    let limits = format!("[limits.hosts.\"{}\"]\nconcurrency = 1\n", receiver.address);
    let (mut server, api) = started(dir.path(), &receiver, &limits)?;
    let wait = |many: usize| {
        until("so many in wait", || {
            Ok((target(&api, &receiver)?["waiting"] == many).then_some(()))
        })
    };
    let paths: Vec<String> = (0..12).map(|n| format!("/held/{n:02}")).collect();
    let mut ids = Vec::new();
    for (n, path) in paths.iter().enumerate() {
        ids.push(api.start("http", input(&receiver, path))?);
        receiver.until(1)?;
        wait(n)?;
        // Each state is entered in a millisecond of its own.
        std::thread::sleep(Duration::from_millis(2));
    }
    server.again()?;
    // Whoever asks first finds nobody before him, and goes. The others have come when he is let go.
    receiver.until(2)?;
    wait(paths.len() - 1)?;
    receiver.open();
    for id in &ids {
        let shown = api.ended(id)?;
        assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    }
    let calls = receiver.calls();
    let after: Vec<&String> = calls.iter().skip(1).map(|(path, _)| path).collect();
    assert_eq!(after.len(), paths.len(), "{calls:?}");
    assert!(after[1..].is_sorted(), "{calls:?}");
    Ok(())
}

#[test]
fn a_stop_does_not_wait_for_who_waits() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let receiver = Receiver::start()?;
    let rate = format!(
        "[limits.hosts.\"{}\"]\nper_second = 0.001\nburst = 1\n",
        receiver.address
    );
    let (mut server, api) = started(dir.path(), &receiver, &rate)?;
    let first = api.start("http", input(&receiver, "/first"))?;
    assert_eq!(api.ended(&first)?["status"], "SUCCEEDED");
    let second = api.start("http", input(&receiver, "/second"))?;
    let why = format!("rate limit of host {}", receiver.address);
    assert_eq!(waits(&api, &second)?, why);
    let (status, _) = server.stop(Duration::from_secs(60))?;
    assert!(status.success(), "{status}");
    server.configure(&format!("[http]\nallow = [\"{}\"]\n", receiver.address))?;
    server.start()?;
    assert_eq!(api.ended(&second)?["status"], "SUCCEEDED");
    assert_eq!(receiver.calls().len(), 2);
    Ok(())
}

#[test]
fn a_target_that_asks_for_time_gets_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let receiver = Receiver::start()?;
    let (mut server, api) = started(dir.path(), &receiver, "")?;
    let retried = HTTP.replace(
        "End: true",
        "Retry: [{ErrorEquals: [States.Http.StatusCode.429], IntervalSeconds: 1, MaxAttempts: 1, MaxDelaySeconds: 1}], End: true",
    );
    api.publish("retried", &retried)?;
    receiver.busy(1, 3_600);
    // The one that was told so, and another that was not.
    let told = api.run("http", &input(&receiver, "/busy"))?;
    assert_eq!(told["error"], "States.Http.StatusCode.429", "{told}");
    let seen = target(&api, &receiver)?;
    assert!(seen["paused_until"].is_string(), "{seen}");
    assert_eq!(seen["circuit"], "closed");
    let other = api.start("http", input(&receiver, "/other"))?;
    let why = format!("Retry-After of host {}", receiver.address);
    assert_eq!(waits(&api, &other)?, why);
    assert_eq!(receiver.calls().len(), 1, "nothing comes meanwhile");
    // What a target asked for goes with the process that heard it; who waited is there still.
    server.again()?;
    assert_eq!(api.ended(&other)?["status"], "SUCCEEDED");
    receiver.busy(1, 1);
    let again = api.run("retried", &input(&receiver, "/busy"))?;
    assert_eq!(again["status"], "SUCCEEDED", "{again}");
    assert_eq!(receiver.calls().len(), 4);
    Ok(())
}

#[test]
fn a_broken_target_is_left_alone_until_it_is_well_again() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let receiver = Receiver::start()?;
    let limits = |open_ms| format!("[limits.breaker]\nfailures = 3\nopen_ms = {open_ms}\n");
    let (_server, api) = started(dir.path(), &receiver, &limits(600_000))?;
    receiver.broken(true);
    let broken = input(&receiver, "/broken");
    for _ in 0..3 {
        let shown = api.run("http", &broken)?;
        assert_eq!(shown["error"], "States.Http.StatusCode.500", "{shown}");
    }
    let seen = target(&api, &receiver)?;
    assert_eq!(seen["circuit"], "open", "{seen}");
    assert!(seen["open_until"].is_string(), "{seen}");
    let refused = api.run("http", &broken)?;
    assert_eq!(refused["error"], "Stepwell.CircuitOpen", "{refused}");
    // The guest hears of it as its own client tells it.
    let call: Value = serde_json::from_str(&input(&receiver, "/guest"))?;
    let guest = api.run("calls", &json!({"calls": [call]}).to_string())?;
    assert_eq!(guest["error"], "Stepwell.CircuitOpen", "{guest}");
    assert_eq!(receiver.calls().len(), 3, "nothing came meanwhile");

    // A flow that tries again finds the target well, on a server that asks again sooner.
    let dir = tempfile::tempdir()?;
    let (_server, api) = started(dir.path(), &receiver, &limits(1))?;
    for _ in 0..3 {
        api.run("http", &broken)?;
    }
    let seen = target(&api, &receiver)?;
    assert_ne!(seen["circuit"], "closed", "{seen}");
    receiver.broken(false);
    let retried = HTTP.replace(
        "End: true",
        "Retry: [{ErrorEquals: [Stepwell.CircuitOpen], IntervalSeconds: 1, MaxAttempts: 30, MaxDelaySeconds: 1}], End: true",
    );
    api.publish("retried", &retried)?;
    let shown = api.run("retried", &broken)?;
    assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    assert_eq!(target(&api, &receiver)?["circuit"], "closed");

    Ok(())
}

#[test]
fn a_target_where_nobody_listens_is_broken_too() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let receiver = Receiver::start()?;
    let gone = Port::new()?;
    let allowed = [receiver.address, gone.address()].map(|address| address.to_string());
    let limits = "[limits.breaker]\nfailures = 2\nopen_ms = 600000\n";
    let (mut server, api) = started(dir.path(), &receiver, "")?;
    server.configure(&format!("[http]\nallow = {allowed:?}\n{limits}"))?;
    server.again()?;
    let dead = json!({"url": format!("http://{}/", gone.address())}).to_string();
    for error in [
        "States.Http.Socket",
        "States.Http.Socket",
        "Stepwell.CircuitOpen",
    ] {
        let shown = api.run("http", &dead)?;
        assert_eq!(shown["error"], error, "{shown}");
    }
    // And who may not be called is no target at all.
    let other = Port::new()?;
    let denied = json!({"url": format!("http://{}/", other.address())}).to_string();
    let shown = api.run("http", &denied)?;
    assert_eq!(shown["error"], "Stepwell.HttpDenied", "{shown}");
    Ok(())
}

#[test]
fn a_circuit_that_is_half_open_lets_one_call_through() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let receiver = Receiver::start()?;
    let limits = "[limits.breaker]\nfailures = 1\nopen_ms = 1000\n";
    let (_server, api) = started(dir.path(), &receiver, limits)?;
    receiver.broken(true);
    let shown = api.run("http", &input(&receiver, "/broken"))?;
    assert_eq!(shown["error"], "States.Http.StatusCode.500", "{shown}");
    until("the circuit to be half-open", || {
        let stands = target(&api, &receiver)?["circuit"] == "half-open";
        Ok(stands.then_some(()))
    })?;
    // Many ask while the one that was let go has no answer: for as long as the circuit was open it
    // finds out for all, then another one may.
    let began = Instant::now();
    let ids: Vec<String> = (0..20)
        .map(|_| api.start("http", input(&receiver, "/held")))
        .collect::<Result<_>>()?;
    receiver.until(2)?;
    let tried = receiver.calls().len() as u64 - 1;
    let may = 1 + began.elapsed().as_secs();
    assert!(tried <= may, "{tried} in {:?}", began.elapsed());
    // A probe that is never answered keeps nobody off for ever.
    let (mut all, known) = (ids, receiver.calls().len());
    until_tried("a further one", || {
        all.push(api.start("http", input(&receiver, "/held"))?);
        Ok((receiver.calls().len() > known).then_some(()))
    })?;
    receiver.open();
    let mut went = 0;
    for id in &all {
        let shown = api.ended(id)?;
        let refused = shown["error"] == "Stepwell.CircuitOpen";
        assert_eq!(shown["status"] == "SUCCEEDED", !refused, "{shown}");
        went += usize::from(!refused);
    }
    assert_eq!(receiver.calls().len() - 1, went);
    assert!(went < all.len(), "nobody was refused");
    assert_eq!(target(&api, &receiver)?["circuit"], "closed");
    Ok(())
}

#[test]
fn slow_calls_of_one_flow_hold_up_nobody_else_and_who_waits_says_so() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (quick, slow) = (Receiver::start()?, Receiver::start()?);
    let limits = "[experimental]\nloops = 1\ncalls_max = 16\n";
    let (_server, api) = started_with(dir.path(), &[&quick, &slow], limits)?;
    api.publish("slow", HTTP)?;
    let ids: Vec<String> = (0..40)
        .map(|_| api.start("slow", input(&slow, "/held")))
        .collect::<Result<_>>()?;
    // Of 16 places a flow alone leaves two.
    slow.until(14)?;
    let last = ids.last().context("forty")?;
    assert_eq!(waits(&api, last)?, "a place among the calls that run");
    assert_eq!(slow.calls().len(), 14);
    // Another flow's call and another flow's step.
    let shown = api.run("http", &input(&quick, "/task"))?;
    assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    let call: Value = serde_json::from_str(&input(&quick, "/guest"))?;
    let shown = api.run("calls", &json!({"calls": [call]}).to_string())?;
    assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    slow.open();
    for id in &ids {
        let shown = api.ended(id)?;
        assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    }
    Ok(())
}

#[test]
fn who_waits_for_a_turn_takes_nobodys_place_among_running_steps() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (busy, idle) = (Receiver::start()?, Receiver::start()?);
    // One loop, which runs 64 calls at once at most.
    let (port, other) = (busy.address.port(), idle.address);
    let limits = format!(
        "[limits.hosts.\"127.0.0.1:{port}\"]\nconcurrency = 1\n[experimental]\nloops = 1\ncalls_max = 64\n"
    );
    let (_server, api) = started_with(dir.path(), &[&busy, &idle], &limits)?;
    for _ in 0..100 {
        api.start("http", input(&busy, "/held"))?;
    }
    until("all but one in wait", || {
        Ok((target(&api, &busy)?["waiting"] == 99).then_some(()))
    })?;
    let call = json!({"url": format!("http://{other}/"), "timeout_ms": 5_000}).to_string();
    let shown = api.run("http", &call)?;
    assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    busy.open();
    Ok(())
}

/// A worker that says again and again that it is at its task.
struct Beating {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

fn beating(server: &Server, token: &str) -> Beating {
    let over = Arc::new(AtomicBool::new(false));
    let (url, path) = (server.url(), format!("/v1/tasks/{token}/heartbeat"));
    let told = Arc::clone(&over);
    let thread = std::thread::spawn(move || {
        let api = Api::new(&url)?;
        while !told.load(Ordering::Acquire) {
            let heard = api.send("POST", &path, "")?;
            ensure!(heard.status == 204, "{heard:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    });
    Beating { over, thread }
}

impl Beating {
    fn stop(self) -> Result<()> {
        self.over.store(true, Ordering::Release);
        let beat = self.thread.join();
        beat.map_err(|_| anyhow::anyhow!("who beats broke"))?
    }
}

#[test]
fn workers_have_so_many_tasks_of_an_activity_at_once_over_deaths() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let receiver = Receiver::start()?;
    let limits = "[limits.activities.ship]\nconcurrency = 2\n";
    let (mut server, mut api) = started(dir.path(), &receiver, limits)?;
    let flow = |more: &str| {
        format!(
            "StartAt: S\nStates:\n  S: {{Type: Task, Resource: \"activity:ship\", {more}End: true}}\n"
        )
    };
    api.publish("ship", &flow(""))?;
    api.publish("beats", &flow("HeartbeatSeconds: 3, TimeoutSeconds: 600, "))?;
    let poll = |api: &Api, seconds: u32| -> Result<Option<(String, String)>> {
        let path = format!("/v1/activities/ship/poll?wait={seconds}");
        let task = api.send("POST", &path, "")?.body;
        let text = |name: &str| task[name].as_str().map(str::to_owned);
        Ok(text("token").zip(text("execution")))
    };
    let seen = |api: &Api| -> Result<(Value, Value)> {
        let all = api.get("/v1/targets")?.body;
        let all = all["targets"].as_array().context("no targets")?;
        let found = all.iter().find(|t| t["name"] == "ship");
        let found = found.context("no such target")?;
        Ok((found["under_way"].clone(), found["concurrency"].clone()))
    };
    // The oldest comes first, to the millisecond.
    let begin = |flow: &str| -> Result<String> {
        std::thread::sleep(Duration::from_millis(3));
        api.start(flow, "{}")
    };
    let first = begin("beats")?;
    let others: Vec<String> = (0..4).map(|_| begin("ship")).collect::<Result<_>>()?;
    let (silent_token, silent) = poll(&api, 20)?.context("the first")?;
    assert_eq!(silent, first);
    // It is heard of as long as it is looked at.
    let alive = beating(&server, &silent_token);
    let (token, _) = poll(&api, 20)?.context("the second")?;
    assert_eq!(poll(&api, 0)?, None);
    assert_eq!(seen(&api)?, (json!(2), json!(2)));
    let last = others.last().context("the last")?;
    assert_eq!(waits(&api, last)?, "concurrency limit of activity ship");

    // A worker that is silent for too long has its task no more, and whoever polls hears of it.
    alive.stop()?;
    let (third, _) = poll(&api, 60)?.context("after the heartbeat that did not come")?;
    assert_eq!(api.ended(&first)?["error"], "States.HeartbeatTimeout");
    server.again()?;
    api = Api::new(&server.url())?;
    assert_eq!(poll(&api, 1)?, None, "two are out still");
    assert_eq!(seen(&api)?, (json!(2), json!(2)));
    assert_eq!(waits(&api, last)?, "concurrency limit of activity ship");

    // An answer makes room, and a cancel does.
    let url = server.url();
    let before = api.metric("stepwell_http_in_flight")?;
    let hears = std::thread::spawn(move || poll(&Api::new(&url)?, 60));
    until("who polls", || {
        let asked = api.metric("stepwell_http_in_flight")?;
        Ok((asked > before).then_some(()))
    })?;
    let answered = api.send("POST", &format!("/v1/tasks/{token}/succeed"), "1")?;
    ensure!(answered.status == 204, "{answered:?}");
    let heard = hears
        .join()
        .map_err(|_| anyhow::anyhow!("who polls broke"))?;
    let (_, fourth) = heard?.context("the fourth")?;
    assert_eq!(poll(&api, 0)?, None);
    let cancelled = api.send("POST", &format!("/v1/executions/{fourth}/cancel"), "")?;
    ensure!(cancelled.status == 200, "{cancelled:?}");
    let (fifth, of) = poll(&api, 20)?.context("the fifth")?;
    assert_eq!(of, *last);
    for token in [third, fifth] {
        let answered = api.send("POST", &format!("/v1/tasks/{token}/succeed"), "1")?;
        ensure!(answered.status == 204, "{answered:?}");
    }
    assert_eq!(api.ended(last)?["status"], "SUCCEEDED");
    assert_eq!(seen(&api)?, (json!(0), json!(2)));
    Ok(())
}

#[test]
fn workers_of_an_activity_get_so_many_tasks_a_second() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let receiver = Receiver::start()?;
    let limits = "[limits.activities.ship]\nper_second = 0.001\nburst = 2\n";
    let (_server, api) = started(dir.path(), &receiver, limits)?;
    let flow = "StartAt: S\nStates:\n  S: {Type: Task, Resource: \"activity:ship\", End: true}\n";
    api.publish("ship", flow)?;
    for _ in 0..3 {
        api.start("ship", "{}")?;
    }
    let poll = |seconds: u32| -> Result<bool> {
        let path = format!("/v1/activities/ship/poll?wait={seconds}");
        Ok(api.send("POST", &path, "")?.body["token"].is_string())
    };
    ensure!(poll(60)? && poll(60)?, "two may go at once");
    ensure!(!poll(1)?, "the third comes in a quarter of an hour");
    Ok(())
}
