//! Express executions beside standard ones: the same flow of ten steps and the same flow
//! without a step, start and wait, in interleaved rounds on one server.
//!
//! Refuses to count what failed: every answer is a success.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::Scale;
use crate::durable::{ten, waiting};
use crate::load::{self, Outcome, Until};
use crate::measure::{median, real};
use crate::report::Report;
use crate::server::{Server, folder};

const WAYS: [&str; 2] = ["standard", "express"];

/// Measures and reports.
pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    report.section(
        "express",
        "express executions beside standard ones, start and wait, over HTTP",
    );
    let dir = folder()?;
    let server = Server::fresh(dir.path())?;
    let pass = json!({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}});
    for way in WAYS {
        server.publish(&format!("ten-{way}?type={way}"), &ten())?;
        server.publish(&format!("pass-{way}?type={way}"), &pass)?;
    }
    let window = Duration::from_secs_f64(scale.window_s / 2.0);
    for (flow, what) in [("ten", "ten steps"), ("pass", "one Pass state")] {
        for clients in [1, 64] {
            let mut rounds = [const { Vec::new() }; 2];
            for _ in 0..scale.rounds {
                for (way, outcomes) in WAYS.iter().zip(&mut rounds) {
                    let load = waiting(
                        &server,
                        &format!("{flow}-{way}"),
                        clients,
                        Until::Elapsed(window),
                    );
                    let commits = server.metric(COMMITS)?;
                    let outcome = load::run(&load)?;
                    let commits = server.metric(COMMITS)? - commits;
                    outcomes.push((commits / real(outcome.done.max(1)), outcome));
                }
            }
            tell(flow, what, clients, &rounds, report);
        }
    }
    let listed = server.get("/v1/executions?flow=ten-express&limit=1")?;
    ensure!(
        listed.contains("\"executions\":[]"),
        "an express execution was stored: {listed}"
    );
    server.stop()
}

const COMMITS: &str = "stepwell_store_commits_total";

fn tell(
    flow: &str,
    what: &str,
    clients: usize,
    rounds: &[Vec<(f64, Outcome)>; 2],
    report: &mut Report,
) {
    let of = |rounds: &[(f64, Outcome)], figure: &dyn Fn(&(f64, Outcome)) -> f64| {
        median(&rounds.iter().map(figure).collect::<Vec<_>>())
    };
    for (way, rounds) in WAYS.iter().zip(rounds) {
        let key = format!("{flow}_{way}_{clients}");
        let rate = of(rounds, &|(_, o)| o.rate());
        let p50 = of(rounds, &|(_, o)| o.ms(0.5));
        let p99 = of(rounds, &|(_, o)| o.ms(0.99));
        let commits = of(rounds, &|(commits, _)| *commits);
        report.add(
            &format!("{key}_starts_s"),
            rate,
            &format!(
                "{what}, {clients} client(s), {way}: {rate:.0} starts/s, p50 {p50:.2} ms, p99 {p99:.2} ms, {commits:.3} commits each"
            ),
        );
        report.keep(&format!("{key}_p50_ms"), p50);
        report.keep(&format!("{key}_p99_ms"), p99);
        report.keep(&format!("{key}_commits"), commits);
    }
}
