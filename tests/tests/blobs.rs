//! Objects of steps on a real server: read in pieces, written with the outcome, seen by whom they should
//! be and never in part, not lost and not twice, whatever dies and whoever else writes.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::bridges::holding::{hold, holding, until};
use stepwell_tests::guests;
use stepwell_tests::server::{self, Server};

struct House {
    dir: tempfile::TempDir,
    server: Server,
    api: Api,
}

fn house(more: &str) -> Result<House> {
    let dir = tempfile::tempdir()?;
    let mut server = Server::new(dir.path(), more)?;
    server.spawn()?;
    server.ready()?;
    let api = Api::new(&server.url())?;
    Ok(House { dir, server, api })
}

impl House {
    fn module(&self, name: &str, grants: &Value) -> Result<()> {
        let wasm = guests::program("blobs")?;
        self.api.upload_granted(name, &wasm, grants)?;
        self.api.publish(name, &flow(name, ""))
    }

    fn run(&self, flow: &str, bucket: &str, steps: &Value) -> Result<Value> {
        let input = json!({"bucket": bucket, "do": steps});
        self.api.run(flow, &input.to_string())
    }

    fn start(&self, flow: &str, steps: &Value) -> Result<String> {
        self.api.start(flow, json!({"do": steps}).to_string())
    }

    fn ended(&self, id: &str) -> Result<Value> {
        self.api.ended(id)
    }

    #[track_caller]
    fn check(&self, flow: &str, bucket: &str, steps: Value, expected: Value) {
        let shown = self.run(flow, bucket, &steps).expect("an answer");
        let got = match shown["error"].as_str() {
            Some(error) => json!(error),
            None => shown["output"].clone(),
        };
        assert_eq!(got, expected, "{steps} {shown}");
    }

    fn put(&self, object: &str, bytes: impl Into<Vec<u8>>) -> Result<()> {
        let put = self.api.send("PUT", &objects(object), bytes.into())?;
        ensure!(matches!(put.status, 200 | 201), "{put:?}");
        Ok(())
    }

    /// An object's text; `None`: there is none.
    fn get(&self, object: &str) -> Result<Option<String>> {
        let got = self.api.get(&objects(object))?;
        Ok((got.status == 200).then(|| match got.body {
            Value::String(text) => text,
            other => other.to_string(),
        }))
    }

    fn again(&mut self) -> Result<()> {
        self.server.again()
    }

    /// Files of the server that are no objects.
    fn unfinished(&self) -> Result<usize> {
        unfinished(&self.server.data().join("buckets"))
    }
}

fn objects(object: &str) -> String {
    let (bucket, key) = object.split_once('/').unwrap_or((object, ""));
    format!("/v1/buckets/{bucket}/objects/{key}")
}

fn unfinished(dir: &Path) -> Result<usize> {
    let names = std::fs::read_dir(dir)?.flatten().map(|e| e.file_name());
    Ok(names
        .filter(|n| n.to_string_lossy().starts_with(".stepwell-part"))
        .count())
}

fn flow(module: &str, more: &str) -> String {
    format!(
        "StartAt: S\nStates:\n  S: {{Type: Task, Resource: \"wasm:{module}\", End: true{more}}}\n"
    )
}

fn data() -> Value {
    json!({"buckets": [{"bucket": "data", "write": true}], "key_value": [{"namespace": "own", "write": true}]})
}

#[test]
fn steps_read_and_write_objects_where_they_are_granted_them() -> Result<()> {
    let shelf = tempfile::tempdir()?;
    let house = house(&format!(
        "object_bytes_max = 50000000\n[buckets]\nshelf = {{ path = {:?} }}\n",
        shelf.path()
    ))?;
    house.module("a", &data())?;
    house.module(
        "b",
        &json!({"buckets": [{"bucket": "data"}, {"bucket": "shelf", "write": true}]}),
    )?;
    let not_granted = || json!("Stepwell.NotGranted");
    house.check(
        "a",
        "data",
        json!(["list", {"get": "k"}, {"size": "k"}]),
        json!([[], null, null]),
    );
    house.check(
        "a",
        "data",
        json!([{"range": ["k", 0, 1]}]),
        json!("Stepwell.ObjectMissing"),
    );
    // Its own at once, others' when they have landed.
    house.check(
        "a",
        "data",
        json!([{"put": ["k/x", "one"]}, {"get": "k/x"}, {"put": ["k/y", ""]}, {"size": "k/y"}, {"delete": "k/y"}, {"get": "k/y"}, "list"]),
        json!([null, "one", null, 0, null, null, ["k/x"]]),
    );
    assert_eq!(house.get("data/k/x")?.as_deref(), Some("one"));
    house.check(
        "b",
        "data",
        json!([{"get": "k/x"}, {"append": ["k/x", "!"]}]),
        not_granted(),
    );
    house.check("b", "data", json!([{"delete": "k/x"}]), not_granted());
    house.check("b", "data", json!([{"get": "k/x"}]), json!(["one"]));
    house.check("b", "other", json!(["list"]), not_granted());
    house.check("a", "shelf", json!(["list"]), not_granted());
    // A grant never widens what the configuration allows.
    house.check(
        "b",
        "shelf",
        json!([{"put": ["k", "x"]}]),
        json!("Stepwell.ObjectRefused"),
    );
    // Ranges, of which what lies past the end is not there.
    house.put("data/abc", "abcdefghij")?;
    house.check(
        "a",
        "data",
        json!([{"range": ["abc", 2, 3]}, {"range": ["abc", 8, 9]}, {"range": ["abc", 10, 1]}, {"range": ["abc", 99, u64::MAX]}, {"range": ["abc", 0, 0]}, {"size": "abc"}]),
        json!(["cde", "ij", "", "", "", 10]),
    );
    // All of a step or nothing, and nothing of what is not ended.
    house.check(
        "a",
        "data",
        json!([{"put": ["p", "x"]}, {"delete": "abc"}, {"fail": "Odd"}]),
        json!("Odd"),
    );
    house.check(
        "a",
        "data",
        json!([{"begin": ["q", "x"]}, {"size": "q"}]),
        json!([null, null]),
    );
    house.check(
        "a",
        "data",
        json!(["list", {"delete": "abc"}, "list"]),
        json!([["abc", "k/x"], null, ["k/x"]]),
    );
    assert_eq!(house.get("data/abc")?, None);
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
        house.check(
            "a",
            "data",
            json!([{"get": key}]),
            json!("Stepwell.ObjectRefused"),
        );
        house.check(
            "a",
            "data",
            json!([{"put": [key, "x"]}]),
            json!("Stepwell.ObjectRefused"),
        );
    }
    house.check(
        "a",
        "data",
        json!([{"put": ["k/x/below", "x"]}]),
        json!("Stepwell.ObjectRefused"),
    );
    house.check("a", "data", json!([{"open": ["o", 16]}]), json!([16]));
    house.check(
        "a",
        "data",
        json!([{"open": ["o", 17]}]),
        json!("Stepwell.ObjectRefused"),
    );
    let many: Vec<Value> = (0..1_001)
        .map(|n| json!({"size": format!("n{n}")}))
        .collect();
    house.check("a", "data", json!(many), json!("Stepwell.ObjectRefused"));
    let kilo = "0123456789".repeat(100);
    house.check(
        "a",
        "data",
        json!([{"fill": ["big", kilo, 50_001]}]),
        json!("Stepwell.ObjectRefused"),
    );
    house.check(
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
    let shown = house.run(
        "a",
        "data",
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
    let house = house("[steps]\nmemory_mib = 4\n")?;
    house.module("a", &data())?;
    // 64 MiB, by a step that may have 4.
    let line = format!("{}\n", "x".repeat(1_023));
    house.check(
        "a",
        "data",
        json!([{"fill": ["big", line, 65_536]}]),
        json!([null]),
    );
    house.check(
        "a",
        "data",
        json!([{"lines": "big"}, {"size": "big"}, {"range": ["big", 1_020, 8]}]),
        json!([[65_536, 67_108_864], 67_108_864, "xxx\nxxxx"]),
    );
    Ok(())
}

#[test]
fn steps_that_change_an_object_they_read_are_as_if_one_ran_after_another() -> Result<()> {
    let house = house("")?;
    house.module("a", &data())?;
    let many = json!({"StartAt": "M", "States": {"M": {"Type": "Map", "ItemsPath": "$", "End": true,
        "ItemProcessor": {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "wasm:a", "End": true}}}}}});
    house.api.publish("many", &many.to_string())?;
    let items: Vec<Value> = (0..25)
        .map(|n| json!({"do": [{"append": ["log", format!("{n};")]}, {"count": "n"}]}))
        .collect();
    let shown = house.api.run("many", &json!(items).to_string())?;
    assert_eq!(
        shown["output"].as_array().map(Vec::len),
        Some(25),
        "{shown}"
    );
    let log = house.get("data/log")?.context("a log")?;
    let lines: BTreeSet<&str> = log.trim_end_matches(';').split(';').collect();
    assert_eq!((lines.len(), log.matches(';').count()), (25, 25), "{log}");

    // What is only read may change meanwhile: the step has what it opened.
    house.put("data/in", "before")?;
    let id = house.start(
        "a",
        &json!([{"get": "in"}, {"spin": 200_000_000}, {"put": ["out", "x"]}]),
    )?;
    std::thread::sleep(Duration::from_millis(100));
    house.put("data/in", "after")?;
    assert_eq!(house.ended(&id)?["output"][0], "before");
    // What it reads and then changes may not: it runs again.
    let id = house.start(
        "a",
        &json!([{"append": ["in", "!"]}, {"spin": 200_000_000}]),
    )?;
    std::thread::sleep(Duration::from_millis(100));
    house.put("data/in", "later")?;
    assert_eq!(house.ended(&id)?["status"], "SUCCEEDED");
    assert_eq!(house.get("data/in")?.as_deref(), Some("later!"));
    Ok(())
}

#[test]
fn no_object_is_lost_or_there_twice_after_deaths() -> Result<()> {
    let mut house = house("")?;
    house.module("a", &data())?;
    let mut ids = Vec::new();
    for round in 0..8 {
        for n in 0..8 {
            let own = format!("done/{round}-{n}");
            ids.push(house.start(
                "a",
                &json!([{"count": "n"}, {"append": ["log", format!("{round}-{n};")]}, {"put": [own, "x"]}]),
            )?);
        }
        // At another moment each time.
        std::thread::sleep(Duration::from_millis(13 * round));
        house.again()?;
    }
    let mut counted = BTreeSet::new();
    for id in &ids {
        let shown = house.ended(id)?;
        assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
        counted.extend(shown["output"][0].as_u64());
    }
    let all = ids.len() as u64;
    assert_eq!(
        counted,
        (1..=all).collect(),
        "each execution's number is its own"
    );
    let log = house.get("data/log")?.context("a log")?;
    let lines: BTreeSet<&str> = log.trim_end_matches(';').split(';').collect();
    assert_eq!(
        (lines.len() as u64, log.matches(';').count() as u64),
        (all, all),
        "{log}"
    );
    let shown = house.run("a", "data", &json!(["list"]))?;
    assert_eq!(
        shown["output"][0].as_array().map(Vec::len),
        Some(ids.len() + 1)
    );
    // Nothing is left of what was under way.
    house.again()?;
    assert_eq!(house.unfinished()?, 0);
    Ok(())
}

#[test]
fn who_saw_the_outcome_sees_the_object() -> Result<()> {
    let house = house("")?;
    house.module("a", &data())?;
    let twice = json!({"StartAt": "A", "States": {
        "A": {"Type": "Task", "Resource": "wasm:a", "ResultPath": null, "Next": "B"},
        "B": {"Type": "Task", "Resource": "wasm:a", "End": true}}});
    house.api.publish("twice", &twice.to_string())?;
    for n in 1..=20 {
        // The next step, and the client that is answered.
        house.check(
            "twice",
            "data",
            json!([{"append": ["two", "x"]}]),
            json!([null]),
        );
        assert_eq!(house.get("data/two")?, Some("xx".repeat(n)));
    }
    // An object whose execution ends otherwise is never seen.
    let limited = flow("a", ", TimeoutSeconds: 1");
    house.api.publish("limited", &limited)?;
    let late = json!([{"put": ["late", "x"]}, {"spin": 20_000_000_000_u64}]);
    let id = house.start("limited", &late)?;
    let cancelled = house.start("a", &late)?;
    std::thread::sleep(Duration::from_millis(300));
    house
        .api
        .send("POST", &format!("/v1/executions/{cancelled}/cancel"), "{}")?;
    assert_eq!(house.ended(&id)?["error"], "States.Timeout");
    assert_eq!(house.ended(&cancelled)?["status"], "ABORTED");
    assert_eq!(house.get("data/late")?, None);
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while house.unfinished()? > 0 {
        ensure!(
            std::time::Instant::now() < until,
            "the step's file is still there"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn a_step_that_called_outside_resumes_with_the_objects_that_it_saw_or_says_that_they_changed()
-> Result<()> {
    let (address, state) = holding()?;
    let mut house = house(&format!("[http]\nallow = [\"{address}\"]\n"))?;
    let mut grants = data();
    grants["http"] = json!([{"host": "127.0.0.1", "ports": [address.port()]}]);
    house.module("a", &grants)?;
    house.put("data/in", "before")?;
    let call =
        json!([{"get": "in"}, {"call": format!("http://{address}/")}, {"append": ["in", "!"]}]);
    // Undisturbed, over a death in the call.
    let id = house.start("a", &call)?;
    until(&state, 1)?;
    house.again()?;
    until(&state, 2)?;
    hold(&state, true);
    assert_eq!(house.ended(&id)?["output"], json!(["before", 200, null]));
    assert_eq!(house.get("data/in")?.as_deref(), Some("before!"));
    // Another object is there when it resumes.
    hold(&state, false);
    let id = house.start("a", &call)?;
    until(&state, 3)?;
    house.put("data/in", "other")?;
    house.again()?;
    assert_eq!(house.ended(&id)?["error"], "Stepwell.ObjectChanged");
    // Or when it ends.
    hold(&state, false);
    let id = house.start("a", &call)?;
    until(&state, 4)?;
    house.put("data/in", "another")?;
    hold(&state, true);
    assert_eq!(house.ended(&id)?["error"], "Stepwell.ObjectChanged");
    assert_eq!(house.get("data/in")?.as_deref(), Some("another"));
    Ok(())
}

#[test]
fn express_executions_read_alone_and_a_run_without_a_server_writes_where_it_is_lent_a_folder()
-> Result<()> {
    let house = house("")?;
    house.module("a", &data())?;
    house.api.publish("short?type=express", &flow("a", ""))?;
    house.put("data/k", "1")?;
    house.check("short", "data", json!([{"get": "k"}]), json!(["1"]));
    house.check(
        "short",
        "data",
        json!([{"put": ["k", "2"]}]),
        json!("Stepwell.ExpressWrites"),
    );
    assert_eq!(house.get("data/k")?.as_deref(), Some("1"));
    assert_eq!(house.unfinished()?, 0);

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
