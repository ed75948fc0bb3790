//! Succeed: its branch, or the flow, ends well here.
//!
//! Refuses to change the data, but for InputPath and OutputPath.

use stepwell_flow::program::{Next, State as Node};
use stepwell_types::EntryId;

use crate::Error;
use crate::turn::Turn;

pub(crate) fn begin(turn: &mut Turn<'_>, id: EntryId, node: &Node) -> Result<(), Error> {
    match super::passed_through(turn, id, node) {
        Ok(output) => turn.leave(id, output, Next::End),
        Err(fault) => turn.fault(id, fault),
    }
}
