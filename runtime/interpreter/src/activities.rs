//! Tasks of activities: which ones wait for a worker, and which ones a worker has.
//!
//! Refuses to hand one out: the driver does.

use std::sync::Arc;

use stepwell_flow::Program;
use stepwell_flow::program::Kind;
use stepwell_types::{EntryId, StepTarget, Timestamp};

use crate::State;
use crate::state::Phase;

/// A task of an activity that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenActivity<'a> {
    /// Which state entry.
    pub entry: EntryId,
    /// Which attempt.
    pub attempt: u32,
    /// The state's name.
    pub state: &'a Arc<str>,
    /// The activity's.
    pub activity: &'a Arc<str>,
    /// When the state was entered.
    pub since: Timestamp,
    /// Whether a worker has it.
    pub taken: bool,
}

/// The tasks of activities of an execution that runs this program.
pub fn activities<'a>(
    program: &'a Program,
    state: &'a State,
) -> impl Iterator<Item = OpenActivity<'a>> {
    let entries = state.core.entries.iter();
    let running = entries.filter(|_| state.outcome.is_none());
    running.filter_map(|(id, entry)| {
        let Phase::Running(run) = &entry.phase else {
            return None;
        };
        let node = program.states.get(entry.state as usize)?;
        let Kind::Task(task) = &node.kind else {
            return None;
        };
        let StepTarget::Activity { name } = &task.target else {
            return None;
        };
        Some(OpenActivity {
            entry: *id,
            attempt: entry.attempt,
            state: &node.name,
            activity: name,
            since: entry.entered_at,
            taken: !run.step,
        })
    })
}
