//! Activities: tasks that outside workers poll for.
//!
//! A task that waits has a row beside its execution's log, written in the same batch; a
//! worker who asks gets it when that it was taken is durable, and if the worker has gone by
//! then, the task waits again. A row whose task is no
//! longer to be had (it timed out, its execution ended) goes when somebody asks for it.

use std::sync::Arc;

use stepwell_interpreter::Event;
use stepwell_store::Key;
use stepwell_types::{EntryId, ExecutionId, Timestamp};

use super::{Driver, Hot, Output, Reply, Ticket};
use crate::Error;
use crate::api::ActivityTask;

/// A worker's wish for one task that it saw waiting.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The activity.
    pub activity: Arc<str>,
    /// Whose task.
    pub execution: ExecutionId,
    /// Of which state entry.
    pub entry: EntryId,
    /// Of which attempt.
    pub attempt: u32,
    /// How the worker calls itself.
    pub worker: Option<Arc<str>>,
}

impl Claim {
    fn key(&self) -> Key {
        Key::Activity {
            name: self.activity.clone(),
            execution: self.execution,
            entry: self.entry,
            attempt: self.attempt,
        }
    }
}

impl Driver {
    /// Lets workers find a task, when that it waits is durable.
    pub(super) fn offer(
        &mut self,
        id: ExecutionId,
        activity: &Arc<str>,
        entry: EntryId,
        attempt: u32,
    ) {
        let key = Key::Activity {
            name: activity.clone(),
            execution: id,
            entry,
            attempt,
        };
        self.extra.put(key, Vec::new());
        self.after(self.batch, Output::TaskWaits(activity.clone()));
    }

    /// Hands a task to the worker who asks first.
    pub(super) fn claim(
        &mut self,
        ticket: Ticket,
        claim: Claim,
        now: Timestamp,
    ) -> Result<(), Error> {
        let id = claim.execution;
        let found = match self.wake(id, now) {
            Ok(()) => self.hot.get(&id).and_then(|hot| {
                if hot.parked.is_some() || hot.ended.is_some() {
                    return None;
                }
                let input = hot.state.unstarted(claim.entry, claim.attempt)?.clone();
                Some(ActivityTask {
                    token: hot.state.token(claim.entry, claim.attempt),
                    activity: claim.activity.clone(),
                    execution: id,
                    flow: hot.flow.name.clone(),
                    input,
                })
            }),
            Err(Error::Ended(_) | Error::NoExecution(_)) => None,
            Err(e) => return Err(e),
        };
        let parked = self.hot.get(&id).is_some_and(|hot| hot.parked.is_some());
        // A parked execution may come back, and its task with it.
        if !parked {
            self.extra.delete(claim.key());
        }
        if found.is_some() {
            let event = Event::ActivityStarted {
                entry: claim.entry,
                attempt: claim.attempt,
                worker: claim.worker,
            };
            self.apply(id, event, now);
        }
        let reply = Reply::Claimed(found.map(Box::new));
        self.after(self.batch, Output::Reply(ticket, reply));
        Ok(())
    }

    /// Takes a task back of which nobody could be told that it was taken.
    pub(super) fn give_back(
        &mut self,
        ticket: Ticket,
        task: &ActivityTask,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (id, entry, attempt) = (task.execution, task.token.entry, task.token.attempt);
        self.wake(id, now)?;
        self.apply(id, Event::ActivityReturned { entry, attempt }, now);
        let waits = |hot: &Hot| hot.state.unstarted(entry, attempt).is_some();
        if self.hot.get(&id).is_some_and(waits) {
            self.offer(id, &task.activity, entry, attempt);
        }
        self.after(self.batch, Output::Reply(ticket, Reply::Done));
        Ok(())
    }
}
