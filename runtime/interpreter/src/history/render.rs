//! History events as the JSON of Step Functions' `GetExecutionHistory`.
//!
//! Refuses to shorten payloads: `inputDetails.truncated` is always `false`.

use serde_json::{Map, Value, json};
use stepwell_types::{Data, Failure, Timestamp};

use super::{HistoryEvent, HistoryKind, StateType};
use crate::time;

impl StateType {
    /// As the flow language spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StateType::Task => "Task",
            StateType::Pass => "Pass",
            StateType::Choice => "Choice",
            StateType::Wait => "Wait",
            StateType::Succeed => "Succeed",
            StateType::Fail => "Fail",
            StateType::Parallel => "Parallel",
            StateType::Map => "Map",
        }
    }
}

impl HistoryEvent {
    /// `{"id", "previousEventId", "timestamp", "type", "…EventDetails"}`; payloads
    /// are strings of JSON text, the timestamp is RFC 3339 in UTC with milliseconds.
    #[must_use]
    pub fn render(&self, at: Timestamp) -> Value {
        let details = self.kind.details();
        let mut out = Map::new();
        out.insert("id".into(), self.id.into());
        out.insert("previousEventId".into(), self.previous.into());
        out.insert("timestamp".into(), time::print(at).into());
        out.insert("type".into(), self.kind.type_name().into());
        if let Some(details) = details {
            out.insert(self.kind.member(), details);
        }
        Value::Object(out)
    }

    /// As [`HistoryEvent::render`], with what Step Functions does not tell: the `state` that it is
    /// about, and the `index` of the branch or item that this is in.
    #[must_use]
    pub fn render_placed(&self, at: Timestamp) -> Value {
        let mut out = self.render(at);
        if let (Some(place), Value::Object(members)) = (&self.place, &mut out) {
            members.insert("state".into(), (&*place.state).into());
            if let Some(index) = place.index {
                members.insert("index".into(), index.into());
            }
        }
        out
    }
}

impl HistoryKind {
    /// The Step Functions event type, e.g. `TaskStateEntered`.
    #[must_use]
    pub fn type_name(&self) -> String {
        match self {
            HistoryKind::ExecutionStarted { .. } => "ExecutionStarted".into(),
            HistoryKind::ExecutionSucceeded { .. } => "ExecutionSucceeded".into(),
            HistoryKind::ExecutionFailed(_) => "ExecutionFailed".into(),
            HistoryKind::ExecutionTimedOut(_) => "ExecutionTimedOut".into(),
            HistoryKind::ExecutionAborted(_) => "ExecutionAborted".into(),
            HistoryKind::ExecutionRedriven { .. } => "ExecutionRedriven".into(),
            HistoryKind::Entered { state, .. } => format!("{}StateEntered", state.as_str()),
            HistoryKind::Exited { state, .. } => format!("{}StateExited", state.as_str()),
            HistoryKind::SignalReceived { .. } => "SignalReceived".into(),
            HistoryKind::EvaluationFailed { .. } => "EvaluationFailed".into(),
            HistoryKind::Aborted(state) => format!("{}StateAborted", state.as_str()),
            HistoryKind::TaskScheduled { resource, .. } => task(resource, "Scheduled"),
            HistoryKind::TaskStarted { resource, .. } => task(resource, "Started"),
            HistoryKind::TaskSubmitted { .. } => "TaskSubmitted".into(),
            HistoryKind::TaskSucceeded { resource, .. } => task(resource, "Succeeded"),
            HistoryKind::TaskFailed { resource, .. } => task(resource, "Failed"),
            HistoryKind::TaskTimedOut { resource, .. } => task(resource, "TimedOut"),
            HistoryKind::ParallelStarted => "ParallelStateStarted".into(),
            HistoryKind::ParallelSucceeded => "ParallelStateSucceeded".into(),
            HistoryKind::ParallelFailed => "ParallelStateFailed".into(),
            HistoryKind::MapStarted { .. } => "MapStateStarted".into(),
            HistoryKind::MapSucceeded => "MapStateSucceeded".into(),
            HistoryKind::MapFailed => "MapStateFailed".into(),
            HistoryKind::MapRunStarted { .. } => "MapRunStarted".into(),
            HistoryKind::MapRunRedriven { .. } => "MapRunRedriven".into(),
            HistoryKind::MapRunSucceeded => "MapRunSucceeded".into(),
            HistoryKind::MapRunFailed(_) => "MapRunFailed".into(),
            HistoryKind::MapRunAborted => "MapRunAborted".into(),
            HistoryKind::MapIteration { what, .. } => format!("MapIteration{what:?}"),
        }
    }

    /// Name of the member that holds the details.
    fn member(&self) -> String {
        match self {
            HistoryKind::Entered { .. } => "stateEnteredEventDetails".into(),
            HistoryKind::Exited { .. } => "stateExitedEventDetails".into(),
            _ => lower_first(&self.type_name()) + "EventDetails",
        }
    }

    fn details(&self) -> Option<Value> {
        match self {
            HistoryKind::ExecutionStarted { input } => Some(json!({
                "input": input.text(), "inputDetails": whole(), "roleArn": ROLE,
            })),
            HistoryKind::ExecutionSucceeded { output } => Some(with_output(Map::new(), output)),
            HistoryKind::ExecutionRedriven { count, version } => Some(json!({
                "redriveCount": count, "flowVersion": version,
            })),
            HistoryKind::SignalReceived { signal } => {
                let mut map = Map::new();
                map.insert("name".into(), (&*signal.name).into());
                if let Some(sender) = signal.sender {
                    map.insert("sender".into(), sender.to_string().into());
                }
                map.insert("data".into(), signal.data.text().into());
                map.insert("dataDetails".into(), whole());
                Some(Value::Object(map))
            }
            HistoryKind::MapRunStarted { run } => Some(json!({ "mapRunArn": &**run })),
            HistoryKind::MapRunRedriven { run, count } => Some(json!({
                "mapRunArn": &**run, "redriveCount": count,
            })),
            HistoryKind::MapRunFailed(failure)
            | HistoryKind::ExecutionFailed(failure)
            | HistoryKind::ExecutionTimedOut(failure)
            | HistoryKind::ExecutionAborted(failure) => Some(with_failure(Map::new(), failure)),
            HistoryKind::Entered { name, input, .. } => Some(json!({
                "name": &**name, "input": input.text(), "inputDetails": whole(),
            })),
            HistoryKind::Exited {
                name,
                output,
                assigned,
                ..
            } => {
                let mut map = Map::new();
                map.insert("name".into(), (&**name).into());
                if !assigned.is_empty() {
                    let each = assigned
                        .iter()
                        .map(|(n, v)| (n.to_string(), v.text().into()));
                    map.insert("assignedVariables".into(), Value::Object(each.collect()));
                    map.insert("assignedVariablesDetails".into(), whole());
                }
                Some(with_output(map, output))
            }
            HistoryKind::EvaluationFailed {
                state,
                location,
                failure,
            } => {
                let mut map = Map::new();
                map.insert("state".into(), (&**state).into());
                if let Some(location) = location {
                    map.insert("location".into(), (&**location).into());
                }
                Some(with_failure(map, failure))
            }
            HistoryKind::TaskScheduled {
                resource,
                input,
                timeout,
                heartbeat,
                role,
                ..
            } => {
                let mut map = scheduled(resource, input, *timeout, *heartbeat);
                if let Some(role) = role {
                    map.insert("taskCredentials".into(), json!({ "roleArn": &**role }));
                }
                Some(Value::Object(map))
            }
            HistoryKind::TaskStarted { resource, .. } if lambda(resource) => None,
            HistoryKind::TaskStarted { resource, worker } => {
                let mut map = of_task(resource);
                if let Some(worker) = worker {
                    map.insert("workerName".into(), (&**worker).into());
                }
                Some(Value::Object(map))
            }
            HistoryKind::TaskSubmitted { resource, output }
            | HistoryKind::TaskSucceeded { resource, output } => {
                Some(with_output(of_task(resource), output))
            }
            HistoryKind::TaskFailed { resource, failure }
            | HistoryKind::TaskTimedOut { resource, failure } => {
                Some(with_failure(of_task(resource), failure))
            }
            HistoryKind::MapStarted { length } => Some(json!({ "length": length })),
            HistoryKind::MapIteration { name, index, .. } => {
                Some(json!({ "name": &**name, "index": index }))
            }
            HistoryKind::Aborted(_)
            | HistoryKind::ParallelStarted
            | HistoryKind::ParallelSucceeded
            | HistoryKind::ParallelFailed
            | HistoryKind::MapSucceeded
            | HistoryKind::MapFailed
            | HistoryKind::MapRunSucceeded
            | HistoryKind::MapRunAborted => None,
        }
    }
}

/// Step Functions names the role that an execution assumes; there is none here.
const ROLE: &str = "";

/// `…Details`: nothing was cut.
fn whole() -> Value {
    json!({ "truncated": false })
}

/// Plain Lambda ARNs have event types of their own.
fn lambda(resource: &str) -> bool {
    resource.starts_with("arn:") && resource.contains(":lambda:") && resource.contains(":function:")
}

/// So have activities.
fn activity(resource: &str) -> bool {
    resource.starts_with("activity:")
        || resource.starts_with("arn:") && resource.contains(":activity:")
}

fn task(resource: &str, what: &str) -> String {
    if lambda(resource) {
        format!("LambdaFunction{what}")
    } else if activity(resource) {
        format!("Activity{what}")
    } else {
        format!("Task{what}")
    }
}

/// `resourceType` and `resource` of a Task event: the two halves of
/// `wasm:NAME` or `arn:…:states:::SERVICE:ACTION`.
fn of_task(resource: &str) -> Map<String, Value> {
    let mut map = Map::new();
    if lambda(resource) || activity(resource) {
        return map;
    }
    let short = resource
        .rsplit_once(":::")
        .map_or(resource, |(_, rest)| rest);
    let (kind, rest) = short.split_once(':').unwrap_or((short, short));
    map.insert("resourceType".into(), kind.into());
    map.insert("resource".into(), rest.into());
    map
}

fn scheduled(
    resource: &str,
    input: &Data,
    timeout: Option<u64>,
    heartbeat: Option<u64>,
) -> Map<String, Value> {
    let mut map = of_task(resource);
    if lambda(resource) || activity(resource) {
        map.insert("resource".into(), resource.into());
        map.insert("input".into(), input.text().into());
        map.insert("inputDetails".into(), whole());
    } else {
        map.insert("region".into(), "local".into());
        map.insert("parameters".into(), input.text().into());
    }
    if let Some(seconds) = timeout {
        map.insert("timeoutInSeconds".into(), seconds.into());
    }
    if let Some(seconds) = heartbeat {
        map.insert("heartbeatInSeconds".into(), seconds.into());
    }
    map
}

fn with_output(mut map: Map<String, Value>, output: &Data) -> Value {
    map.insert("output".into(), output.text().into());
    map.insert("outputDetails".into(), whole());
    Value::Object(map)
}

/// An empty error or cause was not given: it is left out, as Step Functions does.
fn with_failure(mut map: Map<String, Value>, failure: &Failure) -> Value {
    if !failure.error.is_empty() {
        map.insert("error".into(), (&*failure.error).into());
    }
    if !failure.cause.is_empty() {
        map.insert("cause".into(), (&*failure.cause).into());
    }
    Value::Object(map)
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    match chars.next() {
        Some(first) => first.to_ascii_lowercase().to_string() + chars.as_str(),
        None => String::new(),
    }
}
