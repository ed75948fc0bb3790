//! Signals in an execution's state: those that came early, and what waits for which.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stepwell_types::{Data, ExecutionId, Timestamp};

use super::{Entry, Phase};

/// Signals that came before somebody waited for them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Inbox<D> {
    /// In the order in which they came; at most [`stepwell_types::limits::SIGNALS_MAX`].
    pub signals: VecDeque<Received<D>>,
    /// Waits for signals that began so far: what orders those who wait.
    pub waits: u64,
}

/// A signal that came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Received<D> {
    pub name: Arc<str>,
    pub data: D,
    pub sender: Option<ExecutionId>,
    pub at: Timestamp,
}

/// What an attempt of `signal:wait` waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// The first of these to come.
    pub names: Vec<Arc<str>>,
    /// Its number among all waits: the earliest is served first.
    pub since: u64,
}

impl<D, V> Entry<D, V> {
    /// The names of the signals that it waits for, each with when it began to.
    pub fn waits_for(&self) -> impl Iterator<Item = (Arc<str>, u64)> {
        let wanted = match &self.phase {
            Phase::Running(run) => run.signals.as_deref(),
            _ => None,
        };
        wanted.into_iter().flat_map(|wanted| {
            let since = wanted.since;
            wanted
                .names
                .iter()
                .map(move |name| (Arc::clone(name), since))
        })
    }
}

impl Inbox<Data> {
    /// Bytes that it holds.
    pub fn weight(&self) -> usize {
        self.signals.iter().map(Received::weight).sum()
    }
}

impl Received<Data> {
    pub fn weight(&self) -> usize {
        64 + self.name.len() + self.data.len_bytes()
    }
}
