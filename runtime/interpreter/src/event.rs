//! What happened: the inputs of the interpreter, and the only thing that the log holds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stepwell_types::{Data, EntryId, Failure, FlowRef, ParentLink, Signal, Spent};

/// One happening. With the time at which it was recorded, it is all that
/// decides what an execution does next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The execution begins. Always the first.
    Started {
        /// Definition and version.
        flow: FlowRef,
        /// The execution's name (its id when it was given none).
        name: Arc<str>,
        /// Raw input.
        input: Data,
        /// Secret seed of tokens, jitter and every random choice.
        seed: [u8; 16],
        /// The execution that started this one.
        parent: Option<Arc<ParentLink>>,
    },
    /// The step of one attempt ended by itself.
    StepEnded {
        /// Which state entry.
        entry: EntryId,
        /// Which attempt, from 0.
        attempt: u32,
        /// Its answer.
        result: Result<Data, Failure>,
        /// Its cost.
        spent: Spent,
    },
    /// An outside program ended the task by its token.
    TokenEnded {
        /// Which state entry.
        entry: EntryId,
        /// Which attempt, from 0.
        attempt: u32,
        /// Its answer.
        result: Result<Data, Failure>,
    },
    /// An outside program says by its token that it is still at work.
    Heartbeat {
        /// Which state entry.
        entry: EntryId,
        /// Which attempt, from 0.
        attempt: u32,
    },
    /// A timer of [`crate::State::next_timer`] came due.
    TimerFired {
        /// Which state entry; `EntryId(0)`: the whole execution.
        entry: EntryId,
        /// Which of its timers.
        timer: Timer,
    },
    /// Somebody ends the execution.
    Cancelled {
        /// Error name and cause to record.
        failure: Failure,
    },
    /// The engine ends this execution: its data takes more memory than one may have, say.
    Broken {
        /// Why.
        failure: Failure,
    },
    /// A turn that was cut short goes on ([`crate::Command::Continue`]).
    Continued,
    /// An execution that ended without success goes on from where it was ([`crate::redrive`]).
    Redriven {
        /// The version that it runs from now on: the same flow's.
        flow: FlowRef,
        /// Another input for one of the states that are entered anew, by its old entry.
        input: Option<(EntryId, Data)>,
        /// Of an item of a distributed Map that was redriven: the parent's attempt which waits
        /// for it now. One that still runs takes note of that, and nothing else happens.
        attempt: Option<u32>,
    },
    /// A worker took the task of an activity.
    ActivityStarted {
        /// Which state entry.
        entry: EntryId,
        /// Which attempt, from 0.
        attempt: u32,
        /// How the worker calls itself.
        worker: Option<Arc<str>>,
    },
    /// The worker that was to get the task had gone before it could be told: it waits for
    /// the next one.
    ActivityReturned {
        /// Which state entry.
        entry: EntryId,
        /// Which attempt, from 0.
        attempt: u32,
    },
    /// A child whose end was awaited has ended.
    ChildEnded {
        /// Which state entry.
        entry: EntryId,
        /// Which attempt, from 0.
        attempt: u32,
        /// What the child's parent asked to hear.
        result: Result<Data, Failure>,
    },
    /// Somebody sent the execution a signal: it is for the first that waits for one of its
    /// name, or is kept until one does.
    Signalled {
        /// What came.
        signal: Signal,
    },
    /// A child of a distributed Map has ended. Its result is a row of its own, in the same commit.
    ItemEnded {
        /// Which state entry.
        entry: EntryId,
        /// Which attempt, from 0.
        attempt: u32,
        /// Which item, or batch of items.
        slot: u32,
        /// It did not succeed.
        failed: bool,
    },
}

/// The kinds of timer that one state entry can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// A Wait state is over.
    Wait,
    /// The next attempt may begin.
    Backoff,
    /// `TimeoutSeconds` of the attempt, or of the execution, has passed.
    Timeout,
    /// No heartbeat came in time.
    Heartbeat,
}
