//! Express executions among the others: nothing of them is durable while they run, and yet
//! each that was accepted ends, with the right result.

use std::sync::Arc;

use stepwell_flow::program::{Keep, Mode};
use stepwell_interpreter::Outcome;
use stepwell_orchestrator::api::{Execution, Status};
use stepwell_orchestrator::driver::read_execution;
use stepwell_types::{Data, ExecutionId, Failure};

use super::world::{Known, World};
use super::{checks, flows, oracle};
use crate::random::Random;

/// The name of the flow whose executions are express ones.
pub const NAME: &str = "express";

/// Such a flow, with one of the ways of keeping a history.
///
/// # Errors
/// The compiler refuses it.
pub fn program(random: &mut Random) -> Result<stepwell_flow::Program, String> {
    let text = flows::express_definition(random);
    let checked = stepwell_flow::compile(&text, &stepwell_flow::AnyModule);
    let mut program = checked
        .program
        .ok_or_else(|| format!("flow {text} does not compile: {:?}", checked.diagnostics))?;
    program.make_express([Keep::None, Keep::Errors, Keep::All][random.index(3)]);
    Ok(program)
}

/// Whether executions of a flow are express ones.
#[must_use]
pub fn is_express(world: &World, flow: &Arc<str>) -> bool {
    let program = world.flows.0.get(flow);
    program.is_some_and(|program| program.mode != Mode::Standard)
}

/// Whether this is one, as far as a client knows.
#[must_use]
pub fn is_one(world: &World, id: ExecutionId) -> bool {
    let known = world.known.get(&id);
    known.is_some_and(|known| is_express(world, &known.flow))
}

/// Its end, as a client is told it.
#[must_use]
pub fn end_of(execution: &Execution) -> Option<Outcome> {
    let failure = || {
        execution
            .failure
            .clone()
            .unwrap_or_else(|| Failure::new("", ""))
    };
    Some(match execution.status {
        Status::Running => return None,
        Status::Succeeded => {
            Outcome::Succeeded(execution.output.clone().unwrap_or_else(Data::null))
        }
        Status::Failed => Outcome::Failed(failure()),
        Status::TimedOut => Outcome::TimedOut(failure()),
        Status::Aborted => Outcome::Aborted(failure()),
    })
}

/// One that was accepted has ended, as it should; one that was waited for, as it was told.
///
/// # Errors
/// What is wrong with it.
pub fn ended_right(world: &World, id: ExecutionId, known: &Known) -> Result<(), String> {
    let mut ends: Vec<Outcome> = known.told.iter().cloned().collect();
    if checks::is_there(world, id)? {
        let stored = read_execution(&world.memory, id).map_err(|e| e.to_string())?;
        let end = end_of(&stored).ok_or_else(|| format!("{id}: accepted, and never ended"))?;
        if known.cancelled && !matches!(end, Outcome::Aborted(_)) {
            return Err(format!(
                "{id}: a cancel was acknowledged, but it ended {end:?}"
            ));
        }
        ends.push(end);
    } else if known.accepted && known.told.is_none() && !known.cancelled {
        return Err(format!("{id}: an express execution was accepted, and lost"));
    }
    let input = known.input.clone().ok_or("a start without an input")?;
    let right = oracle::outcome(world, &known.flow, &input)?;
    for end in ends {
        let fine = match &end {
            Outcome::Aborted(_) => known.cancel_sent,
            // A simulated clock may well use up its five minutes.
            Outcome::TimedOut(_) => true,
            end => *end == right || matches!(right, Outcome::TimedOut(_)),
        };
        if !fine {
            return Err(format!("{id}: ended {end:?}, but right is {right:?}"));
        }
    }
    Ok(())
}
