//! The examples that need somebody outside: a worker that polls, and an API that wants to know who calls.
//! Each with a failure, a timeout, a cancel and a death of the server in the middle.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::bridges::ask;
use stepwell_tests::bridges::place::{Place, TOKEN_HEAD};
use stepwell_tests::server::Server;
use stepwell_tests::wait::until;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(name)
}

/// A server with one of the examples' flows.
struct House {
    dir: tempfile::TempDir,
    server: Server,
    api: Api,
    flow: &'static str,
}

impl House {
    fn start(flow: &'static str, config: &str, grants: Option<Value>) -> Result<House> {
        let dir = tempfile::tempdir()?;
        let (server, api) = ask::started(dir.path(), config)?;
        let definition = std::fs::read_to_string(example(flow).join("flow.yaml"))?;
        let mut body = json!({ "definition": definition });
        if let Some(grants) = grants {
            body["grants"] = grants;
        }
        let kind = [("content-type", "application/vnd.stepwell.publish+json")];
        let path = format!("/v1/flows/{flow}");
        let published = api.send_with("PUT", &path, &kind, body.to_string())?;
        ensure!(published.status == 201, "{published:?}");
        Ok(House {
            dir,
            server,
            api,
            flow,
        })
    }

    fn begin(&self, input: &Value) -> Result<String> {
        self.api.start(self.flow, input.to_string())
    }

    fn ended(&self, id: &str) -> Result<Value> {
        self.api.ended(id)
    }

    fn cancel(&self, id: &str) -> Result<()> {
        let path = format!("/v1/executions/{id}/cancel");
        let cancelled = self.api.send("POST", &path, "")?;
        ensure!(cancelled.status == 200, "{cancelled:?}");
        Ok(())
    }

    fn history(&self, id: &str) -> Result<Vec<Value>> {
        let path = format!("/v1/executions/{id}/history?limit=1000");
        let events = self.api.get(&path)?.body["events"].take();
        Ok(events.as_array().cloned().unwrap_or_default())
    }

    /// Kills the server, and starts the next process after a while.
    fn die_for(&mut self, while_away: Duration) -> Result<()> {
        self.server.kill()?;
        std::thread::sleep(while_away);
        self.server.start()
    }
}

/// A running `worker.sh`, ended when it is dropped.
struct Worker {
    process: Child,
    log: PathBuf,
}

impl Worker {
    fn start(house: &House, name: &str) -> Result<Worker> {
        let log = house.dir.path().join(format!("{name}.log"));
        let place = example("external-worker");
        let process = Command::new("sh")
            .arg(place.join("worker.sh"))
            .arg("count-words")
            .arg(place.join("count.sh"))
            .env("STEPWELL_URL", house.server.url())
            .env("STEPWELL_WORKER", name)
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()?;
        Ok(Worker { process, log })
    }

    fn said(&self, words: &str) -> Result<Vec<String>> {
        let log = std::fs::read_to_string(&self.log)?;
        let lines = log.lines().filter(|line| line.contains(words));
        Ok(lines.map(str::to_owned).collect())
    }

    /// Waits until it has said something so often.
    fn until(&self, words: &str, times: usize) -> Result<String> {
        until(words, || {
            let mut said = self.said(words)?;
            Ok((said.len() >= times).then(|| said.pop().unwrap_or_default()))
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether a process or its whole group is there.
fn lives(process: &str) -> bool {
    let alive = Command::new("kill").args(["-0", "--", process]).output();
    alive.is_ok_and(|done| done.status.success())
}

#[test]
fn an_external_worker_does_its_work_fails_and_is_replaced() -> Result<()> {
    let house = House::start("external-worker", "", None)?;
    // A worker that takes a task and is never heard of again.
    let lost = house.begin(&json!({"text": "one two"}))?;
    let poll = "/v1/activities/count-words/poll?wait=20&worker=silent";
    let taken = house.api.send("POST", poll, "")?;
    ensure!(taken.status == 200, "{taken:?}");
    let worker = Worker::start(&house, "alive")?;
    // Longer than a silent worker would be believed in.
    let run = house.begin(&json!({"text": "one two three", "slowly": 6}))?;
    assert_eq!(house.ended(&run)?["output"], json!({"words": 3}));
    let replaced = house.ended(&lost)?;
    assert_eq!(replaced["output"], json!({"words": 2}), "{replaced}");
    let events = house.history(&lost)?;
    let told = |kind: &str| events.iter().filter(|e| e["type"] == kind).count();
    assert_eq!(
        (told("ActivityStarted"), told("ActivityTimedOut")),
        (2, 1),
        "{events:?}"
    );
    let late = taken.body["token"].as_str().context("a token")?;
    let late = house
        .api
        .send("POST", &format!("/v1/tasks/{late}/succeed"), "1")?;
    assert!(matches!(late.status, 404 | 409), "{late:?}");

    let failed = house.begin(&json!({"text": " "}))?;
    let failed = house.ended(&failed)?;
    assert_eq!(failed["error"], "NoText", "{failed}");
    assert_eq!(
        failed["cause"], "the worker said: the text is empty\n",
        "{failed}"
    );
    assert_eq!(worker.said("refused")?, Vec::<String>::new());
    Ok(())
}

#[test]
fn an_external_workers_program_ends_with_its_task() -> Result<()> {
    let house = House::start("external-worker", "", None)?;
    let worker = Worker::start(&house, "worker")?;
    let slow = json!({"text": "one", "slowly": 300});
    let mut late = slow.clone();
    late["timeout"] = json!(5);
    let given_up = |times: usize| -> Result<()> {
        let said = worker.until("the task is over: program", times)?;
        let program = said.split(' ').rev().nth(2).context("a process")?;
        until("the end of the program", || {
            Ok((!lives(&format!("-{program}"))).then_some(()))
        })
    };
    let id = house.begin(&slow)?;
    worker.until("task taken", 1)?;
    house.cancel(&id)?;
    assert_eq!(house.ended(&id)?["status"], "ABORTED");
    given_up(1)?;
    let id = house.begin(&late)?;
    let ended = house.ended(&id)?;
    assert_eq!(ended["error"], "States.Timeout", "{ended}");
    given_up(2)?;
    assert_eq!(worker.said("task taken")?.len(), 2);
    Ok(())
}

#[test]
fn an_external_worker_outlives_the_server() -> Result<()> {
    let mut house = House::start("external-worker", "", None)?;
    let worker = Worker::start(&house, "worker")?;
    // It ends while the server is away, and another while it is back.
    for (times, slowly) in [(1, 1), (2, 5)] {
        let id = house.begin(&json!({"text": "one two", "slowly": slowly}))?;
        worker.until("task taken", times)?;
        house.die_for(Duration::from_millis(2_500))?;
        let ended = house.ended(&id)?;
        assert_eq!(ended["output"], json!({"words": 2}), "{ended}");
        worker.until("answered: succeed", times)?;
        let events = house.history(&id)?;
        let taken = events.iter().filter(|e| e["type"] == "ActivityStarted");
        assert_eq!(taken.count(), 1, "{events:?}");
    }
    assert_eq!(worker.said("task taken")?.len(), 2);
    Ok(())
}

/// The example of secrets, which may call the place.
fn shop() -> Result<(House, Place)> {
    let place = Place::start()?;
    let grants = json!({
        "secrets": ["price-token", "order-client"],
        "http": [{"host": "127.0.0.1", "ports": [place.address.port()]}],
    });
    let config = format!("[http]\nallow = [\"{}\"]\n", place.address);
    let house = House::start("secret-call", &config, Some(grants))?;
    for (name, value) in [
        ("price-token", "a price for me\n"),
        ("order-client", "let me order"),
    ] {
        let set = house
            .api
            .send("PUT", &format!("/v1/secrets/{name}"), value)?;
        ensure!(set.status == 200, "{set:?}");
    }
    Ok((house, place))
}

fn order(place: &Place, change: &Value) -> Value {
    let mut input = json!({
        "prices": place.url("/price"), "orders": place.url("/resource"), "tokens": place.url("/token"),
    });
    for (name, value) in change.as_object().into_iter().flatten() {
        input[name] = value.clone();
    }
    input
}

#[test]
fn the_example_of_secrets_orders_fails_and_runs_out_of_time() -> Result<()> {
    let (house, place) = shop()?;
    for _ in 0..2 {
        let id = house.begin(&order(&place, &json!({})))?;
        let ended = house.ended(&id)?;
        let expected = json!({"price": "fine", "order": "resource"});
        assert_eq!(ended["output"], expected, "{ended}");
    }
    let price = "Bearer a price for me";
    assert_eq!(place.calls("/price"), [price, price]);
    let token = format!("Bearer {TOKEN_HEAD}1");
    assert_eq!(
        place.calls("/resource"),
        [token.clone(), token],
        "one token for both"
    );

    let id = house.begin(&order(
        &place,
        &json!({"tokens": place.url("/token-refused")}),
    ))?;
    let refused = house.ended(&id)?;
    assert_eq!(refused["error"], "NotLetIn", "{refused}");
    let cause = refused["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("invalid_client"), "{refused}");

    let slow = order(&place, &json!({"prices": place.url("/held"), "timeout": 1}));
    let late = house.ended(&house.begin(&slow)?)?;
    assert_eq!(late["error"], "States.Timeout", "{late}");

    let gone = house.api.send("DELETE", "/v1/secrets/order-client", "")?;
    ensure!(gone.status == 204, "{gone:?}");
    let ended = house.ended(&house.begin(&order(&place, &json!({})))?)?;
    assert_eq!(ended["error"], "Stepwell.SecretUnknown", "{ended}");
    Ok(())
}

#[test]
fn the_example_of_secrets_is_cancelled_and_outlives_the_server_with_what_it_had() -> Result<()> {
    let (mut house, place) = shop()?;
    let held = order(
        &place,
        &json!({"prices": place.url("/held"), "orders": place.url("/resource")}),
    );
    let id = house.begin(&held)?;
    place.until("/held", 1)?;
    house.cancel(&id)?;
    assert_eq!(house.ended(&id)?["status"], "ABORTED");

    // Killed in the middle of a call, and set anew meanwhile: the call goes out again as it was.
    let id = house.begin(&held)?;
    place.until("/held", 2)?;
    let set = house
        .api
        .send("PUT", "/v1/secrets/price-token", "another")?;
    ensure!(set.status == 200, "{set:?}");
    house.die_for(Duration::ZERO)?;
    place.until("/held", 3)?;
    place.open();
    let ended = house.ended(&id)?;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    assert_eq!(place.calls("/held"), ["Bearer a price for me"; 3]);

    // Killed in the middle of the order, which is no safe method: the same key.
    place.lock().open = false;
    let held = order(&place, &json!({"orders": place.url("/held")}));
    let id = house.begin(&held)?;
    place.until("/held", 4)?;
    house.die_for(Duration::ZERO)?;
    place.until("/held", 5)?;
    place.open();
    let ended = house.ended(&id)?;
    assert_eq!(ended["output"]["order"], "held", "{ended}");
    let keys = place.keys("/held").split_off(3);
    assert!(!keys[0].is_empty() && keys[0] == keys[1], "{keys:?}");
    Ok(())
}
