//! Other executions: starting them and sending them signals, where the module's manifest names their flows.
//!
//! Each call is made once, whatever dies on the way. An input has at most 32 MiB of JSON text, a
//! signal's data 1 MiB. Refuses nothing itself: the host does.

use crate::Failure;
use bindings::stepwell::execution::executions::{self, Error, Named};
use serde::Serialize;

pub use bindings::stepwell::execution::executions::Recipient;

#[allow(missing_docs, clippy::all, reason = "generated from wit/")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package stepwell:execution-client;
            world client {
                import stepwell:execution/executions@1.0.0;
            }
        ",
        path: ["wit/execution@1.0.0"],
        world: "stepwell:execution-client/client",
        generate_all,
    });
}

/// Starts an execution of a flow's newest version: its id. Without a name it gets one of its own.
/// # Errors
/// `Stepwell.NotGranted`, `Stepwell.NoFlow`, `Stepwell.NameTaken`, `Stepwell.TooManyDescendants`
/// and others, by name.
pub fn start(flow: &str, name: Option<&str>, input: &impl Serialize) -> Result<String, Failure> {
    let input = json(input)?;
    executions::start(flow, None, name, &input).map_err(failure)
}

/// Sends the execution with this id a signal.
/// # Errors
/// `Stepwell.NotGranted`, `Stepwell.NoExecution`, `Stepwell.ExecutionEnded`,
/// `Stepwell.SignalsFull` and others, by name.
pub fn signal(id: &str, name: &str, data: &impl Serialize) -> Result<(), Failure> {
    send(&Recipient::Id(id.to_owned()), name, data).map(drop)
}

/// Sends the execution of this name a signal: its id.
/// # Errors
/// As [`signal`].
pub fn signal_named(
    flow: &str,
    execution: &str,
    name: &str,
    data: &impl Serialize,
) -> Result<String, Failure> {
    let named = Named {
        flow: flow.to_owned(),
        name: execution.to_owned(),
    };
    send(&Recipient::Named(named), name, data)
}

fn send(to: &Recipient, name: &str, data: &impl Serialize) -> Result<String, Failure> {
    let data = json(data)?;
    executions::signal(to, name, &data).map_err(failure)
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|e| Failure::new("Step.InvalidData", e.to_string()))
}

fn failure(error: Error) -> Failure {
    match error {
        Error::NotGranted(text)
        | Error::Invalid(text)
        | Error::NotFound(text)
        | Error::Taken(text)
        | Error::Ended(text)
        | Error::Unavailable(text)
        | Error::Failed(text) => Failure::told(&text),
    }
}
