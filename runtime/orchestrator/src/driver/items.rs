//! The items of distributed Maps: children in memory, and what children end with.
//!
//! A child's result is a row, put in the batch of the event that tells of its end: the state
//! and the log of the parent hold neither. Refuses to read rows that are not durable, and to
//! read many at once.

use stepwell_interpreter::{Event, Outcome, RunStep};
use stepwell_store::{Batch, Key, Range};
use stepwell_types::data::shape;
use stepwell_types::items::{RESULT_FILE_BYTES, ResultChunk, ResultKind};
use stepwell_types::limits::{INLINE_BYTES_MAX, JSON_VALUES_MAX, PAYLOAD_BYTES_MAX};
use stepwell_types::{
    ChildStart, Data, Digest, EntryId, ExecutionId, Failure, FlowRef, ParentLink, Spent,
    StepOutcome, StepTarget, Timestamp, Wants,
};

use super::express::Express;
use super::hot::Running;
use super::outbox::{Answer, Delivery, Held, Parcel, Post, parent_ended};
use super::{Driver, Output, Work};
use crate::Error;
use crate::api::Status;
use crate::rows::{self, Kept, MapResultRow};

/// Rows of results that are read before others get their turn.
const ROWS: usize = 128;

/// A child that has ended, on its way to its parent.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// What the child knows of its parent.
    pub link: ParentLink,
    /// Who ended.
    pub child: ExecutionId,
    /// What the parent asked to hear.
    pub result: Result<Data, Failure>,
}

/// Between the loops of a parent and of a child that is kept in memory: it may run anywhere,
/// and nothing of it is stored before its end. What is lost with the process, the parent
/// wishes again; within one it comes once and in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// It is to begin.
    Begin(Box<ChildStart>),
    /// It is no longer wanted.
    Leave {
        /// Which.
        child: ExecutionId,
        /// Of whom.
        parent: ExecutionId,
    },
    /// It has ended.
    Ended {
        /// How.
        ended: Box<Ended>,
        /// What is kept of it: durable together with what its parent makes of its end.
        kept: Batch,
    },
}

impl Item {
    /// The execution on whose shard it arrives.
    pub(super) fn to(&self) -> ExecutionId {
        match self {
            Item::Begin(start) => start.child,
            Item::Leave { child, .. } => *child,
            Item::Ended { ended, .. } => ended.link.execution,
        }
    }
}

/// Results that are being put together: all of them, or those of one file.
#[derive(Debug)]
pub(super) struct Gather {
    id: ExecutionId,
    step: RunStep,
    /// The next slot to read.
    from: u32,
    /// What there is so far: an array without its end.
    text: String,
    /// Values and keys in it.
    values: usize,
}

/// The answer to a file of results, with where the next one begins.
pub(super) fn reached(outcome: StepOutcome, next: Option<u32>) -> StepOutcome {
    let (Some(next), Ok(answer)) = (next, &outcome.result) else {
        return outcome;
    };
    let mut answer = answer.value().clone();
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("Next".into(), next.into());
    }
    StepOutcome {
        result: Ok(Data::from_value(answer)),
        ..outcome
    }
}

/// `{Error, Cause}`.
fn told(failure: &Failure) -> Data {
    Data::from_value(serde_json::json!({
        "Error": &*failure.error, "Cause": &*failure.cause,
    }))
}

impl Driver {
    pub(super) fn take_item(&mut self, item: Item, now: Timestamp) -> Result<(), Error> {
        match item {
            Item::Begin(start) => return self.begin_item(*start, now),
            Item::Leave { child, parent } => match self.hot.get(&child) {
                Some(hot) => {
                    let failure = parent_ended(parent);
                    let event = Event::Cancelled { failure };
                    self.events.push(hot.events, Work::Event(child, event));
                }
                None if self.held.is_empty() => {}
                None => {
                    self.unwanted.insert(child);
                }
            },
            Item::Ended { ended, kept } => {
                self.open_bytes += kept.len_bytes();
                self.extra.changes.extend(kept.changes);
                self.item_ended(*ended, now);
            }
        }
        Ok(())
    }

    /// Begins a child that is kept in memory.
    fn begin_item(&mut self, start: ChildStart, now: Timestamp) -> Result<(), Error> {
        let known = self.hot.contains_key(&start.child) || self.unwanted.remove(&start.child);
        if known || self.stopping {
            return Ok(());
        }
        if !self.has_room() {
            let flow = self.held.number(&start.flow);
            self.held.push(flow, Held::InMemory(Box::new(start)));
            return Ok(());
        }
        let flow = FlowRef {
            name: start.flow,
            version: start.version.unwrap_or(0),
        };
        let begin = super::request::Begin {
            program: self.programs.program(&flow)?,
            flow,
            name: None,
            input: start.input,
            id: start.child,
            seed: start.seed,
            parent: Some(start.link.clone().into()),
            express: Some(Express::of_item(start.link)),
            now,
        };
        self.begin(begin);
        Ok(())
    }

    /// Tells the parent of a child in memory, on whatever loop it is, how the child ended.
    pub(super) fn tell_of_item(
        &mut self,
        link: ParentLink,
        child: ExecutionId,
        result: Result<Data, Failure>,
        kept: Batch,
    ) {
        let ended = Ended {
            link,
            child,
            result,
        };
        let item = Item::Ended {
            ended: Box::new(ended),
            kept,
        };
        self.out.push_back(Output::Send(Post::Item(item)));
    }

    /// Whether a child need not start: its item succeeded before the redrive.
    pub(super) fn is_known(&mut self, start: &ChildStart, now: Timestamp) -> bool {
        let (link, Some(slot)) = (&start.link, start.link.item.filter(|_| start.again)) else {
            return false;
        };
        let Some(hot) = self.hot.get(&link.execution) else {
            return false;
        };
        let Some(results) = hot.state.map_results(link.entry, link.attempt) else {
            return false;
        };
        let key = Key::MapResult {
            execution: link.execution,
            entry: link.entry,
            run: results.run,
            slot,
        };
        let queue = hot.events;
        let row = self.reader.get(&key).map_err(Error::from);
        let row = row.and_then(|row| row.map(|row| rows::decode(&row)).transpose());
        match row {
            Ok(Some(MapResultRow { failed: false, .. })) => {
                let event = Event::ItemEnded {
                    entry: link.entry,
                    attempt: link.attempt,
                    slot,
                    failed: false,
                };
                self.events.push(queue, Work::Event(link.execution, event));
                true
            }
            Ok(_) => false,
            Err(e) => {
                // To begin it might do again what was done.
                let failure = Failure::new("Stepwell.EngineFault", e.to_string());
                self.park(link.execution, failure, now);
                true
            }
        }
    }

    /// The end of a child reaches its parent: the result a row, that there is one an event.
    pub(super) fn item_ended(&mut self, ended: Ended, now: Timestamp) {
        let Ended {
            link,
            child,
            result,
        } = ended;
        let (Some(hot), Some(slot)) = (self.hot.get(&link.execution), link.item) else {
            return;
        };
        let awaited = hot.state.awaits_item(link.entry, link.attempt, slot, child);
        if !awaited || hot.parked.is_some() {
            return;
        }
        let failed = result.is_err();
        self.put_result(&link, slot, &result);
        let event = Event::ItemEnded {
            entry: link.entry,
            attempt: link.attempt,
            slot,
            failed,
        };
        self.apply(link.execution, event, now);
    }

    /// Writes what a child ended with into the open batch.
    fn put_result(&mut self, link: &ParentLink, slot: u32, result: &Result<Data, Failure>) {
        let record = match result {
            Ok(data) => data.clone(),
            Err(failure) if link.wants == Wants::Item => told(failure),
            // The whole child, as text.
            Err(failure) => Data::parse(&failure.cause).unwrap_or_else(|_| told(failure)),
        };
        let record = if record.len_bytes() <= INLINE_BYTES_MAX {
            Kept::Inline(record)
        } else {
            let digest = Digest::of(record.text().as_bytes());
            self.extra
                .put(Key::Blob { digest }, record.text().as_bytes());
            Kept::Blob(digest)
        };
        let failed = result.is_err();
        let row = rows::encode(&MapResultRow { failed, record });
        self.open_bytes += row.len();
        let key = Key::MapResult {
            execution: link.execution,
            entry: link.entry,
            run: link.run,
            slot,
        };
        self.extra.put(key, row);
    }

    /// A child succeeded when its parent had ended: a redrive need not repeat it. Gives the
    /// batch after which that is durable.
    fn came_late(&mut self, ended: &Ended) -> Result<u64, Error> {
        let (link, Some(slot), Ok(_)) = (&ended.link, ended.link.item, &ended.result) else {
            return Ok(0);
        };
        let may_redrive = match self.hot.get(&link.execution) {
            Some(hot) => !matches!(hot.state.outcome(), None | Some(Outcome::Succeeded(_))),
            None => match self.read_summary(link.execution) {
                Ok(summary) => summary.status > Status::Succeeded.number(),
                Err(Error::NoExecution(_)) => false,
                Err(e) => return Err(e),
            },
        };
        if !may_redrive {
            return Ok(0);
        }
        self.put_result(link, slot, &ended.result);
        Ok(self.batch)
    }

    /// As [`Driver::item_ended`], from a child that may be another loop's.
    pub(super) fn item_came(
        &mut self,
        sender: ExecutionId,
        number: u64,
        ended: Ended,
        started: Timestamp,
        now: Timestamp,
    ) -> Result<(), Error> {
        let parent = ended.link.execution;
        match self.wake(parent, now) {
            Ok(()) => {}
            Err(Error::Ended(_) | Error::NoExecution(_)) => {
                let batch = self.came_late(&ended)?;
                self.answer(batch, sender, number, Answer::Taken);
                return Ok(());
            }
            Err(e) => return Err(e),
        }
        let over = self.hot.get(&parent).is_some_and(|hot| hot.ended.is_some());
        if over {
            let batch = self.came_late(&ended)?.max(self.batch_of(parent));
            self.answer(batch, sender, number, Answer::Taken);
            return Ok(());
        }
        if self.is_blocked(parent) {
            let parcel = Parcel::Ended {
                link: ended.link,
                child: ended.child,
                started,
                result: ended.result,
            };
            let delivery = Delivery {
                sender,
                number,
                parcel,
            };
            self.keep_for(parent, Post::Delivery(Box::new(delivery)));
            return Ok(());
        }
        self.item_ended(ended, now);
        self.answer(self.batch_of(parent), sender, number, Answer::Taken);
        Ok(())
    }

    /// There will be no such child, or it is over: that is its item's end.
    pub(super) fn item_answered(
        &mut self,
        link: &ParentLink,
        result: Result<Data, Failure>,
        now: Timestamp,
    ) {
        let hot = self.hot.get(&link.execution);
        let child = hot.and_then(|hot| {
            let slot = link.item?;
            hot.state.away(link.entry, link.attempt, slot)
        });
        if let Some(child) = child {
            let ended = Ended {
                link: link.clone(),
                child,
                result,
            };
            self.item_ended(ended, now);
        }
    }

    /// Takes a step that begins with rows of results. `false`: it is another one.
    pub(super) fn gathers(&mut self, id: ExecutionId, step: &RunStep, now: Timestamp) -> bool {
        let from = match &step.target {
            StepTarget::CollectResults => 0,
            StepTarget::WriteResults(write) => match write.chunk {
                ResultChunk::Records { from, .. } => from,
                ResultChunk::Manifest => return false,
            },
            _ => return false,
        };
        let Some(hot) = self.hot.get_mut(&id) else {
            return true;
        };
        let running = Running::new(hot.place(&step.target), step.state.clone(), now);
        hot.steps.insert((step.entry, step.attempt), running);
        // A file fills its place exactly, and is not copied: a large Map writes many in a row.
        let mut text = String::with_capacity(match step.target {
            StepTarget::WriteResults(_) => RESULT_FILE_BYTES + 2,
            _ => 0,
        });
        text.push('[');
        let gather = Gather {
            id,
            step: step.clone(),
            from,
            text,
            values: 1,
        };
        let (batch, queue) = (hot.batch, hot.events);
        if batch <= self.durable {
            self.events.push(queue, Work::Gather(Box::new(gather)));
        } else {
            self.gathering.entry(batch).or_default().push(gather);
        }
        true
    }

    /// What waited for rows that are durable now may read them.
    pub(super) fn gather_durable(&mut self) {
        let later = self.gathering.split_off(&(self.durable + 1));
        let ready = std::mem::replace(&mut self.gathering, later);
        for gather in ready.into_values().flatten() {
            if let Some(hot) = self.hot.get(&gather.id) {
                let queue = hot.events;
                self.events.push(queue, Work::Gather(Box::new(gather)));
            }
        }
    }

    /// Reads some rows; the last of them ends the gathering.
    pub(super) fn gather(&mut self, gather: Gather, now: Timestamp) {
        let (id, entry, attempt) = (gather.id, gather.step.entry, gather.step.attempt);
        let Some(hot) = self.hot.get(&id) else {
            return;
        };
        let Some(results) = hot.state.map_results(entry, attempt) else {
            return;
        };
        if !hot.steps.contains_key(&(entry, attempt)) {
            return;
        }
        let queue = hot.events;
        match self.gather_page(gather, results) {
            Ok(Gathered::More(gather)) => self.events.push(queue, Work::Gather(gather)),
            Ok(Gathered::All(data)) => self.answer_step((id, entry, attempt), Ok(data), now),
            Ok(Gathered::TooLarge(what)) => {
                let cause = format!(
                    "The results of the Map's items exceed the limit of {what}; write them to a bucket with a ResultWriter."
                );
                let failure = Failure::new("States.DataLimitExceeded", cause);
                self.answer_step((id, entry, attempt), Err(failure), now);
            }
            Ok(Gathered::File(mut step, records, next)) => {
                step.input = records;
                if let Some(hot) = self.hot.get_mut(&id)
                    && let Some(running) = hot.steps.get_mut(&(entry, attempt))
                {
                    running.next_slot = next;
                }
                self.wait_to_begin(id, step);
            }
            Err(e) => {
                let failure = Failure::new("Stepwell.EngineFault", e.to_string());
                self.park(id, failure, now);
            }
        }
    }

    fn answer_step(
        &mut self,
        (id, entry, attempt): (ExecutionId, EntryId, u32),
        result: Result<Data, Failure>,
        now: Timestamp,
    ) {
        let outcome = StepOutcome {
            result,
            spent: Spent::default(),
            logs: Vec::new(),
            effects: None,
            notes: None,
        };
        self.step_ended(id, entry, attempt, outcome, now);
    }

    fn gather_page(
        &self,
        mut gather: Gather,
        results: stepwell_interpreter::Results,
    ) -> Result<Gathered, Error> {
        let (kind, bytes_max) = match &gather.step.target {
            StepTarget::WriteResults(write) => match write.chunk {
                ResultChunk::Records { kind, .. } => (Some(kind), RESULT_FILE_BYTES),
                ResultChunk::Manifest => (None, RESULT_FILE_BYTES),
            },
            _ => (None, PAYLOAD_BYTES_MAX - 2),
        };
        let range = Range::MapResults {
            execution: gather.id,
            entry: gather.step.entry,
            run: results.run,
            from: gather.from,
        };
        let found = self.reader.scan(&range, ROWS)?;
        let whole = found.len() < ROWS;
        for (key, value) in found {
            let Key::MapResult { slot, .. } = key else {
                continue;
            };
            if slot >= results.slots {
                return Ok(gather.done(None));
            }
            gather.from = slot + 1;
            let row: MapResultRow = rows::decode(&value)?;
            let wanted = match kind {
                None => true,
                Some(ResultKind::Succeeded) => !row.failed,
                Some(ResultKind::Failed) => row.failed,
            };
            if !wanted {
                continue;
            }
            let record = match row.record {
                Kept::Inline(data) => data,
                Kept::Blob(digest) => super::blob(&*self.reader, &digest).map_err(Error::Store)?,
            };
            let text = record.text().trim();
            // The writer of a file takes arrays apart itself.
            let apart = kind.is_none() && results.flatten && !row.failed;
            let text = match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
                Some(inner) if apart => inner.trim(),
                _ => text,
            };
            let full = gather.text.len() + text.len() > bytes_max;
            if kind.is_none() {
                gather.values += shape(text).values;
                if full {
                    return Ok(Gathered::TooLarge(format!("{PAYLOAD_BYTES_MAX} bytes")));
                }
                if gather.values > JSON_VALUES_MAX {
                    let what = format!("{JSON_VALUES_MAX} values and keys");
                    return Ok(Gathered::TooLarge(what));
                }
            }
            let empty = gather.text.len() == 1;
            if full && !empty {
                return Ok(gather.done(Some(slot)));
            }
            if !empty && !text.is_empty() {
                gather.text.push(',');
            }
            gather.text.push_str(text);
        }
        Ok(match whole {
            true => gather.done(None),
            false => Gathered::More(Box::new(gather)),
        })
    }
}

/// How far the gathering is.
enum Gathered {
    More(Box<Gather>),
    /// All results.
    All(Data),
    /// The records of one file, and the slot with which the next begins.
    File(Box<RunStep>, Data, Option<u32>),
    /// The limit that they exceed.
    TooLarge(String),
}

impl Gather {
    fn done(mut self, next: Option<u32>) -> Gathered {
        self.text.push(']');
        let data = Data::from_valid_text(self.text);
        match self.step.target {
            StepTarget::CollectResults => Gathered::All(data),
            _ => Gathered::File(Box::new(self.step), data, next),
        }
    }
}
