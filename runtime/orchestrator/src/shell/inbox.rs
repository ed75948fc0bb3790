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
pub(crate) struct Inbox {
    others: mpsc::UnboundedSender<Message>,
    posts: mpsc::UnboundedSender<Message>,
}

impl Inbox {
    pub fn new() -> (Inbox, Letters) {
        let (others, from_others) = mpsc::unbounded_channel();
        let (posts, from_executions) = mpsc::unbounded_channel();
        let letters = Letters {
            others: from_others,
            posts: from_executions,
            post_next: false,
        };
        (Inbox { others, posts }, letters)
    }

    /// `false`: the loop is gone.
    pub fn send(&self, message: Message) -> bool {
        let lane = match message {
            Message::Post(_) => &self.posts,
            _ => &self.others,
        };
        lane.send(message).is_ok()
    }
}

/// The receiving side. What executions send one another has a lane of its own: one that starts
/// others, which start others, sends tens of thousands at once, and whoever asks from outside
/// would wait for them all. One of each lane is taken in turn.
pub(crate) struct Letters {
    others: mpsc::UnboundedReceiver<Message>,
    posts: mpsc::UnboundedReceiver<Message>,
    post_next: bool,
}

impl Letters {
    /// The next message, if there is one.
    pub fn try_recv(&mut self) -> Option<Message> {
        let (one, other) = match self.post_next {
            true => (&mut self.posts, &mut self.others),
            false => (&mut self.others, &mut self.posts),
        };
        self.post_next = !self.post_next;
        one.try_recv().or_else(|_| other.try_recv()).ok()
    }

    /// Whether executions have sent one another what is not taken yet.
    pub fn has_posts(&self) -> bool {
        !self.posts.is_empty()
    }

    /// The next message, as soon as there is one; `None`: nobody can send any more.
    pub async fn recv(&mut self) -> Option<Message> {
        tokio::select! {
            message = self.others.recv() => message,
            message = self.posts.recv() => message,
        }
    }
}

#[cfg(test)]
mod tests {
    use stepwell_types::{ShardId, Timestamp};

    use super::*;
    use crate::driver::Answer;

    fn post(number: u64) -> Message {
        let sender = ExecutionId::new(Timestamp(0), ShardId(0), 0);
        let answer = Box::new(Answer::Taken);
        Message::Post(Box::new(Post::Receipt {
            sender,
            number,
            answer,
        }))
    }

    fn number(message: &Message) -> Option<u64> {
        match message {
            Message::Post(post) => match **post {
                Post::Receipt { number, .. } => Some(number),
                _ => None,
            },
            _ => None,
        }
    }

    #[tokio::test]
    async fn who_asks_from_outside_does_not_wait_for_all_posts() {
        let (inbox, mut letters) = Inbox::new();
        for n in 0..1_000 {
            assert!(inbox.send(post(n)));
        }
        assert!(inbox.send(Message::Committed(7)));
        let first = [letters.try_recv(), letters.try_recv()];
        let asked = |m: &Option<Message>| matches!(m, Some(Message::Committed(7)));
        assert!(first.iter().any(asked), "it comes among the first two");
        assert!(letters.has_posts());
        // Posts keep their order, however they are taken.
        for n in 1..1_000 {
            let message = match n % 2 {
                0 => letters.try_recv(),
                _ => letters.recv().await,
            };
            assert_eq!(message.as_ref().and_then(number), Some(n));
        }
        assert!(!letters.has_posts());
        assert!(letters.try_recv().is_none());
        drop(inbox);
        assert!(letters.recv().await.is_none());
    }
}
