//! How an attempt's end is told to the flow: error names and causes.
//!
//! Refuses to pass on what is not bounded: causes are cut, output is checked to be JSON.

use stepwell_host_api::Journal;
use stepwell_host_api::account::{HOST_MEMORY_EXCEEDED, RESOURCES_MAX};
use stepwell_host_api::bindings::exports::stepwell::step::handler::Failure as Guest;
use stepwell_types::limits::{CAUSE_CHARS_MAX, ERROR_CHARS_MAX};
use stepwell_types::{Data, Failure, Timestamp};
use wasmtime::component::ResourceTableError;
use wasmtime::{Trap, WasmBacktrace};

use crate::attempt::Refused;
use crate::error::Error;
use crate::limits::Limits;

/// Most frames of a backtrace in a cause.
const FRAMES_MAX: usize = 40;

/// A guest's failure without what it read of secrets: before it is cut.
pub(crate) fn without_secrets(
    call: wasmtime::Result<Result<String, Guest>>,
    journal: &Journal,
) -> wasmtime::Result<Result<String, Guest>> {
    call.map(|result| {
        result.map_err(|failure| Guest {
            error: journal.hide(failure.error),
            cause: journal.hide(failure.cause),
        })
    })
}

/// The result of a call that returned or trapped.
pub(crate) fn judge(
    call: wasmtime::Result<Result<String, Guest>>,
    refused: Refused,
    deadline: Option<Timestamp>,
    limits: &Limits,
) -> Result<Data, Failure> {
    match call {
        Ok(Ok(output)) => accept(output, limits),
        Ok(Err(failure)) => Err(from_guest(failure)),
        Err(error) => Err(trapped(&error, refused, deadline, limits)),
    }
}

/// The deadline passed while the guest waited.
pub(crate) fn timed_out(deadline: Option<Timestamp>, limits: &Limits) -> Failure {
    Failure::new("States.Timeout", late(deadline, limits))
}

/// Whose deadline it was, and how the step gets more.
fn late(deadline: Option<Timestamp>, limits: &Limits) -> String {
    match deadline {
        Some(_) => {
            "the step ran past its deadline, the TimeoutSeconds (in CloudFlow Timeout) of its state"
                .to_owned()
        }
        None => format!(
            "the step ran past its deadline, the {} ms of the server's [steps] wall_ms: TimeoutSeconds (in CloudFlow Timeout) in its state gives it more",
            limits.wall_ms
        ),
    }
}

/// The runtime, not the step, is at fault.
pub(crate) fn internal(error: &wasmtime::Error) -> Failure {
    Failure::new("Stepwell.SandboxFailed", cut(&format!("{error:#}")))
}

/// The module could not be made ready.
pub(crate) fn not_loaded(name: &str, error: &Error) -> Failure {
    let error_name = match error {
        Error::Missing { .. } => "Stepwell.ModuleMissing",
        _ => "Stepwell.ModuleUnusable",
    };
    Failure::new(error_name, cut(&format!("module `{name}`: {error}")))
}

fn accept(output: String, limits: &Limits) -> Result<Data, Failure> {
    if output.len() > limits.output_bytes {
        return Err(too_large(limits));
    }
    match Data::check(&output) {
        Ok(()) => Ok(Data::from_valid_text(output)),
        Err(e) => {
            let start: String = output.chars().take(80).collect();
            Err(Failure::new(
                "Stepwell.InvalidOutput",
                format!("the step's output is not JSON: {e}; it begins with {start:?}"),
            ))
        }
    }
}

fn too_large(limits: &Limits) -> Failure {
    Failure::new(
        "Stepwell.OutputTooLarge",
        format!(
            "the output is over the limit of {} bytes",
            limits.output_bytes
        ),
    )
}

fn from_guest(failure: Guest) -> Failure {
    let error: String = failure.error.chars().take(ERROR_CHARS_MAX).collect();
    let error = if error.is_empty() {
        "Stepwell.Unnamed".to_owned()
    } else {
        error
    };
    Failure::new(error, cut(&failure.cause))
}

fn trapped(
    error: &wasmtime::Error,
    refused: Refused,
    deadline: Option<Timestamp>,
    limits: &Limits,
) -> Failure {
    let trap = error.downcast_ref::<Trap>();
    let named = |name: &str, what: String| Failure::new(name, cut(&(what + &backtrace(error))));
    match trap {
        Some(Trap::OutOfFuel) => {
            let what = format!("the step used up its {} units of fuel", limits.fuel);
            return named("Stepwell.FuelExhausted", what);
        }
        Some(Trap::Interrupt) => {
            return named("States.Timeout", late(deadline, limits));
        }
        Some(Trap::StackOverflow) => {
            return named(
                "Stepwell.StackOverflow",
                "the step's calls nest too deep".into(),
            );
        }
        _ => {}
    }
    // A guest that cannot grow gives up in its own way; the refusal is the reason.
    if refused.memory {
        let what = format!(
            "the step wanted more than {} bytes of memory",
            limits.memory_bytes
        );
        return named("Stepwell.MemoryExceeded", what);
    }
    if refused.table {
        let what = format!(
            "the step wanted more than {} table elements",
            limits.table_elements
        );
        return named("Stepwell.TableExceeded", what);
    }
    let text = error.root_cause().to_string();
    if text.contains("fuel allocated for hostcalls") {
        return too_large(limits);
    }
    if let Some(ResourceTableError::Full) = error.root_cause().downcast_ref() {
        let what =
            format!("the step has more than {RESOURCES_MAX} resources of the server's at once");
        return named(HOST_MEMORY_EXCEEDED, what);
    }
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        let what = format!("the step ended its process with status {}", exit.0);
        return named("Stepwell.Trap", what);
    }
    named("Stepwell.Trap", text)
}

/// The Wasm functions that were being called, innermost first.
fn backtrace(error: &wasmtime::Error) -> String {
    use std::fmt::Write as _;
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else {
        return String::new();
    };
    let mut text = String::from("\nwasm backtrace:");
    for (n, frame) in trace.frames().iter().take(FRAMES_MAX).enumerate() {
        let function = match frame.func_name() {
            Some(name) => format!("{:#}", rustc_demangle(name)),
            None => format!("function {}", frame.func_index()),
        };
        let _ = write!(text, "\n  {n}: {function}");
        for symbol in frame.symbols() {
            if let (Some(file), Some(line)) = (symbol.file(), symbol.line()) {
                let _ = write!(text, " at {file}:{line}");
            }
        }
    }
    if trace.frames().len() > FRAMES_MAX {
        let _ = write!(text, "\n  and {} more", trace.frames().len() - FRAMES_MAX);
    }
    text
}

/// Names come mangled from guests in C++ and Rust.
fn rustc_demangle(name: &str) -> rustc_demangle::Demangle<'_> {
    rustc_demangle::demangle(name)
}

fn cut(text: &str) -> String {
    text.chars().take(CAUSE_CHARS_MAX).collect()
}
