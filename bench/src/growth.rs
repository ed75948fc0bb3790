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
    let mut rates = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let empty_dir = folder()?;
        let empty = Server::fresh(empty_dir.path())?;
        empty.publish("pass", &pass())?;
        load::run(&waiting(&empty, "pass", 64, Until::Elapsed(window / 4)))?;
        let fresh = load::run(&waiting(&empty, "pass", 64, Until::Elapsed(window)))?.rate();
        empty.kill()?;
        load::run(&waiting(&server, "pass", 64, Until::Elapsed(window / 4)))?;
        let full = load::run(&waiting(&server, "pass", 64, Until::Elapsed(window)))?.rate();
        rates.0.push(fresh);
        rates.1.push(full);
        rates.2.push(full / fresh);
    }
    let (fresh, full, ratio) = (median(&rates.0), median(&rates.1), median(&rates.2));
    report.add(
        "empty_starts_s",
        fresh,
        &format!("start and wait in an empty store: {fresh:.0}/s"),
    );
    report.add(
        "full_starts_s",
        full,
        &format!("start and wait in the full store:  {full:.0}/s"),
    );
    report.add(
        "full_share",
        ratio,
        &format!(
            "full beside empty: {:.0} % (goal: it does not fall)",
            ratio * 100.0
        ),
    );
    server.stop()
}

fn pass() -> serde_json::Value {
    json!({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}})
}

/// Bytes that executions of the flow of ten steps hand over, write and leave.
fn bytes(dir: &Path, count: u64, report: &mut Report) -> Result<()> {
    let server = Server::fresh(dir)?;
    server.publish("ten", &durable::ten())?;
    let counter = "stepwell_store_commit_bytes_total";
    let (handed, written) = (server.metric(counter)?, server.written_bytes()?);
    let done = load::run(&waiting(&server, "ten", 64, Until::Done(count)))?.done;
    let each = |bytes: f64| bytes / real(done);
    let handed = each(server.metric(counter)? - handed);
    let written = each(real(server.written_bytes()?.saturating_sub(written)));
    ensure!(handed > 0.0, "nothing was handed to the store");
    server.stop()?;
    // A log is allocated ahead, so its size says nothing; a restart turns it into tables.
    Server::start(dir)?.stop()?;
    let kept = each(real(measure::disk_bytes(&dir.join("store"), "sst")?));
    let line = format!(
        "a flow of ten steps hands {handed:.0} bytes to the store (its input and each output: {} bytes)",
        crate::step::INPUT.len()
    );
    report.add("ten_handed_bytes", handed, &line);
    let line = format!("the process wrote {written:.0} bytes for each to the disk, log and tables");
    report.add("ten_written_bytes", written, &line);
    let line = format!("its tables keep {kept:.0} bytes for each");
    report.add("ten_kept_bytes", kept, &line);
    Ok(())
}
