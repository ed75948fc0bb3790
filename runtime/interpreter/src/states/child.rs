//! The start of another execution, as a Task asks for it: what it is given, and what it answers.
//!
//! Refuses to look flows up: which version runs is decided where the start arrives.

use std::sync::Arc;

use serde_json::{Value, json};
use stepwell_flow::program::Task;
use stepwell_flow::resource;
use stepwell_types::limits::{CHILD_DEPTH_MAX, NAME_BYTES_MAX};
use stepwell_types::{
    ChildMode, ChildStart, Data, EntryId, ExecutionId, Failure, ParentLink, ShardId, Timestamp,
    Wants,
};

use crate::error::Error;
use crate::state::State;
use crate::turn::Turn;
use crate::{Command, Outcome, random, service, time};

/// Error name of a start with fields that make no sense.
const INVALID: &str = "StepFunctions.ValidationException";

/// The command that starts a child, or why there is none.
pub(crate) fn start(
    turn: &Turn<'_>,
    id: EntryId,
    attempt: u32,
    mode: ChildMode,
    input: &Data,
) -> Result<ChildStart, Failure> {
    let state = &*turn.state;
    let fields = input
        .value()
        .as_object()
        .ok_or_else(|| Failure::new(INVALID, "The start of an execution takes an object."))?;
    let text = fields.get("StateMachineArn").and_then(Value::as_str);
    let named = text.unwrap_or_default();
    let (flow, version) = resource::flow_name(named).ok_or_else(|| {
        Failure::new(
            "StepFunctions.InvalidArnException",
            format!(
                "StateMachineArn names no flow: '{}'; write its name, NAME:VERSION, or an ARN that ends in stateMachine:NAME",
                crate::evaluate::excerpt(named)
            ),
        )
    })?;
    if let Some(grants) = &turn.program.grants.flow {
        grants.allow_flow(flow)?;
    }
    let name = match fields.get("Name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) if valid_name(name) => Some(Arc::from(name.as_str())),
        Some(other) => {
            return Err(Failure::new(
                "StepFunctions.InvalidNameException",
                format!(
                    "{} is no name of an execution: letters, digits and . _ - only, at most {NAME_BYTES_MAX}",
                    crate::evaluate::excerpt(&other.to_string())
                ),
            ));
        }
    };
    let depth = depth_below(state)?;
    let seed = state.seed().copied().unwrap_or_default();
    let random = random::draw(&seed, "child", id.0, u64::from(attempt));
    let shard = match &name {
        Some(name) => ShardId::of_name(flow, name),
        None => ShardId(random[0] & 63),
    };
    Ok(ChildStart {
        child: ExecutionId::new(turn.now, shard, u128::from_be_bytes(random)),
        flow: flow.into(),
        version,
        name,
        input: child_input(fields.get("Input"))?,
        seed: random::draw(&seed, "child's seed", id.0, u64::from(attempt)),
        link: ParentLink {
            execution: state.execution(),
            entry: id,
            attempt,
            depth,
            item: None,
            run: 0,
            graph: 0,
            express: false,
            root: root_of(state),
            wants: match mode {
                ChildMode::Start => Wants::Nothing,
                ChildMode::Sync => Wants::Text,
                ChildMode::Sync2 => Wants::Json,
            },
        },
        again: false,
    })
}

/// The execution that a child of this one goes back to.
pub(crate) fn root_of(state: &State) -> ExecutionId {
    state.parent().map_or(state.execution(), |link| link.root)
}

/// How deep a child of this execution lies.
pub(crate) fn depth_below(state: &State) -> Result<u16, Failure> {
    let depth = state.parent().map_or(0, |p| p.depth).saturating_add(1);
    if depth > CHILD_DEPTH_MAX {
        return Err(Failure::new(
            "Stepwell.NestingTooDeep",
            format!("executions start one another at most {CHILD_DEPTH_MAX} deep"),
        ));
    }
    Ok(depth)
}

/// What names of executions are made of.
fn valid_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// `Input`: JSON, or a string that holds JSON text; `{}` when there is none.
fn child_input(input: Option<&Value>) -> Result<Data, Failure> {
    match input {
        None | Some(Value::Null) => Ok(Data::empty_object()),
        Some(Value::String(text)) => Data::parse(text).map_err(|e| {
            Failure::new(
                "StepFunctions.InvalidExecutionInputException",
                format!("Input is a string that holds no JSON: {e}"),
            )
        }),
        Some(value) => Ok(Data::from_value(value.clone())),
    }
}

/// What a start answers.
#[must_use]
pub fn started(child: ExecutionId, at: Timestamp) -> Data {
    Data::from_value(json!({ "ExecutionArn": child.to_string(), "StartDate": at.0 }))
}

/// What is known of a child that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// Its state: flow, name, input, outcome.
    pub state: &'a State,
    /// When it ended.
    pub at: Timestamp,
    /// What its parent wants to hear.
    pub wants: Wants,
}

/// What a waiting parent is told: the child as Step Functions' `DescribeExecution` tells
/// it; of any end but a success the same as the cause of a `States.TaskFailed`.
pub fn ended(child: Ended<'_>) -> Result<Data, Failure> {
    let state = child.state;
    match (child.wants, state.outcome()) {
        (Wants::Item | Wants::Compact, Some(Outcome::Succeeded(output))) => {
            return Ok(output.clone());
        }
        (
            Wants::Item,
            Some(Outcome::Failed(failure) | Outcome::TimedOut(failure) | Outcome::Aborted(failure)),
        ) => return Err(failure.clone()),
        _ => {}
    }
    let (status, output, failure) = match state.outcome() {
        Some(Outcome::Succeeded(output)) => ("SUCCEEDED", Some(output), None),
        Some(Outcome::TimedOut(failure)) => ("TIMED_OUT", None, Some(failure)),
        Some(Outcome::Aborted(failure)) => ("ABORTED", None, Some(failure)),
        Some(Outcome::Failed(failure)) => ("FAILED", None, Some(failure)),
        None => ("RUNNING", None, None),
    };
    let whole = || json!({ "Included": true });
    let carried = |data: &Data| match child.wants {
        Wants::Json => data.value().clone(),
        _ => data.text().into(),
    };
    let mut out = serde_json::Map::new();
    if let Some(failure) = failure {
        out.insert("Cause".into(), (&*failure.cause).into());
        out.insert("Error".into(), (&*failure.error).into());
    }
    out.insert("ExecutionArn".into(), state.execution().to_string().into());
    if let Some(input) = state.input() {
        out.insert("Input".into(), carried(input));
        out.insert("InputDetails".into(), whole());
    }
    out.insert("Name".into(), state.name().map_or("", |n| &**n).into());
    if let Some(output) = output {
        out.insert("Output".into(), carried(output));
        out.insert("OutputDetails".into(), whole());
    }
    let item = matches!(child.wants, Wants::Record | Wants::Compact);
    out.insert("RedriveCount".into(), state.core.redrives.into());
    let (redrive, reason) = match (status, item) {
        ("SUCCEEDED" | "RUNNING", _) => (
            "NOT_REDRIVABLE",
            Some(format!("Execution is {status} and cannot be redriven")),
        ),
        (_, true) => ("REDRIVABLE_BY_MAP_RUN", None),
        (_, false) => ("REDRIVABLE", None),
    };
    out.insert("RedriveStatus".into(), redrive.into());
    if let Some(reason) = reason {
        out.insert("RedriveStatusReason".into(), reason.into());
    }
    // A Map's result files carry texts, as the service's own do.
    let date = |at: Timestamp| {
        if item {
            Value::from(time::print(at))
        } else {
            at.0.into()
        }
    };
    let started = state.started_at().unwrap_or(Timestamp(0));
    out.insert("StartDate".into(), date(started));
    if let Some(flow) = state.flow() {
        let machine = format!("{}:{}", flow.name, flow.version);
        out.insert("StateMachineArn".into(), machine.into());
    }
    out.insert("Status".into(), status.into());
    out.insert("StopDate".into(), date(child.at));
    let told = Value::Object(out);
    match failure {
        None => Ok(Data::from_value(told)),
        Some(_) => Err(Failure::new("States.TaskFailed", told.to_string())),
    }
}

/// The end of a child that the task waits for.
pub(crate) fn child_ended(
    turn: &mut Turn<'_>,
    id: EntryId,
    attempt: u32,
    result: &Result<Data, Failure>,
) -> Result<(), Error> {
    let waits = turn
        .state
        .running(id, attempt)
        .is_some_and(|run| !run.step && run.child.is_some());
    let Some((node, task)) = super::task::task_of(turn, id)?.filter(|_| waits) else {
        return Ok(());
    };
    let result = match result {
        Ok(output) => Ok(super::task::answer(turn, id, task, output)),
        Err(failure) => Err(service::failure(task, failure)),
    };
    super::task::ended(turn, id, node, task, &result)
}

/// Begins a Task that starts a child. `Some`: the child whose end will be awaited.
pub(crate) fn begin(
    turn: &mut Turn<'_>,
    id: EntryId,
    task: &Task,
    mode: ChildMode,
    input: &Data,
) -> Result<Option<ExecutionId>, Failure> {
    let attempt = turn.state.core.entries.get(&id).map_or(0, |e| e.attempt);
    let mut start = start(turn, id, attempt, mode, input)?;
    if task.stand_in.is_some() && mode != ChildMode::Start {
        // Of a flow in a function's place: its output, or its failure as it is.
        start.link.wants = Wants::Item;
    }
    let awaited = (mode != ChildMode::Start && !task.wait_for_token).then_some(start.child);
    turn.out.push(Command::StartChild(Box::new(start)));
    Ok(awaited)
}
