//! A power cut takes the names that were not synced: of objects, results of Maps, modules, secrets and what the
//! server knows of itself. What was answered is there after each, and what was removed is not back.
//!
//! Each step is followed at once by a cut that throws away all that was not synced by then.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_shim::{Recorder, Tail};
use stepwell_tests::guests;
use stepwell_tests::house::{House, one_state};
use stepwell_tests::server::Server;

/// A flow whose Map writes what its items yield into a bucket, a file and a manifest.
const RESULTS: &str = r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "End": true, "ItemsPath": "$.items",
    "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED"}, "StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}},
    "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket.$": "$.bucket", "Prefix": "a/b"}}}}}"#;

struct Place {
    house: House,
    recorder: Recorder,
    granted: PathBuf,
}

impl Place {
    /// A server that has never run, with a directory that is granted as the bucket `out`.
    fn new() -> Result<Place> {
        let dir = tempfile::tempdir()?;
        let granted = dir.path().join("granted");
        let tools = dir.path().join("tools");
        std::fs::create_dir_all(&granted)?;
        std::fs::create_dir_all(&tools)?;
        let keys = dir.path().join("keys");
        let config = format!(
            "[buckets.out]\npath = {granted:?}\nwrite = true\n[secrets]\nkey_file = {:?}\n",
            keys.join("key")
        );
        let mut server = Server::new(dir.path(), &config)?;
        let recorder = Recorder::new(&tools, &[&server.data(), &granted, &keys])?;
        let environment = recorder.environment();
        server.environment(environment.map(|(name, value)| (name.into(), value)));
        Ok(Place {
            house: House::of(dir, server)?,
            recorder,
            granted,
        })
    }

    /// Cuts the power, and starts the server again.
    fn cut(&mut self) -> Result<()> {
        self.house.server.kill()?;
        self.recorder.discard_unsynced(Tail::Gone)?;
        self.recorder.restart()?;
        self.house.server.start()
    }

    fn put(&self, object: &str, text: &'static str) -> Result<()> {
        let path = format!("/v1/buckets/{object}");
        let answer = self.house.api.send("PUT", &path, text)?;
        ensure!(matches!(answer.status, 200 | 201), "{object}: {answer:?}");
        Ok(())
    }

    #[track_caller]
    fn holds(&self, object: &str, expected: Option<&str>) {
        let path = format!("/v1/buckets/{object}");
        let answer = self.house.api.get(&path).expect("an answer");
        match expected {
            Some(text) => assert_eq!(answer.body, json!(text), "{object}: {answer:?}"),
            None => assert_eq!(answer.status, 404, "{object}: {answer:?}"),
        }
    }
}

#[test]
fn objects_of_clients_keep_their_names() -> Result<()> {
    let mut place = Place::new()?;
    // The very first of a bucket, in a server that has just made its directory; deep in one; another's place.
    for object in [
        "data/objects/one",
        "data/objects/a/b/two",
        "out/objects/c/d/three",
        "out/objects/four",
    ] {
        place.put(object, "before")?;
        place.cut()?;
        place.holds(object, Some("before"));
        place.put(object, "after")?;
        place.cut()?;
        place.holds(object, Some("after"));
    }
    for object in [
        "data/objects/one",
        "data/objects/a/b/two",
        "out/objects/c/d/three",
        "out/objects/four",
    ] {
        let answer = place
            .house
            .api
            .send("DELETE", &format!("/v1/buckets/{object}"), "")?;
        ensure!(answer.status == 204, "{object}: {answer:?}");
        place.cut()?;
        place.holds(object, None);
    }
    Ok(())
}

#[test]
fn objects_of_steps_come_with_their_outcome() -> Result<()> {
    let mut place = Place::new()?;
    let write = |bucket: &str| json!({"bucket": bucket, "write": true});
    let grants = json!({"buckets": [write("data"), write("out")]});
    place
        .house
        .api
        .upload_granted("blobs", &guests::program("blobs")?, &grants)?;
    place.house.api.publish("blobs", &one_state("blobs", ""))?;
    let run = |place: &Place, bucket: &str, step: Value| -> Result<()> {
        let input = json!({"bucket": bucket, "do": [step]});
        let shown = place.house.api.run("blobs", &input.to_string())?;
        ensure!(shown["status"] == "SUCCEEDED", "{input}: {shown}");
        Ok(())
    };
    for text in ["before", "after"] {
        for (bucket, key) in [("data", "one"), ("data", "a/b/two"), ("out", "c/d/three")] {
            run(&place, bucket, json!({"put": [key, text]}))?;
            place.cut()?;
            place.holds(&format!("{bucket}/objects/{key}"), Some(text));
        }
    }
    for (bucket, key) in [("data", "one"), ("data", "a/b/two"), ("out", "c/d/three")] {
        run(&place, bucket, json!({"delete": key}))?;
        place.cut()?;
        place.holds(&format!("{bucket}/objects/{key}"), None);
    }
    Ok(())
}

#[test]
fn results_of_a_map_keep_their_names() -> Result<()> {
    let mut place = Place::new()?;
    place.house.api.publish("results", RESULTS)?;
    for bucket in ["data", "out"] {
        let input = json!({"items": [1, 2, 3], "bucket": bucket});
        let shown = place.house.api.run("results", &input.to_string())?;
        let key = shown["output"]["ResultWriterDetails"]["Key"].as_str();
        let key = key.with_context(|| format!("{shown}"))?.to_owned();
        place.cut()?;
        let objects = format!("/v1/buckets/{bucket}/objects");
        let manifest = place.house.api.get(&format!("{objects}/{key}"))?;
        ensure!(manifest.status == 200, "{bucket}: {manifest:?}");
        let file = manifest.body["ResultFiles"]["SUCCEEDED"][0]["Key"].as_str();
        let file = file.with_context(|| format!("{manifest:?}"))?;
        let records = place.house.api.get(&format!("{objects}/{file}"))?;
        ensure!(
            records.body.as_array().map(Vec::len) == Some(3),
            "{bucket}: {records:?}"
        );
    }
    ensure!(place.granted.join("a/b").is_dir());
    Ok(())
}

#[test]
fn modules_secrets_and_the_servers_own_name_stay() -> Result<()> {
    let mut place = Place::new()?;
    let name = || std::fs::read_to_string(place.house.server.data().join("instance"));
    let own = name()?;
    place
        .house
        .api
        .one_step("echo", &guests::program("echo")?)?;
    place.cut()?;
    ensure!(
        std::fs::read_to_string(place.house.server.data().join("instance"))? == own,
        "another server"
    );
    let shown = place.house.api.run("echo", r#"{"a": 1}"#)?;
    ensure!(shown["status"] == "SUCCEEDED", "{shown}");

    let grants = json!({"secrets": ["token"]});
    place
        .house
        .api
        .upload_granted("secrets", &guests::program("secrets")?, &grants)?;
    place
        .house
        .api
        .publish("secrets", &one_state("secrets", ""))?;
    let set = place.house.api.send("PUT", "/v1/secrets/token", "first")?;
    ensure!(set.status == 200, "{set:?}");
    place.cut()?;
    let readable = |place: &Place| -> Result<()> {
        let shown = place.house.api.run("secrets", r#"{"read": ["token"]}"#)?;
        ensure!(shown["status"] == "SUCCEEDED", "{shown}");
        Ok(())
    };
    readable(&place)?;
    // The key's file is replaced, and the secret sealed anew.
    let rotated = place.house.api.send("POST", "/v1/secret-key/rotate", "")?;
    ensure!(rotated.status == 200, "{rotated:?}");
    place.cut()?;
    readable(&place)
}
