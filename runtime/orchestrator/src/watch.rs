//! Who follows an execution hears when more of it is durable.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use stepwell_types::ExecutionId;
use tokio::sync::Notify;

/// Followers by execution.
#[derive(Default)]
pub(crate) struct Watchers {
    count: AtomicUsize,
    by_execution: Mutex<HashMap<ExecutionId, Vec<Arc<Notify>>>>,
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
