//! How a turn tells its history: each event is counted, and made only for whoever wants to know.

use std::sync::Arc;

use stepwell_types::EntryId;

use super::Turn;
use crate::history::{HistoryEvent, HistoryKind, Place};

impl Turn<'_> {
    /// Counts a history event of the whole execution, and tells the observer if it wants to know.
    pub fn note(&mut self, previous: u64, kind: impl FnOnce() -> HistoryKind) -> u64 {
        self.note_at(None, previous, kind)
    }

    /// The same of an entry's state.
    pub fn note_of(
        &mut self,
        id: EntryId,
        previous: u64,
        kind: impl FnOnce() -> HistoryKind,
    ) -> u64 {
        let entry = self.state.core.entries.get(&id);
        let place = entry.map(|e| (e.state, e.parent.map(|p| p.slot)));
        self.note_at(place, previous, kind)
    }

    /// The same of a state, and of the branch or item around it that this is in.
    pub fn note_at(
        &mut self,
        place: Option<(u32, Option<u32>)>,
        previous: u64,
        kind: impl FnOnce() -> HistoryKind,
    ) -> u64 {
        self.state.core.events += 1;
        let id = self.state.core.events;
        if self.seen.wants() {
            let place = place.and_then(|(state, index)| {
                let node = self.program.states.get(state as usize)?;
                let state = Arc::clone(&node.name);
                Some(Place { state, index })
            });
            let event = HistoryEvent {
                id,
                previous,
                place,
                kind: kind(),
            };
            self.seen.event(self.now, event);
        }
        id
    }

    /// As [`Turn::note_of`], in the entry's own line of events.
    pub fn note_in(&mut self, id: EntryId, kind: impl FnOnce() -> HistoryKind) {
        let previous = self.state.core.entries.get(&id).map_or(0, |e| e.previous);
        let event = self.note_of(id, previous, kind);
        if let Some(entry) = self.state.core.entries.get_mut(&id) {
            entry.previous = event;
        }
    }
}
