//! Pass: the input, shaped, or a fixed result.
//!
//! Refuses to wait for anything.

use serde_json::Value;
use stepwell_flow::program::State as Node;
use stepwell_types::{Data, EntryId};

use super::{effective_input, raw_input};
use crate::Error;
use crate::evaluate::flow;
use crate::turn::Turn;

pub(crate) fn begin(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    result: Option<&Value>,
) -> Result<(), Error> {
    let raw = raw_input(turn, id);
    let output = effective_input(turn, id, node)
        .map(|effective| result.map_or(effective, |fixed| Data::from_value(fixed.clone())))
        .and_then(|result| flow::merge(&raw, result, &node.data.result_path))
        .and_then(|merged| {
            turn.evaluate(id, &merged, |env| {
                flow::through(env, node.data.output_path.as_ref())
            })
        });
    match output {
        Ok(output) => turn.leave(id, output, node.next),
        Err(fault) => turn.fault(id, fault),
    }
}
