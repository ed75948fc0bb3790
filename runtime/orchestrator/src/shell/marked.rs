//! Turns on record: each stands in the black box while it is walked.
//!
//! Refuses to change what a turn decides.

use std::sync::Arc;

use stepwell_flow::Program;
use stepwell_interpreter::{Command, Event, Observer, State};
use stepwell_types::{FlowRef, Timestamp};

use crate::Error;
use crate::ports::{BlackBox, Programs};
use crate::suspects::WALK;

/// The programs of those who drive executions. Who only tells of them walks unmarked: what
/// kills the process then is not tried again by the next one.
pub(super) struct Marked {
    pub programs: Arc<dyn Programs>,
    pub black_box: Arc<dyn BlackBox>,
}

/// Also when a turn panics, it is over.
struct Left<'a>(&'a dyn BlackBox);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Programs for Marked {
    fn program(&self, flow: &FlowRef) -> Result<Arc<Program>, Error> {
        self.programs.program(flow)
    }

    fn may_begin(&self, flow: &FlowRef) -> Result<(), Error> {
        self.programs.may_begin(flow)
    }

    fn is_ready(&self, flow: &FlowRef) -> bool {
        self.programs.is_ready(flow)
    }

    fn newest(&self, flow: &str) -> Result<u32, Error> {
        self.programs.newest(flow)
    }

    fn step(
        &self,
        program: &Program,
        state: &mut State,
        event: &Event,
        at: Timestamp,
        seen: &mut dyn Observer,
        out: &mut Vec<Command>,
    ) -> Result<(), stepwell_interpreter::Error> {
        self.black_box.enter((state.execution(), WALK.0, WALK.1));
        let _left = Left(&*self.black_box);
        self.programs.step(program, state, event, at, seen, out)
    }
}
