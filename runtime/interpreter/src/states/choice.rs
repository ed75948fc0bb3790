//! Choice: the first rule that holds leads on.
//!
//! Refuses to change the data, but for InputPath and OutputPath.

use stepwell_flow::program::{ChoiceRule, Next, State as Node, StateIdx};
use stepwell_types::EntryId;

use super::{passed_through, through_input_path};
use crate::Error;
use crate::evaluate::{Env, Fault, choice};
use crate::turn::Turn;

pub(crate) fn begin(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    rules: &[ChoiceRule],
    default: Option<StateIdx>,
) -> Result<(), Error> {
    let chosen = through_input_path(turn, id, node)
        .and_then(|input| turn.evaluate(id, &input, |env| choose(env, rules, default)))
        .and_then(|target| Ok((target, passed_through(turn, id, node)?)));
    match chosen {
        Ok((target, output)) => turn.leave(id, output, Next::State(target)),
        Err(fault) => turn.fault(id, fault),
    }
}

fn choose(
    env: &Env<'_>,
    rules: &[ChoiceRule],
    default: Option<StateIdx>,
) -> Result<StateIdx, Fault> {
    for rule in rules {
        if choice::holds(env, &rule.test)? {
            return Ok(rule.next);
        }
    }
    default.ok_or_else(|| {
        Fault::new(
            "States.NoChoiceMatched",
            "Failed to transition out of the state. The state does not point to a next state.",
        )
    })
}
