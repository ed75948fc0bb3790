//! `stepwell replay`: attempts that kept things, read objects, looked at the clock or met a limit run
//! again from their journal, and what the journal does not tell is said.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::guests;
use stepwell_tests::server::{self, Server};

struct House {
    _dir: tempfile::TempDir,
    server: Server,
    api: Api,
}

fn house(more: &str) -> Result<House> {
    let dir = tempfile::tempdir()?;
    let mut server = Server::new(dir.path(), more)?;
    server.spawn()?;
    server.ready()?;
    let api = Api::new(&server.url())?;
    Ok(House {
        _dir: dir,
        server,
        api,
    })
}

impl House {
    /// Uploads a guest with a manifest, and publishes a flow of its name.
    fn module(&self, program: &str, grants: &Value) -> Result<()> {
        let grants: String =
            url::form_urlencoded::byte_serialize(grants.to_string().as_bytes()).collect();
        let wasm = std::fs::read(guests::program(program)?)?;
        let path = format!("/v1/modules/{program}?grants={grants}&confirm_grants=true");
        let pushed = self.api.send("PUT", &path, wasm)?;
        ensure!(pushed.status == 201, "{pushed:?}");
        self.flow(program, program, "")
    }

    fn flow(&self, name: &str, program: &str, more: &str) -> Result<()> {
        let flow = format!(
            "StartAt: S\nStates:\n  S: {{Type: Task, Resource: \"wasm:{program}\", End: true{more}}}\n"
        );
        self.api.publish(name, &flow)
    }

    /// Runs a flow: the execution's id, and its output or the name of its error.
    fn run(&self, flow: &str, input: &Value) -> Result<(String, Value)> {
        let shown = self.api.run(flow, &input.to_string())?;
        let id = shown["id"].as_str().context("no id")?.to_owned();
        let came = match &shown["error"] {
            Value::Null => shown["output"].clone(),
            error => error.clone(),
        };
        Ok((id, came))
    }

    fn put(&self, object: &str, bytes: impl Into<Vec<u8>>) -> Result<()> {
        let path = format!("/v1/buckets/data/objects/{object}");
        let put = self.api.send("PUT", &path, bytes.into())?;
        ensure!(matches!(put.status, 200 | 201), "{put:?}");
        Ok(())
    }

    /// An object's text.
    fn get(&self, object: &str) -> Result<Value> {
        Ok(self
            .api
            .get(&format!("/v1/buckets/data/objects/{object}"))?
            .body)
    }

    /// Exit status and text of a replay.
    fn replay(&self, id: &str, more: &[&str]) -> Result<(Option<i32>, String)> {
        let run = Command::new(server::binary()?)
            .args(["replay", id, "--state", "S", "--url", &self.server.url()])
            .args(more)
            .env_remove("STEPWELL_TOKEN")
            .output()?;
        let text = String::from_utf8_lossy(&run.stdout).into_owned();
        let trouble = String::from_utf8_lossy(&run.stderr).into_owned();
        Ok((run.status.code(), text + &trouble))
    }

    fn is_the_same(&self, id: &str) -> Result<()> {
        let (code, text) = self.replay(id, &[])?;
        ensure!(code == Some(0), "{id}: {text}");
        ensure!(text.contains("the same, bit for bit"), "{id}: {text}");
        Ok(())
    }

    fn is_not_told(&self, id: &str, what: &str) -> Result<()> {
        let (code, text) = self.replay(id, &[])?;
        ensure!(code == Some(1) && text.contains(what), "{id}: {text}");
        Ok(())
    }
}

#[test]
fn a_step_sees_the_objects_again_that_it_saw() -> Result<()> {
    let shelf = tempfile::tempdir()?;
    let house = house(&format!(
        "[buckets]\nshelf = {{ path = {:?} }}\n",
        shelf.path()
    ))?;
    let bucket = |name: &str| json!({"bucket": name, "write": true});
    house.module(
        "blobs",
        &json!({"buckets": [bucket("data"), bucket("shelf")]}),
    )?;
    let large = "0123456789\n".repeat(10_000);
    house.put("in", "before")?;
    house.put("gone", "was here")?;
    house.put("large", large.clone())?;
    let (seen, output) = house.run(
        "blobs",
        &json!({"do": [
            "list", {"get": "in"}, {"append": ["in", "!"]}, {"get": "in"}, {"get": "none"},
            {"lines": "large"}, {"range": ["large", 5, 3]}, {"put": ["new/one", "1"]}, {"delete": "gone"},
            {"size": "gone"}, "list",
        ]}),
    )?;
    assert_eq!(
        output,
        json!([
            ["gone", "in", "large"],
            "before",
            null,
            "before!",
            null,
            [10_000, 110_000],
            "567",
            null,
            null,
            null,
            ["in", "large", "new/one"]
        ])
    );
    // What the world refused: a bucket that is granted for reading, and a key below an object.
    let (refused, error) = house.run(
        "blobs",
        &json!({"bucket": "shelf", "do": [{"put": ["k", "x"]}]}),
    )?;
    assert_eq!(error, "Stepwell.ObjectRefused");
    let (in_its_way, error) = house.run("blobs", &json!({"do": [{"put": ["in/below", "x"]}]}))?;
    assert_eq!(error, "Stepwell.ObjectRefused");
    // What is there now is another thing.
    for name in ["in", "none", "gone"] {
        house.put(name, "after")?;
    }
    let away = house
        .api
        .send("DELETE", "/v1/buckets/data/objects/new/one", "")?;
    assert_eq!(away.status, 204, "{away:?}");
    for id in [&seen, &refused, &in_its_way] {
        house.is_the_same(id)?;
    }
    assert_eq!(house.get("in")?, "after", "a replay writes nothing");
    assert_eq!(house.get("new/one")?["code"], "BUCKET0002");
    // The bytes of a large object are where it is, or nowhere.
    house.put("large", large)?;
    house.is_not_told(
        &seen,
        "the bytes of large in bucket data: there is another object now",
    )?;
    let away = house
        .api
        .send("DELETE", "/v1/buckets/data/objects/large", "")?;
    assert_eq!(away.status, 204, "{away:?}");
    house.is_not_told(&seen, "the bytes of large in bucket data: it is gone")
}

#[test]
fn a_step_sees_again_what_was_kept() -> Result<()> {
    let house = house("[state]\nkeys_max = 4\n")?;
    house.module(
        "keyvalue",
        &json!({"key_value": [{"namespace": "own", "write": true}]}),
    )?;
    let set = json!({"do": [{"set": ["a", "1"]}, {"set": ["a\nb", "2"]}]});
    let (set, _) = house.run("keyvalue", &set)?;
    let (seen, output) = house.run(
        "keyvalue",
        &json!({"do": [{"get": "a"}, {"increment": ["n", 3]}, "list", {"get_many": ["a", "z"]}, {"delete": "a"}, {"exists": "a"}]}),
    )?;
    assert_eq!(
        output,
        json!(["1", 3, ["a", "a\nb", "n"], ["1", null], null, false])
    );
    let full = json!({"do": [{"set": ["p", ""]}, {"set": ["q", ""]}, {"set": ["r", ""]}]});
    let (full, error) = house.run("keyvalue", &full)?;
    assert_eq!(error, "Stepwell.NamespaceFull");
    let fill = json!({"do": [{"fill": ["a", "x", 100_000]}]});
    let (fill, _) = house.run("keyvalue", &fill)?;
    let (large, _) = house.run("keyvalue", &json!({"do": [{"get": "a"}]}))?;
    let cleared = house
        .api
        .send("DELETE", "/v1/namespaces/keyvalue%2Fown", "")?;
    ensure!(cleared.status < 300, "{cleared:?}");
    for id in [&set, &seen, &full, &fill] {
        house.is_the_same(id)?;
    }
    house.is_not_told(&large, "what \"a\" was in the namespace keyvalue/own")
}

#[test]
fn a_step_is_told_the_same_deadline_and_has_the_servers_limits() -> Result<()> {
    let house = house("[steps]\nwall_ms = 41234\noutput_bytes = 1000\n")?;
    house.module("context", &json!({}))?;
    house.module("big-output", &json!({}))?;
    house.flow("timed", "context", ", TimeoutSeconds: 77")?;
    let (id, told) = house.run("timed", &json!({}))?;
    ensure!(told["deadline_ms"].is_u64(), "{told}");
    house.is_the_same(&id)?;
    let (id, error) = house.run("big-output", &json!(1_001))?;
    assert_eq!(error, "Stepwell.OutputTooLarge");
    house.is_the_same(&id)?;
    // When a step began that looked at nothing is known to some milliseconds: so is its deadline.
    let (id, then) = house.run("context", &json!({}))?;
    let (_, text) = house.replay(&id, &["--json"])?;
    let told: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    let now = told["replayed"]["output"].as_str().context("no output")?;
    let now: Value = serde_json::from_str(now)?;
    let ms = |told: &Value| told["deadline_ms"].as_u64().context("no deadline");
    ensure!(ms(&then)?.abs_diff(ms(&now)?) < 5_000, "{then} {now}");
    assert_eq!(then["idempotency_key"], now["idempotency_key"]);
    Ok(())
}
