//! Executions that sleep for a day: the memory that they hold, and a restart among them.
//!
//! The restart follows a kill, not a farewell. Refuses to count what is gone: the
//! number of open executions is asked before and after.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::Scale;
use crate::durable;
use crate::load::{self, Load, Until};
use crate::measure::real;
use crate::report::Report;
use crate::server::{Server, folder};

/// Measures and reports.
pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    let count = scale.asleep;
    report.section(
        "asleep",
        &format!("(d) {count} executions asleep for a day"),
    );
    let dir = folder()?;
    let server = Server::fresh(dir.path())?;
    server.publish(
        "day",
        &json!({"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 86_400, "End": true}}}),
    )?;
    let empty = server.rss_bytes()?;
    let started = load::run(&Load {
        path: "/v1/flows/day/executions".into(),
        expect: "\"id\"",
        ..durable::waiting(&server, "day", 64, Until::Done(count))
    })?;
    report.add(
        "starts_s",
        started.rate(),
        &format!(
            "asynchronous starts, 64 clients: {:.0}/s ({} asked to come back)",
            started.rate(),
            started.refused
        ),
    );
    settle(&server, started.done)?;
    let full = server.rss_bytes()?;
    let mib = |bytes: u64| real(bytes) / real(1 << 20);
    report.add(
        "rss_empty_mib",
        mib(empty),
        &format!(
            "resident memory: {:.0} MiB before the first start",
            mib(empty)
        ),
    );
    report.add(
        "rss_asleep_mib",
        mib(full),
        &format!("resident memory: {:.0} MiB with all asleep", mib(full)),
    );
    server.kill()?;

    let again = Server::start(dir.path())?;
    settle(&again, started.done)?;
    let rss = again.rss_bytes()?;
    let ready = again.ready.as_secs_f64();
    report.add(
        "restart_s",
        ready,
        &format!("restart after a kill: ready in {ready:.2} s"),
    );
    report.add(
        "rss_restarted_mib",
        mib(rss),
        &format!("resident memory: {:.0} MiB after the restart", mib(rss)),
    );
    let each = real(rss.saturating_sub(empty)) / real(started.done);
    report.add(
        "bytes_each",
        each,
        &format!("that is {each:.0} bytes for each that sleeps, all caches included"),
    );
    let sample = started
        .samples
        .first()
        .map(|answer| durable::id(answer))
        .transpose()?;
    if let Some(id) = sample {
        let shown = again.get(&format!("/v1/executions/{id}"))?;
        ensure!(
            shown.contains("\"RUNNING\""),
            "a sleeper doesn't sleep: {shown}"
        );
    }
    again.stop()
}

/// Waits until all are accepted and none is worked on.
fn settle(server: &Server, count: u64) -> Result<()> {
    let began = Instant::now();
    loop {
        let open = server.metric("stepwell_executions_open")?;
        let hot = server.metric("stepwell_executions_hot")?;
        ensure!(
            open <= real(count),
            "{open} executions are open, only {count} were started"
        );
        if open >= real(count) && hot < 1.0 {
            return Ok(());
        }
        ensure!(
            began.elapsed() < Duration::from_secs(60),
            "{open} of {count} executions are open, {hot} in memory"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
