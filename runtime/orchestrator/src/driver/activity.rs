//! Activities: tasks that outside workers poll for.
//!
//! A task that waits has a row beside its execution's log, written in the same batch; a
//! worker who asks gets it when that it was taken is durable, and if the worker has gone by
//! then, the task waits again. A row whose task is no
//! longer to be had (it timed out, its execution ended) goes when somebody asks for it.
//! Where so many tasks of an activity may be in workers' hands and no more, the row stays until the task
//! ends, and says that it was taken: so a crash forgets nobody.

use std::sync::Arc;

use stepwell_interpreter::{Event, activities};
use stepwell_store::Key;
use stepwell_types::{EntryId, ExecutionId, Timestamp};

use super::hot::Taken;
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
    /// Whether it is remembered that a worker has it.
    pub counts: bool,
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

/// What is in the row of a task that a worker has; in that of one that waits is nothing.
const TAKEN: &[u8] = &[1];

impl Hot {
    /// Finds out which tasks workers have, when the execution has come into memory.
    pub(super) fn look_for_taken(&mut self) {
        if std::mem::replace(&mut self.taken_known, true) {
            return;
        }
        let open = activities(&self.program, &self.state).filter(|task| task.taken);
        let taken = open.map(|task| Taken {
            entry: task.entry,
            attempt: task.attempt,
            activity: task.activity.clone(),
            kept: true,
        });
        let taken: Vec<Taken> = taken.collect();
        self.taken = (!taken.is_empty()).then(|| Box::new(taken));
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
        match &found {
            Some(_) if claim.counts => self.extra.put(claim.key(), TAKEN.to_vec()),
            _ if parked => {}
            _ => self.extra.delete(claim.key()),
        }
        if found.is_some() {
            let taken = Taken {
                entry: claim.entry,
                attempt: claim.attempt,
                activity: claim.activity.clone(),
                kept: claim.counts,
            };
            let event = Event::ActivityStarted {
                entry: claim.entry,
                attempt: claim.attempt,
                worker: claim.worker,
            };
            self.apply(id, event, now);
            if let Some(hot) = self.hot.get_mut(&id) {
                hot.taken.get_or_insert_default().push(taken);
            }
        }
        let reply = Reply::Claimed(found.map(Box::new));
        self.after(self.batch, Output::Reply(ticket, reply));
        Ok(())
    }

    /// Says of what workers had, and have no more, that it is free.
    pub(super) fn free_taken(&mut self, id: ExecutionId) {
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        let (state, ended) = (&hot.state, hot.ended.is_some());
        let gone = |task: &mut Taken| {
            let (entry, attempt) = (task.entry, task.attempt);
            let taken = state.awaits(entry, attempt) && state.unstarted(entry, attempt).is_none();
            ended || !taken
        };
        let Some(all) = &mut hot.taken else {
            return;
        };
        let gone: Vec<Taken> = all.extract_if(.., gone).collect();
        if all.is_empty() {
            hot.taken = None;
        }
        for task in gone {
            let (entry, attempt) = (task.entry, task.attempt);
            if task.kept {
                self.extra.delete(Key::Activity {
                    name: task.activity.clone(),
                    execution: id,
                    entry,
                    attempt,
                });
            }
            let freed = Output::TaskFreed(task.activity, (id, entry, attempt));
            self.after(self.batch, freed);
        }
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
