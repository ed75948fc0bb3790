//! `stepwell replay`: attempts that kept things, read objects, looked at the clock or met a limit run
//! again from their journal, and what the journal does not tell is said.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::house::{House, came_to, one_state};

/// Uploads a guest with a manifest, and publishes a flow of its name.
fn module(house: &House, program: &str, grants: &Value) -> Result<()> {
    house.step(program, program, grants)
}

/// Runs a flow: the execution's id, and its output or the name of its error.
fn run(house: &House, flow: &str, input: &Value) -> Result<(String, Value)> {
    let shown = house.api.run(flow, &input.to_string())?;
    let id = shown["id"].as_str().context("no id")?.to_owned();
    Ok((id, came_to(&shown)))
}

fn is_not_told(house: &House, id: &str, what: &str) -> Result<()> {
    let (code, text) = house.api.cli(&["replay", id, "--state", "S"])?;
    ensure!(code == Some(1) && text.contains(what), "{id}: {text}");
    Ok(())
}

#[test]
fn a_step_sees_the_objects_again_that_it_saw() -> Result<()> {
    let shelf = tempfile::tempdir()?;
    let house = House::new(&format!(
        "[buckets]\nshelf = {{ path = {:?} }}\n",
        shelf.path()
    ))?;
    let bucket = |name: &str| json!({"bucket": name, "write": true});
    module(
        &house,
        "blobs",
        &json!({"buckets": [bucket("data"), bucket("shelf")]}),
    )?;
    let large = "0123456789\n".repeat(10_000);
    house.api.put_object("data/in", "before")?;
    house.api.put_object("data/gone", "was here")?;
    house.api.put_object("data/large", large.clone())?;
    let (seen, output) = run(
        &house,
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
    let (refused, error) = run(
        &house,
        "blobs",
        &json!({"bucket": "shelf", "do": [{"put": ["k", "x"]}]}),
    )?;
    assert_eq!(error, "Stepwell.ObjectRefused");
    let (in_its_way, error) = run(
        &house,
        "blobs",
        &json!({"do": [{"put": ["in/below", "x"]}]}),
    )?;
    assert_eq!(error, "Stepwell.ObjectRefused");
    // What is there now is another thing.
    for name in ["in", "none", "gone"] {
        house.api.put_object(&format!("data/{name}"), "after")?;
    }
    let away = house
        .api
        .send("DELETE", "/v1/buckets/data/objects/new/one", "")?;
    assert_eq!(away.status, 204, "{away:?}");
    for id in [&seen, &refused, &in_its_way] {
        house.api.replays_the_same(id)?;
    }
    assert_eq!(
        house.api.object("data/in")?.body,
        "after",
        "a replay writes nothing"
    );
    assert_eq!(house.api.object("data/new/one")?.body["code"], "BUCKET0002");
    // The bytes of a large object are where it is, or nowhere.
    house.api.put_object("data/large", large)?;
    is_not_told(
        &house,
        &seen,
        "the bytes of large in bucket data: there is another object now",
    )?;
    let away = house
        .api
        .send("DELETE", "/v1/buckets/data/objects/large", "")?;
    assert_eq!(away.status, 204, "{away:?}");
    is_not_told(
        &house,
        &seen,
        "the bytes of large in bucket data: it is gone",
    )
}

#[test]
fn a_step_sees_again_what_was_kept() -> Result<()> {
    let house = House::new("[state]\nkeys_max = 4\n")?;
    module(
        &house,
        "keyvalue",
        &json!({"key_value": [{"namespace": "own", "write": true}]}),
    )?;
    let set = json!({"do": [{"set": ["a", "1"]}, {"set": ["a\nb", "2"]}]});
    let (set, _) = run(&house, "keyvalue", &set)?;
    let (seen, output) = run(
        &house,
        "keyvalue",
        &json!({"do": [{"get": "a"}, {"increment": ["n", 3]}, "list", {"get_many": ["a", "z"]}, {"delete": "a"}, {"exists": "a"}]}),
    )?;
    assert_eq!(
        output,
        json!(["1", 3, ["a", "a\nb", "n"], ["1", null], null, false])
    );
    let full = json!({"do": [{"set": ["p", ""]}, {"set": ["q", ""]}, {"set": ["r", ""]}]});
    let (full, error) = run(&house, "keyvalue", &full)?;
    assert_eq!(error, "Stepwell.NamespaceFull");
    let fill = json!({"do": [{"fill": ["a", "x", 100_000]}]});
    let (fill, _) = run(&house, "keyvalue", &fill)?;
    let (large, _) = run(&house, "keyvalue", &json!({"do": [{"get": "a"}]}))?;
    let cleared = house
        .api
        .send("DELETE", "/v1/namespaces/keyvalue%2Fown", "")?;
    ensure!(cleared.status < 300, "{cleared:?}");
    for id in [&set, &seen, &full, &fill] {
        house.api.replays_the_same(id)?;
    }
    is_not_told(
        &house,
        &large,
        "what \"a\" was in the namespace keyvalue/own",
    )
}

#[test]
fn a_step_is_told_the_same_deadline_and_has_the_servers_limits() -> Result<()> {
    let house = House::new("[steps]\nwall_ms = 41234\noutput_bytes = 1000\n")?;
    module(&house, "context", &json!({}))?;
    module(&house, "big-output", &json!({}))?;
    house
        .api
        .publish("timed", &one_state("context", ", TimeoutSeconds: 77"))?;
    let (id, told) = run(&house, "timed", &json!({}))?;
    ensure!(told["deadline_ms"].is_u64(), "{told}");
    house.api.replays_the_same(&id)?;
    let (id, error) = run(&house, "big-output", &json!(1_001))?;
    assert_eq!(error, "Stepwell.OutputTooLarge");
    house.api.replays_the_same(&id)?;
    // When a step began that looked at nothing is not known, but when it was decided on.
    let (id, then) = run(&house, "context", &json!({}))?;
    let (_, text) = house.api.cli(&["replay", &id, "--state", "S", "--json"])?;
    let told: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    let now = told["replayed"]["output"].as_str().context("no output")?;
    let now: Value = serde_json::from_str(now)?;
    let ms = |told: &Value| told["deadline_ms"].as_u64().context("no deadline");
    let trace = house
        .api
        .get(&format!("/v1/executions/{id}/trace?state=S"))?;
    let decided = trace.body["at_ms"].as_u64().context("no moment")?;
    assert_eq!(ms(&now)?, decided + 41_234);
    // It was told another one then, by a clock that may have been some milliseconds old.
    ms(&then)?;
    assert_eq!(then["idempotency_key"], now["idempotency_key"]);
    Ok(())
}
