//! Large data on the real server: a table goes into a bucket, a distributed Map reads it by the
//! page, and its results are counted in the files that the manifest names.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::bridges::ask::started;
use stepwell_tests::house::House;

const ROWS: u64 = 5_000;
const BATCH: u64 = 50;

/// The sum of a batch's numbers, by the flow itself: no module is needed for it.
const FLOW: &str = r#"
QueryLanguage: JSONata
StartAt: Rows
States:
  Rows:
    Type: Map
    ItemReader:
      Resource: arn:aws:states:::s3:getObject
      ReaderConfig: {InputType: CSV, CSVHeaderLocation: FIRST_ROW, CSVDelimiter: SEMICOLON}
      Arguments: {Bucket: tables, Key: "{% $states.input.key %}"}
    ItemBatcher: {MaxItemsPerBatch: 50, BatchInput: {of: batch}}
    ItemProcessor:
      ProcessorConfig: {Mode: DISTRIBUTED, ExecutionType: "KIND"}
      StartAt: Sum
      States:
        Sum:
          Type: Pass
          Output:
            of: "{% $states.input.BatchInput.of %}"
            rows: "{% $count($states.input.Items) %}"
            first: "{% $states.input.Items[0].name %}"
            sum: "{% $sum($states.input.Items.$number(n)) %}"
          End: true
    ResultWriter:
      Resource: arn:aws:states:::s3:putObject
      Arguments: {Bucket: results, Prefix: sums/}
      WriterConfig: {Transformation: COMPACT, OutputType: JSON}
    End: true
"#;

fn table(rows: u64) -> String {
    let mut csv = String::from("n;name;text\r\n");
    for n in 0..rows {
        let _ = write!(csv, "{n};row {n};\"some \"\"text\"\";\nof row {n}\"\r\n");
    }
    csv
}

/// The execution's output, once it has ended well.
fn output(api: &Api, flow: &str, input: &str) -> Result<Value> {
    let ended = api.run(flow, input)?;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    Ok(ended["output"].clone())
}

fn object(api: &Api, bucket: &str, key: &str) -> Result<Value> {
    let answer = api.get(&format!("/v1/buckets/{bucket}/objects/{key}"))?;
    anyhow::ensure!(answer.status == 200, "{key}: {}", answer.body);
    Ok(answer.body)
}

/// Reads the manifest and every file of it: all batches, each once.
fn check_results(api: &Api, output: &Value) -> Result<()> {
    let details = &output["ResultWriterDetails"];
    let manifest = details["Key"].as_str().context("a key")?;
    assert!(manifest.starts_with("sums/"), "{output}");
    let manifest = object(api, "results", manifest)?;
    assert_eq!(manifest["DestinationBucket"], "results");
    assert_eq!(manifest["MapRunArn"], output["MapRunArn"]);
    assert_eq!(manifest["ResultFiles"]["FAILED"], json!([]));
    let (mut rows, mut sum, mut firsts) = (0, 0, BTreeSet::new());
    let files = manifest["ResultFiles"]["SUCCEEDED"].as_array();
    for file in files.context("files")? {
        let contents = object(api, "results", file["Key"].as_str().context("a key")?)?;
        for batch in contents.as_array().context("an array")? {
            assert_eq!(batch["of"], "batch");
            rows += batch["rows"].as_u64().context("rows")?;
            sum += batch["sum"].as_u64().context("a sum")?;
            firsts.insert(batch["first"].to_string());
        }
    }
    assert_eq!((rows, sum), (ROWS, ROWS * (ROWS - 1) / 2));
    assert_eq!(firsts.len() as u64, ROWS / BATCH, "each batch once");
    Ok(())
}

#[test]
fn a_table_in_a_bucket_is_mapped_over_and_its_results_are_written() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let results = dir.path().join("results");
    std::fs::create_dir(&results)?;
    let config = format!("[buckets]\nresults = {{ path = {results:?}, write = true }}\n");
    let (mut server, api) = started(dir.path(), &config)?;
    api.put_object("tables/in/rows.csv", table(ROWS))?;
    for kind in ["STANDARD", "EXPRESS"] {
        api.publish(kind, &FLOW.replace("KIND", kind))?;
        let output = output(&api, kind, r#"{"key": "in/rows.csv"}"#)?;
        check_results(&api, &output)?;
    }
    let ended = api.run("EXPRESS", r#"{"key": "in/none.csv"}"#)?;
    assert_eq!(ended["error"], "States.ItemReaderFailed", "{ended}");
    let cause = ended["cause"].as_str().context("a cause")?;
    assert!(cause.contains("BUCKET0002"), "{cause}");

    // What lies in the buckets is there after a restart, and what is being read is read on.
    server.stop(Duration::from_secs(20))?;
    server.start()?;
    assert_eq!(
        api.get("/v1/buckets/tables/objects")?.body["objects"][0]["key"],
        "in/rows.csv"
    );
    let output = output(&api, "STANDARD", r#"{"key": "in/rows.csv"}"#)?;
    check_results(&api, &output)
}

/// A row that is called bad fails.
const MIX: &str = r#"
StartAt: Rows
States:
  Rows:
    Type: Map
    MaxConcurrency: 1
    ItemReader:
      Resource: arn:aws:states:::s3:getObject
      ReaderConfig: {InputType: CSV, CSVHeaderLocation: FIRST_ROW}
      Parameters: {Bucket: tables, Key: mix.csv}
    ItemProcessor:
      ProcessorConfig: {Mode: DISTRIBUTED, ExecutionType: "KIND"}
      StartAt: Look
      States:
        Look:
          Type: Choice
          Choices: [{Variable: $.n, StringEquals: bad, Next: Bad}]
          Default: Good
        Bad: {Type: Fail, Error: Bad.Row}
        Good: {Type: Pass, OutputPath: $.n, End: true}
    End: true
"#;

/// Redrives, and what the execution has become.
fn redriven(api: &Api, id: &str, input: &str) -> Result<Value> {
    let path = format!("/v1/executions/{id}/redrive");
    let answer = api.send("POST", &path, input.to_owned())?;
    assert_eq!(answer.status, 202, "{}", answer.body);
    api.ended(id)
}

#[test]
fn items_of_two_versions_of_an_object_never_mix() -> Result<()> {
    let mut house = House::new("")?;
    let put = |rows: &'static str| house.api.put_object("tables/mix.csv", rows);
    for kind in ["STANDARD", "EXPRESS"] {
        put("n\na0\nbad\na2\n")?;
        house.api.publish(kind, &MIX.replace("KIND", kind))?;
        let failed = house.api.run(kind, "{}")?;
        assert_eq!(failed["status"], "FAILED", "{failed}");
        let id = failed["id"].as_str().context("an id")?;
        // The same object is read again, also by a server that was started anew.
        house.server.stop(Duration::from_secs(20))?;
        house.server.start()?;
        let again = redriven(&house.api, id, "")?;
        assert_ne!(again["error"], "States.ItemReaderFailed", "{again}");
        put("n\nb0\nb1\nb2\n")?;
        let refused = redriven(&house.api, id, "")?;
        assert_eq!(refused["error"], "States.ItemReaderFailed", "{refused}");
        let cause = refused["cause"].as_str().context("a cause")?;
        assert!(cause.contains("object mix.csv of bucket tables"), "{cause}");
        let done = redriven(&house.api, id, "{}")?;
        assert_eq!(done["output"], json!(["b0", "b1", "b2"]), "{done}");
    }
    Ok(())
}

/// Too many items fail: what has ended is written before the run fails, and nothing else.
#[test]
fn a_run_that_fails_writes_what_has_ended() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let results = dir.path().join("results");
    std::fs::create_dir(&results)?;
    let config = format!("[buckets]\nresults = {{ path = {results:?}, write = true }}\n");
    let (_server, api) = started(dir.path(), &config)?;
    api.put_object("tables/mix.csv", "n\na0\nbad\na2\n".to_owned())?;
    let writer = "    ResultWriter:\n      Resource: arn:aws:states:::s3:putObject\n      Parameters: {Bucket: results, Prefix: KIND}\n";
    for kind in ["STANDARD", "EXPRESS"] {
        api.publish(kind, &format!("{MIX}{writer}").replace("KIND", kind))?;
        let failed = api.run(kind, "{}")?;
        let error = "States.ExceedToleratedFailureThreshold";
        assert_eq!(failed["error"], error, "{failed}");
        let listed = api.get(&format!("/v1/buckets/results/objects?prefix={kind}/"))?;
        let listed = listed.body["objects"].as_array().context("a list")?.clone();
        let keys = listed.iter().filter_map(|object| object["key"].as_str());
        let manifest = keys.clone().find(|key| key.ends_with("/manifest.json"));
        let manifest = object(&api, "results", manifest.context("a manifest")?)?;
        for status in ["SUCCEEDED", "FAILED"] {
            let key = &manifest["ResultFiles"][status][0]["Key"];
            let records = object(&api, "results", key.as_str().context("a key")?)?;
            assert_eq!(records.as_array().map(Vec::len), Some(1), "{records}");
            assert_eq!(records[0]["Status"], status, "{records}");
        }
        assert_eq!(keys.count(), 3, "{listed:?}");
    }
    Ok(())
}
