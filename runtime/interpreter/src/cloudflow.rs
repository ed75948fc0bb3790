//! The data flow of both CloudFlow languages around a state.
//!
//! What a constructor made `$Input` is kept beside the entry as a variable, so that the
//! state's end and its retries see the same; so are the input and `$local` of a list of
//! steps of the old language. `$Global` is one map of the whole execution: a state's
//! GlobalConstructor is merged into it at the state's end, in the order of the events, so
//! that a replay merges the same. Refuses to move between states.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use stepwell_flow::expression::Template;
use stepwell_flow::fdl::Constructors;
use stepwell_flow::program::{Catcher, DataFlow, Kind, Next, State as Node};
use stepwell_types::limits::PAYLOAD_BYTES_MAX;
use stepwell_types::{Data, EntryId, Failure};

use crate::Error;
use crate::evaluate::{Env, Fault, Given, bounded, flow, kind_name, size};
use crate::outputs::Outputs;
use crate::state::{Entry, Variables, held_beside};
use crate::states::raw_input;
use crate::turn::Turn;

/// Variable: `$Input`, if a constructor made it. No flow can name these.
const INPUT: &str = "Input";
/// Variable: `$input` of a list of steps.
pub(crate) const SCOPE_INPUT: &str = "scope input";
/// Variable: `$local` of a list of steps.
pub(crate) const SCOPE_LOCAL: &str = "local";

/// The constructors of a state of CloudFlow.
pub(crate) fn of(node: &Node) -> Option<&Constructors> {
    match &node.data {
        DataFlow::CloudFlow(constructors) => Some(constructors),
        DataFlow::JsonPath(_) | DataFlow::Jsonata(_) => None,
    }
}

/// The variables with which a branch or iteration of this state begins.
pub(crate) fn inherited(node: &Node, own: &Arc<Variables>) -> Arc<Variables> {
    match of(node) {
        Some(_) => Arc::default(),
        None => Arc::clone(own),
    }
}

/// Makes `$Input`, before the first attempt, and again before those that follow on an attempt
/// in which that failed.
pub(crate) fn enter(turn: &mut Turn<'_>, id: EntryId, own: &Constructors) -> Result<(), Fault> {
    let Some(entry) = turn.state.core.entries.get(&id) else {
        return Ok(());
    };
    let raw = entry.input.clone();
    let before = Arc::clone(&entry.variables);
    if before.contains_key(INPUT) {
        if entry.attempt > 0 {
            return Ok(());
        }
        // That of the state before, or of this one before a redrive: nobody reads it here,
        // also if this state makes none.
        let mut rest = Variables::clone(&before);
        rest.remove(INPUT);
        set(turn, id, rest);
    }
    let mut variables = Variables::new();
    let mut mapped = None;
    if let Some(steps) = &own.steps {
        let scope = (
            before.get(SCOPE_INPUT).cloned(),
            before.get(SCOPE_LOCAL).cloned(),
        );
        if let (Some(input), Some(local)) = scope {
            variables.insert(SCOPE_INPUT.into(), input);
            variables.insert(SCOPE_LOCAL.into(), local);
        } else {
            object(&raw, "input")?;
            let flow = steps.flow.as_ref().and_then(|f| f.input.as_ref());
            variables = begun(raw.clone());
            if let Some(template) = flow {
                let input = with(turn, id, &variables, &raw, template)?;
                variables = begun(input.clone());
                mapped = Some(input);
            }
        }
    } else {
        object(&raw, "input")?;
    }
    set(turn, id, variables.clone());
    let input = match &own.input {
        Some(template) => Some(turn.evaluate(id, &raw, |env| flow::shape(env, Some(template)))?),
        // The first step's input is what the flow's own mapping made.
        None => mapped,
    };
    if let Some(input) = input {
        variables.insert(INPUT.into(), input);
        set(turn, id, variables);
    }
    Ok(())
}

/// The variables with which a step begins anew that a redrive gives another input. It is the
/// list's `$input` from here on, and what `$local` has by the same names becomes the same: a
/// mapping of either reads it, in this step and in those after it.
pub(crate) fn with_input(
    turn: &Turn<'_>,
    entry: &Entry<Data>,
    input: &Data,
) -> Result<Arc<Variables>, Error> {
    let kept = Arc::clone(&entry.variables);
    let node = turn.node(entry.state)?;
    let steps = of(node).and_then(|own| own.steps.as_ref());
    let (Some(steps), Some(local)) = (steps, kept.get(SCOPE_LOCAL)) else {
        return Ok(kept);
    };
    // What the flow's own mapping reads goes through it again.
    let maps = steps.flow.as_ref().is_some_and(|f| f.input.is_some());
    let started = turn.state.core.started.as_ref();
    let first = maps && started.is_some_and(|s| s.input.same(&entry.input));
    let mut variables = Variables::clone(&kept);
    let (Value::Object(given), Value::Object(before), false) =
        (input.value(), local.value(), first)
    else {
        variables.remove(SCOPE_INPUT);
        variables.remove(SCOPE_LOCAL);
        return Ok(Arc::new(variables));
    };
    let mut local = before.clone();
    for (name, value) in &mut local {
        if let Some(new) = given.get(name) {
            *value = new.clone();
        }
    }
    variables.insert(SCOPE_LOCAL.into(), Data::from_value(local.into()));
    variables.insert(SCOPE_INPUT.into(), input.clone());
    Ok(Arc::new(variables))
}

/// The variables of a list of steps whose input this is.
fn begun(input: Data) -> Variables {
    Variables::from([
        (SCOPE_INPUT.into(), input),
        (SCOPE_LOCAL.into(), Data::empty_object()),
    ])
}

/// Evaluates with these variables in place of the entry's.
fn with(
    turn: &mut Turn<'_>,
    id: EntryId,
    variables: &Variables,
    data: &Data,
    template: &Template,
) -> Result<Data, Fault> {
    let core = &turn.state.core;
    let mut env = Env::new(core, turn.program, id, data.into(), turn.now);
    env.variables = Some(variables);
    let result = flow::shape(&env, Some(template));
    let (draws, used) = (env.draws.get(), env.used());
    turn.state.core.draws = draws;
    turn.spent = turn.spent.saturating_add(used);
    result
}

fn set(turn: &mut Turn<'_>, id: EntryId, variables: Variables) {
    let core = &mut turn.state.core;
    let around = core.entries.get(&id).and_then(|e| e.parent);
    let around = around.and_then(|p| core.entries.get(&p.entry));
    let variables = Arc::new(variables);
    let held = held_beside(&variables, around.map(|e| &e.variables));
    if let Some(entry) = core.entries.get_mut(&id) {
        entry.variables = variables;
        entry.held = held;
    }
}

/// `$Input`.
pub(crate) fn input(turn: &Turn<'_>, id: EntryId) -> Data {
    let entry = turn.state.core.entries.get(&id);
    match entry.and_then(|e| e.variables.get(INPUT)) {
        Some(input) => input.clone(),
        None => raw_input(turn, id),
    }
}

/// What a state hands on that ends well; `result` is the engine's.
pub(crate) fn outputs(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    own: &Constructors,
    result: &Data,
) -> Result<Outputs, Fault> {
    let input = input(turn, id);
    let raw = match &own.result {
        Some(template) => turn.evaluate(id, result, |env| flow::shape(env, Some(template)))?,
        None => result.clone(),
    };
    let given = Given {
        data: &input,
        result: Some(&raw),
        error: None,
    };
    let output = match &own.output {
        Some(template) => turn.evaluate(id, given, |env| flow::shape(env, Some(template)))?,
        None => raw.clone(),
    };
    object(&output, "output")?;
    let global = match &own.global {
        Some(template) => Some(turn.evaluate(id, given, |env| flow::shape(env, Some(template)))?),
        None => None,
    };
    let outputs = hand_on(turn, id, own, output, ends(node))?;
    if let Some(global) = global {
        merge_global(turn, &global)?;
    }
    Ok(outputs)
}

/// What a state hands on whose failure a rule takes.
pub(crate) fn caught(
    turn: &mut Turn<'_>,
    id: EntryId,
    own: &Constructors,
    rule: &Catcher,
    failure: &Failure,
) -> Result<Outputs, Fault> {
    let input = input(turn, id);
    let error = Data::from_value(json!({
        "Error": &*failure.error, "Cause": &*failure.cause,
    }));
    // The old language's `$local` of a failed step.
    let local = Data::from_value(json!({
        "error": &*failure.error, "cause": &*failure.cause, "code": &*failure.error,
    }));
    let given = Given {
        data: &input,
        result: own.steps.is_some().then_some(&local),
        error: Some(&error),
    };
    let output = match &rule.output {
        Some(template) => turn.evaluate(id, given, |env| flow::shape(env, Some(template)))?,
        None => Data::empty_object(),
    };
    hand_on(turn, id, own, output, false)
}

fn ends(node: &Node) -> bool {
    node.next == Next::End || matches!(node.kind, Kind::Succeed)
}

/// In the old language a step's output goes into `$local`, and the next step gets that
/// over the list's input; the list's own output is `$local`.
fn hand_on(
    turn: &mut Turn<'_>,
    id: EntryId,
    own: &Constructors,
    output: Data,
    ends: bool,
) -> Result<Outputs, Fault> {
    let Some(steps) = &own.steps else {
        return Ok(Outputs::new(output, Arc::default()));
    };
    let entry = turn.state.core.entries.get(&id);
    let scope = entry.map(|e| Arc::clone(&e.variables)).unwrap_or_default();
    let empty = Data::empty_object();
    let local = merged(scope.get(SCOPE_LOCAL).unwrap_or(&empty), &output)?;
    let input = scope.get(SCOPE_INPUT).unwrap_or(&empty);
    let onward = if !ends {
        merged(input, &local)?
    } else if let Some(template) = steps.flow.as_ref().and_then(|f| f.output.as_ref()) {
        let mut variables = Variables::clone(&scope);
        variables.insert(SCOPE_LOCAL.into(), local.clone());
        with(turn, id, &variables, input, template)?
    } else {
        local.clone()
    };
    Ok(Outputs {
        onward: Some(onward),
        ..Outputs::new(
            output,
            Arc::new(Variables::from([(SCOPE_LOCAL.into(), local)])),
        )
    })
}

/// Two objects as one; what the second has comes over the first.
fn merged(under: &Data, over: &Data) -> Result<Data, Fault> {
    let (Value::Object(below), Value::Object(above)) = (under.value(), over.value()) else {
        return Ok(over.clone());
    };
    if above.is_empty() {
        return Ok(under.clone());
    }
    if below.is_empty() {
        return Ok(over.clone());
    }
    if size(under.value()).saturating_add(size(over.value())) > PAYLOAD_BYTES_MAX {
        return Err(Fault::too_large("The state's data"));
    }
    let mut all: Map<String, Value> = below.clone();
    all.extend(above.iter().map(|(k, v)| (k.clone(), v.clone())));
    bounded(all.into())
}

fn merge_global(turn: &mut Turn<'_>, set: &Data) -> Result<(), Fault> {
    let core = &mut turn.state.core;
    let merged = match &core.global {
        Some(global) => merged(global, set)?,
        None => set.clone(),
    };
    let old = core.global.as_ref().map_or(0, Data::len_bytes);
    let bytes = turn.state.bytes + merged.len_bytes();
    turn.state.bytes = bytes.saturating_sub(old);
    turn.state.core.global = Some(merged);
    Ok(())
}

/// Inputs and outputs are objects in CloudFlow.
fn object(data: &Data, what: &str) -> Result<(), Fault> {
    match data.value() {
        Value::Object(_) => Ok(()),
        other => Err(Fault::new(
            "FnF.DataNotObject",
            format!(
                "The {what} must be a JSON object, not {}.",
                kind_name(other)
            ),
        )),
    }
}

/// An engine's error name as flows of CloudFlow know it.
pub(crate) fn named(node: &Node, failure: Failure) -> Failure {
    if of(node).is_none() {
        return failure;
    }
    let error: Arc<str> = match &*failure.error {
        "States.Timeout" | "States.HeartbeatTimeout" => "FnF.TaskTimeout".into(),
        "States.Runtime"
        | "States.IntrinsicFailure"
        | "States.ResultPathMatchFailure"
        | "States.QueryEvaluationError" => crate::evaluate::fdl::FAILED.into(),
        "Stepwell.FuelExhausted"
        | "Stepwell.MemoryExceeded"
        | "Stepwell.HostMemoryExceeded"
        | "Stepwell.TableExceeded" => "FC.ResourceExhausted".into(),
        "Stepwell.Trap"
        | "Stepwell.StackOverflow"
        | "Stepwell.InvalidOutput"
        | "Stepwell.Unnamed" => "FC.Unknown".into(),
        other => {
            // What a start of another flow is refused with has the ending of AWS's exceptions.
            let start = other.strip_prefix("StepFunctions.");
            let start = start.map(|rest| rest.strip_suffix("Exception").unwrap_or(rest));
            match other.strip_prefix("States.").or(start) {
                Some(rest) => format!("FnF.{rest}").into(),
                None => return failure,
            }
        }
    };
    Failure { error, ..failure }
}

/// Whether the state is a Fail of the new language, which ends the whole execution.
pub(crate) fn fails_all(node: &Node) -> bool {
    of(node).is_some_and(|own| own.steps.is_none())
}
