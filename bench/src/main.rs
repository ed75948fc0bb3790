//! The benchmarks: what a step, a durable flow and a full store cost, as ratios.
//!
//! Every figure comes from this run, on this machine; nothing is compared with a
//! stored number, because machines drift. Rounds of what is compared are
//! interleaved, and medians are printed. Refuses to measure anything but the
//! program that users run: a real `stepwell serve` over a real directory.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads clocks and stands outside the house"
)]

mod asleep;
mod bare;
mod durable;
mod evaluate;
mod express;
mod fair;
mod growth;
mod guest_http;
mod items;
mod linear;
mod load;
mod measure;
mod report;
mod server;
mod step;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::report::Report;

/// The allocator of the program that users run.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Which benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// One step through the sandbox, beside a bare wasmtime loop.
    Step,
    /// A flow of ten steps over HTTP, and its commits.
    Durable,
    /// Express executions beside standard ones.
    Express,
    /// Memory and restart with many executions asleep.
    Asleep,
    /// A small flow beside a large Map.
    Fair,
    /// Bytes per execution, and starts beside a full store.
    Growth,
    /// Distributed Maps, by the number of items.
    Items,
    /// One state's evaluation in both query languages.
    Evaluate,
    /// Cost by the number of states and items, and by the bytes of the payload.
    Linear,
    /// Guests' HTTP calls, beside the same client without the bridge.
    GuestHttp,
}

/// Measures Stepwell on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// Only these; all when absent.
    names: Vec<Name>,
    /// A tenth of the work, for a first look.
    #[arg(long)]
    quick: bool,
    /// Where the figures go as JSON; `bench.json` in the target directory when absent.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Rounds of what is compared.
    rounds: usize,
    /// Seconds of one window.
    window_s: f64,
    /// Executions asleep.
    asleep: u64,
    /// Items of the large Map.
    items: u64,
    /// Finished executions in the full store.
    finished: u64,
}

fn main() -> ExitCode {
    let mut own = std::env::args_os().skip(1);
    if own.next().is_some_and(|first| first == "compile-module") {
        // The sandbox starts this program as its compiler.
        return stepwell_sandbox::compile_main(own);
    }
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let scale = if arguments.quick {
        Scale {
            rounds: 3,
            window_s: 1.0,
            asleep: 10_000,
            items: 10_000,
            finished: 20_000,
        }
    } else {
        Scale {
            rounds: 5,
            window_s: 2.0,
            asleep: 100_000,
            items: 100_000,
            finished: 200_000,
        }
    };
    let wanted = |name| arguments.names.is_empty() || arguments.names.contains(&name);
    let mut report = Report::new(arguments.quick);
    if wanted(Name::Step) {
        step::measure(&scale, &mut report)?;
    }
    if wanted(Name::Durable) {
        durable::measure(&scale, &mut report)?;
    }
    if wanted(Name::Express) {
        express::measure(&scale, &mut report)?;
    }
    if wanted(Name::Asleep) {
        asleep::measure(&scale, &mut report)?;
    }
    if wanted(Name::Fair) {
        fair::measure(&scale, &mut report)?;
    }
    if wanted(Name::Growth) {
        growth::measure(&scale, &mut report)?;
    }
    if wanted(Name::Items) {
        items::measure(&scale, &mut report)?;
    }
    if wanted(Name::Evaluate) {
        evaluate::measure(&scale, &mut report)?;
    }
    if wanted(Name::Linear) {
        linear::measure(&scale, &mut report)?;
    }
    if wanted(Name::GuestHttp) {
        guest_http::measure(&scale, &mut report)?;
    }
    let file = match &arguments.json {
        Some(file) => file.clone(),
        None => xtask::place::target().join("bench.json"),
    };
    report.write(&file)
}

/// This program as the sandbox's compiler.
fn compiler() -> anyhow::Result<Vec<OsString>> {
    Ok(vec![
        std::env::current_exe()?.into(),
        "compile-module".into(),
    ])
}
