//! Programs on machines of the server's configuration, where the module's manifest names them.
//!
//! Refuses nothing itself: the host does.

use crate::Failure;
pub use bindings::stepwell::machine::machines::{Ended, Error, File, Request};

#[allow(missing_docs, clippy::all, reason = "generated from wit/")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package stepwell:machine-client;
            world client {
                import stepwell:machine/machines@1.0.0;
            }
        ",
        path: ["wit/machine@1.0.0"],
        world: "stepwell:machine-client/client",
        generate_all,
    });
}

/// A run of a program there, with the defaults for the rest: 900 seconds and 1 MiB of standard
/// output, or the server's own bounds where those are less, and a directory of its own.
#[must_use]
pub fn request(machine: &str, command: &[&str]) -> Request {
    Request {
        machine: machine.to_owned(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        environment: Vec::new(),
        working_directory: None,
        input: None,
        files: Vec::new(),
        timeout_ms: None,
        stdout_bytes_max: None,
    }
}

/// Runs it and waits for its end, whatever its exit code.
/// # Errors
/// `Stepwell.NotGranted`, `States.Timeout` and the names of `vm:run`.
pub fn run(request: &Request) -> Result<Ended, Failure> {
    bindings::stepwell::machine::machines::run(request).map_err(|error| match error {
        Error::NotGranted(text)
        | Error::Invalid(text)
        | Error::TimedOut(text)
        | Error::Unavailable(text)
        | Error::Failed(text) => Failure::told(&text),
    })
}
