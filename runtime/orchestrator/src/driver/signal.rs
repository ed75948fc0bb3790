//! Signals: from outside by requests, from other executions by parcels.
//!
//! One that is taken is an event of its receiver's log, and its sender hears of it when that is
//! durable. What came under a key is remembered in a row, for ever: a parcel may come again
//! after a restart, whenever that is. Refuses to let a signal wait for its receiver to have room.

use std::sync::Arc;

use serde_json::json;
use stepwell_interpreter::Event;
use stepwell_store::Key;
use stepwell_types::{
    Data, Digest, EntryId, ExecutionId, Failure, Recipient, Signal, SignalSend, Timestamp,
};

use super::away::Input;
use super::outbox::{Answer, Parcel};
use super::{Delivery, Driver, Output, Post, Reply, Ticket};
use crate::Error;
use crate::executions;
use crate::rows::{self, SignalRow};

/// Where among the counters those are that were refused.
const REFUSED: usize = 2;
/// Keys in memory; those that are durable beyond that are read again.
const REMEMBERED: usize = 4_096;

/// What came under a key, and the batch that makes it durable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    content: Digest,
    batch: u64,
}

impl Driver {
    /// Takes a signal in from outside.
    pub(super) fn signal(
        &mut self,
        ticket: Ticket,
        id: ExecutionId,
        signal: Signal,
        key: Option<Digest>,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.admit_signal()
            .inspect_err(|_| self.metrics.signals[REFUSED] += 1)?;
        let (batch, reply) = match self.take_signal(id, signal, key, now) {
            Ok(batch) => (batch, Reply::Done),
            // Once that is durable on which it was refused.
            Err(e) => {
                self.metrics.signals[REFUSED] += 1;
                (self.batch_of(id), Reply::Refused(e))
            }
        };
        self.after(batch, Output::Reply(ticket, reply));
        self.settle(id, now);
        Ok(())
    }

    /// Signals of executions belong to work that was accepted; those from outside fill the disk.
    fn admit_signal(&mut self) -> Result<(), Error> {
        if self.stopping {
            return Err(Error::Stopping);
        }
        if let Some((free_mib, floor_mib)) = self.disk_full {
            return Err(Error::DiskFull {
                free_mib,
                floor_mib,
            });
        }
        if self.undurable_bytes() >= self.options.open_bytes_max {
            self.metrics.refused += 1;
            return Err(Error::Busy {
                reason: "the store cannot keep up with what is being written",
                retry_after_s: 1,
            });
        }
        Ok(())
    }

    /// Takes a signal in from another execution.
    pub(super) fn signal_came(
        &mut self,
        sender: ExecutionId,
        number: u64,
        of: (EntryId, u32),
        send: SignalSend,
        flows: Option<Vec<Arc<str>>>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let id = match &send.to {
            Recipient::Execution(id) => *id,
            Recipient::Named { flow, name } => match self.named(flow, name)? {
                Some(id) => {
                    // Its turn may be away.
                    let send = SignalSend {
                        to: Recipient::Execution(id),
                        ..send
                    };
                    let (entry, attempt) = of;
                    let parcel = Parcel::Signal {
                        entry,
                        attempt,
                        send: send.into(),
                        flows,
                    };
                    let delivery = Delivery {
                        sender,
                        number,
                        parcel,
                    };
                    let post = Post::Delivery(delivery.into());
                    return self.take(Input::Post(post.into()), now);
                }
                None => {
                    let cause = format!("there is no execution {name} of flow {flow}");
                    let failure = Failure::new("Stepwell.NoExecution", cause);
                    // A name that is free is so in all that was decided so far.
                    let batch = self.last_batch();
                    self.metrics.signals[REFUSED] += 1;
                    self.signal_answered(batch, (sender, number), of, Err(failure));
                    return Ok(());
                }
            },
        };
        if let Some(failure) = self.forbidden(id, flows.as_deref()) {
            self.metrics.signals[REFUSED] += 1;
            self.signal_answered(self.last_batch(), (sender, number), of, Err(failure));
            return Ok(());
        }
        let name = send.signal.name.clone();
        let (batch, result) = match self.take_signal(id, send.signal, send.key, now) {
            Ok(batch) => {
                let told = json!({ "Execution": id.to_string(), "Name": &*name });
                (batch, Ok(Data::from_value(told)))
            }
            Err(e) => match executions::failure(&e) {
                Some(failure) => {
                    self.metrics.signals[REFUSED] += 1;
                    (self.batch_of(id), Err(failure))
                }
                // One execution that cannot be read is its own trouble, and not the server's.
                None if matches!(e, Error::Store(_)) => {
                    let cause = format!("execution {id} cannot be read: {e}");
                    let failure = Failure::new("Stepwell.ExecutionUnavailable", cause);
                    self.metrics.signals[REFUSED] += 1;
                    (self.last_batch(), Err(failure))
                }
                None => return Err(e),
            },
        };
        self.signal_answered(batch, (sender, number), of, result);
        self.settle(id, now);
        Ok(())
    }

    /// Why an execution may not be sent a signal from one whose manifest names these flows alone. Of
    /// one that is not there, or cannot be read, others tell.
    pub(super) fn forbidden(&self, id: ExecutionId, flows: Option<&[Arc<str>]>) -> Option<Failure> {
        let flows = flows?;
        let flow = match self.hot.get(&id) {
            Some(hot) => hot.flow.name.clone(),
            None => self.read_summary(id).ok()?.flow,
        };
        let cause = || {
            format!(
                "{id} is an execution of the flow {flow:?}, which the manifest does not grant (`flows`)"
            )
        };
        let fine = flows.contains(&flow);
        (!fine).then(|| Failure::new("Stepwell.NotGranted", cause()))
    }

    fn signal_answered(
        &mut self,
        batch: u64,
        (sender, number): (ExecutionId, u64),
        (entry, attempt): (EntryId, u32),
        result: Result<Data, Failure>,
    ) {
        let answer = Answer::Signalled {
            entry,
            attempt,
            result,
        };
        self.answer(batch, sender, number, answer);
    }

    /// Records a signal: the batch after which that is durable.
    fn take_signal(
        &mut self,
        id: ExecutionId,
        signal: Signal,
        key: Option<Digest>,
        now: Timestamp,
    ) -> Result<u64, Error> {
        let content = content(&signal);
        if let Some(key) = key
            && let Some(known) = self.signal_known(id, key)?
        {
            return match known.content == content {
                true => Ok(known.batch),
                false => Err(Error::SignalKeyTaken(id)),
            };
        }
        self.wake(id, now)?;
        let Some(hot) = self.hot.get(&id) else {
            return Err(Error::NoExecution(id.to_string()));
        };
        if hot.express.is_some() {
            return Err(Error::NoSignals(id));
        }
        if hot.ended.is_some() {
            return Err(Error::Ended(id));
        }
        if hot.parked.is_some() {
            return Err(Error::Parked(id));
        }
        let full = |why| Error::SignalsFull { id, why };
        hot.state.room_for(&signal).map_err(full)?;
        self.apply(id, Event::Signalled { signal }, now);
        let batch = self.batch;
        if let Some(key) = key {
            if self.signals.len() >= REMEMBERED {
                let durable = self.durable;
                self.signals.retain(|_, known| known.batch > durable);
            }
            self.signals.insert((id, key), Known { content, batch });
            let row = rows::encode(&SignalRow { content });
            self.extra.put(Key::Signal { execution: id, key }, row);
        }
        Ok(batch)
    }

    /// What came under this key, if something did.
    fn signal_known(&self, id: ExecutionId, key: Digest) -> Result<Option<Known>, Error> {
        if let Some(known) = self.signals.get(&(id, key)) {
            return Ok(Some(*known));
        }
        let Some(row) = self.reader.get(&Key::Signal { execution: id, key })? else {
            return Ok(None);
        };
        let SignalRow { content } = rows::decode(&row)?;
        Ok(Some(Known { content, batch: 0 }))
    }

    /// The event of a signal that would be taken now.
    pub(super) fn signalled(
        &mut self,
        id: ExecutionId,
        signal: &Signal,
        key: Option<Digest>,
        now: Timestamp,
    ) -> Option<Event> {
        if let Some(key) = key
            && self.signal_known(id, key).ok()?.is_some()
        {
            return None;
        }
        self.wake(id, now).ok()?;
        let hot = self.hot.get(&id)?;
        if hot.express.is_some() || hot.state.room_for(signal).is_err() {
            return None;
        }
        Some(Event::Signalled {
            signal: signal.clone(),
        })
    }
}

/// Tells one signal from another.
fn content(signal: &Signal) -> Digest {
    let text = format!("{} {}", signal.name, signal.data.text());
    Digest::of(text.as_bytes())
}
