//! Compiles an uploaded module in a process of its own: both ends of it.
//!
//! Refuses to trust the module: the child lowers its own limits before it reads a
//! byte, and the parent kills it at the wall limit.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};
use wasmtime::component::Component;

use super::inspect::{self, Surface};
use crate::engine;
use crate::error::{Error, Refusal};
use crate::limits::CompileLimits;
use crate::ticker::Clock;

/// How often the parent looks whether the child has ended.
const LOOK: Duration = Duration::from_millis(3);
/// How much the child steps back behind the server, as `nice` counts.
const NICE: i32 = 10;

/// What the child found, written beside the artifact.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    Compiled {
        surface: Surface,
        functions: Vec<String>,
    },
    Refused(Refusal),
    TooLarge,
    Failed(String),
}

/// Compiles `input` to `output` in a child process and returns what it found.
///
/// # Errors
/// `BOX0001` to `BOX0004`, `BOX0006` to `BOX0008`, `BOX0012`.
pub(crate) fn compile(
    command: &[OsString],
    input: &Path,
    output: &Path,
    limits: &CompileLimits,
    clock: &dyn Clock,
) -> Result<(Surface, Vec<String>), Error> {
    let failed = |detail: String| Error::Compiler { detail };
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| failed("no compiler command is configured".into()))?;
    let began_us = clock.monotonic_us();
    let mut child = Command::new(program)
        .args(arguments)
        .args([input.as_os_str(), output.as_os_str()])
        .args([
            limits.memory_bytes.to_string(),
            limits.cpu_s.to_string(),
            limits.artifact_bytes.to_string(),
        ])
        .env_clear()
        // The server's allocator would reserve a gigabyte of addresses, which count.
        .env("MIMALLOC_ARENA_RESERVE", "32768")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| failed(format!("it could not be started: {e}")))?;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => {}
            Err(e) => return Err(failed(e.to_string())),
        }
        if clock.monotonic_us().saturating_sub(began_us) / 1_000 > limits.wall_ms {
            // It may have ended just now, which is no trouble.
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::CompileTimeout {
                limit: format!("{} ms", limits.wall_ms),
            });
        }
        std::thread::sleep(LOOK);
    };
    let report = std::fs::read(report_path(output))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let _ = std::fs::remove_file(report_path(output));
    match report {
        Some(Report::Compiled { surface, functions }) if status.success() => {
            Ok((surface, functions))
        }
        Some(Report::Refused(refusal)) => Err(refusal.into()),
        Some(Report::TooLarge) => Err(Error::CompileMemory {
            limit_bytes: limits.artifact_bytes,
        }),
        Some(Report::Failed(detail)) => Err(failed(detail)),
        _ => Err(death(status, limits)),
    }
}

/// Why a child that left no report died.
fn death(status: std::process::ExitStatus, limits: &CompileLimits) -> Error {
    use std::os::unix::process::ExitStatusExt as _;
    let signal = status.signal();
    let is = |s: Signal| signal == Some(s.as_raw());
    if is(Signal::XCPU) {
        Error::CompileTimeout {
            limit: format!("{} s of processor time", limits.cpu_s),
        }
    } else if is(Signal::ABORT) || is(Signal::KILL) || is(Signal::SEGV) {
        // An allocation that fails aborts; the system's own killer uses KILL; a
        // thread that gets no stack dies of SEGV.
        Error::CompileMemory {
            limit_bytes: limits.memory_bytes,
        }
    } else {
        Error::Compiler {
            detail: format!("it ended with {status}"),
        }
    }
}

fn report_path(output: &Path) -> PathBuf {
    let mut path = output.as_os_str().to_owned();
    path.push(".report");
    path.into()
}

/// The child: the body of the hidden subcommand that the server starts.
///
/// Arguments as the parent adds them after its command: input file, output file,
/// bytes of memory, seconds of processor time, bytes of artifact. Exit status 0:
/// compiled; 1: refused or failed, the report beside the output says how; 2: wrong arguments.
pub fn compile_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let [input, output, memory, cpu, artifact] = &arguments[..] else {
        return ExitCode::from(2);
    };
    let number = |text: &OsString| text.to_str().and_then(|t| t.parse::<u64>().ok());
    let (Some(memory), Some(cpu), Some(artifact)) = (number(memory), number(cpu), number(artifact))
    else {
        return ExitCode::from(2);
    };
    let output = Path::new(output);
    let report = match restrict(memory, cpu) {
        Ok(()) => child(Path::new(input), output, artifact),
        Err(e) => Report::Failed(format!("it could not limit itself: {e}")),
    };
    let written = serde_json::to_vec(&report)
        .map_err(std::io::Error::other)
        .and_then(|bytes| std::fs::write(report_path(output), bytes));
    match (written, report) {
        (Ok(()), Report::Compiled { .. }) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn restrict(memory_bytes: u64, cpu_s: u64) -> rustix::io::Result<()> {
    let limit = |resource, n| {
        rustix::process::setrlimit(
            resource,
            Rlimit {
                current: Some(n),
                maximum: Some(n),
            },
        )
    };
    // Nobody waits for the result once the server is gone.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    limit(Resource::Core, 0)?;
    limit(Resource::As, memory_bytes)?;
    // One second between the soft and the hard limit, so that XCPU tells why.
    rustix::process::setrlimit(
        Resource::Cpu,
        Rlimit {
            current: Some(cpu_s),
            maximum: Some(cpu_s.saturating_add(1)),
        },
    )?;
    rustix::process::nice(NICE).map(|_| ())
}

fn child(input: &Path, output: &Path, artifact_bytes: u64) -> Report {
    let compiled = || -> Result<Report, Report> {
        let failed = |e: &dyn std::fmt::Display| Report::Failed(e.to_string());
        let bytes = std::fs::read(input).map_err(|e| failed(&e))?;
        let surface = inspect::surface(&bytes).map_err(Report::Refused)?;
        let engine = engine::compiling().map_err(|e| failed(&e))?;
        let component = Component::from_binary(&engine, &bytes).map_err(|e| {
            Report::Refused(Refusal::Invalid {
                detail: format!("{e:#}"),
            })
        })?;
        let functions = inspect::functions(&engine, &component);
        if functions.is_empty() {
            return Err(Report::Refused(Refusal::NoStep {
                exports: surface.exports,
            }));
        }
        inspect::check_few(&functions).map_err(Report::Refused)?;
        let artifact = component
            .serialize()
            .map_err(|e| Report::Failed(format!("{e:#}")))?;
        if artifact.len() as u64 > artifact_bytes {
            return Err(Report::TooLarge);
        }
        std::fs::write(output, artifact).map_err(|e| failed(&e))?;
        let functions = functions
            .into_iter()
            .map(|f| match f.interface {
                Some(interface) => format!("{interface}#{}", f.name),
                None => f.name,
            })
            .collect();
        Ok(Report::Compiled { surface, functions })
    };
    compiled().unwrap_or_else(|report| report)
}
