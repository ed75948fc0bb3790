//! The history of an execution, as Step Functions tells it.
//!
//! Events are numbered while the interpreter runs and rendered when someone reads;
//! nothing here is stored. Refuses to invent: what a reader sees follows from the log alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use stepwell_types::{Data, Failure, Signal, StepTarget, Timestamp};

pub mod render;

/// Takes history events as they happen.
pub trait Observer {
    /// Whether [`Observer::event`] wants to be called; when not, events are only counted.
    fn wants(&self) -> bool;
    /// One event.
    fn event(&mut self, at: Timestamp, event: HistoryEvent);
}

/// Wants nothing and costs nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHistory;

impl Observer for NoHistory {
    fn wants(&self) -> bool {
        false
    }
    fn event(&mut self, _at: Timestamp, _event: HistoryEvent) {}
}

/// Collects them all.
impl Observer for Vec<(Timestamp, HistoryEvent)> {
    fn wants(&self) -> bool {
        true
    }
    fn event(&mut self, at: Timestamp, event: HistoryEvent) {
        self.push((at, event));
    }
}

/// One numbered line of the history.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEvent {
    /// From 1, without gaps.
    pub id: u64,
    /// The event that led to it within its branch; 0: none.
    pub previous: u64,
    /// In which state; `None`: in the execution as a whole.
    pub place: Option<Place>,
    /// What happened.
    pub kind: HistoryKind,
}

/// The state that an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub state: Arc<str>,
    /// Which branch of the Parallel, or item of the Map, right around it, from 0.
    pub index: Option<u32>,
}

/// The kinds of state that enter and exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the specification's own names")]
pub enum StateType {
    Task,
    Pass,
    Choice,
    Wait,
    Succeed,
    Fail,
    Parallel,
    Map,
}

/// What one history event tells.
#[derive(Debug, Clone, PartialEq)]
pub enum HistoryKind {
    /// `ExecutionStarted`.
    ExecutionStarted {
        /// Raw input.
        input: Data,
    },
    /// `ExecutionSucceeded`.
    ExecutionSucceeded {
        /// Output.
        output: Data,
    },
    /// `ExecutionFailed`.
    ExecutionFailed(Failure),
    /// `ExecutionTimedOut`.
    ExecutionTimedOut(Failure),
    /// `ExecutionAborted`.
    ExecutionAborted(Failure),
    /// `ExecutionRedriven`.
    ExecutionRedriven {
        /// Which redrive, from 1.
        count: u32,
        /// The flow's version that it goes on with.
        version: u32,
    },
    /// `…StateEntered`.
    Entered {
        /// Which kind.
        state: StateType,
        /// The state's name.
        name: Arc<str>,
        /// Raw input.
        input: Data,
    },
    /// `…StateExited`.
    Exited {
        /// Which kind.
        state: StateType,
        /// The state's name.
        name: Arc<str>,
        /// Output.
        output: Data,
        /// The variables that the state assigned.
        assigned: Arc<BTreeMap<Arc<str>, Data>>,
    },
    /// `SignalReceived`.
    SignalReceived {
        /// What came.
        signal: Signal,
    },
    /// `EvaluationFailed`: an expression of JSONata mode.
    EvaluationFailed {
        /// The state's name.
        state: Arc<str>,
        /// The field, if one is to blame.
        location: Option<Box<str>>,
        /// Why.
        failure: Failure,
    },
    /// `…StateAborted`: a sibling branch failed.
    Aborted(StateType),
    /// `TaskScheduled`, or `LambdaFunctionScheduled`.
    TaskScheduled {
        /// `Resource` as written.
        resource: Arc<str>,
        /// What it means.
        target: StepTarget,
        /// Effective input.
        input: Data,
        /// Seconds.
        timeout: Option<u64>,
        /// Seconds.
        heartbeat: Option<u64>,
        /// `RoleArn` of its `Credentials`.
        role: Option<Arc<str>>,
    },
    /// `TaskStarted`, or `LambdaFunctionStarted`.
    TaskStarted {
        /// `Resource` as written.
        resource: Arc<str>,
        /// How an activity's worker calls itself.
        worker: Option<Arc<str>>,
    },
    /// `TaskSubmitted`: the step ended, its token's answer is awaited.
    TaskSubmitted {
        /// `Resource` as written.
        resource: Arc<str>,
        /// The step's answer.
        output: Data,
    },
    /// `TaskSucceeded`, or `LambdaFunctionSucceeded`.
    TaskSucceeded {
        /// `Resource` as written.
        resource: Arc<str>,
        /// The task's answer.
        output: Data,
    },
    /// `TaskFailed`, or `LambdaFunctionFailed`.
    TaskFailed {
        /// `Resource` as written.
        resource: Arc<str>,
        /// Why.
        failure: Failure,
    },
    /// `TaskTimedOut`, or `LambdaFunctionTimedOut`.
    TaskTimedOut {
        /// `Resource` as written.
        resource: Arc<str>,
        /// Which limit.
        failure: Failure,
    },
    /// `ParallelStateStarted`.
    ParallelStarted,
    /// `ParallelStateSucceeded`.
    ParallelSucceeded,
    /// `ParallelStateFailed`.
    ParallelFailed,
    /// `MapStateStarted`.
    MapStarted {
        /// Number of items.
        length: usize,
    },
    /// `MapStateSucceeded`.
    MapSucceeded,
    /// `MapStateFailed`.
    MapFailed,
    /// `MapRunStarted`: the children of a distributed Map begin.
    MapRunStarted {
        /// The run's name.
        run: Arc<str>,
    },
    /// `MapRunRedriven`.
    MapRunRedriven {
        /// The run's name.
        run: Arc<str>,
        /// Redrives of the execution so far.
        count: u32,
    },
    /// `MapRunSucceeded`.
    MapRunSucceeded,
    /// `MapRunFailed`.
    MapRunFailed(Failure),
    /// `MapRunAborted`: what is around it ended.
    MapRunAborted,
    /// `MapIterationStarted`, `…Succeeded`, `…Failed`, `…Aborted`.
    MapIteration {
        /// Which of the four.
        what: Iteration,
        /// The Map state's name.
        name: Arc<str>,
        /// Index of the item.
        index: u32,
    },
}

/// What became of an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Iteration {
    Started,
    Succeeded,
    Failed,
    Aborted,
}
