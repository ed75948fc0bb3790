//! Polling for an activity's tasks, from the edges' side.
//!
//! Refuses to decide who gets a task: its execution's loop does.

use std::collections::{HashMap, HashSet};
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
use crate::watch::Watchers;

/// Rows looked at together.
const ROWS: usize = 16;
/// Of an activity with a limit, when its tasks are looked through for those that workers have.
const ROWS_READ: usize = 256;

/// Activities with a limit of which something is remembered, before those of which workers have
/// nothing are forgotten: anybody may poll for any name.
const HANDS_MAX: usize = 1_024;

/// One task.
pub(crate) type Task = (ExecutionId, EntryId, u32);

/// Who has which task, or is about to take it.
#[derive(Default)]
pub(crate) struct Claims(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Tasks that somebody is about to take: others who poll pass them over.
    claimed: HashSet<Task>,
    /// Of activities whose tasks are limited.
    hands: HashMap<Arc<str>, Hands>,
    /// How many of them there may be before some are forgotten.
    hands_max: usize,
}

/// The tasks of one activity that workers have, or are about to take.
#[derive(Default)]
struct Hands {
    tasks: HashSet<Task>,
    /// Whether those of before this process are among them.
    complete: bool,
    /// Who reads those at this moment.
    readers: usize,
    /// Tasks that were given up meanwhile.
    freed: HashSet<Task>,
}

impl Hands {
    /// Whether all that it says can be read again.
    fn is_idle(&self) -> bool {
        self.readers == 0 && self.tasks.is_empty()
    }
}

impl Inner {
    /// What is known of an activity's tasks.
    fn hands(&mut self, activity: &Arc<str>) -> &mut Hands {
        if self.hands.len() >= self.hands_max.max(HANDS_MAX) && !self.hands.contains_key(activity) {
            self.hands.retain(|_, hands| !hands.is_idle());
            // Those that are left have tasks out; nobody looks through them for each new name.
            self.hands_max = 2 * self.hands.len();
        }
        self.hands.entry(activity.clone()).or_default()
    }
}

impl Claims {
    fn take(&self, task: Task) -> Option<Held<'_>> {
        let free = self.0.lock().claimed.insert(task);
        free.then_some(Held { claims: self, task })
    }

    /// If the rows of an activity are still to be read: who reads them.
    fn begin<'a>(&'a self, activity: &'a Arc<str>) -> Option<Reading<'a>> {
        let mut inner = self.0.lock();
        let hands = inner.hands(activity);
        if hands.complete {
            return None;
        }
        hands.readers += 1;
        Some(Reading {
            claims: self,
            activity,
        })
    }

    /// A place for a task among those that workers may have.
    fn place<'a>(
        &'a self,
        activity: &'a Arc<str>,
        task: Task,
        most: u32,
        watchers: &'a Watchers,
    ) -> Option<Place<'a>> {
        let mut inner = self.0.lock();
        let hands = inner.hands(activity);
        if hands.tasks.len() >= most as usize {
            return None;
        }
        hands.tasks.insert(task);
        Some(Place {
            claims: self,
            watchers,
            activity,
            task: Some(task),
        })
    }

    /// A worker no longer has this task.
    pub(crate) fn free(&self, activity: &Arc<str>, task: Task) {
        if let Some(hands) = self.0.lock().hands.get_mut(activity) {
            if hands.readers > 0 {
                hands.freed.insert(task);
            }
            hands.tasks.remove(&task);
        }
    }

    /// How many tasks of an activity workers have, as far as anybody asked.
    pub(crate) fn count(&self, activity: &str) -> usize {
        let inner = self.0.lock();
        inner
            .hands
            .get(activity)
            .map_or(0, |hands| hands.tasks.len())
    }
}

/// Somebody reads the rows of an activity, until dropped: meanwhile it is not forgotten what was
/// given up.
struct Reading<'a> {
    claims: &'a Claims,
    activity: &'a Arc<str>,
}

impl Reading<'_> {
    /// The tasks that workers had, by the rows.
    fn end(self, tasks: Vec<Task>) {
        let mut inner = self.claims.0.lock();
        let hands = inner.hands(self.activity);
        // Another has read them; some may be free since.
        if std::mem::replace(&mut hands.complete, true) {
            return;
        }
        let freed = std::mem::take(&mut hands.freed);
        let here = tasks.into_iter().filter(|task| !freed.contains(task));
        hands.tasks.extend(here);
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(hands) = self.claims.0.lock().hands.get_mut(self.activity) {
            hands.readers -= 1;
            if hands.readers == 0 {
                hands.freed.clear();
            }
        }
    }
}

/// One such task, until dropped.
struct Held<'a> {
    claims: &'a Claims,
    task: Task,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.claims.0.lock().claimed.remove(&self.task);
    }
}

/// A place for a task among those that workers have: given up unless it was taken, also by who
/// no longer waits.
struct Place<'a> {
    claims: &'a Claims,
    watchers: &'a Watchers,
    activity: &'a Arc<str>,
    task: Option<Task>,
}

impl Place<'_> {
    fn keep(mut self) {
        self.task = None;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(task) = self.task {
            self.claims.free(self.activity, task);
            // Whoever found it occupied meanwhile.
            self.watchers.task_waits(self.activity);
        }
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
            let most = self.shared.outward.concurrency(activity);
            if most.is_some() {
                self.read_taken(activity).await?;
            }
            if let Some(task) = self.claim_one(activity, worker, most).await? {
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

    /// Finds out which tasks of an activity workers took before this process began.
    async fn read_taken(&self, activity: &Arc<str>) -> Result<(), Error> {
        let Some(reading) = self.shared.claims.begin(activity) else {
            return Ok(());
        };
        let (reader, name) = (self.shared.reader.clone(), activity.clone());
        let read = move || {
            let (mut taken, mut after) = (Vec::new(), None);
            loop {
                let range = Range::Activities {
                    name: name.clone(),
                    after,
                };
                let rows = reader.scan(&range, ROWS_READ)?;
                for (key, value) in &rows {
                    after = task_of(key).or(after);
                    taken.extend(task_of(key).filter(|_| !value.is_empty()));
                }
                if rows.len() < ROWS_READ {
                    return Ok(taken);
                }
            }
        };
        reading.end(self.reading(read).await?);
        Ok(())
    }

    /// How many tasks of an activity are with workers, and whether that is as many as may be.
    pub(crate) fn in_hands(&self, activity: &str) -> (usize, bool) {
        let count = self.shared.claims.count(activity);
        let most = self.shared.outward.concurrency(activity);
        (count, most.is_some_and(|most| count >= most as usize))
    }

    async fn claim_one(
        &self,
        activity: &Arc<str>,
        worker: Option<&Arc<str>>,
        most: Option<u32>,
    ) -> Result<Option<ActivityTask>, Error> {
        let mut after = None;
        loop {
            let range = Range::Activities {
                name: activity.clone(),
                after,
            };
            let rows = self.shared.reader.scan(&range, ROWS)?;
            for (key, value) in &rows {
                let Some(task) = task_of(key) else { continue };
                after = Some(task);
                // Another has it.
                if !value.is_empty() {
                    continue;
                }
                let Some(_held) = self.shared.claims.take(task) else {
                    continue;
                };
                let (claims, watchers) = (&self.shared.claims, &self.shared.watchers);
                let place = match most {
                    None => None,
                    Some(most) => match claims.place(activity, task, most, watchers) {
                        // Whoever gives one up wakes who polls.
                        None => return Ok(None),
                        place => place,
                    },
                };
                let (execution, entry, attempt) = task;
                let claim = Claim {
                    activity: activity.clone(),
                    execution,
                    entry,
                    attempt,
                    worker: worker.cloned(),
                    counts: most.is_some(),
                };
                match self.shared.ask(execution, Request::Claim(claim)).await? {
                    Reply::Claimed(Some(task)) => {
                        if let Some(place) = place {
                            place.keep();
                        }
                        return Ok(Some(*task));
                    }
                    _ => continue,
                }
            }
            if rows.len() < ROWS {
                return Ok(None);
            }
        }
    }
}

fn task_of(key: &Key) -> Option<Task> {
    match key {
        Key::Activity {
            execution,
            entry,
            attempt,
            ..
        } => Some((*execution, *entry, *attempt)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use stepwell_types::{ShardId, Timestamp};

    use super::*;

    fn task(entry: u64) -> Task {
        let execution = ExecutionId::new(Timestamp(1), ShardId(0), 1);
        (execution, EntryId(entry), 0)
    }

    fn poll(claims: &Claims, name: &str) {
        let name = Arc::from(name);
        if let Some(reading) = claims.begin(&name) {
            reading.end(Vec::new());
        }
    }

    #[test]
    fn names_that_were_merely_polled_are_forgotten_and_tasks_are_not() {
        let (claims, watchers) = (Claims::default(), Watchers::default());
        let busy: Arc<str> = "busy".into();
        poll(&claims, "busy");
        claims
            .place(&busy, task(1), 2, &watchers)
            .expect("room")
            .keep();
        // Its rows are being read while the others come and go.
        let read: Arc<str> = "read".into();
        let reading = claims.begin(&read).expect("unread");
        claims.free(&read, task(2));
        for n in 0..10 * HANDS_MAX {
            poll(&claims, &n.to_string());
            let names = claims.0.lock().hands.len();
            assert!(names <= HANDS_MAX + 1, "{names} names");
        }
        assert_eq!(claims.count("busy"), 1);
        assert!(claims.place(&busy, task(3), 1, &watchers).is_none());
        reading.end(vec![task(2), task(4)]);
        assert_eq!(
            claims.count("read"),
            1,
            "what was given up meanwhile is free"
        );
        claims.free(&busy, task(1));
        assert_eq!(claims.count("busy"), 0);
    }

    #[test]
    fn as_many_as_have_tasks_out_are_remembered() {
        let (claims, watchers) = (Claims::default(), Watchers::default());
        for n in 0..3 * HANDS_MAX {
            let name: Arc<str> = n.to_string().into();
            poll(&claims, &name);
            claims
                .place(&name, task(1), 1, &watchers)
                .expect("room")
                .keep();
        }
        assert_eq!(claims.0.lock().hands.len(), 3 * HANDS_MAX);
        assert_eq!(claims.count("0"), 1);
    }
}
