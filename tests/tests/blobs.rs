//! Objects of steps on a real server: read in pieces, written with the outcome, seen by whom they should
//! be and never in part, not lost and not twice, whatever dies and whoever else writes.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stepwell_tests::bridges::receiver::Receiver;
use stepwell_tests::guests;
use stepwell_tests::house::{House, one_map, one_state, unfinished};
use stepwell_tests::server;
use stepwell_tests::wait::until;

/// Runs the guest's steps on a bucket, and compares what they came to.
#[track_caller]
fn check(house: &House, flow: &str, bucket: &str, steps: Value, expected: Value) {
    house.check(flow, &json!({"bucket": bucket, "do": steps}), &expected);
}

fn run(house: &House, steps: &Value) -> Result<Value> {
    let input = json!({"bucket": "data", "do": steps});
    house.api.run("a", &input.to_string())
}

fn start(house: &House, flow: &str, steps: &Value) -> Result<String> {
    house.api.start(flow, json!({"do": steps}).to_string())
}

/// An object's text; `None`: there is none.
fn text(house: &House, object: &str) -> Result<Option<String>> {
    let got = house.api.object(object)?;
    Ok((got.status == 200).then(|| match got.body {
        Value::String(text) => text,
        other => other.to_string(),
    }))
}

fn data() -> Value {
    json!({"buckets": [{"bucket": "data", "write": true}], "key_value": [{"namespace": "own", "write": true}]})
}

#[test]
fn steps_read_and_write_objects_where_they_are_granted_them() -> Result<()> {
    let shelf = tempfile::tempdir()?;
    let house = House::new(&format!(
        "object_bytes_max = 50000000\n[buckets]\nshelf = {{ path = {:?} }}\n",
        shelf.path()
    ))?;
    house.step("a", "blobs", &data())?;
    house.step(
        "b",
        "blobs",
        &json!({"buckets": [{"bucket": "data"}, {"bucket": "shelf", "write": true}]}),
    )?;
    let not_granted = || json!("Stepwell.NotGranted");
    check(
        &house,
        "a",
        "data",
        json!(["list", {"get": "k"}, {"size": "k"}]),
        json!([[], null, null]),
    );
    check(
        &house,
        "a",
        "data",
        json!([{"range": ["k", 0, 1]}]),
        json!("Stepwell.ObjectMissing"),
    );
    // Its own at once, others' when they have landed.
    check(
        &house,
        "a",
        "data",
        json!([{"put": ["k/x", "one"]}, {"get": "k/x"}, {"put": ["k/y", ""]}, {"size": "k/y"}, {"delete": "k/y"}, {"get": "k/y"}, "list"]),
        json!([null, "one", null, 0, null, null, ["k/x"]]),
    );
    assert_eq!(text(&house, "data/k/x")?.as_deref(), Some("one"));
    check(
        &house,
        "b",
        "data",
        json!([{"get": "k/x"}, {"append": ["k/x", "!"]}]),
        not_granted(),
    );
    check(
        &house,
        "b",
        "data",
        json!([{"delete": "k/x"}]),
        not_granted(),
    );
    check(&house, "b", "data", json!([{"get": "k/x"}]), json!(["one"]));
    check(&house, "b", "other", json!(["list"]), not_granted());
    check(&house, "a", "shelf", json!(["list"]), not_granted());
    // A grant never widens what the configuration allows.
    check(
        &house,
        "b",
        "shelf",
        json!([{"put": ["k", "x"]}]),
        json!("Stepwell.ObjectRefused"),
    );
    // Ranges, of which what lies past the end is not there.
    house.api.put_object("data/abc", "abcdefghij")?;
    check(
        &house,
        "a",
        "data",
        json!([{"range": ["abc", 2, 3]}, {"range": ["abc", 8, 9]}, {"range": ["abc", 10, 1]}, {"range": ["abc", 99, u64::MAX]}, {"range": ["abc", 0, 0]}, {"size": "abc"}]),
        json!(["cde", "ij", "", "", "", 10]),
    );
    // All of a step or nothing, and nothing of what is not ended.
    check(
        &house,
        "a",
        "data",
        json!([{"put": ["p", "x"]}, {"delete": "abc"}, {"fail": "Odd"}]),
        json!("Odd"),
    );
    check(
        &house,
        "a",
        "data",
        json!([{"begin": ["q", "x"]}, {"size": "q"}]),
        json!([null, null]),
    );
    check(
        &house,
        "a",
        "data",
        json!(["list", {"delete": "abc"}, "list"]),
        json!([["abc", "k/x"], null, ["k/x"]]),
    );
    assert_eq!(text(&house, "data/abc")?, None);
    // Names and limits.
    for key in [
        "",
        "..",
        "/etc/passwd",
        "../x",
        "a//b",
        "a\\b",
        ".stepwell-part-1",
    ] {
        check(
            &house,
            "a",
            "data",
            json!([{"get": key}]),
            json!("Stepwell.ObjectRefused"),
        );
        check(
            &house,
            "a",
            "data",
            json!([{"put": [key, "x"]}]),
            json!("Stepwell.ObjectRefused"),
        );
    }
    check(
        &house,
        "a",
        "data",
        json!([{"put": ["k/x/below", "x"]}]),
        json!("Stepwell.ObjectRefused"),
    );
    check(
        &house,
        "a",
        "data",
        json!([{"open": ["o", 16]}]),
        json!([16]),
    );
    check(
        &house,
        "a",
        "data",
        json!([{"open": ["o", 17]}]),
        json!("Stepwell.ObjectRefused"),
    );
    let many: Vec<Value> = (0..1_001)
        .map(|n| json!({"size": format!("n{n}")}))
        .collect();
    check(
        &house,
        "a",
        "data",
        json!(many),
        json!("Stepwell.ObjectRefused"),
    );
    let kilo = "0123456789".repeat(100);
    check(
        &house,
        "a",
        "data",
        json!([{"fill": ["big", kilo, 50_001]}]),
        json!("Stepwell.ObjectRefused"),
    );
    check(
        &house,
        "a",
        "data",
        json!([{"fill": ["big", kilo, 26_000]}, {"fill": ["more", kilo, 26_000]}]),
        json!("Stepwell.ObjectRefused"),
    );
    assert_eq!(house.unfinished()?, 0);
    // Pages, with the step's own changes in them.
    for n in 0..1_100 {
        let file = house.server.data().join(format!("buckets/data/m{n:04}"));
        std::fs::write(file, "x")?;
    }
    let shown = run(
        &house,
        &json!([{"put": ["m0000a", ""]}, {"delete": "m1050"}, {"put": ["z", ""]}, "list"]),
    )?;
    let keys: Vec<&str> = shown["output"][3]
        .as_array()
        .context("keys")?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(keys.len(), 1_102, "{shown}");
    assert!(keys.is_sorted() && keys.contains(&"m0000a") && !keys.contains(&"m1050"));
    Ok(())
}

#[test]
fn an_object_larger_than_a_steps_memory_is_read_and_written_in_pieces() -> Result<()> {
    let house = House::new("[steps]\nmemory_mib = 4\n")?;
    house.step("a", "blobs", &data())?;
    // 64 MiB, by a step that may have 4.
    let line = format!("{}\n", "x".repeat(1_023));
    check(
        &house,
        "a",
        "data",
        json!([{"fill": ["big", line, 65_536]}]),
        json!([null]),
    );
    check(
        &house,
        "a",
        "data",
        json!([{"lines": "big"}, {"size": "big"}, {"range": ["big", 1_020, 8]}]),
        json!([[65_536, 67_108_864], 67_108_864, "xxx\nxxxx"]),
    );
    Ok(())
}

#[test]
fn steps_that_change_an_object_they_read_are_as_if_one_ran_after_another() -> Result<()> {
    let house = House::new("")?;
    house.step("a", "blobs", &data())?;
    house.api.publish("many", &one_map("a"))?;
    let items: Vec<Value> = (0..25)
        .map(|n| json!({"do": [{"append": ["log", format!("{n};")]}, {"count": "n"}]}))
        .collect();
    let shown = house.api.run("many", &json!(items).to_string())?;
    assert_eq!(
        shown["output"].as_array().map(Vec::len),
        Some(25),
        "{shown}"
    );
    let log = text(&house, "data/log")?.context("a log")?;
    let lines: BTreeSet<&str> = log.trim_end_matches(';').split(';').collect();
    assert_eq!((lines.len(), log.matches(';').count()), (25, 25), "{log}");

    // What it reads and then changes may not change meanwhile: it runs again.
    let steps = json!([{"append": ["in", "!"]}, {"spin": 100_000_000}]);
    let shown = house.disturbed(
        "a",
        &json!({"do": steps}),
        || house.api.put_object("data/in", "after"),
        || house.api.put_object("data/in", "later"),
    )?;
    assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    assert_eq!(text(&house, "data/in")?.as_deref(), Some("later!"));
    Ok(())
}

#[test]
fn what_is_only_read_may_change_meanwhile_and_the_step_has_what_it_opened() -> Result<()> {
    let receiver = Receiver::start()?;
    let house = House::new(&format!("[http]\nallow = [\"{}\"]\n", receiver.address))?;
    let mut grants = data();
    grants["http"] = json!([{"host": "127.0.0.1", "ports": [receiver.address.port()]}]);
    house.step("a", "blobs", &grants)?;
    house.api.put_object("data/in", "before")?;
    let call = json!({"call": receiver.url("/held")});
    let id = start(
        &house,
        "a",
        &json!([{"get": "in"}, call, {"put": ["out", "x"]}]),
    )?;
    receiver.until(1)?;
    house.api.put_object("data/in", "after")?;
    receiver.open();
    assert_eq!(house.api.ended(&id)?["output"][0], "before");
    Ok(())
}

#[test]
fn no_object_is_lost_or_there_twice_after_deaths() -> Result<()> {
    let mut house = House::new("")?;
    house.step("a", "blobs", &data())?;
    let mut ids = Vec::new();
    for round in 0..8 {
        for n in 0..8 {
            let own = format!("done/{round}-{n}");
            ids.push(start(
                &house,
                "a",
                &json!([{"count": "n"}, {"append": ["log", format!("{round}-{n};")]}, {"put": [own, "x"]}]),
            )?);
        }
        // At another moment each time.
        std::thread::sleep(Duration::from_millis(13 * round));
        house.server.again()?;
    }
    let mut counted = BTreeSet::new();
    for id in &ids {
        let shown = house.api.ended(id)?;
        assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
        counted.extend(shown["output"][0].as_u64());
    }
    let all = ids.len() as u64;
    assert_eq!(
        counted,
        (1..=all).collect(),
        "each execution's number is its own"
    );
    let log = text(&house, "data/log")?.context("a log")?;
    let lines: BTreeSet<&str> = log.trim_end_matches(';').split(';').collect();
    assert_eq!(
        (lines.len() as u64, log.matches(';').count() as u64),
        (all, all),
        "{log}"
    );
    let shown = run(&house, &json!(["list"]))?;
    assert_eq!(
        shown["output"][0].as_array().map(Vec::len),
        Some(ids.len() + 1)
    );
    // Nothing is left of what was under way.
    house.server.again()?;
    assert_eq!(house.unfinished()?, 0);
    Ok(())
}

#[test]
fn who_saw_the_outcome_sees_the_object() -> Result<()> {
    let house = House::new("")?;
    house.step("a", "blobs", &data())?;
    let twice = json!({"StartAt": "A", "States": {
        "A": {"Type": "Task", "Resource": "wasm:a", "ResultPath": null, "Next": "B"},
        "B": {"Type": "Task", "Resource": "wasm:a", "End": true}}});
    house.api.publish("twice", &twice.to_string())?;
    for n in 1..=20 {
        // The next step, and the client that is answered.
        check(
            &house,
            "twice",
            "data",
            json!([{"append": ["two", "x"]}]),
            json!([null]),
        );
        assert_eq!(text(&house, "data/two")?, Some("xx".repeat(n)));
    }
    // An object whose execution ends otherwise is never seen.
    let limited = one_state("a", ", TimeoutSeconds: 1");
    house.api.publish("limited", &limited)?;
    let late = json!([{"put": ["late", "x"]}, {"spin": 20_000_000_000_u64}]);
    let id = start(&house, "limited", &late)?;
    let cancelled = start(&house, "a", &late)?;
    std::thread::sleep(Duration::from_millis(300));
    house
        .api
        .send("POST", &format!("/v1/executions/{cancelled}/cancel"), "{}")?;
    assert_eq!(house.api.ended(&id)?["error"], "States.Timeout");
    assert_eq!(house.api.ended(&cancelled)?["status"], "ABORTED");
    assert_eq!(text(&house, "data/late")?, None);
    until("the removal of the step's file", || {
        Ok((house.unfinished()? == 0).then_some(()))
    })
}

#[test]
fn a_step_that_called_outside_resumes_with_the_objects_that_it_saw_or_says_that_they_changed()
-> Result<()> {
    let receiver = Receiver::start()?;
    let address = receiver.address;
    let mut house = House::new(&format!("[http]\nallow = [\"{address}\"]\n"))?;
    let mut grants = data();
    grants["http"] = json!([{"host": "127.0.0.1", "ports": [address.port()]}]);
    house.step("a", "blobs", &grants)?;
    house.api.put_object("data/in", "before")?;
    let call = json!([{"get": "in"}, {"call": receiver.url("/held")}, {"append": ["in", "!"]}]);
    // Undisturbed, over a death in the call.
    let id = start(&house, "a", &call)?;
    receiver.until(1)?;
    house.server.again()?;
    receiver.until(2)?;
    receiver.open();
    assert_eq!(
        house.api.ended(&id)?["output"],
        json!(["before", 200, null])
    );
    assert_eq!(text(&house, "data/in")?.as_deref(), Some("before!"));
    // Another object is there when it resumes.
    receiver.hold();
    let id = start(&house, "a", &call)?;
    receiver.until(3)?;
    house.api.put_object("data/in", "other")?;
    house.server.again()?;
    assert_eq!(house.api.ended(&id)?["error"], "Stepwell.ObjectChanged");
    // Or when it ends.
    receiver.hold();
    let id = start(&house, "a", &call)?;
    receiver.until(4)?;
    house.api.put_object("data/in", "another")?;
    receiver.open();
    assert_eq!(house.api.ended(&id)?["error"], "Stepwell.ObjectChanged");
    assert_eq!(text(&house, "data/in")?.as_deref(), Some("another"));
    Ok(())
}

#[test]
fn express_executions_read_alone_and_a_run_without_a_server_writes_where_it_is_lent_a_folder()
-> Result<()> {
    let house = House::new("")?;
    house.step("a", "blobs", &data())?;
    house
        .api
        .publish("short?type=express", &one_state("a", ""))?;
    house.api.put_object("data/k", "1")?;
    check(&house, "short", "data", json!([{"get": "k"}]), json!(["1"]));
    check(
        &house,
        "short",
        "data",
        json!([{"put": ["k", "2"]}]),
        json!("Stepwell.ExpressWrites"),
    );
    assert_eq!(text(&house, "data/k")?.as_deref(), Some("1"));
    // What it would have written goes away behind its end.
    until("nothing is unfinished", || {
        Ok((house.unfinished()? == 0).then_some(()))
    })?;

    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| -> Result<String> {
        let file = house.dir.path().join(name);
        std::fs::write(&file, text)?;
        Ok(file.display().to_string())
    };
    let twice = json!({"StartAt": "A", "States": {
        "A": {"Type": "Task", "Resource": "wasm:a", "ResultPath": null, "Next": "B"},
        "B": {"Type": "Task", "Resource": "wasm:a", "End": true}}});
    let (definition, grants) = (
        file("twice.json", &twice.to_string())?,
        file("grants.json", &data().to_string())?,
    );
    let module = format!("a={}", guests::program("blobs")?.display());
    let run = Command::new(server::binary()?)
        .args([
            "run",
            &definition,
            "--module",
            &module,
            "--grants",
            &format!("a={grants}"),
        ])
        .args([
            "--bucket-write",
            &format!("data={}", folder.path().display()),
        ])
        .args([
            "--input",
            r#"{"do": [{"append": ["deep/log", "x"]}, "list"]}"#,
        ])
        .output()?;
    let text = String::from_utf8_lossy(&run.stdout);
    let shown: Value = serde_json::from_str(&text).with_context(|| format!("{run:?}"))?;
    assert_eq!(shown["output"], json!([null, ["deep/log"]]), "{text}");
    assert_eq!(
        std::fs::read_to_string(folder.path().join("deep/log"))?,
        "xx"
    );
    assert_eq!(unfinished(folder.path())?, 0);
    Ok(())
}
