//! The states that an execution is in, and what each of them waits for: for people.
//!
//! Refuses to decide anything by it.

use std::fmt;
use std::sync::Arc;

use stepwell_flow::Program;
use stepwell_flow::program::{Kind, Task};
use stepwell_types::{Data, EntryId, ExecutionId, StepTarget, Timestamp};

use crate::State;
use crate::state::{Phase, Running};

/// A state that an execution has entered and not left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Active {
    /// Which entry.
    pub entry: EntryId,
    /// Which attempt, from 0.
    pub attempt: u32,
    /// The state's name.
    pub state: Arc<str>,
    /// Which branch of the Parallel, or item of the Map, right around it, from 0.
    pub index: Option<u32>,
    /// When the state was entered: further attempts do not enter it again.
    pub since: Timestamp,
    /// What it waits for.
    pub awaits: Awaits,
    /// When that is over in any case: a timer's end, a time-out, a missed heartbeat.
    pub until: Option<Timestamp>,
}

/// What a state waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Awaits {
    /// To be entered, or to go on: the execution is at work.
    Turn,
    /// The end of what its `Resource`, as written, runs.
    Step(Arc<str>),
    /// An outside program's answer by its token.
    Token,
    /// A worker of this activity.
    Worker(Arc<str>),
    /// The answer of the worker of this activity that has it.
    Answer(Arc<str>),
    /// The first of these signals.
    Signal(Vec<Arc<str>>),
    /// The end of an execution that it started.
    Child(ExecutionId),
    /// Its next attempt.
    Retry,
    /// The end of a Wait.
    Timer,
    /// Branches of a Parallel.
    Branches {
        /// Those that have not ended.
        left: u32,
        /// All.
        of: usize,
    },
    /// Items of a Map.
    Items {
        /// Those that have not ended.
        left: u32,
        /// All.
        of: usize,
    },
    /// Children of a distributed Map.
    Fleet {
        /// Executions under way.
        away: usize,
        /// Items that succeeded.
        succeeded: u64,
        /// Items that did not.
        failed: u64,
        /// All items, or the most that there can be; `None`: nobody knows yet.
        total: Option<u64>,
    },
}

/// The states that an execution of this program is in, in the order in which they were entered:
/// a Parallel or Map before what is inside of it. None of one that has ended.
pub fn active<'a>(program: &'a Program, state: &'a State) -> impl Iterator<Item = Active> {
    let entries = state.core.entries.iter();
    let live = entries.filter(|_| state.outcome.is_none());
    live.filter_map(|(id, entry)| {
        let node = program.states.get(entry.state as usize)?;
        let awaits = match (&entry.phase, &node.kind) {
            (Phase::Running(run), Kind::Task(task)) => of_task(task, run),
            (Phase::Ready | Phase::Running(_), _) => Awaits::Turn,
            (Phase::Backoff(_), _) => Awaits::Retry,
            (Phase::Waiting(_), _) => Awaits::Timer,
            (Phase::Parallel(run), _) => Awaits::Branches {
                left: run.join.missing,
                of: run.join.results.len(),
            },
            (Phase::Map(map), _) => Awaits::Items {
                left: map.join.missing,
                of: map.join.results.len(),
            },
            (Phase::Fleet(fleet), _) => Awaits::Fleet {
                away: fleet.away.len(),
                succeeded: fleet.succeeded,
                failed: fleet.failed,
                total: fleet.total(),
            },
        };
        let until = entry.timers().map(|(at, _)| at).min();
        Some(Active {
            entry: *id,
            attempt: entry.attempt,
            state: Arc::clone(&node.name),
            index: entry.parent.map(|parent| parent.slot),
            since: entry.entered_at,
            awaits,
            until: until.filter(|at| *at != Timestamp::MAX),
        })
    })
}

/// The state whose failure ended an execution of this program; `None`: nothing did, or it was ended
/// from outside of its states.
#[must_use]
pub fn failed_in<'a>(program: &'a Program, state: &State) -> Option<&'a Arc<str>> {
    let failed = state.core.failed?;
    let entry = state.core.halted.get(&failed)?;
    let node = program.states.get(entry.state as usize)?;
    Some(&node.name)
}

fn of_task(task: &Task, run: &Running<Data>) -> Awaits {
    if let StepTarget::Activity { name } = &task.target {
        let name = Arc::clone(name);
        return match run.step {
            true => Awaits::Worker(name),
            false => Awaits::Answer(name),
        };
    }
    if let Some(wanted) = &run.signals {
        return Awaits::Signal(wanted.names.clone());
    }
    match run.child {
        Some(child) => Awaits::Child(child),
        None if run.step => Awaits::Step(Arc::clone(&task.resource)),
        None => Awaits::Token,
    }
}

impl fmt::Display for Awaits {
    /// What stands behind `waits for`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Awaits::Turn => f.write_str("its turn"),
            Awaits::Step(resource) => write!(f, "the end of {resource}"),
            Awaits::Token => f.write_str("its token"),
            Awaits::Worker(activity) => write!(f, "a worker of activity {activity}"),
            Awaits::Answer(activity) => write!(f, "the worker of activity {activity}"),
            Awaits::Signal(names) => write!(f, "signal {}", names.join(" or ")),
            Awaits::Child(id) => write!(f, "execution {id}"),
            Awaits::Retry => f.write_str("its next attempt"),
            Awaits::Timer => f.write_str("its timer"),
            Awaits::Branches { left, of } => write!(f, "{left} of {of} branches"),
            Awaits::Items { left, of } => write!(f, "{left} of {of} items"),
            Awaits::Fleet {
                away,
                succeeded,
                failed,
                total,
            } => {
                write!(f, "its children: {away} under way, ")?;
                write!(f, "{succeeded} items succeeded and {failed} failed")?;
                match total {
                    Some(total) => write!(f, " of {total}"),
                    None => Ok(()),
                }
            }
        }
    }
}
