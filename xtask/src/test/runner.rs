//! Runs test binaries: by nextest where it is installed, else one after another.
//!
//! Everything is built by one `--workspace` build, so that no dependency is
//! compiled twice. Refuses to choose tests by name: suites are made of binaries.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use cargo_metadata::{Artifact, Message, MetadataCommand, TargetKind};

use super::tally::{self, Tally};
use crate::{place, shell};

/// Test binaries that are suites of their own, whatever package they are in.
const OWN: &[&str] = &[
    "bridges",
    "conformance",
    "containers",
    "crash",
    "denials",
    "elsewhere",
    "guest_http",
    "guest_jobs",
    "guest_languages",
    "outward",
    "turns",
    "vm",
    "worked",
];
/// The package whose other test binaries are the suite `e2e`.
const TESTS: &str = "stepwell-tests";
/// Tells the crash suite how often to kill the server.
const KILLS: &str = "STEPWELL_KILLS";
/// Tells every test where the built command is.
const BINARY: &str = "STEPWELL_BIN";

/// Which test binaries run.
#[derive(Debug, Clone, Copy)]
pub enum Choice {
    /// All that belong to no other suite.
    Unit,
    /// The test binaries of [`TESTS`] that are no suite of their own.
    EndToEnd,
    /// The test binary of this name.
    Named(&'static str),
}

impl Choice {
    /// The binaries of a suite other than `unit`.
    pub fn suite(name: &str) -> Choice {
        let own = OWN.iter().find(|own| **own == name);
        own.map_or(Choice::EndToEnd, |own| Choice::Named(own))
    }

    /// As nextest's filter language says it; `None` if no binary belongs to it.
    ///
    /// nextest refuses names that no binary has, so the filter names binaries by
    /// their packages and names as cargo lists them.
    fn filter(self) -> Result<Option<String>> {
        let metadata = MetadataCommand::new()
            .current_dir(place::root())
            .no_deps()
            .exec()?;
        let mut taken = Vec::new();
        for package in metadata.workspace_packages() {
            for target in &package.targets {
                let is_test = target.kind.contains(&TargetKind::Test);
                if !target.test || !self.takes(&package.name, &target.name, is_test) {
                    continue;
                }
                // A library and its command may have one name, so the kind counts.
                let kind = match () {
                    () if is_test => "test",
                    () if target.kind.contains(&TargetKind::Bin) => "bin",
                    () => "lib",
                };
                taken.push(format!(
                    "(package(={}) & kind({kind}) & binary(={}))",
                    package.name, target.name
                ));
            }
        }
        Ok((!taken.is_empty()).then(|| taken.join(" | ")))
    }

    /// Whether a built test binary belongs to it.
    fn takes(self, package: &str, name: &str, is_test_target: bool) -> bool {
        let own = OWN.contains(&name);
        let end = package == TESTS && is_test_target && !own;
        match self {
            // What runs elsewhere is reached by bridges, too.
            Choice::Named("bridges") => matches!(
                name,
                "bridges"
                    | "containers"
                    | "denials"
                    | "elsewhere"
                    | "guest_http"
                    | "guest_jobs"
                    | "guest_languages"
                    | "outward"
                    | "turns"
                    | "worked"
            ),
            Choice::Named(wanted) => name == wanted,
            Choice::Unit => !own && !end,
            Choice::EndToEnd => end,
        }
    }
}

/// Runs the chosen binaries.
///
/// # Errors
/// Cargo cannot be run at all. Failures, and a choice without tests, are counted.
pub fn tests(choice: Choice, kills: Option<u32>) -> Result<Tally> {
    let counted = if shell::which("cargo-nextest").is_some() {
        with_nextest(choice, kills)?
    } else {
        one_by_one(choice, kills)?
    };
    if counted == Tally::default() {
        println!("FAILED: the suite has no tests");
        return Ok(Tally::failure());
    }
    Ok(counted)
}

fn with_nextest(choice: Choice, kills: Option<u32>) -> Result<Tally> {
    let Some(filter) = choice.filter()? else {
        return Ok(Tally::default());
    };
    let profile = match choice {
        Choice::Named(_) => "long",
        Choice::Unit | Choice::EndToEnd => "default",
    };
    let mut command = shell::workspace_cargo();
    command
        .args(["nextest", "run", "--workspace", "--no-fail-fast"])
        .args(["--profile", profile, "--no-tests", "pass", "-E", &filter]);
    environment(&mut command, kills);
    let (output, success) = tee(&mut command)?;
    Ok(judged(tally::nextest(&output), success))
}

fn one_by_one(choice: Choice, kills: Option<u32>) -> Result<Tally> {
    let mut command = shell::workspace_cargo();
    command.args(["test", "--workspace", "--tests", "--no-run"]);
    command.arg("--message-format=json-render-diagnostics");
    let messages = command
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !messages.status.success() {
        return Ok(Tally::failure());
    }
    let mut sum = Tally::default();
    for message in Message::parse_stream(messages.stdout.as_slice()) {
        let Message::CompilerArtifact(artifact) = message? else {
            continue;
        };
        let Some(program) = artifact
            .executable
            .clone()
            .filter(|_| artifact.profile.test)
        else {
            continue;
        };
        let folder = artifact.manifest_path.parent().context("no folder")?;
        if !choice.takes(
            &package(&artifact),
            &artifact.target.name,
            is_test(&artifact),
        ) {
            continue;
        }
        let mut command = Command::new(&program);
        command
            .current_dir(folder)
            .env("CARGO_MANIFEST_DIR", folder);
        environment(&mut command, kills);
        let (output, success) = tee(&mut command)?;
        sum.add(judged(tally::libtest(&output), success));
    }
    Ok(sum)
}

/// Tests of a guest workspace, natively: its steps are ordinary functions.
///
/// # Errors
/// Cargo cannot be run at all.
pub fn guest_tests(name: &str) -> Result<Tally> {
    let mut command = shell::cargo(&place::root().join(name));
    command
        .env("CARGO_TARGET_DIR", place::cache().join("guest-native"))
        .args(["test", "--quiet", "--workspace", "--lib"]);
    let (output, success) = tee(&mut command)?;
    Ok(judged(tally::libtest(&output), success))
}

fn environment(command: &mut Command, kills: Option<u32>) {
    command.env(BINARY, place::target().join("debug/stepwell"));
    if let Some(kills) = kills {
        command.env(KILLS, kills.to_string());
    }
}

/// A count that the exit status contradicts gets a failure more.
fn judged(counted: Option<Tally>, success: bool) -> Tally {
    let mut counted = counted.unwrap_or_default();
    if !success && counted.failed == 0 {
        counted.failed = 1;
    }
    counted
}

fn package(artifact: &Artifact) -> String {
    let manifest = artifact.manifest_path.as_std_path();
    let rooms = crate::tidy::rooms::ROOMS;
    let room = rooms
        .iter()
        .find(|room| manifest == place::root().join(room.folder).join("Cargo.toml"));
    room.map_or_else(String::new, |room| room.package.to_owned())
}

fn is_test(artifact: &Artifact) -> bool {
    artifact.target.kind.contains(&TargetKind::Test)
}

/// Runs a program, shows what it writes as it writes it, and keeps it.
fn tee(command: &mut Command) -> Result<(String, bool)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{}`", shell::shown(command)))?;
    let stderr = child.stderr.take().context("no standard error")?;
    let errors = std::thread::spawn(move || copy(stderr));
    let stdout = child.stdout.take().context("no standard output")?;
    let mut text = copy(stdout);
    text.push_str(&errors.join().unwrap_or_default());
    Ok((text, child.wait()?.success()))
}

fn copy(from: impl Read) -> String {
    let mut reader = BufReader::new(from);
    let mut text = String::new();
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|count| count > 0)
    {
        // A closed terminal is no reason to stop counting.
        let _ = std::io::stdout().write_all(&line);
        text.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_binary_belongs_to_exactly_one_suite() {
        let check = |package: &str, name: &str, is_test: bool, suite: &str| {
            for other in ["unit", "conformance", "e2e", "bridges", "crash", "vm"] {
                let choice = match other {
                    "unit" => Choice::Unit,
                    name => Choice::suite(name),
                };
                let taken = choice.takes(package, name, is_test);
                assert_eq!(taken, other == suite, "{package} {name} in {other}");
            }
        };
        check("stepwell-flow", "stepwell_flow", false, "unit");
        check("stepwell-flow", "corpus", true, "unit");
        check("stepwell-interpreter", "conformance", true, "conformance");
        check("stepwell-tests", "e2e", true, "e2e");
        check("stepwell-tests", "bad_input", true, "e2e");
        check("stepwell-tests", "crash", true, "crash");
        check("stepwell-tests", "bridges", true, "bridges");
        check("stepwell-tests", "elsewhere", true, "bridges");
        check("stepwell-tests", "vm", true, "vm");
        check("stepwell-tests", "stepwell_tests", false, "unit");
    }

    #[test]
    fn a_failed_program_is_counted_as_one() {
        assert_eq!(judged(None, false), Tally::failure());
        assert_eq!(judged(None, true), Tally::default());
    }
}
