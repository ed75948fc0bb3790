//! What AWS service integrations put between a Task and its step: the step's input from
//! the Task's, the Task's answer from the step's, failures in the service's words.
//!
//! Refuses to run anything; works on data alone.

mod http;
mod lambda;

use serde_json::{Value, json};
use stepwell_flow::program::{Service, StandIn, Task};
use stepwell_types::{Data, EntryId, ExecutionId, Failure, StepTarget, Timestamp};

/// What runs, and on which input.
/// # Errors
/// The attempt's failure: the effective input is no request to this service.
pub(crate) fn request(task: &Task, input: &Data) -> Result<(StepTarget, Data), Failure> {
    let (target, input) = match &task.service {
        Service::Plain | Service::Function => (task.target.clone(), input.clone()),
        Service::Invoke { functions, .. } => lambda::request(&task.target, functions, input)?,
        Service::HttpInvoke { connection } => {
            let call = http::call(input, connection.as_deref())?;
            (task.target.clone(), call)
        }
    };
    let input = match &task.stand_in {
        None => input,
        Some(StandIn::Call(call)) => {
            let mut call = call.clone();
            call.insert("body".to_owned(), input.value().clone());
            Data::from_value(Value::Object(call))
        }
        // As text: a string in its place would be read as JSON.
        Some(StandIn::Flow(name)) => {
            Data::from_value(json!({"StateMachineArn": &**name, "Input": input.text()}))
        }
    };
    Ok((target, input))
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
    let output = match &task.stand_in {
        None | Some(StandIn::Flow(_)) => output.clone(),
        Some(StandIn::Call(_)) => {
            Data::from_value(output.value().get("body").cloned().unwrap_or_default())
        }
    };
    match &task.service {
        Service::Plain | Service::Function => output,
        Service::Invoke { version, .. } => lambda::envelope(version, attempt, input, &output),
        Service::HttpInvoke { .. } => http::answer(&output),
    }
}

/// The step's failure in the service's words.
pub(crate) fn failure(task: &Task, failure: &Failure) -> Failure {
    match &task.service {
        Service::Plain | Service::HttpInvoke { .. } => failure.clone(),
        Service::Function | Service::Invoke { .. } => lambda::failure(failure),
    }
}
