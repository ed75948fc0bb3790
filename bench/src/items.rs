//! Distributed Maps from 1,000 to 100,000 items, of express ones to a million: time and
//! processor time an item, and the server's memory.
//!
//! A fresh server for each, so that a curve that bends is the Map's and not a store's that
//! earlier ones have filled. Refuses to count a Map that failed.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::Scale;
use crate::measure::real;
use crate::report::Report;
use crate::server::{Server, folder};

/// Measures and reports.
pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    report.section("items", "distributed Maps over a file, results in a bucket");
    for (kind, most) in [("EXPRESS", scale.items * 10), ("STANDARD", scale.items)] {
        for items in [1_000, 10_000, 100_000, 1_000_000] {
            if items <= most {
                one(kind, items, report)?;
            }
        }
    }
    Ok(())
}

fn one(kind: &str, items: u64, report: &mut Report) -> Result<()> {
    let dir = folder()?;
    let server = Server::fresh(dir.path())?;
    let lines: String = (0..items).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    server.call(
        "PUT",
        "/v1/buckets/bench/objects/in.jsonl",
        lines.into_bytes(),
    )?;
    server.publish("each", &flow(kind))?;
    let before = server.rss_bytes()?;
    let (cpu, began) = (server.cpu_s()?, Instant::now());
    let started = server.call("POST", "/v1/flows/each/executions", b"{}".to_vec())?;
    let started: Value = serde_json::from_str(&started)?;
    let path = format!(
        "/v1/executions/{}?wait=20",
        started["id"].as_str().unwrap_or_default()
    );
    let ended = loop {
        let shown: Value = serde_json::from_str(&server.get(&path)?)?;
        if shown["status"] != "RUNNING" {
            break shown;
        }
    };
    let most = server.peak_bytes()?;
    ensure!(ended["status"] == "SUCCEEDED", "{ended}");
    let (took, cpu) = (began.elapsed().as_secs_f64(), server.cpu_s()? - cpu);
    let (each, each_cpu) = (took * 1e6 / real(items), cpu * 1e6 / real(items));
    let cores = cpu / took;
    let (before, most) = (before >> 20, most >> 20);
    let kind = kind.to_lowercase();
    report.add(
        &format!("{kind}_{items}_us"),
        each,
        &format!(
            "{items:>7} items, {kind} children: {each:.0} us an item, {each_cpu:.0} us of processor time on {cores:.1} cores; memory {before} MiB before, {most} MiB at most"
        ),
    );
    report.keep(&format!("{kind}_{items}_cpu_us"), each_cpu);
    report.keep(&format!("{kind}_{items}_peak_mib"), real(most));
    server.stop()
}

/// A step for each line of the file.
fn flow(kind: &str) -> Value {
    json!({"StartAt": "M", "States": {"M": {
        "Type": "Map", "End": true,
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSONL"},
            "Parameters": {"Bucket": "bench", "Key": "in.jsonl"}
        },
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": kind},
            "StartAt": "T",
            "States": {"T": {"Type": "Task", "Resource": "wasm:json", "End": true}}
        },
        "ResultWriter": {
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": {"Bucket": "bench", "Prefix": "out"}
        }
    }}})
}
