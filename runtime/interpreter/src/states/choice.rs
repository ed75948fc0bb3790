//! Choice: the first rule that holds leads on.
//!
//! Refuses to change the data, but for InputPath, OutputPath and Output.

use stepwell_flow::program::{ChoiceRule, Next, State as Node, StateIdx};
use stepwell_types::EntryId;

use super::through_input_path;
use crate::evaluate::{Env, Fault, choice};
use crate::turn::Turn;
use crate::{Error, outputs};

pub(crate) fn begin(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    rules: &[ChoiceRule],
    default: Option<StateIdx>,
) -> Result<(), Error> {
    let chosen = through_input_path(turn, id, node)
        .and_then(|input| turn.evaluate(id, &input, |env| choose(env, rules, default)))
        .and_then(|(target, rule)| Ok((target, outputs::of_input(turn, id, node, rule)?)));
    match chosen {
        Ok((target, outputs)) => turn.leave(id, outputs, Next::State(target)),
        Err(fault) => turn.fault(id, fault),
    }
}

/// The rule that holds, or the default, and where it leads.
fn choose<'r>(
    env: &Env<'_>,
    rules: &'r [ChoiceRule],
    default: Option<StateIdx>,
) -> Result<(StateIdx, Option<&'r ChoiceRule>), Fault> {
    for rule in rules {
        if choice::holds(env, &rule.test)? {
            return Ok((rule.next, Some(rule)));
        }
    }
    default.map(|target| (target, None)).ok_or_else(|| {
        Fault::new(
            "States.NoChoiceMatched",
            "Failed to transition out of the state. The state does not point to a next state.",
        )
    })
}
