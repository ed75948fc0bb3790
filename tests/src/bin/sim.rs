//! `sim --seeds N [--from S]`: many seeds; `sim --seed S`: one, told in full.

use std::process::ExitCode;

use stepwell_tests::sim;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |flag: &str| {
        let at = arguments.iter().position(|a| a == flag)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    if let Some(seed) = number("--seed") {
        return match sim::run(seed) {
            Ok((tally, trace)) => {
                println!("seed {seed}: fine, trace {trace:016x}, {tally:?}");
                ExitCode::SUCCESS
            }
            Err(why) => {
                println!("seed {seed}: {why}");
                ExitCode::FAILURE
            }
        };
    }
    let (from, seeds) = (
        number("--from").unwrap_or(0),
        number("--seeds").unwrap_or(1000),
    );
    let mut tally = sim::Tally::default();
    let mut failed = 0u64;
    for seed in from..from + seeds {
        // Each seed runs twice now and then: the same seed must give the same trace.
        let outcome = sim::run(seed).and_then(|(t, trace)| {
            if seed % 16 == 0 && sim::run(seed)?.1 != trace {
                return Err("the second run of this seed went another way".to_owned());
            }
            Ok(t)
        });
        match outcome {
            Ok(t) => tally.add(&t),
            Err(why) => {
                failed += 1;
                println!("seed {seed}: {why}\n  replay: cargo xtask sim --seed {seed}");
                if failed >= 5 {
                    break;
                }
            }
        }
    }
    println!(
        "{} executions, {} commits, {} failed commits, {} crashes, {} outside calls, {} token answers, {} cancels, {} redrives, {} clock steps, {} steps that killed the process, {} children, {} parcels, {} delivered twice",
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
        tally.twice
    );
    println!("{} passed, {failed} failed", seeds.saturating_sub(failed));
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
