//! What each state kind does when it is entered, and when its wait is over. One kind a file.
//!
//! Refuses to move between states: [`crate::turn`] does.

use std::sync::Arc;

use stepwell_flow::program::{DataFlow, Kind, State as Node};
use stepwell_types::data::shape;
use stepwell_types::limits::{JSON_DEPTH_MAX, JSON_VALUES_MAX, PAYLOAD_BYTES_MAX};
use stepwell_types::{Data, EntryId, Failure};

use crate::evaluate::{Fault, QUERY_ERROR, flow};
use crate::history::{HistoryKind, Iteration};
use crate::state::{Entry, Join, Parent, Phase};
use crate::turn::{Turn, state_type};
use crate::{Error, cloudflow};

pub mod child;
pub(crate) mod choice;
pub(crate) mod fail;
pub(crate) mod fleet;
pub(crate) mod map;
pub(crate) mod parallel;
pub(crate) mod pass;
pub mod signal;
pub(crate) mod succeed;
pub(crate) mod task;
pub(crate) mod wait;

/// Begins the entry's state: on entering it, and again for each retry.
pub(crate) fn begin(turn: &mut Turn<'_>, id: EntryId) -> Result<(), Error> {
    let Some(node) = turn.node_of(id)? else {
        return Ok(());
    };
    if let Some(own) = cloudflow::of(node)
        && let Err(fault) = cloudflow::enter(turn, id, own)
    {
        return turn.fault(id, fault);
    }
    match &node.kind {
        Kind::Task(task) => task::begin(turn, id, node, task),
        Kind::Pass { result } => pass::begin(turn, id, node, result.as_ref()),
        Kind::Choice { rules, default } => choice::begin(turn, id, node, rules, *default),
        Kind::Parallel { branches } => parallel::begin(turn, id, node, branches),
        Kind::Map(map) => match &map.distributed {
            None => map::begin(turn, id, node, map),
            Some(how) => fleet::begin(turn, id, node, map, how),
        },
        Kind::Wait(until) => wait::begin(turn, id, node, until),
        Kind::Succeed => succeed::begin(turn, id, node),
        Kind::Fail { error, cause } => fail::begin(turn, id, node, error.as_ref(), cause.as_ref()),
    }
}

/// A step ended by itself: an attempt of a Task, or what a distributed Map asked for.
pub(crate) fn step_ended(
    turn: &mut Turn<'_>,
    id: EntryId,
    attempt: u32,
    result: &Result<Data, Failure>,
) -> Result<(), Error> {
    if turn.state.fleet(id, attempt).is_some() {
        return fleet::step_ended(turn, id, result);
    }
    task::step_ended(turn, id, attempt, result)
}

/// Raw input of a live entry.
pub(crate) fn raw_input(turn: &Turn<'_>, id: EntryId) -> Data {
    let entry = turn.state.core.entries.get(&id);
    entry.map_or_else(Data::null, |e| e.input.clone())
}

/// InputPath, then Parameters; in JSONata mode Arguments, in CloudFlow what a step gets.
pub(crate) fn effective_input(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
) -> Result<Data, Fault> {
    match &node.data {
        DataFlow::JsonPath(fields) => {
            let input = through_input_path(turn, id, node)?;
            turn.evaluate(id, &input, |env| {
                flow::shape(env, fields.parameters.as_ref())
            })
        }
        DataFlow::Jsonata(fields) => {
            let raw = raw_input(turn, id);
            turn.evaluate(id, &raw, |env| flow::shape(env, fields.arguments.as_ref()))
        }
        DataFlow::CloudFlow(own) => {
            let input = cloudflow::input(turn, id);
            turn.evaluate(id, &input, |env| flow::shape(env, own.arguments.as_ref()))
        }
    }
}

/// InputPath alone; in JSONata mode the raw input, in CloudFlow `$Input`.
pub(crate) fn through_input_path(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
) -> Result<Data, Fault> {
    let raw = raw_input(turn, id);
    match &node.data {
        DataFlow::JsonPath(fields) => turn.evaluate(id, &raw, |env| {
            flow::through(env, fields.input_path.as_ref())
        }),
        DataFlow::Jsonata(_) => Ok(raw),
        DataFlow::CloudFlow(_) => Ok(cloudflow::input(turn, id)),
    }
}

/// A branch of `parent` failed for good: its iteration ends, and the failure goes up.
pub(crate) fn branch_failed(
    turn: &mut Turn<'_>,
    parent: Parent,
    previous: u64,
) -> Result<(), Error> {
    let Some(node) = turn.node_of(parent.entry)? else {
        return Ok(());
    };
    if matches!(node.kind, Kind::Map(_)) {
        turn.note_of(parent.entry, previous, || HistoryKind::MapIteration {
            what: Iteration::Failed,
            name: Arc::clone(&node.name),
            index: parent.slot,
        });
    }
    if let Some(entry) = turn.state.core.entries.get_mut(&parent.entry) {
        entry.previous = previous;
        if let Some(join) = entry.join_mut() {
            join.children.remove(&parent.slot);
        }
    }
    Ok(())
}

/// `ParallelStateFailed` or `MapStateFailed`, if it had started and not succeeded: what its
/// output fails by is told with the end of the execution, or by the state's exit, as a Task's.
pub(crate) fn note_failed(turn: &mut Turn<'_>, id: EntryId, node: &Node, failure: &Failure) {
    // As recorded: a Map whose items cannot be evaluated fails without having started.
    let items = matches!(node.kind, Kind::Map(_)) && *failure.error == *QUERY_ERROR;
    let entry = turn.state.core.entries.get(&id);
    let going = entry.is_some_and(|e| e.join().is_some() || e.is_fleet());
    let started = (items || going) && turn.joined != Some(id);
    if started {
        let map = matches!(node.kind, Kind::Map(_));
        turn.note_in(id, || {
            if map {
                HistoryKind::MapFailed
            } else {
                HistoryKind::ParallelFailed
            }
        });
    }
}

/// The history of a state, and perhaps an iteration, that ends because a sibling failed.
pub(crate) fn note_aborted(turn: &mut Turn<'_>, parent: EntryId, slot: u32, entry: &Entry<Data>) {
    let Some(node) = turn.program.states.get(entry.state as usize) else {
        return;
    };
    let mut previous = entry.previous;
    if !matches!(entry.phase, Phase::Ready) {
        let kind = || HistoryKind::Aborted(state_type(&node.kind));
        previous = turn.note_at(Some((entry.state, Some(slot))), previous, kind);
    }
    if let Ok(Some(around)) = turn.node_of(parent)
        && matches!(around.kind, Kind::Map(_))
    {
        turn.note_of(parent, previous, || HistoryKind::MapIteration {
            what: Iteration::Aborted,
            name: Arc::clone(&around.name),
            index: slot,
        });
    }
}

/// The joined outputs, if they stay within the limits of a payload.
pub(crate) fn joined_output(join: &Join<Data>) -> Result<Data, Fault> {
    let bytes: usize = join
        .results
        .iter()
        .flatten()
        .map(|d| d.len_bytes() + 1)
        .sum();
    if bytes > PAYLOAD_BYTES_MAX {
        return Err(Fault::too_large("The state's output"));
    }
    let joined = join.array();
    let shape = shape(joined.text());
    if shape.depth >= JSON_DEPTH_MAX {
        return Err(Fault::new(
            "States.DataLimitExceeded",
            "The state's output is nested too deep.",
        ));
    }
    if shape.values > JSON_VALUES_MAX {
        return Err(Fault::too_many("The state's output"));
    }
    Ok(joined)
}
