//! `cargo xtask test [SUITE] [--kills N]`: runs the suites and counts.
//!
//! Ends with exactly one line `N passed, N failed`. Refuses to call a suite
//! passed that ran no test.

mod runner;
mod tally;

use anyhow::{Context, Result, bail};

use crate::{demo, guests, place, setup, shell, tidy, vm};
use runner::Choice;
use tally::Tally;

/// The suites in the order in which a run of all takes them.
const SUITES: &[&str] = &[
    "unit",
    "conformance",
    "e2e",
    "examples",
    "bridges",
    "crash",
    "sim",
];
/// Suites that run only when they are named, for the time that they take.
const APART: &[&str] = &["vm"];
/// Seeds of the simulator in a run of all suites; `cargo xtask sim` takes more.
const SIM_SEEDS: &str = "200";

/// Runs one suite or all.
///
/// # Errors
/// A wrong command line, or at least one failure (after the line that counts).
pub fn run(args: &[String]) -> Result<()> {
    let (suites, kills) = parse(args)?;
    let tally = all(&suites, kills).unwrap_or_else(|error| {
        println!("FAILED: {error:#}");
        Tally::failure()
    });
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed > 0 {
        // The counting line is the last one on standard output; so no second
        // text after it, only the status.
        std::process::exit(1);
    }
    Ok(())
}

fn parse(args: &[String]) -> Result<(Vec<&'static str>, Option<u32>)> {
    let mut suites = Vec::new();
    let mut kills = None;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--kills" {
            let count = args.next().context("--kills N: how many?")?;
            kills = Some(count.parse().context("--kills takes a number")?);
        } else if let Some(suite) = SUITES.iter().chain(APART).find(|suite| *suite == arg) {
            suites.push(*suite);
        } else {
            let (all, apart) = (SUITES.join(", "), APART.join(", "));
            bail!("no suite `{arg}`: there are {all}, and apart from them {apart}");
        }
    }
    if suites.is_empty() {
        suites.extend(SUITES);
    }
    Ok((suites, kills))
}

fn all(suites: &[&str], kills: Option<u32>) -> Result<Tally> {
    setup::run()?;
    if suites.contains(&"bridges") {
        setup::bridges()?;
    }
    if suites.contains(&"vm") {
        vm::setup()?;
    }
    guests::run()?;
    println!("test: building");
    shell::run(shell::workspace_cargo().args(["build", "--workspace", "--all-targets"]))?;
    let mut tally = Tally::default();
    for suite in suites {
        println!("\n== suite {suite}");
        let counted = match *suite {
            "unit" => unit(),
            "examples" => examples(),
            "sim" => simulator(&["--seeds".into(), SIM_SEEDS.into()]),
            other => runner::tests(Choice::suite(other), kills),
        };
        let counted = counted.unwrap_or_else(|error| {
            println!("FAILED: {error:#}");
            Tally::failure()
        });
        println!(
            "== {suite}: {} passed, {} failed",
            counted.passed, counted.failed
        );
        tally.add(counted);
    }
    Ok(tally)
}

/// Form, lints, house rules, the tests of every crate, and the guests' own tests
/// on this machine's processor.
fn unit() -> Result<Tally> {
    setup::lints()?;
    let mut tally = Tally::default();
    let mut fmt = shell::workspace_cargo();
    tally.check("fmt", shell::run(fmt.args(["fmt", "--all", "--check"])));
    let guests = guests::workspaces()?;
    for name in &guests {
        let mut fmt = shell::cargo(&place::root().join(name));
        let done = shell::run(fmt.args(["fmt", "--all", "--check"]));
        tally.check(&format!("fmt {name}"), done);
    }
    let mut clippy = shell::workspace_cargo();
    clippy.args(["clippy", "--quiet", "--workspace", "--all-targets"]);
    tally.check("clippy", shell::run(clippy.args(["--", "-D", "warnings"])));
    tally.check("tidy", tidy::run());
    tally.add(runner::tests(Choice::Unit, None)?);
    for name in &guests {
        tally.add(runner::guest_tests(name)?);
    }
    Ok(tally)
}

/// Every example of the demo, on a real server, each case against what it expects.
fn examples() -> Result<Tally> {
    let mut tally = Tally::default();
    for (case, missed) in demo::suite()? {
        let done = match missed {
            0 => Ok(()),
            _ => Err(anyhow::anyhow!("{missed} results are not as expected")),
        };
        tally.check(&case, done);
    }
    Ok(tally)
}

/// `cargo xtask sim …`: the orchestrator under simulated faults.
///
/// # Errors
/// The build failed, or a seed did (the program has printed which).
pub fn sim(args: &[String]) -> Result<()> {
    setup::native()?;
    shell::run(shell::workspace_cargo().args(["build", "--workspace"]))?;
    let tally = simulator(args)?;
    if tally.failed > 0 {
        bail!("the simulation failed; the seed above replays it");
    }
    Ok(())
}

fn simulator(args: &[String]) -> Result<Tally> {
    let mut command = std::process::Command::new(place::target().join("debug/sim"));
    command.args(args).current_dir(place::root());
    let mut tally = Tally::default();
    tally.check("sim", shell::run(&mut command));
    Ok(tally)
}

/// `cargo xtask bench …`: the benchmarks, on the components built from source.
///
/// # Errors
/// The build or the benchmark failed.
pub fn bench(args: &[String]) -> Result<()> {
    setup::native()?;
    guests::run()?;
    shell::run(shell::workspace_cargo().args(["build", "--workspace"]))?;
    let mut command = std::process::Command::new(place::target().join("debug/stepwell-bench"));
    shell::run(command.args(args).current_dir(place::root()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_names_suites_and_kills() {
        let parsed = |line: &str| {
            let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            parse(&args).map_err(|error| error.to_string())
        };
        assert_eq!(parsed(""), Ok((SUITES.to_vec(), None)));
        assert_eq!(parsed("crash --kills 200"), Ok((vec!["crash"], Some(200))));
        assert_eq!(parsed("vm"), Ok((vec!["vm"], None)));
        assert!(!SUITES.contains(&"vm"), "emulation takes minutes");
        assert!(parsed("crush").is_err());
        assert!(parsed("crash --kills").is_err());
        assert!(parsed("crash --kills many").is_err());
    }
}
