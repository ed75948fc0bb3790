//! A turn, guarded: a fault of the interpreter costs one execution, never the process.
//!
//! Whatever walks an event goes through here: the driver, a restart, and whoever reads a history.

use std::panic::{AssertUnwindSafe, catch_unwind};

use stepwell_flow::Program;
use stepwell_interpreter::{Command, Event, Observer, State};
use stepwell_types::Timestamp;

use crate::ports::Programs;

/// Walks one event. After an error the state may be half walked: it is not to be used.
pub(crate) fn walk(
    programs: &dyn Programs,
    program: &Program,
    state: &mut State,
    (event, at): (&Event, Timestamp),
    seen: &mut dyn Observer,
    commands: &mut Vec<Command>,
) -> Result<(), String> {
    match guarded(|| programs.step(program, state, event, at, seen, commands))? {
        Ok(()) => Ok(()),
        Err(e) => Err(e.to_string()),
    }
}

/// What a state still wants done, after a restart.
pub(crate) fn outstanding(program: &Program, state: &State) -> Result<Vec<Command>, String> {
    guarded(|| {
        let mut commands = Vec::new();
        stepwell_interpreter::outstanding(program, state, &mut commands);
        commands
    })
}

fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| "the interpreter panicked on this event; please report it".to_owned())
}

#[cfg(test)]
mod tests;
