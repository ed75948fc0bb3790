//! Who follows an execution hears when more of it is durable.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use stepwell_types::ExecutionId;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Followers by execution.
#[derive(Default)]
pub(crate) struct Watchers {
    count: AtomicUsize,
    by_execution: Mutex<HashMap<ExecutionId, Vec<Arc<Notify>>>>,
    /// One for each activity that somebody polls for now.
    by_activity: Mutex<HashMap<Arc<str>, Arc<Notify>>>,
}

impl Watchers {
    /// Follows one execution until the returned value is dropped.
    pub fn follow(self: &Arc<Self>, id: ExecutionId) -> Watch {
        let notify = Arc::new(Notify::new());
        self.by_execution
            .lock()
            .entry(id)
            .or_default()
            .push(notify.clone());
        self.count.fetch_add(1, Ordering::AcqRel);
        Watch {
            watchers: self.clone(),
            id,
            notify,
        }
    }

    /// Waits for tasks of an activity until the returned value is dropped.
    pub fn poll(self: &Arc<Self>, activity: &Arc<str>) -> Poll {
        let notify = self
            .by_activity
            .lock()
            .entry(activity.clone())
            .or_default()
            .clone();
        Poll {
            watchers: self.clone(),
            activity: activity.clone(),
            notify,
        }
    }

    /// Wakes one of those who poll for this activity.
    pub fn task_waits(&self, activity: &str) {
        if let Some(notify) = self.by_activity.lock().get(activity) {
            notify.notify_one();
        }
    }

    /// Wakes all who poll: the engine stops.
    pub fn let_go(&self) {
        for notify in self.by_activity.lock().values() {
            notify.notify_waiters();
        }
    }

    /// Wakes the followers of these executions.
    pub fn announce(&self, changed: &[ExecutionId]) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let by_execution = self.by_execution.lock();
        for id in changed {
            for notify in by_execution.get(id).into_iter().flatten() {
                notify.notify_one();
            }
        }
    }
}

/// One follower.
pub(crate) struct Watch {
    watchers: Arc<Watchers>,
    id: ExecutionId,
    notify: Arc<Notify>,
}

impl Watch {
    /// Returns when something became durable since the last call (or the follow).
    pub async fn changed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut by_execution = self.watchers.by_execution.lock();
        if let Some(list) = by_execution.get_mut(&self.id) {
            list.retain(|n| !Arc::ptr_eq(n, &self.notify));
            if list.is_empty() {
                by_execution.remove(&self.id);
            }
        }
        self.watchers.count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One poll for an activity's tasks.
pub(crate) struct Poll {
    watchers: Arc<Watchers>,
    activity: Arc<str>,
    notify: Arc<Notify>,
}

impl Poll {
    /// Ends when there may be a task since this was called, or the engine stops.
    pub fn changed(&self) -> Notified<'_> {
        self.notify.notified()
    }

    /// There may be more tasks for whoever else polls.
    pub fn pass_on(&self) {
        self.notify.notify_one();
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        let mut by_activity = self.watchers.by_activity.lock();
        // The map's and this one's: nobody else polls.
        if Arc::strong_count(&self.notify) <= 2 {
            by_activity.remove(&self.activity);
        }
    }
}
