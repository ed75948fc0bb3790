//! A small flow beside a large Map of another flow: who shares, and how well.
//!
//! Rounds alone and beside are interleaved. Refuses a Map that ended early: only
//! answers from the time of the Map count.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::Scale;
use crate::durable::{self, waiting};
use crate::load::{self, Until};
use crate::measure::{median, percentile, real};
use crate::report::Report;
use crate::server::{Server, folder};

/// Measures and reports.
pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    let items = scale.items;
    report.section(
        "fair",
        &format!("(e) one client of a flow of ten steps, beside a Map of {items} items"),
    );
    let dir = folder()?;
    let server = Server::fresh(dir.path())?;
    server.publish("ten", &durable::ten())?;
    server.publish("wide", &wide())?;
    let input = json!({"items": (0..items).collect::<Vec<_>>()}).to_string();
    let window = Duration::from_secs_f64(scale.window_s);
    let rounds = scale.rounds.min(3);
    let mut alone = (Vec::new(), Vec::new());
    let mut beside = (Vec::new(), Vec::new());
    let mut map_s = Vec::new();
    load::run(&waiting(&server, "ten", 1, Until::Elapsed(window / 4)))?;
    for _ in 0..rounds {
        let quiet = load::run(&waiting(&server, "ten", 1, Until::Elapsed(window)))?;
        alone.0.push(quiet.ms(0.5));
        alone.1.push(quiet.ms(0.99));
        let (latencies, seconds) = beside_a_map(&server, &input, items)?;
        beside.0.push(percentile(&latencies, 0.5) / 1_000.0);
        beside.1.push(percentile(&latencies, 0.99) / 1_000.0);
        map_s.push(seconds);
    }
    let seconds = median(&map_s);
    report.add(
        "map_s",
        seconds,
        &format!(
            "the Map took {seconds:.1} s: {:.0} items/s, each a step",
            real(items) / seconds
        ),
    );
    let shown = [("alone", &alone), ("beside", &beside)];
    for (key, (p50, p99)) in shown {
        let (p50, p99) = (median(p50), median(p99));
        report.add(
            &format!("{key}_p50_ms"),
            p50,
            &format!("{key}: p50 {p50:.2} ms, p99 {p99:.2} ms"),
        );
        report.keep(&format!("{key}_p99_ms"), p99);
    }
    let ratio = median(&beside.1) / median(&alone.1).max(1e-9);
    report.add(
        "p99_ratio",
        ratio,
        &format!("p99 beside the Map: {ratio:.1} times that alone (goal: at most 5)"),
    );
    server.stop()
}

fn wide() -> Value {
    json!({"StartAt": "M", "States": {"M": {
        "Type": "Map", "ItemsPath": "$.items", "ResultPath": null, "End": true,
        "ItemProcessor": {"StartAt": "T", "States": {
            "T": {"Type": "Task", "Resource": "wasm:json", "End": true}}}}}})
}

/// Loads the small flow in short windows until the Map has ended.
fn beside_a_map(server: &Server, input: &str, items: u64) -> Result<(Vec<u32>, f64)> {
    let began = Instant::now();
    let answer = server.call("POST", "/v1/flows/wide/executions", input.into())?;
    let path = format!("/v1/executions/{}", durable::id(&answer)?);
    let mut latencies = Vec::new();
    loop {
        let part = load::run(&waiting(
            server,
            "ten",
            1,
            Until::Elapsed(Duration::from_millis(300)),
        ))?;
        let shown: Value = serde_json::from_str(&server.get(&path)?)?;
        match shown["status"].as_str() {
            Some("RUNNING") => latencies.extend(part.latencies_us),
            Some("SUCCEEDED") => {
                // A Map of few items may end within the first window.
                if latencies.is_empty() {
                    latencies.extend(part.latencies_us);
                }
                break;
            }
            _ => anyhow::bail!("the Map ended badly: {shown}"),
        }
        ensure!(
            began.elapsed() < Duration::from_secs(150),
            "the Map of {items} items doesn't end"
        );
    }
    latencies.sort_unstable();
    Ok((latencies, began.elapsed().as_secs_f64()))
}
