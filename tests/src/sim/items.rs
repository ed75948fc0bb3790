//! Items of distributed Maps.

use std::collections::BTreeSet;

use stepwell_interpreter::{Command, Event, Outcome, State};
use stepwell_orchestrator::ports::Programs as _;
use stepwell_types::ExecutionId;

use super::checks;
use super::faults::{event_of, walk};
use super::world::World;

/// An item whose success is recorded does not begin again, however often it is redriven.
pub(super) fn are_done_once(world: &World, id: ExecutionId) -> Result<(), String> {
    let Some(flow) = checks::flow_of(world, id)? else {
        return Ok(());
    };
    let mut program = world.flows.program(&flow).map_err(|e| e.to_string())?;
    let mut walked = State::new(id);
    let mut done = BTreeSet::new();
    for logged in checks::log(world, id)? {
        let Some((event, _, whole)) = event_of(&logged) else {
            continue;
        };
        if let Event::Redriven { flow, .. } = event {
            let new = world.flows.program(flow).map_err(|e| e.to_string())?;
            walked.rebase(&program, &new).map_err(|e| e.to_string())?;
            program = new;
        }
        if let Event::ItemEnded {
            entry,
            slot,
            failed: false,
            ..
        } = event
            && whole
        {
            done.insert((*entry, *slot));
        }
        let mut commands = Vec::new();
        walk(&program, &mut walked, &logged, &mut commands)?;
        for command in commands {
            match command {
                Command::ForgetResults { entry, .. } => done.retain(|(e, _)| *e != entry),
                Command::StartChild(start) => {
                    let slot = start.link.item.unwrap_or_default();
                    let known = start.again && done.contains(&(start.link.entry, slot));
                    // A standard one is the child that succeeded; an express one is another.
                    let undone = |s: State| {
                        start.link.express || !matches!(s.outcome(), Some(Outcome::Succeeded(_)))
                    };
                    if known && checks::state(world, start.child)?.is_some_and(undone) {
                        return Err(format!("{id}: item {slot} was done, and done again"));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}
