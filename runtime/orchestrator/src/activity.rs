//! Polling for an activity's tasks, from the edges' side.
//!
//! Refuses to decide who gets a task: its execution's loop does.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use stepwell_flow::resource::ACTIVITY_CHARS_MAX;
use stepwell_store::{Key, Range};
use stepwell_types::{EntryId, ExecutionId};

use crate::Error;
use crate::api::ActivityTask;
use crate::driver::{Claim, Reply, Request};
use crate::handle::Orchestrator;
use crate::ports::Outward;

/// Rows looked at together.
const ROWS: usize = 16;

/// One task.
type Task = (ExecutionId, EntryId, u32);

/// Tasks that somebody is about to take: others who poll pass them over.
#[derive(Default)]
pub(crate) struct Claims(Mutex<HashSet<Task>>);

impl Claims {
    fn take(&self, task: Task) -> Option<Held<'_>> {
        let free = self.0.lock().insert(task);
        free.then_some(Held { claims: self, task })
    }
}

/// One such task, until dropped.
struct Held<'a> {
    claims: &'a Claims,
    task: Task,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.claims.0.lock().remove(&self.task);
    }
}

/// One of the tasks that workers may get a second: given back unless it is used, also by who
/// no longer waits.
struct Reserved<'a> {
    outward: &'a dyn Outward,
    activity: &'a Arc<str>,
    used: bool,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if !self.used {
            self.outward.give_back(self.activity);
        }
    }
}

impl Orchestrator {
    /// The oldest task of an activity that nobody has taken, waiting for one at most for
    /// `limit`; when it returns, that it was taken is durable. `None`: there was none.
    ///
    /// Dropped before it returns, it has taken nothing: a task on its way goes back. A worker
    /// that dies with the answer has taken the task all the same: `HeartbeatSeconds` and
    /// `TimeoutSeconds` are what notices.
    /// # Errors
    /// `RUN0007` when the engine stops, `RUN0012`, `RUN0014`.
    pub async fn poll_activity(
        &self,
        activity: &Arc<str>,
        worker: Option<&Arc<str>>,
        limit: Duration,
    ) -> Result<Option<ActivityTask>, Error> {
        if activity.is_empty() || activity.chars().count() > ACTIVITY_CHARS_MAX {
            return Err(Error::BadName {
                what: "activity",
                name: crate::catalog::shown(activity),
            });
        }
        let poll = self.shared.watchers.poll(activity);
        let mut limit = pin!(tokio::time::sleep(limit));
        loop {
            // Made before the look, so that what comes meanwhile ends the wait.
            let changed = poll.changed();
            if self.shared.is_stopping() {
                return Err(Error::Stopping);
            }
            if let Err(wait) = self.shared.outward.reserve(activity) {
                tokio::select! {
                    biased;
                    () = changed => {}
                    () = tokio::time::sleep(wait) => {}
                    () = &mut limit => return Ok(None),
                }
                continue;
            }
            let mut reserved = Reserved {
                outward: &*self.shared.outward,
                activity,
                used: false,
            };
            if let Some(task) = self.claim_one(activity, worker).await? {
                reserved.used = true;
                poll.pass_on();
                return Ok(Some(task));
            }
            drop(reserved);
            tokio::select! {
                biased;
                () = changed => {}
                () = &mut limit => return Ok(None),
            }
        }
    }

    async fn claim_one(
        &self,
        activity: &Arc<str>,
        worker: Option<&Arc<str>>,
    ) -> Result<Option<ActivityTask>, Error> {
        let mut after = None;
        loop {
            let range = Range::Activities {
                name: activity.clone(),
                after,
            };
            let rows = self.shared.reader.scan(&range, ROWS)?;
            for (key, _) in &rows {
                let Key::Activity {
                    execution,
                    entry,
                    attempt,
                    ..
                } = key
                else {
                    continue;
                };
                let task = (*execution, *entry, *attempt);
                after = Some(task);
                let Some(_held) = self.shared.claims.take(task) else {
                    continue;
                };
                let claim = Claim {
                    activity: activity.clone(),
                    execution: *execution,
                    entry: *entry,
                    attempt: *attempt,
                    worker: worker.cloned(),
                };
                match self.shared.ask(*execution, Request::Claim(claim)).await? {
                    Reply::Claimed(Some(task)) => return Ok(Some(*task)),
                    _ => continue,
                }
            }
            if rows.len() < ROWS {
                return Ok(None);
            }
        }
    }
}
