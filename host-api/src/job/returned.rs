//! What runs elsewhere since an earlier life of the server: under way for the limits before anything new begins.
//!
//! Refuses to let a limit be passed after a crash: whoever waited in the earlier life, and is quicker
//! to ask now than who had begun, would begin beside it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::limit::Permit;

/// How long new calls wait for the first look at most.
const FIRST_LOOK: Duration = Duration::from_secs(60);

/// What was found on one machine, or with one engine.
#[derive(Default)]
pub(crate) struct Returned {
    table: Mutex<Table>,
    /// Whether the first look is still to come.
    awaited: watch::Sender<bool>,
}

#[derive(Default)]
struct Table {
    /// Found, and nobody has come to carry it on.
    found: HashMap<String, Permit>,
    /// Carried on before it was found.
    carried: HashSet<String>,
}

impl Returned {
    /// Somebody will look; until then nothing new begins.
    pub(crate) fn expect(&self) {
        self.awaited.send_replace(true);
    }

    /// Waits until somebody has looked, if anybody will.
    pub(crate) async fn looked(&self) {
        let mut awaited = self.awaited.subscribe();
        let looked = awaited.wait_for(|awaited| !awaited);
        // Whoever does not answer is found out by the call itself.
        let _ = tokio::time::timeout(FIRST_LOOK, looked).await;
    }

    /// A job that somebody will carry on was found; `resume` counts it. In the first look alone:
    /// later ones find what this life began.
    pub(crate) fn found(&self, key: &str, resume: impl FnOnce() -> Permit) {
        let mut table = self.table.lock();
        if *self.awaited.borrow() && !table.carried.contains(key) {
            table.found.entry(key.to_owned()).or_insert_with(resume);
        }
    }

    /// The first look is over, whatever it found.
    pub(crate) fn over(&self) {
        self.awaited.send_replace(false);
        self.table.lock().carried.clear();
    }

    /// Somebody carries it on: its place, if it was found.
    pub(crate) fn take(&self, key: &str) -> Option<Permit> {
        let mut table = self.table.lock();
        if *self.awaited.borrow() {
            table.carried.insert(key.to_owned());
        }
        table.found.remove(key)
    }

    /// What else is there still: what is not has nobody waiting for it.
    pub(crate) fn keep(&self, there: &HashSet<String>) {
        let mut table = self.table.lock();
        table.found.retain(|key, _| there.contains(key));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use stepwell_types::{TargetKind, TargetName, Timestamp};

    use super::*;
    use crate::limit::{LimitOptions, Limiter};

    fn counted(limiter: &Limiter) -> u32 {
        let targets = limiter.targets();
        let named = targets.iter().find(|target| target.target.name.is_some());
        named.map_or(0, |target| target.under_way)
    }

    #[tokio::test]
    async fn what_is_found_counts_until_somebody_takes_it_or_it_is_gone() {
        let limiter = Limiter::new(LimitOptions::default(), Arc::new(|| Timestamp(1)));
        let target = TargetName::new(TargetKind::Machine, "worker");
        let resume = || limiter.resume(&target);
        let returned = Returned::default();
        // Nobody looks: nothing waits, and nothing is found.
        returned.looked().await;
        returned.found("a", resume);
        assert_eq!(counted(&limiter), 0);
        returned.expect();
        let mut waits = Box::pin(returned.looked());
        assert!(futures_util::poll!(&mut waits).is_pending());
        // It was quicker than the look.
        assert!(returned.take("a").is_none());
        for key in ["a", "b", "c", "c"] {
            returned.found(key, resume);
        }
        assert_eq!(counted(&limiter), 2);
        returned.over();
        waits.await;
        returned.found("d", resume);
        assert_eq!(counted(&limiter), 2);
        let taken = returned.take("b");
        assert!(taken.is_some());
        returned.keep(&HashSet::from(["b".to_owned()]));
        assert_eq!(counted(&limiter), 1);
        drop(taken);
        assert_eq!(counted(&limiter), 0);
    }
}
