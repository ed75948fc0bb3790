//! Pass: the input, shaped, or a fixed result.
//!
//! Refuses to wait for anything.

use serde_json::Value;
use stepwell_flow::program::{DataFlow, State as Node};
use stepwell_types::{Data, EntryId};

use super::effective_input;
use crate::turn::Turn;
use crate::{Error, outputs};

pub(crate) fn begin(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    result: Option<&Value>,
) -> Result<(), Error> {
    let outputs = match &node.data {
        DataFlow::JsonPath(_) => effective_input(turn, id, node)
            .map(|effective| result.map_or(effective, |fixed| Data::from_value(fixed.clone())))
            .and_then(|result| outputs::of_result(turn, id, node, &result)),
        DataFlow::Jsonata(_) | DataFlow::CloudFlow(_) => outputs::of_input(turn, id, node, None),
    };
    match outputs {
        Ok(outputs) => turn.leave(id, outputs, node.next),
        Err(fault) => turn.fault(id, fault),
    }
}
