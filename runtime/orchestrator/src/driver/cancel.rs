//! The cancel of a child, which may come before its start, after its end, or late.
//!
//! Refuses to rely on order: a cancel names the attempt that no longer waits, and one that finds no
//! child of that attempt leaves a tombstone for the start that is still under way.

use stepwell_interpreter::{Event, Outcome};
use stepwell_types::{ExecutionId, Failure, Timestamp};

use super::Driver;
use super::outbox::{Answer, Parcel, key};
use crate::Error;
use crate::rows;

/// The number of a tombstone: it is never sent, and no parcel counts so far.
pub(super) const TOMBSTONE: u64 = u64::MAX;

impl Driver {
    pub(super) fn child_cancel(
        &mut self,
        sender: ExecutionId,
        number: u64,
        child: ExecutionId,
        attempt: u32,
        failure: Failure,
        now: Timestamp,
    ) -> Result<(), Error> {
        let wanted = match self.recall(child, now) {
            Ok(()) => self.wanted_by(child),
            Err(Error::NoExecution(_)) => None,
            Err(e) => return Err(e),
        };
        if wanted.is_some_and(|wanted| wanted <= attempt) {
            let failure = failure.clone();
            self.apply(child, Event::Cancelled { failure }, now);
        }
        // One that has succeeded never runs again: whatever start comes is answered with its result.
        if wanted.is_none_or(|wanted| wanted < attempt) && !self.has_succeeded(child) {
            // A wish that comes late must find it; one is there from an earlier attempt, or none.
            let before = self
                .tombstone(child)?
                .is_some_and(|(old, _)| old >= attempt);
            if !before {
                let row = Parcel::Tombstone {
                    attempt,
                    failure: failure.clone(),
                };
                self.extra.put(key(child, TOMBSTONE), rows::encode(&row));
                self.tombstones.insert(child, (attempt, failure));
            }
        }
        self.answer(self.batch_of(child), sender, number, Answer::Taken);
        self.settle(child, now);
        Ok(())
    }

    /// Whether a child in memory needs no further attempt.
    fn has_succeeded(&self, child: ExecutionId) -> bool {
        let outcome = self.hot.get(&child).and_then(|hot| hot.state.outcome());
        matches!(outcome, Some(Outcome::Succeeded(_)))
    }

    /// Which attempt of its parent's entry a child in memory is for.
    pub(super) fn wanted_by(&self, child: ExecutionId) -> Option<u32> {
        let hot = self.hot.get(&child)?;
        Some(hot.state.parent().map_or(u32::MAX, |link| link.attempt))
    }

    /// A cancel may have come before the wish of this attempt of the parent.
    pub(super) fn meet_tombstone(
        &mut self,
        child: ExecutionId,
        attempt: u32,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Some((cancelled, failure)) = self.take_tombstone(child, attempt)? else {
            return Ok(());
        };
        if cancelled >= attempt {
            self.apply(child, Event::Cancelled { failure }, now);
        }
        Ok(())
    }

    /// The start of this attempt has come: a tombstone that waited for it, or for an earlier one, has
    /// done its work.
    pub(super) fn take_tombstone(
        &mut self,
        child: ExecutionId,
        attempt: u32,
    ) -> Result<Option<(u32, Failure)>, Error> {
        let found = self.tombstone(child)?;
        if found.as_ref().is_some_and(|(of, _)| *of <= attempt) {
            self.tombstones.remove(&child);
            self.extra.delete(key(child, TOMBSTONE));
        }
        Ok(found)
    }

    fn tombstone(&self, child: ExecutionId) -> Result<Option<(u32, Failure)>, Error> {
        if let Some(cancel) = self.tombstones.get(&child) {
            return Ok(Some(cancel.clone()));
        }
        match self.reader.get(&key(child, TOMBSTONE))? {
            None => Ok(None),
            Some(row) => match rows::decode(&row)? {
                Parcel::Tombstone { attempt, failure } => Ok(Some((attempt, failure))),
                _ => Ok(None),
            },
        }
    }
}
