//! What an execution's data takes in memory, documents that are shared counted once.
//!
//! Refuses to be part of a turn: what is shared depends on how a state came into memory, so
//! that nothing may be decided by it that is not recorded.

use std::collections::HashSet;
use std::sync::Arc;

use stepwell_types::Data;

use super::{Entry, Join, Phase, State, Variables};

/// Documents that were counted, by where they are.
#[derive(Default)]
struct Held {
    seen: HashSet<usize>,
    bytes: usize,
}

impl State {
    /// Bytes of text that entries took in, shared or not, since this state was made or restored:
    /// what [`State::memory_bytes`] gives can have grown by about as much.
    #[must_use]
    pub fn taken_in_bytes(&self) -> u64 {
        self.taken_in
    }

    /// Bytes of memory that all its documents take. Looks at each entry and each result.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let mut held = Held::default();
        let core = &self.core;
        held.bytes += core.inbox.weight();
        held.all(core.started.as_ref().map(|started| &started.input));
        held.all(&core.global);
        for entry in core.entries.values().chain(core.halted.values()) {
            held.entry(entry);
        }
        held.bytes
    }
}

impl Held {
    fn all<'d>(&mut self, documents: impl IntoIterator<Item = &'d Data>) {
        for data in documents {
            if self.seen.insert(data.address()) {
                self.bytes += data.memory_bytes();
            }
        }
    }

    fn entry(&mut self, entry: &Entry<Data>) {
        self.all([&entry.input]);
        self.variables(&entry.variables);
        match &entry.phase {
            Phase::Ready | Phase::Backoff(_) | Phase::Waiting(_) => {}
            Phase::Running(run) => self.all([&run.input]),
            Phase::Parallel(run) => {
                self.all([&run.input]);
                self.join(&run.join);
            }
            Phase::Map(map) => {
                self.all([&map.source, &map.input]);
                self.join(&map.join);
            }
            Phase::Fleet(fleet) => self.bytes += fleet.measure(&entry.input),
        }
    }

    fn join(&mut self, join: &Join<Data>) {
        self.bytes += join.results.len() * size_of::<Option<Data>>();
        self.all(join.results.iter().flatten());
    }

    fn variables(&mut self, variables: &Arc<Variables>) {
        if self.seen.insert(Arc::as_ptr(variables).addr()) {
            self.all(variables.values());
        }
    }
}
