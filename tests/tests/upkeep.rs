//! Publishing, uploading and deleting beside one another, on a real server: one of two wins, and
//! what was deleted stays so.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock; the rule is for the runtime"
)]

#[path = "../../runtime/sandbox/tests/all/wat_guest.rs"]
#[allow(dead_code, reason = "the sandbox's tests use the rest")]
mod wat_guest;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Body;
use stepwell_tests::api::{Answer, Api};
use stepwell_tests::house::House;

const SLEEP: &str = "StartAt: W\nStates: {W: {Type: Wait, Seconds: 600, End: true}}";
const STEP: &str = "StartAt: S\nStates: {S: {Type: Task, Resource: \"wasm:m\", End: true}}";

/// What stands in the folder of modules: digests.
fn kept(house: &House) -> Result<BTreeSet<String>> {
    let mut kept = BTreeSet::new();
    for entry in std::fs::read_dir(house.dir.path().join("data/modules"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with("tmp-") {
            kept.extend(name.split('.').next().map(str::to_owned));
        }
    }
    Ok(kept)
}

/// Two requests at the same moment.
fn both(
    house: &House,
    first: impl Fn(&Api) -> Result<Answer> + Send + Sync,
    second: impl Fn(&Api) -> Result<Answer>,
) -> Result<(Answer, Answer)> {
    let start = Barrier::new(2);
    let url = house.server.url();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let api = Api::new(&url)?;
            start.wait();
            first(&api)
        });
        start.wait();
        let second = second(&house.api);
        let first = other.join().map_err(|_| anyhow::anyhow!("it panicked"))??;
        Ok((first, second?))
    })
}

fn delete(api: &Api, path: &str) -> Result<Answer> {
    api.send("DELETE", path, Body::default())
}

/// A component of its own digest.
fn component(number: usize) -> Vec<u8> {
    let data = format!(
        r#"(memory (export "memory") 2) (data (i32.const 8) "{number}") {}"#,
        wat_guest::echo()
    );
    wat_guest::compile(&wat_guest::step("", "", &data))
}

#[test]
fn a_flow_is_deleted_or_started_not_both() -> Result<()> {
    let place = House::new("")?;
    let (mut started, mut deleted) = (0, 0);
    for round in 0..60 {
        let flow = format!("f{round}");
        place.api.publish(&flow, SLEEP)?;
        let path = format!("/v1/flows/{flow}");
        let (start, gone) = both(
            &place,
            |api| api.send("POST", &format!("{path}/executions"), "{}"),
            |api| delete(api, &path),
        )?;
        let begun = start.status < 300;
        ensure!(begun || matches!(start.status, 404 | 429), "{start:?}");
        ensure!(matches!(gone.status, 204 | 409), "{gone:?}");
        ensure!(
            begun != (gone.status == 204),
            "round {round}: {start:?} and {gone:?}"
        );
        started += usize::from(begun);
        deleted += usize::from(!begun);
    }
    println!("{started} started, {deleted} deleted");
    Ok(())
}

#[test]
fn an_execution_is_redriven_or_its_flow_deleted_not_both() -> Result<()> {
    let place = House::new("")?;
    for round in 0..40 {
        let flow = format!("f{round}");
        place.api.publish(&flow, SLEEP)?;
        let id = place.api.start(&flow, "{}")?;
        let cancelled = place
            .api
            .send("POST", &format!("/v1/executions/{id}/cancel"), "{}")?;
        ensure!(cancelled.status < 300, "{cancelled:?}");
        let (redriven, gone) = both(
            &place,
            |api| api.send("POST", &format!("/v1/executions/{id}/redrive"), "{}"),
            |api| delete(api, &format!("/v1/flows/{flow}")),
        )?;
        ensure!(
            (redriven.status < 300) != (gone.status == 204),
            "round {round}: {redriven:?} and {gone:?}"
        );
    }
    Ok(())
}

#[test]
fn an_upload_that_was_answered_has_its_bytes_beside_a_delete_of_the_same() -> Result<()> {
    let place = House::new("")?;
    let bytes = component(0);
    for round in 0..6 {
        let first = place.api.send("PUT", "/v1/modules/a", bytes.clone())?;
        ensure!(first.status < 300, "{first:?}");
        let (put, gone) = both(
            &place,
            |api| api.send("PUT", "/v1/modules/m", bytes.clone()),
            |api| delete(api, "/v1/modules/a"),
        )?;
        ensure!(put.status < 300 && gone.status == 204, "{put:?} {gone:?}");
        place
            .api
            .publish("f", STEP)
            .with_context(|| format!("round {round}"))?;
        ensure!(kept(&place)?.len() == 1, "{:?}", kept(&place)?);
        for path in ["/v1/flows/f", "/v1/modules/m"] {
            let gone = delete(&place.api, path)?;
            ensure!(gone.status == 204, "{gone:?}");
        }
        ensure!(
            kept(&place)?.is_empty(),
            "round {round}: {:?}",
            kept(&place)?
        );
    }
    Ok(())
}

#[test]
fn deleted_versions_stay_deleted_when_the_name_is_published_again() -> Result<()> {
    let mut place = House::new("")?;
    let put = place.api.send("PUT", "/v1/modules/m", component(0))?;
    ensure!(put.status == 201, "{put:?}");
    place.api.publish("f", STEP)?;
    let id = place.api.start("f", "1")?;
    ensure!(place.api.ended(&id)?["status"] == "SUCCEEDED");
    for path in ["/v1/flows/f", "/v1/modules/m"] {
        let gone = delete(&place.api, path)?;
        ensure!(gone.status == 204, "{path}: {gone:?}");
    }
    let put = place.api.send("PUT", "/v1/modules/m", component(1))?;
    ensure!(put.status == 201, "{put:?}");
    // The same text again is a new version.
    place.api.publish("f", STEP)?;
    for restarted in [false, true] {
        if restarted {
            place.server.again()?;
        }
        let versions = place.api.get("/v1/flows/f/versions")?.body;
        let versions = versions["flows"]
            .as_array()
            .or(versions["versions"].as_array());
        let versions = versions.context("versions")?;
        ensure!(versions.len() == 1, "{versions:?}");
        ensure!(versions[0]["version"] == 2, "{versions:?}");
        let old = place
            .api
            .send("POST", "/v1/flows/f/executions?version=1", "1")?;
        ensure!(
            old.status == 404 && old.body["code"] == "RUN0002",
            "{old:?}"
        );
        let used = place.api.get("/v1/modules/m")?.body["used_by"].clone();
        ensure!(used == serde_json::json!(["f@2"]), "{used}");
        ensure!(place.api.run("f", "2")?["status"] == "SUCCEEDED");
        // What ended is told of all the same.
        let history = place.api.get(&format!("/v1/executions/{id}/history"))?;
        ensure!(history.status == 200, "{history:?}");
    }
    Ok(())
}

#[test]
fn an_upload_whose_client_goes_away_leaves_no_bytes_without_a_name() -> Result<()> {
    let mut place = House::new("")?;
    let address = place.server.url().replace("http://", "");
    for number in 0..6 {
        let bytes = component(100 + number);
        let mut stream = TcpStream::connect(&address)?;
        write!(
            stream,
            "PUT /v1/modules/gone{number} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n",
            bytes.len()
        )?;
        stream.write_all(&bytes)?;
        // It compiles now.
        std::thread::sleep(Duration::from_millis(30 * number as u64));
        drop(stream);
    }
    let named = |place: &House| -> Result<BTreeSet<String>> {
        let listed = place.api.get("/v1/modules?limit=100")?.body;
        let listed = listed["modules"].as_array().cloned().unwrap_or_default();
        let digests = listed.iter().filter_map(|m| m["digest"].as_str());
        Ok(digests.map(str::to_owned).collect())
    };
    let begun = Instant::now();
    loop {
        // Whatever came whole has its name when it is done.
        std::thread::sleep(Duration::from_millis(200));
        let (named, kept) = (named(&place)?, kept(&place)?);
        if !named.is_empty() && named == kept {
            break;
        }
        ensure!(begun.elapsed().as_secs() < 60, "{named:?} {kept:?}");
    }
    // What a process that died left goes at the next start.
    let folder = place.dir.path().join("data/modules");
    let orphan = "ab".repeat(32);
    for end in ["wasm", "json", "0.cwasm"] {
        std::fs::write(folder.join(format!("{orphan}.{end}")), "left")?;
    }
    place.server.again()?;
    ensure!(named(&place)? == kept(&place)?, "{:?}", kept(&place)?);
    ensure!(!kept(&place)?.contains(&orphan));
    Ok(())
}

#[test]
fn answers_that_nobody_reads_are_bounded_together() -> Result<()> {
    let place = House::new("")?;
    place
        .api
        .publish("p", "StartAt: P\nStates: {P: {Type: Pass, End: true}}")?;
    let input = format!("\"{}\"", "x".repeat(24 << 20));
    let id = place.api.start("p", input)?;
    place.api.ended(&id)?;
    let address = place.server.url().replace("http://", "");
    let mut silent = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(&address)?;
        write!(
            stream,
            "GET /v1/executions/{id} HTTP/1.1\r\nhost: {address}\r\n\r\n"
        )?;
        silent.push(stream);
    }
    // Each would take 48 MiB. Those that found no room were told so.
    let mut refused = 0;
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        refused += usize::from(&head == b"HTTP/1.1 503");
    }
    ensure!(refused >= 10, "{refused} of 16 were refused");
    ensure!(refused < 16, "one has room");
    drop(silent);
    Ok(())
}
