//! Programs in containers, where the module's manifest names their images.
//!
//! Refuses nothing itself: the host does.

use crate::Failure;
pub use bindings::stepwell::container::containers::{Ended, Error, File, Pull, Request};

#[allow(missing_docs, clippy::all, reason = "generated from wit/")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package stepwell:container-client;
            world client {
                import stepwell:container/containers@1.0.0;
            }
        ",
        path: ["wit/container@1.0.0"],
        world: "stepwell:container-client/client",
        generate_all,
    });
}

/// A run of an image with its own command, and the defaults for the rest.
///
/// They are 256 MiB of memory, one processor, 128 processes, 900 seconds and 1 MiB of standard
/// output, or the server's own bounds where those are less; no network, and an image that is
/// not there is not fetched.
#[must_use]
pub fn request(image: &str) -> Request {
    Request {
        image: image.to_owned(),
        command: None,
        entrypoint: None,
        environment: Vec::new(),
        working_directory: None,
        user: None,
        input: None,
        files: Vec::new(),
        network: None,
        memory_mib: None,
        cpus: None,
        pids: None,
        timeout_ms: None,
        stdout_bytes_max: None,
        pull: Pull::Never,
    }
}

/// Runs it and waits for its end, whatever its exit code.
/// # Errors
/// `Stepwell.NotGranted`, `States.Timeout` and the names of `container:run`.
pub fn run(request: &Request) -> Result<Ended, Failure> {
    bindings::stepwell::container::containers::run(request).map_err(|error| match error {
        Error::NotGranted(text)
        | Error::Invalid(text)
        | Error::TimedOut(text)
        | Error::Unavailable(text)
        | Error::Failed(text) => Failure::told(&text),
    })
}
