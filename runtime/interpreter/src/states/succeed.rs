//! Succeed: its branch, or the flow, ends well here.
//!
//! Refuses to change the data, but for InputPath, OutputPath and Output.

use stepwell_flow::program::{Next, State as Node};
use stepwell_types::EntryId;

use crate::Error;
use crate::outputs;
use crate::turn::Turn;

pub(crate) fn begin(turn: &mut Turn<'_>, id: EntryId, node: &Node) -> Result<(), Error> {
    match outputs::of_input(turn, id, node, None) {
        Ok(outputs) => turn.leave(id, outputs, Next::End),
        Err(fault) => turn.fault(id, fault),
    }
}
