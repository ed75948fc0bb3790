//! Express executions: the same interpreter, kept in memory.
//!
//! One that somebody waits for leaves the store alone: no record, no row, no commit before its
//! answer. One that nobody waits for has a start record, from which it begins again after a
//! crash. Refuses to write a history while it runs: what is kept is written at its end, whole
//! or not at all.

use stepwell_flow::program::Keep;
use stepwell_interpreter::codec::{Logged, Row};
use stepwell_interpreter::{Event, Outcome, child};
use stepwell_store::{Batch, Key};
use stepwell_types::limits::{EXPRESS_HISTORY_BYTES_MAX, INLINE_BYTES_MAX};
use stepwell_types::{Data, Digest, ExecutionId, Failure, ParentLink, Timestamp};

use super::seal::write_execution;
use super::{Driver, Output, Reply};
use crate::Error;

/// Milliseconds for which usage that no other row carries may wait for its commit.
const USAGE_MS: u64 = 1_000;

/// What sets an express execution apart.
pub(super) struct Express {
    pub keep: Keep,
    /// It has a start record, or its end is to be written.
    pub recorded: bool,
    /// Its records after the start record, as long as they may be kept.
    kept: Row,
    /// They were too many.
    overflowed: bool,
    /// Of an item of a distributed Map: whom its end is told. Its state may not know that, if
    /// its start could not be walked.
    item: Option<Box<ParentLink>>,
}

impl Express {
    pub fn new(keep: Keep, recorded: bool) -> Express {
        Express {
            keep,
            recorded,
            kept: Row::new(),
            overflowed: false,
            item: None,
        }
    }

    /// Of an item: only what did not succeed is kept.
    pub fn of_item(link: ParentLink) -> Express {
        Express {
            item: Some(Box::new(link)),
            ..Express::new(Keep::Errors, false)
        }
    }

    /// Bytes of records that wait for the end.
    pub fn kept_bytes(&self) -> usize {
        self.kept.len()
    }
}

impl Driver {
    /// Takes a record of an express execution. `false`: it is for the log, as any other's.
    pub(super) fn log_express(&mut self, id: ExecutionId, logged: &Logged) -> bool {
        let Some(hot) = self.hot.get_mut(&id) else {
            return true;
        };
        let Some(express) = &mut hot.express else {
            return false;
        };
        let is_start = match logged {
            Logged::Event(record) => matches!(record.event, Event::Started { .. }),
            Logged::Troubled { event, .. } => matches!(event, Event::Started { .. }),
            _ => false,
        };
        if is_start && express.recorded {
            return false;
        }
        if express.keep == Keep::None || express.overflowed {
            return true;
        }
        let blobs = &mut hot.blobs;
        express.kept.append(logged, &mut |data: &Data| {
            (data.len_bytes() > INLINE_BYTES_MAX).then(|| {
                let digest = Digest::of(data.text().as_bytes());
                blobs.push((digest, data.text().as_bytes().into()));
                digest
            })
        });
        let blob_bytes: usize = blobs.iter().map(|(_, bytes)| bytes.len()).sum();
        hot.logged += 1;
        if express.kept.len() + blob_bytes > EXPRESS_HISTORY_BYTES_MAX {
            express.overflowed = true;
            express.kept.take();
            hot.blobs.clear();
        }
        true
    }

    /// An express execution has ended: what is kept of it is written, and if that is
    /// nothing, it is gone.
    pub(super) fn end_express(&mut self, id: ExecutionId, outcome: &Outcome) {
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        let Some(express) = &mut hot.express else {
            return;
        };
        let wanted = match express.keep {
            Keep::None => false,
            Keep::Errors => !matches!(outcome, Outcome::Succeeded(_)),
            Keep::All => true,
        };
        let row = express.kept.take();
        if wanted && !express.overflowed {
            if !row.is_empty() {
                hot.kept_row = Some((u64::from(express.recorded), row));
            }
            express.recorded = true;
        } else {
            hot.blobs.clear();
            hot.forget_start = express.recorded;
        }
        let recorded = express.recorded;
        if let Some(link) = express.item.take() {
            let mut kept = Batch::default();
            if recorded {
                write_execution(hot, id, &self.options, &mut kept);
                let parent = link.execution;
                let execution = id;
                kept.put(Key::Child { parent, execution }, Vec::new());
            }
            let result = child::ended(child::Ended {
                state: &hot.state,
                at: hot.ended.unwrap_or(hot.last_at),
                wants: link.wants,
            });
            self.remove_express(id);
            self.tell_of_item(*link, id, result, kept);
            return;
        }
        if recorded {
            self.touch(id);
            return;
        }
        self.remove_express(id);
    }

    /// The engine cannot go on with an execution of which nothing is stored: whoever waits is
    /// told, and so is the Map whose item it is.
    pub(super) fn break_express(&mut self, id: ExecutionId, failure: &Failure) {
        for ticket in self.waiters.remove(&id).unwrap_or_default() {
            let error = Error::Broken {
                id,
                why: failure.clone(),
            };
            self.out
                .push_back(Output::Reply(ticket, Reply::Refused(error)));
        }
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        let link = hot.express.as_mut().and_then(|express| express.item.take());
        let left: Vec<_> = hot.steps.keys().copied().collect();
        for (entry, attempt) in left {
            self.abort_step(id, entry, attempt);
        }
        self.remove_express(id);
        if let Some(link) = link {
            self.tell_of_item(*link, id, Err(failure.clone()), Batch::default());
        }
    }

    fn remove_express(&mut self, id: ExecutionId) {
        if let Some(hot) = self.hot.remove(&id) {
            if let Some(at) = hot.timer {
                self.timers.remove(&(at, id));
            }
            self.hot_bytes = self.hot_bytes.saturating_sub(hot.weight);
            self.parents -= usize::from(hot.is_parent);
        }
    }

    /// Whether nothing of this execution is in the store, nor will be before its end.
    pub(super) fn is_unrecorded(&self, id: ExecutionId) -> bool {
        let express = self.hot.get(&id).and_then(|hot| hot.express.as_ref());
        express.is_some_and(|express| !express.recorded)
    }

    /// When usage that only express executions changed is committed at last.
    pub(super) fn usage_due(&self) -> Option<Timestamp> {
        self.usage_since.map(|since| since.plus_ms(USAGE_MS))
    }
}
