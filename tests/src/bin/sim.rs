//! `sim --seeds N [--from S] [--jobs J] [--first]`: many seeds, then the recorded cases with
//! a death at every commit, on all cores unless told otherwise; `--first` ends at the first
//! failure. `sim --seed S`: one, told in full. `sim --cases`: the recorded cases alone.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use stepwell_tests::sim;

/// Failures after which a run without `--first` ends.
const FAILURES_MAX: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |flag: &str| {
        let at = arguments.iter().position(|a| a == flag)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    if let Some(seed) = number("--seed") {
        return one(seed);
    }
    let from = number("--from").unwrap_or(0);
    let only_cases = arguments.iter().any(|a| a == "--cases");
    let seeds = number("--seeds").unwrap_or(if only_cases { 0 } else { 1000 });
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = number("--jobs").map_or(cores, |n| usize::try_from(n).unwrap_or(1));
    let first = arguments.iter().any(|a| a == "--first");
    many(
        from,
        seeds,
        jobs.clamp(1, 256),
        if first { 1 } else { FAILURES_MAX },
    )
}

fn one(seed: u64) -> ExitCode {
    match sim::run(seed) {
        Ok((tally, trace)) => {
            println!("seed {seed}: fine, trace {trace:016x}, {tally:?}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("seed {seed}: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Each seed runs twice now and then: the same seed must give the same trace.
fn twice(seed: u64) -> Result<sim::Tally, String> {
    let (tally, trace) = sim::run(seed)?;
    if seed.is_multiple_of(16) && sim::run(seed)?.1 != trace {
        return Err("the second run of this seed went another way".to_owned());
    }
    Ok(tally)
}

fn many(from: u64, seeds: u64, jobs: usize, failures_max: usize) -> ExitCode {
    let next = AtomicU64::new(from);
    let enough = AtomicBool::new(false);
    let tally = Mutex::new(sim::Tally::default());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    match twice(seed) {
                        Ok(t) => {
                            if let Ok(mut sum) = tally.lock() {
                                sum.add(&t);
                            }
                        }
                        Err(why) => {
                            if let Ok(mut list) = failed.lock() {
                                list.push((seed, why));
                                enough.store(list.len() >= failures_max, Ordering::Relaxed);
                            }
                        }
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_default();
    failed.sort();
    for (seed, why) in &failed {
        println!("seed {seed}: {why}\n  replay: cargo xtask sim --seed {seed}");
    }
    let tally = tally.into_inner().unwrap_or_default();
    let tried = next.into_inner().min(from + seeds) - from;
    println!(
        "{} executions, {} commits, {} failed commits, {} crashes, {} outside calls, {} token answers, {} cancels, {} redrives, {} clock steps, {} steps that killed the process, {} children, {} parcels, {} delivered twice, {} turns walked elsewhere, {} executions on which the interpreter panicked, {} express executions answered",
        tally.executions,
        tally.commits,
        tally.failed_commits,
        tally.crashes,
        tally.calls,
        tally.tokens,
        tally.cancels,
        tally.redrives,
        tally.clock_steps,
        tally.poisonings,
        tally.children,
        tally.parcels,
        tally.twice,
        tally.turns,
        tally.panics,
        tally.express
    );
    let mut failures = failed.len();
    let mut passed = tried.saturating_sub(failures as u64);
    if failures < failures_max {
        let (cases, unlike) = sim::recorded::run_all(&stepwell_cases::all(), jobs);
        for (name, why) in &unlike {
            println!("case {name}: {why}");
        }
        println!(
            "{} recorded cases ended as recorded, {} also as express ones, and all in {} runs with a death",
            cases.cases, cases.express, cases.deaths
        );
        passed += cases.cases;
        failures += unlike.len();
    }
    println!("{passed} passed, {failures} failed");
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
