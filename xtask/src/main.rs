//! `cargo xtask`: builds, checks, tests and demonstrates the project.
//!
//! Reads the command line and hands over. Refuses to know how anything is done.

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  setup                         install what is missing (says so first)
  guests                        build every Wasm guest: examples, test programs, SDK
  demo [--exit] [--port N]      build, serve, upload, publish, trigger, and stay up
  test [SUITE] [--kills N]      all suites, or one of unit, conformance, e2e, examples, bridges, crash, sim
  test vm                       the bridge to machines on a real VM under emulation: takes minutes, so in no run of all
  tidy                          the house rules that a program can check
  sim --seeds N [--seed N]      the orchestrator under simulated faults
  planted [NAME...] [--seeds N] bugs planted in a copy: the simulator must see each
  fuzz [TARGET...] [--seconds N]  every reader of foreign bytes, by coverage (60 s each)
  bench [ARG...]                the benchmarks
  help                          this text
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", [].as_slice()),
    };
    let done = match command {
        "setup" => xtask::setup::run(),
        "guests" => xtask::guests::run(),
        "demo" => xtask::demo::run(rest),
        "test" => xtask::test::run(rest),
        "sim" => xtask::test::sim(rest),
        "planted" => xtask::planted::run(rest),
        "fuzz" => xtask::fuzz::run(rest),
        "bench" => xtask::test::bench(rest),
        "tidy" => xtask::tidy::run(),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(anyhow::anyhow!("no command `{other}`\n\n{HELP}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
