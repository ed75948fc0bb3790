//! What AWS service integrations put between a Task and its step: the step's input from
//! the Task's, the Task's answer from the step's, failures in the service's words.
//!
//! Refuses to run anything; works on data alone.

mod http;
mod lambda;

use stepwell_flow::program::{Service, Task};
use stepwell_types::{Data, EntryId, ExecutionId, Failure, StepTarget, Timestamp};

/// What runs, and on which input.
/// # Errors
/// The attempt's failure: the effective input is no request to this service.
pub(crate) fn request(task: &Task, input: &Data) -> Result<(StepTarget, Data), Failure> {
    match &task.service {
        Service::Plain | Service::Function => Ok((task.target.clone(), input.clone())),
        Service::Invoke { functions, .. } => lambda::request(&task.target, functions, input),
        Service::HttpInvoke { connection } => {
            let call = http::call(input, connection.as_deref())?;
            Ok((task.target.clone(), call))
        }
    }
}

/// Names one attempt and its moment, for what services say of a call.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub execution: ExecutionId,
    pub entry: EntryId,
    pub number: u32,
    pub now: Timestamp,
}

/// The Task's answer from the step's. `input`: the Task's effective one.
pub(crate) fn answer(task: &Task, attempt: &Attempt, input: &Data, output: &Data) -> Data {
    match &task.service {
        Service::Plain | Service::Function => output.clone(),
        Service::Invoke { version, .. } => lambda::envelope(version, attempt, input, output),
        Service::HttpInvoke { .. } => http::answer(output),
    }
}

/// The step's failure in the service's words.
pub(crate) fn failure(task: &Task, failure: &Failure) -> Failure {
    match &task.service {
        Service::Plain | Service::HttpInvoke { .. } => failure.clone(),
        Service::Function | Service::Invoke { .. } => lambda::failure(failure),
    }
}
