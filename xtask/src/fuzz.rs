//! `cargo xtask fuzz [TARGET…] [--seconds N]`: coverage-guided fuzzing on stable Rust.
//!
//! Builds `tests/fuzz` with LLVM's coverage counters in every crate that it links,
//! and gives each target its time, one after another. What was found before is
//! where the next run begins. Refuses to mend or to hide: a crash is kept as a file, and is a failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{place, setup, shell};

/// What makes rustc count edges and compared values for libFuzzer.
const FLAGS: &str = "--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Time of a target, in seconds, when nobody says.
const SECONDS: u64 = 60;
/// One input may take this long, in seconds.
const INPUT_SECONDS_MAX: u32 = 10;
/// Memory of the fuzzer, in megabytes: an input that needs more is a finding.
const MEMORY_MB_MAX: u32 = 2048;

/// Fuzzes the named targets, or all.
///
/// # Errors
/// A wrong command line, a build that fails, or a finding.
pub fn run(args: &[String]) -> Result<()> {
    let (wanted, seconds) = parse(args)?;
    setup::native()?;
    let program = build()?;
    let listed = shell::output(Command::new(&program).arg("-runs=0"))?;
    let targets: Vec<&str> = listed.lines().collect();
    if let Some(unknown) = wanted.iter().find(|name| !targets.contains(&name.as_str())) {
        bail!("no target `{unknown}`: there are {}", targets.join(", "));
    }
    let mut found = Vec::new();
    for target in targets {
        if wanted.is_empty() || wanted.iter().any(|name| name == target) {
            println!("fuzz: {target}, {seconds} s");
            match one(&program, target, seconds) {
                Ok(summary) => println!("fuzz: {target}: no crash; {summary}"),
                Err(why) => {
                    println!("fuzz: {target}: {why:#}");
                    found.push(target);
                }
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    bail!("findings in {}", found.join(", "))
}

fn parse(args: &[String]) -> Result<(Vec<String>, u64)> {
    let (mut wanted, mut seconds) = (Vec::new(), SECONDS);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--seconds" {
            let count = args.next().context("--seconds N: how many?")?;
            seconds = count.parse().context("--seconds takes a number")?;
        } else if arg.starts_with('-') {
            bail!("no option `{arg}`: write [TARGET…] [--seconds N]");
        } else {
            wanted.push(arg.clone());
        }
    }
    Ok((wanted, seconds))
}

/// Proc macros and build scripts stay without counters: the target is named.
fn build() -> Result<PathBuf> {
    let version = shell::output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc -vV names no host")?;
    let folder = place::cache().join("fuzz");
    let mut cargo = shell::workspace_cargo();
    cargo
        .env("CARGO_TARGET_DIR", &folder)
        .env("RUSTFLAGS", FLAGS)
        .args(["build", "--package", "stepwell-fuzz", "--bin", "fuzz"])
        .args(["--features", "fuzzer", "--target", host]);
    shell::run(&mut cargo)?;
    Ok(folder.join(host).join("debug/fuzz"))
}

fn one(program: &Path, target: &str, seconds: u64) -> Result<String> {
    let folder = place::cache().join("fuzz-corpus").join(target);
    let findings = folder.join("findings");
    std::fs::create_dir_all(&findings)?;
    let fuzz = || {
        let mut command = Command::new(program);
        command.env("STEPWELL_FUZZ_TARGET", target);
        command
    };
    shell::run(
        fuzz()
            .env("STEPWELL_FUZZ_SEEDS", &folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )?;
    let log = folder.join("log");
    let file = std::fs::File::create(&log)?;
    let mut command = fuzz();
    let words = folder.join("words");
    if std::fs::metadata(&words).is_ok_and(|file| file.len() > 0) {
        command.arg(format!("-dict={}", words.display()));
    }
    let status = command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(["-print_final_stats=1", "-max_len=16384"])
        .arg(folder.join("corpus"))
        .stdout(Stdio::null())
        .stderr(file)
        .status()
        .context("cannot run the fuzzer")?;
    let text = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    if !status.success() {
        let tail: Vec<_> = text.lines().rev().take(30).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        bail!(
            "ended with {status}; the input is in {}\n{}",
            findings.display(),
            tail.join("\n")
        );
    }
    Ok(summary(&text))
}

/// `123 inputs, 45 edges` from libFuzzer's own words.
fn summary(log: &str) -> String {
    let number = |line: &str, after: &str| {
        let rest = line.split_once(after)?.1;
        rest.split_whitespace().next().map(str::to_owned)
    };
    let last = |after: &str| log.lines().rev().find_map(|line| number(line, after));
    format!(
        "{} inputs, {} edges",
        last("stat::number_of_executed_units:").unwrap_or_else(|| "?".into()),
        last("cov: ").unwrap_or_else(|| "?".into())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_names_targets_and_seconds() {
        let parsed = |line: &str| {
            let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            parse(&args).map_err(|error| error.to_string())
        };
        assert_eq!(parsed(""), Ok((vec![], SECONDS)));
        let two = vec!["codec-log".to_owned(), "trigger".to_owned()];
        assert_eq!(parsed("codec-log trigger --seconds 5"), Ok((two, 5)));
        assert!(parsed("--seconds").is_err());
        assert!(parsed("--hours 1").is_err());
    }

    #[test]
    fn the_summary_reads_the_fuzzers_words() {
        let log =
            "#8 NEW cov: 17 ft: 20\n#9 DONE cov: 21 ft: 30\nstat::number_of_executed_units: 9\n";
        assert_eq!(summary(log), "9 inputs, 21 edges");
    }
}
