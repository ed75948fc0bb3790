//! A distributed Map under way: what its state remembers of items, children and results.
//!
//! Refuses to hold a place for each item: there are the page that is read, the children that
//! are away, and counts. Results are rows of the store, which the driver keeps by slot.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stepwell_types::items::{
    ItemCursor, ItemSource, ResultFile, ResultKind, ResultTarget, Transformation,
};
use stepwell_types::{Data, EntryId, ExecutionId, Failure, Timestamp, Wants};

use crate::state::{Phase, State};

/// One run of a distributed Map.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fleet<D> {
    /// With the entry it names the rows of results: the attempt in which the run began.
    pub run: u32,
    /// When that was. With the slot it names the children, over all redrives.
    pub begun: Timestamp,
    /// Redriven: of some slots the success is known, and of others the child.
    pub again: bool,
    pub stage: Stage,
    /// As [`crate::state::MapRun::source`]; of items that are read, the page.
    pub source: D,
    /// `source` is the list itself.
    pub listed: bool,
    /// The items are the fields of an object, each `{"Key", "Value"}`.
    pub keyed: bool,
    /// Effective input, for `ItemSelector` and `BatchInput`.
    pub input: D,
    /// Where items are read; `None`: they were in the state's input.
    pub reading: Option<Reading>,
    /// Number of the source's first item among all.
    pub first: u32,
    /// Items in the source.
    pub length: u32,
    /// Number of the next item to go out.
    pub next_item: u32,
    /// Of the next child.
    pub next_slot: u32,
    /// Items wanted at most.
    pub items_max: u32,
    /// Children away at most.
    pub window: u32,
    pub batch: Option<Batch<D>>,
    pub tolerated: Tolerated,
    /// The children that have not ended, by slot.
    pub away: BTreeMap<u32, Away<D>>,
    /// Children are kept in memory only.
    pub express: bool,
    /// Items that succeeded.
    pub succeeded: u64,
    /// Items that did not.
    pub failed: u64,
    /// A `Fill` is on the work stack.
    pub filling: bool,
    /// What a `ResultWriter` makes of a child; `None`: there is none.
    pub transformation: Option<Transformation>,
    /// Where results are written; `None`: they are the output.
    pub target: Option<ResultTarget>,
    /// The files that are written.
    pub files: Vec<(ResultKind, ResultFile)>,
    /// Why the run fails as soon as they are; `None`: it does not.
    pub failing: Option<Failure>,
}

/// What the run is at, beside its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// Items go out.
    Items {
        /// A page is being read.
        reading: bool,
    },
    /// All have ended; their results are being collected.
    Collecting,
    /// Or written.
    Writing {
        kind: ResultKind,
        /// Number of the file.
        number: u32,
        /// Its first slot.
        from: u32,
    },
    /// Or all written but for the list of files.
    Manifest,
    /// It failed or was left.
    Over,
}

/// Where items are read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub source: ItemSource,
    pub place: Place,
    /// Of the object that the first page was read from, over all redrives: items that ended are
    /// of this one.
    pub version: Option<Arc<str>>,
}

/// Which page is next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    First,
    At(ItemCursor),
    /// The page that is here is the last.
    End,
}

/// Items on their way into one child.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Batch<D> {
    pub items_max: u32,
    pub bytes_max: u64,
    /// `BatchInput`.
    pub input: Option<D>,
    /// Shaped, and not sent yet.
    pub items: Vec<D>,
    /// Of them, with what joins them.
    pub bytes: u64,
}

/// How many items may fail. Neither: none.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Tolerated {
    pub count: Option<u64>,
    /// From 0 to 100.
    pub percentage: Option<f64>,
}

/// A child that has not ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Away<D> {
    pub child: ExecutionId,
    /// How many items it has.
    pub items: u32,
    /// What it begins with again after a crash: of a child that is kept in memory only, and of
    /// one that may have to be looked up. `None`: its start is in the outbox.
    pub input: Option<D>,
}

impl Tolerated {
    /// Whether so many failures are too many. `total`: all items, or the most that there
    /// can be; `None`: nobody knows yet.
    pub fn exceeded(self, failed: u64, total: Option<u64>) -> bool {
        if failed == 0 {
            return false;
        }
        if self.count.is_none() && self.percentage.is_none() {
            return true;
        }
        let of_count = self.count.is_some_and(|count| failed > count);
        #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let of_all = self.percentage.is_some_and(|percentage| match total {
            Some(total) => failed as f64 * 100.0 > percentage * total as f64,
            None => percentage <= 0.0,
        });
        of_count || of_all
    }
}

impl<D> Fleet<D> {
    /// Whether a step of the run itself is under way: a page, a file, the collection.
    pub fn asks(&self) -> bool {
        match self.stage {
            Stage::Items { reading } => reading,
            Stage::Collecting | Stage::Writing { .. } | Stage::Manifest => true,
            Stage::Over => false,
        }
    }

    /// Whether a further page may hold items that are wanted.
    pub fn more_pages(&self) -> bool {
        let unread = self.reading.as_ref().is_some_and(|r| r.place != Place::End);
        unread && self.first.saturating_add(self.length) < self.items_max
    }

    /// The number after that of the last item at hand.
    pub fn at_hand(&self) -> u32 {
        self.first.saturating_add(self.length).min(self.items_max)
    }

    /// How many items there are in all, or can be at most; `None`: nobody knows yet.
    pub fn total(&self) -> Option<u64> {
        if !self.more_pages() {
            return Some(u64::from(self.at_hand()));
        }
        (self.items_max < u32::MAX).then_some(u64::from(self.items_max))
    }

    /// What a child is to tell.
    pub fn wants(&self) -> Wants {
        match self.transformation {
            None => Wants::Item,
            Some(Transformation::None) => Wants::Record,
            Some(Transformation::Compact | Transformation::Flatten) => Wants::Compact,
        }
    }
}

impl Fleet<Data> {
    /// Bytes that it holds beside its entry's input.
    pub fn measure(&self, raw: &Data) -> usize {
        let own = |data: &Data| if data.same(raw) { 0 } else { data.len_bytes() };
        let away: usize = self.away.values().map(Away::weight).sum();
        let batch = self.batch.as_ref().map_or(0, |batch| {
            let shared = batch.input.as_ref().map_or(0, Data::len_bytes);
            shared + batch.items.iter().map(Data::len_bytes).sum::<usize>()
        });
        128 + own(&self.source) + away + batch + self.files.len() * 64
    }
}

impl Away<Data> {
    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        64 + self.input.as_ref().map_or(0, Data::len_bytes)
    }
}

/// Where a run's results are, for the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Results {
    /// With execution and entry it names the rows.
    pub run: u32,
    /// Rows of greater slots are of no account.
    pub slots: u32,
    /// Arrays are taken apart.
    pub flatten: bool,
    /// What a row was made from.
    pub wants: Wants,
}

impl State {
    /// Where the results of the distributed Map that this attempt of an entry runs are.
    #[must_use]
    pub fn map_results(&self, entry: EntryId, attempt: u32) -> Option<Results> {
        let fleet = self.fleet(entry, attempt)?;
        Some(Results {
            run: fleet.run,
            slots: fleet.next_slot,
            flatten: fleet.transformation == Some(Transformation::Flatten),
            wants: fleet.wants(),
        })
    }

    /// Whether the end of this child of a distributed Map is still awaited.
    #[must_use]
    pub fn awaits_item(&self, entry: EntryId, attempt: u32, slot: u32, child: ExecutionId) -> bool {
        let away = self.fleet(entry, attempt).and_then(|f| f.away.get(&slot));
        away.is_some_and(|away| away.child == child)
    }

    /// The child of this slot, while its end is awaited.
    #[must_use]
    pub fn away(&self, entry: EntryId, attempt: u32, slot: u32) -> Option<ExecutionId> {
        let fleet = self.fleet(entry, attempt)?;
        fleet.away.get(&slot).map(|away| away.child)
    }

    /// Distributed Maps under way: while there are any, events come often.
    #[must_use]
    pub fn fleets(&self) -> usize {
        self.fleets
    }

    /// Whether a redrive would look for results of this execution's items.
    #[must_use]
    pub fn has_halted_fleet(&self) -> bool {
        let halted = self.core.halted.values();
        halted
            .into_iter()
            .any(|e| matches!(e.phase, Phase::Fleet(_)))
    }

    pub(crate) fn fleet(&self, entry: EntryId, attempt: u32) -> Option<&Fleet<Data>> {
        let found = self.core.entries.get(&entry)?;
        match &found.phase {
            Phase::Fleet(fleet) if found.attempt == attempt => Some(fleet),
            _ => None,
        }
    }

    /// Changes a run under way, and keeps what is derived from it in step.
    pub(crate) fn change_fleet<T>(
        &mut self,
        entry: EntryId,
        change: impl FnOnce(&mut Fleet<Data>) -> T,
    ) -> Option<T> {
        let found = self.core.entries.get_mut(&entry)?;
        let Phase::Fleet(fleet) = &mut found.phase else {
            return None;
        };
        let asked = fleet.asks();
        let out = change(fleet);
        let asks = fleet.asks();
        self.active = self.active + usize::from(asks) - usize::from(asked);
        Some(out)
    }

    /// Adds to, and takes from, what an entry weighs.
    pub(crate) fn reweigh(&mut self, entry: EntryId, more: usize, less: usize) {
        if let Some(found) = self.core.entries.get_mut(&entry) {
            found.weight = (found.weight + more).saturating_sub(less);
            self.bytes = (self.bytes + more).saturating_sub(less);
            self.taken_in += more as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tolerated_up_to_the_bound() {
        let of = |count, percentage| Tolerated { count, percentage };
        for (tolerated, failed, total, exceeded) in [
            (of(None, None), 0, None, false),
            (of(None, None), 1, None, true),
            (of(Some(1), None), 1, None, false),
            (of(Some(1), None), 2, None, true),
            (of(None, Some(50.0)), 2, Some(4), false),
            (of(None, Some(50.0)), 3, Some(4), true),
            (of(None, Some(50.0)), 3, None, false),
            (of(None, Some(0.0)), 1, None, true),
            (of(None, Some(100.0)), 4, Some(4), false),
            // The one that is reached first decides.
            (of(Some(1), Some(100.0)), 2, Some(100), true),
            (of(Some(50), Some(1.0)), 2, Some(100), true),
        ] {
            let got = tolerated.exceeded(failed, total);
            assert_eq!(got, exceeded, "{tolerated:?}, {failed} of {total:?}");
        }
    }
}
