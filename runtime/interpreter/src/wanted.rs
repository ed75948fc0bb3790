//! What an execution wants that is not told by its last event: after a crash, and of outside programs.
//!
//! Refuses to change anything.

use stepwell_flow::Program;
use stepwell_flow::program::Kind;

use crate::Command;
use crate::state::{Phase, State};
use crate::states::{self, task};

/// What a resumed execution still wants: a `Run` for every attempt whose step's end is
/// awaited (same entry, attempt, input, token and seed), and `Continue` if a turn was cut.
pub fn outstanding(program: &Program, state: &State, out: &mut Vec<Command>) {
    if state.outcome.is_some() {
        return;
    }
    for (id, entry) in &state.core.entries {
        states::fleet::outstanding(program, state, *id, entry, out);
        if let Phase::Running(run) = &entry.phase
            && let Some(node) = program.states.get(entry.state as usize)
            && let Kind::Task(task) = &node.kind
            && (run.step || task.target.is_outside())
            && !task.target.is_between()
        {
            out.push(Command::Run(task::command(
                state, *id, entry, node, task, run,
            )));
        }
    }
    if state.core.cut {
        out.push(Command::Continue);
    }
}

/// A `Run` for every attempt that waits for its token, whether its step still runs or not:
/// what outside programs may answer. Nothing is to be run because of these.
pub fn open_tasks(program: &Program, state: &State, out: &mut Vec<Command>) {
    if state.outcome.is_some() {
        return;
    }
    for (id, entry) in &state.core.entries {
        if let Phase::Running(run) = &entry.phase
            && let Some(node) = program.states.get(entry.state as usize)
            && let Kind::Task(task) = &node.kind
            && task.wait_for_token
        {
            out.push(Command::Run(task::command(
                state, *id, entry, node, task, run,
            )));
        }
    }
}
