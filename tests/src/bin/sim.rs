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
    match asked(std::env::args().skip(1)) {
        Ok(Asked {
            one: Some(seed), ..
        }) => one(seed),
        Ok(asked) => many(&asked),
        Err(why) => {
            eprintln!(
                "sim: {why}\nusage: sim [--seeds N] [--from S] [--jobs J] [--first] | --seed S | --cases"
            );
            ExitCode::from(2)
        }
    }
}

/// What the command line asks for.
struct Asked {
    one: Option<u64>,
    from: u64,
    seeds: u64,
    jobs: usize,
    failures_max: usize,
}

/// A word that is not known, or no number where one belongs, is refused: a run of other
/// seeds than those that were meant would say nothing of it.
fn asked(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut asked = Asked {
        one: None,
        from: 0,
        seeds: 1000,
        jobs: cores,
        failures_max: FAILURES_MAX,
    };
    while let Some(word) = words.next() {
        let mut number = || {
            let given = words.next().unwrap_or_default();
            let number = given.parse::<u64>();
            number.map_err(|_| format!("{word} takes a number, not {given:?}"))
        };
        match word.as_str() {
            "--seed" => asked.one = Some(number()?),
            "--from" => asked.from = number()?,
            "--seeds" => asked.seeds = number()?,
            "--jobs" => asked.jobs = usize::try_from(number()?).unwrap_or(256).clamp(1, 256),
            "--cases" => asked.seeds = 0,
            "--first" => asked.failures_max = 1,
            other => return Err(format!("there is no {other}")),
        }
    }
    Ok(asked)
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

fn many(asked: &Asked) -> ExitCode {
    let &Asked {
        from,
        seeds,
        jobs,
        failures_max,
        ..
    } = asked;
    let next = AtomicU64::new(from);
    let enough = AtomicBool::new(false);
    let tally = Mutex::new(sim::Tally::default());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from.saturating_add(seeds) {
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
    let tried = next.into_inner().min(from.saturating_add(seeds)) - from;
    println!(
        "{} executions, {} commits, {} failed commits, {} crashes, {} outside calls, {} token answers, {} cancels, {} redrives, {} clock steps, {} steps that killed the process, {} children, {} parcels, {} delivered twice, {} signals of clients, {} turns walked elsewhere, {} executions on which the interpreter panicked, {} express executions answered, {} steps ran again for a conflict",
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
        tally.signals,
        tally.turns,
        tally.panics,
        tally.express,
        tally.conflicts
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
