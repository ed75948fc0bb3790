//! What an execution leaves on the disk, and whether a full store slows starts.
//!
//! Rounds on the full store and on a fresh empty one are interleaved. Refuses to
//! call a store empty that earlier rounds have filled.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::Scale;
use crate::durable::{self, waiting};
use crate::load::{self, Until};
use crate::measure::{self, median, real};
use crate::report::Report;
use crate::server::{Server, folder};

/// Measures and reports.
pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    let finished = scale.finished;
    report.section(
        "growth",
        &format!("(f) bytes an execution, and starts beside {finished} finished executions"),
    );
    let dir = folder()?;
    bytes(dir.path(), finished / 10, report)?;
    let server = Server::start(dir.path())?;
    server.publish("pass", &pass())?;

    let filled = load::run(&waiting(&server, "pass", 64, Until::Done(finished)))?;
    report.add(
        "fill_s",
        filled.seconds,
        &format!(
            "{} flows of one Pass state ran in {:.0} s",
            filled.done, filled.seconds
        ),
    );
    let window = Duration::from_secs_f64(scale.window_s);
    let (mut fresh, mut full) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let empty_dir = folder()?;
        let empty = Server::fresh(empty_dir.path())?;
        empty.publish("pass", &pass())?;
        fresh.push(starts(&empty, window)?);
        empty.kill()?;
        full.push(starts(&server, window)?);
    }
    tell(&fresh, &full, report);
    server.stop()
}

/// Starts a second, and the server's processor time for each in microseconds.
fn starts(server: &Server, window: Duration) -> Result<(f64, f64)> {
    load::run(&waiting(server, "pass", 64, Until::Elapsed(window / 4)))?;
    let cpu = server.cpu_s()?;
    let outcome = load::run(&waiting(server, "pass", 64, Until::Elapsed(window)))?;
    let cpu = server.cpu_s()? - cpu;
    Ok((outcome.rate(), cpu * 1e6 / real(outcome.done.max(1))))
}

fn tell(fresh: &[(f64, f64)], full: &[(f64, f64)], report: &mut Report) {
    for (key, title, rounds) in [("empty", "an empty", fresh), ("full", "the full", full)] {
        let rate = median(&rounds.iter().map(|r| r.0).collect::<Vec<_>>());
        let cpu = median(&rounds.iter().map(|r| r.1).collect::<Vec<_>>());
        let line = format!(
            "start and wait in {title} store: {rate:.0}/s, {cpu:.0} us of the server's processor time each"
        );
        report.add(&format!("{key}_starts_s"), rate, &line);
        report.keep(&format!("{key}_start_us"), cpu);
    }
    let ratio = |figure: &dyn Fn(&(f64, f64)) -> f64| {
        let pairs = fresh.iter().zip(full);
        median(
            &pairs
                .map(|(e, f)| figure(f) / figure(e))
                .collect::<Vec<_>>(),
        )
    };
    let (rate, cpu) = (ratio(&|r| r.0), ratio(&|r| r.1));
    let line = format!(
        "full beside empty: {:.0} % of the rate (goal: it does not fall), {:.0} % of the processor time",
        rate * 100.0,
        cpu * 100.0
    );
    report.add("full_share", rate, &line);
    report.keep("full_cpu_share", cpu);
}

fn pass() -> serde_json::Value {
    json!({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}})
}

/// Bytes that executions of the flow of ten steps hand over, write and leave.
fn bytes(dir: &Path, count: u64, report: &mut Report) -> Result<()> {
    let server = Server::fresh(dir)?;
    server.publish("ten", &durable::ten())?;
    let store = dir.join("store");
    let before = measure::file_bytes(&store)?;
    let counter = "stepwell_store_commit_bytes_total";
    let (handed, written) = (server.metric(counter)?, server.written_bytes()?);
    let done = load::run(&waiting(&server, "ten", 64, Until::Done(count)))?.done;
    let each = |bytes: f64| bytes / real(done);
    let handed = each(server.metric(counter)? - handed);
    let written = each(real(server.written_bytes()?.saturating_sub(written)));
    ensure!(handed > 0.0, "nothing was handed to the store");
    server.stop()?;
    let kept = each(real(measure::file_bytes(&store)?.saturating_sub(before)));
    let line = format!(
        "a flow of ten steps hands {handed:.0} bytes to the store (its input and each output: {} bytes)",
        crate::step::INPUT.len()
    );
    report.add("ten_handed_bytes", handed, &line);
    let line = format!("the process wrote {written:.0} bytes for each to the disk, log and tables");
    report.add("ten_written_bytes", written, &line);
    let line = format!(
        "the files keep {kept:.0} bytes for each after a stop, part of them in the log, not yet packed"
    );
    report.add("ten_kept_bytes", kept, &line);
    Ok(())
}
