//! What the interpreter wants done.

use std::sync::Arc;

use stepwell_types::{
    ChildStart, Data, EntryId, ExecutionId, Failure, SignalSend, StepTarget, TaskToken, Timestamp,
};

/// One wish. The driver carries it out; the interpreter has touched nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Begin one attempt of a step.
    Run(RunStep),
    /// The attempt's answer is no longer wanted: stop it if it runs.
    Abort {
        /// Which state entry.
        entry: EntryId,
        /// Which attempt.
        attempt: u32,
    },
    /// Start another execution. Sent until it is answered: the driver keeps it where a
    /// crash does not reach it, so [`crate::outstanding`] does not repeat it. But for a child
    /// that is kept in memory, or may be known from before a redrive: that one is repeated.
    StartChild(Box<ChildStart>),
    /// A child's end is no longer wanted: cancel it, whether it has started or not.
    CancelChild {
        /// Whom.
        child: ExecutionId,
        /// Which attempt of the entry no longer waits: a later one may want the same child.
        attempt: u32,
        /// It is kept in memory, beside this execution.
        express: bool,
    },
    /// Send another execution a signal. Sent until it is answered, like [`Command::StartChild`].
    Signal {
        /// Which state entry sends.
        entry: EntryId,
        /// Which attempt waits for the answer.
        attempt: u32,
        /// What, and whom for.
        send: Box<SignalSend>,
    },
    /// The results of a distributed Map's run are no longer needed.
    ForgetResults {
        /// The state entry.
        entry: EntryId,
        /// Which of its runs.
        run: u32,
    },
    /// The turn reached its bound: feed [`crate::Event::Continued`] when others had their turn.
    Continue,
    /// The execution has ended. Always the last.
    Finish(Outcome),
}

/// One attempt to begin.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStep {
    /// The state's name.
    pub state: Arc<str>,
    /// The state entry.
    pub entry: EntryId,
    /// From 0.
    pub attempt: u32,
    /// What runs.
    pub target: StepTarget,
    /// Effective input.
    pub input: Data,
    /// When the attempt times out, if the flow says so.
    pub deadline: Option<Timestamp>,
    /// The token that the attempt may hand out.
    pub token: Option<TaskToken>,
    /// Seed of the attempt's randomness.
    pub seed: u64,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Outcome {
    /// With this output.
    Succeeded(Data),
    /// With a failure that nothing caught.
    Failed(Failure),
    /// Its own `TimeoutSeconds` passed.
    TimedOut(Failure),
    /// Somebody cancelled it.
    Aborted(Failure),
}
