//! The suite `crash`: a real server, killed under load.
//!
//! `STEPWELL_KILLS` says how often (10 unless told otherwise), `STEPWELL_SEED` repeats the
//! cases of a run. Refuses to pass a run in which nothing happened.
#![allow(
    clippy::disallowed_methods,
    reason = "the command line of `cargo xtask test` arrives in the environment; an unseeded run draws from the clock"
)]

use std::time::{SystemTime, UNIX_EPOCH};

use stepwell_tests::crash::report::Rule;
use stepwell_tests::crash::{Death, Run, run};

/// Kills when nobody says how many.
const KILLS: u32 = 10;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

fn kills() -> u32 {
    number("STEPWELL_KILLS").map_or(KILLS, |kills| u32::try_from(kills).expect("not that many"))
}

fn seed() -> u64 {
    let clock = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs())
    };
    number("STEPWELL_SEED").unwrap_or_else(clock)
}

/// Runs it and wants every rule to hold, and every kind of thing to have happened.
#[track_caller]
fn check(death: Death, deaths: u32) {
    let load = run(&Run {
        seed: seed(),
        deaths,
        death,
        sync: true,
    })
    .expect("the run");
    assert!(
        load.report.clean(),
        "rules were broken:\n{}",
        load.report.text()
    );
    for figure in [
        "executions",
        "events seen",
        "tokens handed out",
        "answers acknowledged",
        "calls",
        "children",
        "steps that counted",
        "calls with a secret",
        "calls by the narrow door",
        "calls by the slow door",
    ] {
        assert!(load.report.figure(figure) > 0, "no {figure} in this run");
    }
    assert_eq!(load.report.figure("deaths"), u64::from(deaths));
}

#[test]
fn kills_lose_nothing() {
    check(Death::Kill, kills());
}

#[test]
fn power_cuts_lose_nothing() {
    check(Death::PowerCut, (kills() / 3).max(3));
}

#[test]
fn without_the_sync_a_power_cut_is_seen_to_lose_accepted_executions() {
    let faulty = Run {
        seed: seed(),
        deaths: 2,
        death: Death::PowerCut,
        sync: false,
    };
    let load = run(&faulty).expect("the run");
    let lost = load.report.figure("accepted executions lost");
    assert!(lost > 0, "the checker saw no loss:\n{}", load.report.text());
    assert!(load.report.broken(Rule::Accepted) > 0);
}

#[test]
fn graceful_stops_lose_nothing() {
    check(Death::Stop, (kills() / 5).clamp(3, 20));
}
