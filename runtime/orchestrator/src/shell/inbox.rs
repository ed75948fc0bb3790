//! What reaches a loop from outside: other threads, connections, the commit thread.

use std::time::Duration;

use stepwell_types::{AttemptId, BridgeAnswer, EntryId, ExecutionId, LogLine, StepOutcome};
use tokio::sync::mpsc;

use super::ReplyTo;
use crate::driver::{Post, Request, Ticket, Walked};

/// One message to a loop.
pub(crate) enum Message {
    /// Somebody asks.
    Request(Ticket, Request, ReplyTo),
    /// Somebody no longer waits.
    Forget(Ticket, ExecutionId),
    /// An attempt on the worker pool ended.
    StepEnded(ExecutionId, EntryId, u32, Box<StepOutcome>),
    /// An attempt waits for its turn outside.
    Waits(AttemptId),
    /// A bridge got a piece of its answer.
    Answered(Box<BridgeAnswer>),
    /// What an attempt runs elsewhere has written.
    Lines(ExecutionId, EntryId, u32, Vec<LogLine>),
    /// From this loop or another, to an execution.
    Post(Box<Post>),
    /// Batches up to this one are durable.
    Committed(u64),
    /// A turn is back.
    Walked(Box<Walked>),
    /// One takes too long.
    TurnStuck(ExecutionId),
    /// Free and floor MiB when the disk is almost full.
    Disk(Option<(u64, u64)>),
    /// Stop in good order.
    Stop {
        /// How long running steps may take.
        grace: Duration,
    },
}

/// The sending side.
#[derive(Clone)]
pub(crate) struct Inbox(mpsc::UnboundedSender<Message>);

impl Inbox {
    pub fn new() -> (Inbox, mpsc::UnboundedReceiver<Message>) {
        let (send, receive) = mpsc::unbounded_channel();
        (Inbox(send), receive)
    }

    /// `false`: the loop is gone.
    pub fn send(&self, message: Message) -> bool {
        self.0.send(message).is_ok()
    }
}
