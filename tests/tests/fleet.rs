//! Distributed Maps on the real server: killed in the middle, their results in a bucket;
//! failed, killed again, and redriven.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::bridges::ask;
use stepwell_tests::server::Server;
use stepwell_tests::wait::until;

const ITEMS: u64 = 400;

/// A server with a bucket of numbers to read and one to write.
fn started(dir: &Path) -> Result<(Server, Api)> {
    let (read, write) = (dir.join("in"), dir.join("out"));
    std::fs::create_dir_all(&read)?;
    std::fs::create_dir_all(&write)?;
    let lines: Vec<String> = (0..ITEMS).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    std::fs::write(read.join("numbers.jsonl"), lines.concat())?;
    let config =
        format!("[buckets.in]\npath = {read:?}\n[buckets.out]\npath = {write:?}\nwrite = true\n");
    let (server, api) = ask::started(dir, &config)?;
    Ok((server, api))
}

/// Every number waits a second; those that `fails` names, a condition on `$.n`, then go to a
/// state that fails as long as there is nothing at the path.
fn flow(kind: &str, fails: &str, path: &str, more: &str) -> String {
    format!(
        r#"{{"StartAt": "M", "States": {{"M": {{"Type": "Map", "MaxConcurrency": 100, {more}
          "ItemReader": {{"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {{"InputType": "JSONL"}},
            "Parameters": {{"Bucket": "in", "Key": "numbers.jsonl"}}}},
          "ItemProcessor": {{"ProcessorConfig": {{"Mode": "DISTRIBUTED", "ExecutionType": "{kind}"}},
            "StartAt": "W", "States": {{
              "W": {{"Type": "Wait", "Seconds": 1, "Next": "C"}},
              "C": {{"Type": "Choice", "Choices": [{{"Variable": "$.n", {fails}, "Next": "F"}}], "Default": "P"}},
              "F": {{"Type": "Pass", "Parameters": {{"n.$": "{path}"}}, "End": true}},
              "P": {{"Type": "Pass", "End": true}}}}}},
          "End": true}}}}}}"#
    )
}

const WRITER: &str = r#""ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "out", "Prefix": "done"}},"#;

/// The executions that one started: id, input's number and status of each.
fn children(api: &Api, id: &str) -> Result<Vec<(String, u64, String)>> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let page = api
            .get(&format!("/v1/executions?parent={id}&limit=100{after}"))?
            .body;
        for child in page["executions"].as_array().context("no list")? {
            let child_id = child["id"].as_str().context("no id")?;
            let about = api.get(&format!("/v1/executions/{child_id}"))?.body;
            let n = about["input"]["n"].as_u64().context("no number")?;
            let status = about["status"].as_str().unwrap_or("?");
            all.push((child_id.to_owned(), n, status.to_owned()));
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(all),
        }
    }
}

/// How often each number is in the files of a kind that the manifest names.
fn written(dir: &Path, output: &Value, kind: &str) -> Result<BTreeMap<u64, usize>> {
    let out = dir.join("out");
    let key = output["ResultWriterDetails"]["Key"]
        .as_str()
        .context("no manifest")?;
    let manifest: Value = serde_json::from_slice(&std::fs::read(out.join(key))?)?;
    let mut numbers = BTreeMap::new();
    for file in manifest["ResultFiles"][kind]
        .as_array()
        .context("no files")?
    {
        let path = out.join(file["Key"].as_str().context("no key")?);
        let bytes = std::fs::read(path)?;
        ensure!(file["Size"] == bytes.len(), "{file}");
        let records: Vec<Value> = serde_json::from_slice(&bytes)?;
        for record in records {
            let input: Value = serde_json::from_str(record["Input"].as_str().context("no input")?)?;
            *numbers
                .entry(input["n"].as_u64().context("no number")?)
                .or_default() += 1;
        }
    }
    Ok(numbers)
}

#[test]
fn a_kill_in_the_middle_loses_no_item_and_counts_none_twice() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut server, api) = started(dir.path())?;
    let more = format!("{WRITER} \"ToleratedFailureCount\": 10,");
    let few = r#""NumericLessThan": 10"#;
    for kind in ["STANDARD", "EXPRESS"] {
        let name = kind.to_lowercase();
        api.publish(&name, &flow(kind, few, "$.missing", &more))?;
        let id = api.start(&name, "{}")?;
        for _ in 0..2 {
            // In the middle of it: some have ended in this life, and most have not.
            until("fifty ends", || {
                let ended = api.metric("stepwell_executions_ended_total{status=\"SUCCEEDED\"}")?;
                Ok((ended >= 50.0).then_some(()))
            })?;
            server.again()?;
        }
        let ended = api.ended(&id)?;
        ensure!(ended["status"] == "SUCCEEDED", "{kind}: {ended}");
        let good = written(dir.path(), &ended["output"], "SUCCEEDED")?;
        let bad = written(dir.path(), &ended["output"], "FAILED")?;
        ensure!(good.keys().copied().eq(10..ITEMS), "{kind}: {good:?}");
        ensure!(bad.keys().copied().eq(0..10), "{kind}: {bad:?}");
        let twice = good.values().chain(bad.values()).any(|n| *n != 1);
        ensure!(!twice, "{kind}: an item counts twice");
        let known = children(&api, &id)?;
        match kind {
            // A failed one in memory leaves its history, and nothing else does.
            "EXPRESS" => ensure!(known.len() == 10, "{known:?}"),
            _ => ensure!(known.len() as u64 == ITEMS, "{} children", known.len()),
        }
        let events = api
            .get(&format!("/v1/executions/{id}/history?limit=100"))?
            .body;
        let events = events["events"].as_array().context("no events")?.clone();
        let kinds: Vec<&str> = events.iter().filter_map(|e| e["type"].as_str()).collect();
        let run = [
            "MapStateStarted",
            "MapRunStarted",
            "MapRunSucceeded",
            "MapStateSucceeded",
        ];
        ensure!(kinds.get(2..6) == Some(&run), "{kinds:?}");
    }
    Ok(())
}

#[test]
fn a_redrive_after_a_kill_does_not_repeat_what_succeeded() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut server, api) = started(dir.path())?;
    let bad = r#""NumericEquals": 250"#;
    api.publish("strict", &flow("STANDARD", bad, "$.missing", ""))?;
    let id = api.start("strict", "{}")?;
    let failed = api.ended(&id)?;
    ensure!(
        failed["error"] == "States.ExceedToleratedFailureThreshold",
        "{failed}"
    );
    server.again()?;
    let before: Vec<u64> = children(&api, &id)?
        .into_iter()
        .filter_map(|(_, n, status)| (status == "SUCCEEDED").then_some(n))
        .collect();
    ensure!(before.len() >= 200, "{} succeeded", before.len());

    // The mended version; killed once more on its way.
    api.publish("strict", &flow("STANDARD", bad, "$.n", ""))?;
    let path = format!("/v1/executions/{id}/redrive?version=2");
    let answer = api.send("POST", &path, "")?;
    ensure!(answer.status == 202, "{answer:?}");
    until("twenty children", || {
        Ok((api.metric("stepwell_executions_open")? > 20.0).then_some(()))
    })?;
    server.again()?;
    let ended = api.ended(&id)?;
    ensure!(ended["status"] == "SUCCEEDED", "{ended}");
    let output = ended["output"].as_array().context("no output")?;
    let numbers: Vec<Value> = (0..ITEMS).map(|n| json!({ "n": n })).collect();
    ensure!(*output == numbers, "{output:?}");

    let known = children(&api, &id)?;
    let once: BTreeSet<u64> = known.iter().map(|(_, n, _)| *n).collect();
    ensure!(once.len() as u64 == ITEMS, "{} of {ITEMS}", once.len());
    ensure!(known.len() == once.len(), "an item has two executions");
    ensure!(known.iter().all(|(.., status)| status == "SUCCEEDED"));
    // The one that failed went on from there, and its history shows both runs.
    let failed = known.iter().find(|(_, n, _)| *n == 250);
    let (failed, ..) = failed.context("no item 250")?;
    let path = format!("/v1/executions/{failed}/history?limit=100");
    let history = api.get(&path)?.body;
    let events = history["events"].as_array().context("no events")?;
    let count = |kind: &str| events.iter().filter(|e| e["type"] == kind).count();
    for (kind, times) in [
        ("ExecutionStarted", 1),
        ("WaitStateEntered", 1),
        ("PassStateEntered", 2),
        ("ExecutionFailed", 1),
        ("ExecutionRedriven", 1),
        ("ExecutionSucceeded", 1),
    ] {
        ensure!(count(kind) == times, "{kind}: {events:#?}");
    }
    Ok(())
}
