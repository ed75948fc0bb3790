//! Parallel: branches side by side, joined into an array.
//!
//! Refuses to let siblings go on when one fails: the turn aborts them.

use std::sync::Arc;

use stepwell_flow::program::{GraphIdx, Kind, State as Node};
use stepwell_types::{Data, EntryId};

use crate::history::HistoryKind;
use crate::state::{Join, ParallelRun, Parent, Phase, Work};
use crate::turn::Turn;
use crate::{Error, cloudflow};

/// Begins all branches.
pub(crate) fn begin(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    branches: &[GraphIdx],
) -> Result<(), Error> {
    let input = match super::effective_input(turn, id, node) {
        Ok(input) => input,
        Err(fault) => return turn.fault(id, fault),
    };
    turn.note_in(id, || HistoryKind::ParallelStarted);
    let attempt = turn.state.core.entries.get(&id).map_or(0, |e| e.attempt);
    let join = Join::new(branches.len());
    turn.state
        .set_phase(id, Phase::Parallel(ParallelRun { join, input }));
    for slot in (0..branches.len()).rev() {
        turn.state.core.work.push(Work::Branch {
            entry: id,
            attempt,
            slot: u32::try_from(slot).unwrap_or(u32::MAX),
        });
    }
    Ok(())
}

/// Begins one branch, if its Parallel still wants it; or an iteration of a Map.
pub(crate) fn branch(
    turn: &mut Turn<'_>,
    id: EntryId,
    attempt: u32,
    slot: u32,
) -> Result<(), Error> {
    let Some(entry) = turn.state.core.entries.get(&id) else {
        return Ok(());
    };
    if entry.attempt != attempt {
        return Ok(());
    }
    let Phase::Parallel(run) = &entry.phase else {
        return super::map::iteration(turn, id, slot);
    };
    let (previous, input) = (entry.previous, run.input.clone());
    let own = Arc::clone(&entry.variables);
    let node = turn.node(entry.state)?;
    let variables = cloudflow::inherited(node, &own);
    let Kind::Parallel { branches } = &node.kind else {
        return Ok(());
    };
    let first = branches
        .get(slot as usize)
        .and_then(|graph| turn.program.graphs.get(graph.0 as usize))
        .ok_or(Error::ForeignProgram("a branch is missing"))?
        .start;
    let parent = Parent { entry: id, slot };
    turn.spawn(Some(parent), first, input, variables, previous, 0);
    Ok(())
}

/// A branch has its output.
pub(crate) fn joined(
    turn: &mut Turn<'_>,
    parent: Parent,
    previous: u64,
    output: Data,
) -> Result<(), Error> {
    let Some(entry) = turn.state.core.entries.get_mut(&parent.entry) else {
        return Ok(());
    };
    let Phase::Parallel(run) = &mut entry.phase else {
        return Ok(());
    };
    let bytes = run.join.take(parent.slot, output);
    entry.weight += bytes;
    turn.state.bytes += bytes;
    turn.state.taken_in += bytes as u64;
    if run.join.missing > 0 {
        return Ok(());
    }
    entry.previous = previous;
    succeed(turn, parent.entry)
}

/// All branches have their outputs.
pub(crate) fn succeed(turn: &mut Turn<'_>, id: EntryId) -> Result<(), Error> {
    let Some(entry) = turn.state.core.entries.get(&id) else {
        return Ok(());
    };
    let Some(join) = entry.join() else {
        return Ok(());
    };
    let (previous, output) = (entry.previous, super::joined_output(join));
    turn.note_of(id, previous, || HistoryKind::ParallelSucceeded);
    turn.joined = Some(id);
    match output {
        Ok(output) => turn.complete(id, output),
        Err(fault) => turn.fault(id, fault),
    }
}
