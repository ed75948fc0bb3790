//! Task: an attempt runs, answers, is called back, times out.
//!
//! Refuses to run anything itself: it asks for it ([`Command::Run`]).

use std::sync::Arc;

use serde_json::Value;
use stepwell_flow::expression::Expression;
use stepwell_flow::program::{Kind, State as Node, Task};
use stepwell_types::data::shape;
use stepwell_types::limits::{JSON_DEPTH_MAX, PAYLOAD_BYTES_MAX};
use stepwell_types::{Data, EntryId, Failure, StepTarget, Timestamp};

use super::signal::Wait;
use super::wait::{absent, seconds, source};
use crate::evaluate::{Env, Fault, fdl, jsonata, template};
use crate::history::HistoryKind;
use crate::service;
use crate::state::{Entry, Phase, Running, State};
use crate::turn::{Turn, limited};
use crate::{Command, Error, RunStep, cloudflow};

/// Begins an attempt.
pub(crate) fn begin(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    task: &Task,
) -> Result<(), Error> {
    let prepared = super::effective_input(turn, id, node).and_then(|input| {
        let data = super::through_input_path(turn, id, node)?;
        turn.evaluate(id, &data, |env| {
            let timeout = limit(env, task.timeout_seconds.as_ref(), "TimeoutSecondsPath")?;
            let heartbeat = limit(env, task.heartbeat_seconds.as_ref(), "HeartbeatSecondsPath")?;
            let role = match &task.credentials {
                Some(template) => template::fill(env, template)?
                    .get("RoleArn")
                    .and_then(Value::as_str)
                    .map(Arc::from),
                None => None,
            };
            Ok((timeout, heartbeat, role))
        })
        .map(|limits| (input, limits))
    });
    let (input, (timeout, heartbeat, role)) = match prepared {
        Ok(prepared) => prepared,
        Err(fault) => return turn.fault(id, fault),
    };
    if input.len_bytes() > PAYLOAD_BYTES_MAX {
        return turn.fault(id, Fault::too_large("The task's input"));
    }
    turn.note_in(id, || HistoryKind::TaskScheduled {
        resource: Arc::clone(&task.resource),
        target: task.target.clone(),
        input: input.clone(),
        timeout,
        heartbeat,
        role,
    });
    if !matches!(task.target, StepTarget::Activity { .. }) {
        turn.note_in(id, || HistoryKind::TaskStarted {
            resource: Arc::clone(&task.resource),
            worker: None,
        });
    }
    let request = match service::request(task, &input) {
        Ok((_, request)) => request,
        Err(failure) => return failed(turn, id, node, task, failure),
    };
    let mut child = None;
    if let StepTarget::Flow(mode) = &task.target {
        match super::child::begin(turn, id, task, *mode, &request) {
            Ok(awaited) => child = awaited,
            Err(failure) => return ended(turn, id, node, task, &Err(failure)),
        }
    }
    let mut signals = None;
    match &task.target {
        StepTarget::WaitSignal => match super::signal::wait(turn, &input) {
            Ok(Wait::Until(wanted)) => signals = Some(wanted),
            Ok(Wait::Over(result)) => return ended(turn, id, node, task, &Ok(result)),
            Err(failure) => return ended(turn, id, node, task, &Err(failure)),
        },
        StepTarget::SendSignal => {
            if let Err(failure) = super::signal::send(turn, id, &input) {
                return ended(turn, id, node, task, &Err(failure));
            }
        }
        _ => {}
    }
    let now = turn.now;
    let after = |seconds: Option<u64>| seconds.map(|s| now.plus_ms(s.saturating_mul(1_000)));
    let run = Running {
        child,
        // An activity's step is that a worker takes it.
        step: !matches!(task.target, StepTarget::Callback | StepTarget::WaitSignal),
        input,
        timeout: after(timeout),
        heartbeat: match task.target {
            StepTarget::Activity { .. } => None,
            _ => after(heartbeat),
        },
        heartbeat_ms: heartbeat.unwrap_or(0).saturating_mul(1_000),
        signals,
    };
    if !task.target.is_between()
        && let Some(entry) = turn.state.core.entries.get(&id)
    {
        let command = command(turn.state, id, entry, node, task, &run);
        turn.out.push(Command::Run(command));
    }
    turn.state.set_phase(id, Phase::Running(run));
    Ok(())
}

/// The command that begins, or begins again after a crash, an attempt.
pub(crate) fn command(
    state: &State,
    id: EntryId,
    entry: &Entry<Data>,
    node: &Node,
    task: &Task,
    run: &Running<Data>,
) -> RunStep {
    let seed = state.seed().copied().unwrap_or_default();
    // That it is a request was seen when the attempt began.
    let (target, input) = service::request(task, &run.input)
        .unwrap_or_else(|_| (task.target.clone(), run.input.clone()));
    RunStep {
        state: Arc::clone(&node.name),
        entry: id,
        attempt: entry.attempt,
        target,
        input,
        // One that is said, and is none: 0 in CloudFlow.
        deadline: run
            .timeout
            .or_else(|| task.timeout_seconds.as_ref().map(|_| Timestamp::MAX)),
        token: task.wait_for_token.then(|| state.token(id, entry.attempt)),
        seed: crate::random::draw_u64(&seed, "step", id.0, u64::from(entry.attempt)),
    }
}

/// The step of an attempt ended by itself.
pub(crate) fn step_ended(
    turn: &mut Turn<'_>,
    id: EntryId,
    attempt: u32,
    result: &Result<Data, Failure>,
) -> Result<(), Error> {
    let active = turn.state.running(id, attempt).is_some_and(|run| run.step);
    let Some((node, task)) = task_of(turn, id)?.filter(|_| active) else {
        return Ok(());
    };
    match result {
        Ok(output) if task.wait_for_token || turn.state.awaits_child(id, attempt) => {
            let output = answer(turn, id, task, output);
            turn.note_in(id, || HistoryKind::TaskSubmitted {
                resource: Arc::clone(&task.resource),
                output,
            });
            if let Some(run) = turn.state.running(id, attempt) {
                let run = Running {
                    step: false,
                    ..run.clone()
                };
                turn.state.set_phase(id, Phase::Running(run));
            }
            Ok(())
        }
        Ok(output) => {
            let output = answer(turn, id, task, output);
            ended(turn, id, node, task, &Ok(output))
        }
        Err(failure) => ended(turn, id, node, task, &Err(service::failure(task, failure))),
    }
}

/// The step's answer as the task's.
pub(super) fn answer(turn: &Turn<'_>, id: EntryId, task: &Task, output: &Data) -> Data {
    let Some(entry) = turn.state.core.entries.get(&id) else {
        return output.clone();
    };
    let Phase::Running(run) = &entry.phase else {
        return output.clone();
    };
    let attempt = service::Attempt {
        execution: turn.state.core.execution,
        entry: id,
        number: entry.attempt,
        now: turn.now,
    };
    service::answer(task, &attempt, &run.input, output)
}

/// A worker took the task of an activity: its heartbeat limit starts.
pub(crate) fn activity_started(
    turn: &mut Turn<'_>,
    id: EntryId,
    attempt: u32,
    worker: Option<&Arc<str>>,
) -> Result<(), Error> {
    let Some(run) = turn.state.running(id, attempt).filter(|run| run.step) else {
        return Ok(());
    };
    let heartbeat = (run.heartbeat_ms > 0).then(|| turn.now.plus_ms(run.heartbeat_ms));
    let run = Running {
        step: false,
        heartbeat,
        ..run.clone()
    };
    let Some((_, task)) = task_of(turn, id)? else {
        return Ok(());
    };
    if !matches!(task.target, StepTarget::Activity { .. }) {
        return Ok(());
    }
    turn.note_in(id, || HistoryKind::TaskStarted {
        resource: Arc::clone(&task.resource),
        worker: worker.cloned(),
    });
    turn.state.set_phase(id, Phase::Running(run));
    Ok(())
}

/// Nobody was told of the task of an activity that was taken: it waits again, and its
/// heartbeat limit with it.
pub(crate) fn returned(turn: &mut Turn<'_>, id: EntryId, attempt: u32) -> Result<(), Error> {
    let Some(run) = turn.state.running(id, attempt).filter(|run| !run.step) else {
        return Ok(());
    };
    let run = Running {
        step: true,
        heartbeat: None,
        ..run.clone()
    };
    let activity = |task: &Task| matches!(task.target, StepTarget::Activity { .. });
    if task_of(turn, id)?.is_some_and(|(_, task)| activity(task)) {
        turn.state.set_phase(id, Phase::Running(run));
    }
    Ok(())
}

/// An outside program ended the task by its token; its step may still run.
pub(crate) fn token_ended(
    turn: &mut Turn<'_>,
    id: EntryId,
    attempt: u32,
    result: &Result<Data, Failure>,
) -> Result<(), Error> {
    let Some(active) = turn.state.running(id, attempt).map(|run| run.step) else {
        return Ok(());
    };
    let Some((node, task)) = task_of(turn, id)?.filter(|(_, task)| task.wait_for_token) else {
        return Ok(());
    };
    if active {
        turn.out.push(Command::Abort { entry: id, attempt });
    }
    // What stands for a function answers as one; what waits by its own name says what it yields.
    let function = task.target.is_outside() && !task.resource.ends_with(".waitForTaskToken");
    let result = match result {
        Ok(output) if function => Ok(answer(turn, id, task, output)),
        Err(failure) if function => Err(service::failure(task, failure)),
        other => other.clone(),
    };
    ended(turn, id, node, task, &result)
}

/// An outside program is still at work: its heartbeat limit starts afresh.
pub(crate) fn heartbeat(turn: &mut Turn<'_>, id: EntryId, attempt: u32) {
    let Some(run) = turn.state.running(id, attempt) else {
        return;
    };
    if run.heartbeat.is_some() {
        let run = Running {
            heartbeat: Some(turn.now.plus_ms(run.heartbeat_ms)),
            ..run.clone()
        };
        turn.state.set_phase(id, Phase::Running(run));
    }
}

/// A limit of the attempt passed.
pub(crate) fn timed_out(turn: &mut Turn<'_>, id: EntryId, error: &str) -> Result<(), Error> {
    let Some((node, task)) = task_of(turn, id)? else {
        return Ok(());
    };
    if let Some(entry) = turn.state.core.entries.get(&id) {
        turn.out.extend(entry.stop(id));
    }
    let failure = cloudflow::named(node, Failure::new(error, ""));
    turn.note_in(id, || HistoryKind::TaskTimedOut {
        resource: Arc::clone(&task.resource),
        failure: failure.clone(),
    });
    turn.fail(id, failure)
}

pub(super) fn ended(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    task: &Task,
    result: &Result<Data, Failure>,
) -> Result<(), Error> {
    let failure = match result {
        Ok(output) if output.len_bytes() <= PAYLOAD_BYTES_MAX && !is_too_deep(output) => {
            turn.note_in(id, || HistoryKind::TaskSucceeded {
                resource: Arc::clone(&task.resource),
                output: output.clone(),
            });
            return turn.complete(id, output.clone());
        }
        Ok(output) if output.len_bytes() <= PAYLOAD_BYTES_MAX => Failure::new(
            "States.DataLimitExceeded",
            format!(
                "The state/task '{}' returned a result that is nested deeper than {} levels.",
                task.resource,
                JSON_DEPTH_MAX - 1
            ),
        ),
        Ok(_) => Failure::new(
            "States.DataLimitExceeded",
            format!(
                "The state/task '{}' returned a result with a size exceeding the maximum number of bytes service limit.",
                task.resource
            ),
        ),
        Err(failure) => limited(failure),
    };
    failed(turn, id, node, task, failure)
}

/// Whether data could not be read back from a checkpoint. A step's own answer is checked where
/// it comes in; what wraps one, of a child, a service or a signal, adds to its nesting.
fn is_too_deep(output: &Data) -> bool {
    // The parser's own limit counts one more.
    shape(output.text()).depth >= JSON_DEPTH_MAX
}

/// The attempt failed, before or after its step ran.
fn failed(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    task: &Task,
    failure: Failure,
) -> Result<(), Error> {
    let late = &*failure.error == "States.Timeout";
    let failure = cloudflow::named(node, failure);
    let resource = || Arc::clone(&task.resource);
    turn.note_in(id, || {
        let (resource, failure) = (resource(), failure.clone());
        // Whoever measured the time: the history tells of it by one event.
        if late {
            HistoryKind::TaskTimedOut { resource, failure }
        } else {
            HistoryKind::TaskFailed { resource, failure }
        }
    });
    turn.fail(id, failure)
}

pub(super) fn task_of<'a>(
    turn: &Turn<'a>,
    id: EntryId,
) -> Result<Option<(&'a Node, &'a Task)>, Error> {
    let node = turn.node_of(id)?;
    Ok(node.and_then(|node| match &node.kind {
        Kind::Task(task) => Some((node, task)),
        _ => None,
    }))
}

/// `TimeoutSeconds` or `HeartbeatSeconds`: a positive whole number.
fn limit(
    env: &Env<'_>,
    expression: Option<&Expression>,
    field: &'static str,
) -> Result<Option<u64>, Fault> {
    let Some(expression) = expression else {
        return Ok(None);
    };
    let value = template::evaluate(env, expression, &absent(field))?;
    if matches!(expression, Expression::Fdl(_)) {
        return limit_there(&value);
    }
    match seconds(&value) {
        Some(n) if n > 0 => Ok(Some(n)),
        // In CloudFlow that is no limit; in ASL a 0 is refused when it is published.
        Some(_) if matches!(expression, Expression::Literal(_)) => Ok(None),
        _ if let Expression::Jsonata(query) = expression => {
            Err(jsonata::unexpected(query, "number", &value))
        }
        _ => Err(Fault::runtime(format!(
            "The {field} parameter does not reference a positive whole number of seconds: {} == {}",
            source(expression),
            crate::evaluate::excerpt(&value.to_string()),
        ))),
    }
}

/// `Timeout.$` of CloudFlow, whose field table calls it a string, and whose examples write a
/// number; 0 is no limit.
fn limit_there(value: &Value) -> Result<Option<u64>, Fault> {
    let digits = value
        .as_str()
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let number = digits
        .and_then(|text| text.parse::<u64>().ok())
        .map(Value::from);
    match seconds(number.as_ref().unwrap_or(value)) {
        Some(0) => Ok(None),
        Some(n) => Ok(Some(n)),
        None => Err(fdl::failed(format!(
            "Timeout.$ must yield a whole number of seconds, and it yielded {}",
            crate::evaluate::excerpt(&value.to_string()),
        ))),
    }
}
