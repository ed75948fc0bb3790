//! What must reach another execution, and does whatever dies on the way.
//!
//! A parcel's row is in the batch of the event that sends it. It leaves when that batch
//! is durable, again after each recovery, and until its receipt is durable here; the
//! receiver tells a second delivery from the first by what it knows of the child and of
//! the parent's state entry. Refuses to rely on order: a cancel that overtakes its start
//! leaves a tombstone, and the start then makes an execution that ends at once.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stepwell_interpreter::child;
use stepwell_interpreter::{Command, Event};
use stepwell_store::{Key, Range};
use stepwell_types::{
    ChildStart, Data, EntryId, ExecutionId, Failure, ParentLink, Recipient, ShardId, SignalSend,
    Spent, Timestamp, Wants,
};

use super::away::Input;
use super::cancel::TOMBSTONE;
use super::{Driver, Ended, Item, Output};
use crate::Error;
use crate::rows;

/// Rows read at a time.
const ROWS: usize = 256;
/// The share of what may be undurable that leaves children their room.
const AHEAD_SHARE: usize = 16;
/// How long the start of a child waits whose flow is being deleted, in milliseconds.
pub(super) const HELD_PAUSE_MS: u64 = 10;
/// Parcels that one event can send without meeting those of the next.
pub(super) const PER_EVENT: u64 = 1 << 20;

/// What is delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Parcel {
    /// Start this child.
    Start(Box<ChildStart>),
    /// End this child, started or not.
    Cancel {
        /// Whom.
        child: ExecutionId,
        /// The attempt of the parent's entry that no longer waits. A redriven parent waits for
        /// the same child as a later one, and that is not meant.
        attempt: u32,
        /// What its history is to say.
        failure: Failure,
    },
    /// A child has ended; to its parent.
    Ended {
        /// What the child knows of its parent.
        link: ParentLink,
        /// Who ended.
        child: ExecutionId,
        /// When it began.
        started: Timestamp,
        /// What the parent asked to hear.
        result: Result<Data, Failure>,
    },
    /// A signal.
    Signal {
        /// The sender's state entry.
        entry: EntryId,
        /// The attempt that waits for the answer.
        attempt: u32,
        /// What, and whom for.
        send: Box<SignalSend>,
        /// The flows whose executions may be sent it; `None`: the sender's flow has no manifest.
        flows: Option<Vec<Arc<str>>>,
    },
    /// A cancel that came before the start of its child. Kept, not sent.
    Tombstone {
        /// As in the cancel.
        attempt: u32,
        /// As in the cancel.
        failure: Failure,
    },
}

impl Parcel {
    /// The parcel of an outbox row.
    /// # Errors
    /// `RUN0012` for damaged bytes.
    pub fn read(row: &[u8]) -> Result<Parcel, Error> {
        rows::decode(row)
    }
}

/// A parcel on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Who sends; with the number it names the row.
    pub sender: ExecutionId,
    /// Number within the sender.
    pub number: u64,
    /// What.
    pub parcel: Parcel,
}

/// What the receiver made of a parcel; leaves when that is durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It has it.
    Taken,
    /// The child is there.
    Started {
        /// Who asked.
        link: ParentLink,
        /// Who started.
        child: ExecutionId,
        /// When.
        at: Timestamp,
    },
    /// The child that is wished for again succeeded before.
    Over {
        /// Who asked.
        link: ParentLink,
        /// What it ended with.
        result: Result<Data, Failure>,
    },
    /// The signal came, or will not be taken.
    Signalled {
        /// The sender's state entry.
        entry: EntryId,
        /// The attempt that asked.
        attempt: u32,
        /// What the Task ends with.
        result: Result<Data, Failure>,
    },
    /// There will be no such child.
    Refused {
        /// Who asked.
        link: ParentLink,
        /// Why.
        failure: Failure,
    },
}

/// What one loop sends another.
#[derive(Debug, Clone, PartialEq)]
pub enum Post {
    /// Of a child that is kept in memory.
    Item(Item),
    /// A parcel.
    Delivery(Box<Delivery>),
    /// Its receipt.
    Receipt {
        /// Who sent the parcel.
        sender: ExecutionId,
        /// Its number.
        number: u64,
        /// What became of it.
        answer: Box<Answer>,
    },
}

impl Post {
    /// The start of a child, to come again.
    pub(super) fn start(sender: ExecutionId, number: u64, start: ChildStart) -> Post {
        Post::Delivery(Box::new(Delivery {
            sender,
            number,
            parcel: Parcel::Start(start.into()),
        }))
    }

    /// The wish of a redriven parent for a child that there may be.
    pub(super) fn wanted_again(&self) -> Option<&ChildStart> {
        let Post::Delivery(delivery) = self else {
            return None;
        };
        match &delivery.parcel {
            Parcel::Start(start) if start.again => Some(start),
            _ => None,
        }
    }

    /// The execution on whose shard it arrives.
    #[must_use]
    pub fn to(&self) -> ExecutionId {
        match self {
            Post::Receipt { sender, .. } => *sender,
            Post::Item(item) => item.to(),
            Post::Delivery(d) => match &d.parcel {
                Parcel::Start(start) => start.child,
                Parcel::Cancel { child, .. } => *child,
                Parcel::Ended { link, .. } => link.execution,
                Parcel::Signal { send, .. } => match &send.to {
                    Recipient::Execution(id) => *id,
                    Recipient::Named { flow, name } => {
                        // Nobody's id: it leads to where the name is known.
                        ExecutionId::new(Timestamp(0), ShardId::of_name(flow, name), 0)
                    }
                },
                Parcel::Tombstone { .. } => d.sender,
            },
        }
    }

    /// The execution that it is for; `None`: only its name is known.
    pub(super) fn execution(&self) -> Option<ExecutionId> {
        if let Post::Delivery(delivery) = self
            && let Parcel::Signal { send, .. } = &delivery.parcel
            && let Recipient::Named { .. } = send.to
        {
            return None;
        }
        Some(self.to())
    }
}

/// The start of a child that waits for room.
#[derive(Debug)]
pub(super) enum Held {
    /// Whose row of the outbox it is, and which: there may be a million of them.
    Row(ExecutionId, u64),
    /// An item that is kept in memory has no row: its parent's state names it.
    InMemory(Box<ChildStart>),
}

pub(super) fn key(sender: ExecutionId, number: u64) -> Key {
    Key::Outbox {
        shard: sender.shard(),
        execution: sender,
        number,
    }
}

/// Why a child is cancelled.
pub(super) fn parent_ended(parent: ExecutionId) -> Failure {
    let cause = format!("the execution {parent} that started it no longer waits for it");
    Failure::new("Stepwell.ParentEnded", cause)
}

/// What the task that sent a parcel hears.
pub(super) struct Heard {
    pub entry: EntryId,
    pub attempt: u32,
    /// Of an item of a distributed Map.
    pub item: Option<ParentLink>,
    pub result: Result<Data, Failure>,
}

/// What the task that sent a parcel hears by this answer.
pub(super) fn heard(answer: &Answer) -> Option<Heard> {
    let (link, result) = match answer {
        Answer::Taken => return None,
        // Of an item only the end is awaited.
        Answer::Started { link, .. } if link.item.is_some() => return None,
        Answer::Started { link, child, at } => (link, Ok(child::started(*child, *at))),
        Answer::Over { link, result } => (link, result.clone()),
        Answer::Refused { link, failure } => (link, Err(failure.clone())),
        Answer::Signalled {
            entry,
            attempt,
            result,
        } => {
            return Some(Heard {
                entry: *entry,
                attempt: *attempt,
                item: None,
                result: result.clone(),
            });
        }
    };
    Some(Heard {
        entry: link.entry,
        attempt: link.attempt,
        item: link.item.is_some().then(|| link.clone()),
        result,
    })
}

impl Driver {
    /// Takes in what another loop, or this one, has sent.
    /// # Errors
    /// `RUN0012` when the store cannot be read.
    pub fn post(&mut self, post: Post, now: Timestamp) -> Result<(), Error> {
        self.take(Input::Post(post.into()), now)
    }

    pub(super) fn take_post(&mut self, post: Post, now: Timestamp) -> Result<(), Error> {
        match post {
            Post::Item(item) => self.take_item(item, now),
            Post::Receipt {
                sender,
                number,
                answer,
            } => self.receipt(sender, number, *answer, now),
            Post::Delivery(delivery) => {
                let (sender, number) = (delivery.sender, delivery.number);
                match delivery.parcel {
                    Parcel::Start(start) => self.child_start(sender, number, *start, now),
                    Parcel::Cancel {
                        child,
                        attempt,
                        failure,
                    } => self.child_cancel(sender, number, child, attempt, failure, now),
                    Parcel::Ended {
                        link,
                        child,
                        started,
                        result,
                    } => self.child_ended(sender, number, &link, child, started, result, now),
                    Parcel::Signal {
                        entry,
                        attempt,
                        send,
                        flows,
                    } => self.signal_came(sender, number, (entry, attempt), *send, flows, now),
                    Parcel::Tombstone { .. } => Ok(()),
                }
            }
        }
    }

    /// Writes a parcel's row into the open batch and sends it when that is durable.
    pub(super) fn send(&mut self, sender: ExecutionId, parcel: Parcel) {
        let Some(hot) = self.hot.get_mut(&sender) else {
            return;
        };
        // The number of the record that sends: higher than that of any earlier one.
        let number = (hot.outbox + 1).max(hot.logged.saturating_mul(PER_EVENT));
        hot.outbox = number;
        let row = rows::encode(&parcel);
        self.open_bytes += row.len();
        self.extra.put(key(sender, number), row);
        let delivery = Delivery {
            sender,
            number,
            parcel,
        };
        let post = Post::Delivery(Box::new(delivery));
        self.after(self.batch, Output::Send(post));
    }

    pub(super) fn answer(&mut self, batch: u64, sender: ExecutionId, number: u64, answer: Answer) {
        let post = Post::Receipt {
            sender,
            number,
            answer: Box::new(answer),
        };
        self.after(batch, Output::Send(post));
    }

    /// An execution wants to start or to cancel another.
    pub(super) fn command_child(&mut self, id: ExecutionId, command: Command, now: Timestamp) {
        match command {
            Command::StartChild(start) if self.is_known(&start, now) => {}
            Command::StartChild(start) if start.link.express => {
                self.out
                    .push_back(Output::Send(Post::Item(Item::Begin(start))));
            }
            Command::StartChild(start) => self.send(id, Parcel::Start(start)),
            Command::CancelChild {
                child,
                express: true,
                ..
            } => {
                let leave = Item::Leave { child, parent: id };
                self.out.push_back(Output::Send(Post::Item(leave)));
            }
            Command::CancelChild { child, attempt, .. } => {
                let parcel = Parcel::Cancel {
                    child,
                    attempt,
                    failure: parent_ended(id),
                };
                self.send(id, parcel);
            }
            _ => {}
        }
    }

    /// An execution has ended: whoever started it may want to hear. A child in memory tells
    /// its parent otherwise ([`Driver::end_express`]).
    pub(super) fn tell_parent(&mut self, id: ExecutionId) {
        let Some(hot) = self.hot.get(&id) else {
            return;
        };
        let heard = |l: &&ParentLink| l.wants != Wants::Nothing && !l.express;
        let Some(link) = hot.state.parent().filter(heard) else {
            return;
        };
        let result = child::ended(child::Ended {
            state: &hot.state,
            at: hot.ended.unwrap_or(hot.last_at),
            wants: link.wants,
        });
        let parcel = Parcel::Ended {
            link: link.clone(),
            child: id,
            started: hot.started,
            result,
        };
        self.send(id, parcel);
    }

    /// Sends again what the process before this one may not have delivered.
    pub(super) fn recover_outbox(&mut self, shard: ShardId) -> Result<(), Error> {
        let mut after = None;
        loop {
            let found = self.reader.scan(&Range::Outbox { shard, after }, ROWS)?;
            for (key, value) in &found {
                let Key::Outbox {
                    execution, number, ..
                } = key
                else {
                    continue;
                };
                after = Some((*execution, *number));
                if *number != TOMBSTONE {
                    let delivery = Delivery {
                        sender: *execution,
                        number: *number,
                        parcel: rows::decode(value)?,
                    };
                    let post = Post::Delivery(Box::new(delivery));
                    self.out.push_back(Output::Send(post));
                }
            }
            if found.len() < ROWS {
                return Ok(());
            }
        }
    }

    /// Whether a child may begin now. Its start waits here, not at its parent, when not.
    ///
    /// Executions that wait for their own items stay in memory and are not counted: they
    /// would fill it for ever, since only their children empty it. A quarter is left to starts
    /// from outside, which are refused and not held. Nor does a Map run far ahead of the disk: its
    /// items come on their own, and what they lead to would fill the memory that is meant for all.
    pub(super) fn has_room(&self) -> bool {
        let (hot_max, ahead_max) = (
            self.options.hot_max,
            self.options.open_bytes_max / AHEAD_SHARE,
        );
        self.undurable_bytes() <= ahead_max && self.has_room_below(hot_max - hot_max / 4)
    }

    /// As [`Driver::has_room`], with this many executions in memory at most.
    pub(super) fn has_room_below(&self, hot_max: usize) -> bool {
        let others = self.hot.len().saturating_sub(self.parents);
        others < hot_max
            && (others == 0 || self.hot_bytes < self.options.hot_bytes_max)
            && self.undurable_bytes() < self.options.open_bytes_max
            && self.disk_full.is_none()
            && !self.stopping
    }

    /// Whether a start waits whose flow is not being deleted, as far as is known.
    pub(super) fn has_held(&self) -> bool {
        let pauses = &self.held_until;
        self.held.has_of(|flow| !pauses.contains_key(&flow))
    }

    /// Takes up starts that had to wait. `false`: there were none, or there is no room.
    pub(super) fn take_held(&mut self, now: Timestamp) -> bool {
        // A clock that was set back keeps nobody waiting.
        let waits = |until: Timestamp| until > now && until <= now.plus_ms(HELD_PAUSE_MS);
        self.held_until.retain(|_, until| waits(*until));
        if self.held.is_empty() || !self.has_room() {
            return false;
        }
        let pauses = &self.held_until;
        let post = match self.held.pop_of(|flow| !pauses.contains_key(&flow)) {
            None => return false,
            Some(Held::InMemory(start)) => Some(Post::Item(Item::Begin(start))),
            Some(Held::Row(sender, number)) => {
                let row = self.reader.get(&key(sender, number)).ok().flatten();
                let parcel = row.and_then(|row| Parcel::read(&row).ok());
                parcel.map(|parcel| {
                    Post::Delivery(Box::new(Delivery {
                        sender,
                        number,
                        parcel,
                    }))
                })
            }
        };
        // A store that cannot be read shows in every other place too; the row stays.
        if let Some(post) = post {
            let _ = self.take(Input::Post(post.into()), now);
        }
        if self.held.is_empty() {
            self.unwanted.clear();
        }
        true
    }

    /// The batch after which all that is known of an execution is durable.
    pub(super) fn batch_of(&self, id: ExecutionId) -> u64 {
        let tombstone = self.tombstones.contains_key(&id);
        let newest = if tombstone { self.last_batch() } else { 0 };
        self.hot
            .get(&id)
            .map_or(newest, |hot| hot.batch.max(newest))
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one parcel")]
    fn child_ended(
        &mut self,
        sender: ExecutionId,
        number: u64,
        link: &ParentLink,
        child: ExecutionId,
        started: Timestamp,
        result: Result<Data, Failure>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let parent = link.execution;
        if link.item.is_some() {
            let ended = Ended {
                link: link.clone(),
                child,
                result,
            };
            return self.item_came(sender, number, ended, started, now);
        }
        match self.wake(parent, now) {
            Ok(()) => {}
            Err(Error::Ended(_) | Error::NoExecution(_)) => {
                self.answer(0, sender, number, Answer::Taken);
                return Ok(());
            }
            Err(e) => return Err(e),
        }
        // It ended before the parent heard that it began: both at once.
        let begun = Ok(child::started(child, started));
        self.start_answered(parent, (link.entry, link.attempt), begun, now);
        let (entry, attempt) = (link.entry, link.attempt);
        let awaited = |hot: &super::Hot| hot.state.awaits_child(entry, attempt);
        if self.hot.get(&parent).is_some_and(awaited) {
            let event = Event::ChildEnded {
                entry,
                attempt,
                result: result.clone(),
            };
            self.apply(parent, event, now);
        }
        if self.is_blocked(parent) {
            let parcel = Parcel::Ended {
                link: link.clone(),
                child,
                started,
                result,
            };
            let delivery = Delivery {
                sender,
                number,
                parcel,
            };
            self.keep_for(parent, Post::Delivery(Box::new(delivery)));
            return Ok(());
        }
        self.answer(self.batch_of(parent), sender, number, Answer::Taken);
        Ok(())
    }

    /// What came for a parked execution comes again when it has ended; until then, and
    /// over a restart, its row stays.
    pub(super) fn keep_for(&mut self, id: ExecutionId, post: Post) {
        let kept = self.blocked.entry(id).or_default();
        if !kept.contains(&post) {
            kept.push(post);
        }
    }

    /// A parked execution was ended: what waited for it may be settled.
    pub(super) fn unblock(&mut self, id: ExecutionId) {
        for post in self.blocked.remove(&id).into_iter().flatten() {
            self.after(self.batch, Output::Send(post));
        }
    }

    /// Parked executions take nothing in: what is for them stays where it is.
    pub(super) fn is_blocked(&self, id: ExecutionId) -> bool {
        self.hot
            .get(&id)
            .is_some_and(|h| h.parked.is_some() && h.ended.is_none())
    }

    /// The answer to a parcel reaches the task that asked, unless it has had it.
    fn start_answered(
        &mut self,
        id: ExecutionId,
        (entry, attempt): (EntryId, u32),
        result: Result<Data, Failure>,
        now: Timestamp,
    ) {
        let awaited = |hot: &super::Hot| hot.state.awaits_start(entry, attempt);
        if self.hot.get(&id).is_some_and(awaited) {
            let event = Event::StepEnded {
                entry,
                attempt,
                result,
                spent: Spent::default(),
            };
            self.apply(id, event, now);
        }
    }

    fn receipt(
        &mut self,
        sender: ExecutionId,
        number: u64,
        answer: Answer,
        now: Timestamp,
    ) -> Result<(), Error> {
        if let Some(heard) = heard(&answer) {
            match self.wake(sender, now) {
                Ok(()) => {
                    let of = (heard.entry, heard.attempt);
                    match &heard.item {
                        Some(link) => self.item_answered(link, heard.result, now),
                        None => self.start_answered(sender, of, heard.result, now),
                    }
                    if self.is_blocked(sender) {
                        let answer = Box::new(answer);
                        let post = Post::Receipt {
                            sender,
                            number,
                            answer,
                        };
                        self.keep_for(sender, post);
                        return Ok(());
                    }
                }
                Err(Error::Ended(_) | Error::NoExecution(_)) => {}
                Err(e) => return Err(e),
            }
        }
        self.extra.delete(key(sender, number));
        Ok(())
    }
}
