//! The journal of attempts: intents before calls leave, answers as they come, and all of it
//! back for an attempt that runs again after a crash.
//!
//! Refuses to keep answers in memory: they are in the log, and are read from there once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use stepwell_interpreter::codec::{Logged, Piece};
use stepwell_store::{Key, Reader};
use stepwell_types::limits::INLINE_BYTES_MAX;
use stepwell_types::{
    AttemptId, BridgeAnswer, BridgeCall, Digest, EntryId, ExecutionId, Recorded, RecordedCall,
    Timestamp,
};

use super::recover::each_row;
use super::{Driver, Ticket};
use crate::Error;
use crate::gate::Verdict;

/// The journals of one execution's attempts that have not ended.
pub(super) type Journals = HashMap<(EntryId, u32), Journal>;

/// What is kept in memory of an attempt's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Journal {
    /// Number of the first record of the log row in which it begins.
    pub from: u64,
    /// Requests by number of the call.
    pub calls: BTreeMap<u32, Digest>,
    /// The process that wrote it is gone: it goes with the attempt when that begins.
    pub recovered: bool,
}

impl Journal {
    /// One that begins in the log row of this number.
    pub fn new(from: u64, recovered: bool) -> Journal {
        Journal {
            from,
            calls: BTreeMap::new(),
            recovered,
        }
    }
}

/// Takes a record of the log into the journals of its execution.
pub(super) fn note(journals: &mut Journals, logged: &Logged, row: u64) {
    let (entry, attempt) = match logged {
        Logged::CallIntent { entry, attempt, .. }
        | Logged::CallAnswer { entry, attempt, .. }
        | Logged::CallNotes { entry, attempt, .. } => (*entry, *attempt),
        Logged::Event(_) | Logged::Troubled { .. } | Logged::Logs { .. } => return,
    };
    let journal = journals
        .entry((entry, attempt))
        .or_insert_with(|| Journal::new(row, true));
    if let Logged::CallIntent { call, request, .. } = logged {
        journal.calls.insert(*call, *request);
    }
}

/// All that one attempt recorded, from the log row of this number on.
/// # Errors
/// `RUN0012`.
pub fn read_recorded(reader: &dyn Reader, by: AttemptId, from: u64) -> Result<Recorded, Error> {
    let mut recorded = Recorded::default();
    let mut trouble = None;
    each_row(reader, by.execution, from, &mut |_, records| {
        for logged in records {
            if let Err(e) = take(reader, by, logged, &mut recorded) {
                trouble.get_or_insert(e);
            }
        }
    })?;
    trouble.map_or(Ok(recorded), Err)
}

fn take(
    reader: &dyn Reader,
    by: AttemptId,
    logged: Logged,
    recorded: &mut Recorded,
) -> Result<(), Error> {
    let mine = |entry, attempt| (entry, attempt) == (by.entry, by.attempt);
    match logged {
        Logged::CallIntent {
            entry,
            attempt,
            call,
            request,
            ..
        } if mine(entry, attempt) => {
            // An intent stands twice when the process died before its answer came.
            recorded.calls.entry(call).or_insert(RecordedCall {
                request,
                parts: Vec::new(),
            });
        }
        Logged::CallAnswer {
            entry,
            attempt,
            call,
            answer,
            ..
        } if mine(entry, attempt) => {
            let bytes = match answer {
                Piece::Inline(bytes) => bytes,
                Piece::Blob(digest) => reader.get(&Key::Blob { digest })?.ok_or_else(|| {
                    Error::Store(format!("an answer of the journal, blob {digest}, is gone"))
                })?,
            };
            if let Some(known) = recorded.calls.get_mut(&call) {
                known.parts.push(bytes);
            }
        }
        Logged::CallNotes {
            entry,
            attempt,
            notes,
            ..
        } if mine(entry, attempt) => recorded.notes.push(notes),
        _ => {}
    }
    Ok(())
}

impl Driver {
    /// An attempt waits for its turn outside.
    pub fn step_waits(&mut self, by: AttemptId) {
        let stopping = self.stopping;
        if let Some(running) = self
            .hot
            .get_mut(&by.execution)
            .and_then(|hot| hot.steps.get_mut(&(by.entry, by.attempt)))
        {
            running.wait(&mut self.places);
            if stopping {
                running.set_aside(&mut self.places);
            }
        }
    }

    /// Decides on one outside call: the batch after which the verdict may leave.
    pub(super) fn gate(
        &mut self,
        _ticket: Ticket,
        call: BridgeCall,
        now: Timestamp,
    ) -> (u64, Verdict) {
        let id = call.by.execution;
        let key = (call.by.entry, call.by.attempt);
        let Some(hot) = self.hot.get_mut(&id) else {
            return (0, Verdict::Stopped);
        };
        let Some(running) = hot.steps.get_mut(&key) else {
            // Once that is durable: who hears it may end what the attempt left elsewhere. Of
            // an express execution nothing is, and nothing has to be.
            let batch = if hot.express.is_some() { 0 } else { hot.batch };
            return (batch, Verdict::Stopped);
        };
        if self.stopping {
            // Its failure would be ours, not the flow's: it must not be recorded.
            running.set_aside(&mut self.places);
            return (0, Verdict::Stopped);
        }
        if std::mem::take(&mut running.waits) {
            running.take(&mut self.places);
        }
        let known = hot.journals.get(&key).and_then(|j| j.calls.get(&call.call));
        match known {
            Some(request) if *request != call.request => return (hot.batch, Verdict::Diverged),
            Some(_) => {
                self.notes(call.by, call.notes, now);
                let batch = self.hot.get(&id).map_or(0, |hot| hot.batch);
                return (batch, Verdict::Go);
            }
            None => self.suspects.came_further(id, key.0, key.1),
        }
        self.notes(call.by, call.notes, now);
        let intent = Logged::CallIntent {
            at: now,
            entry: call.by.entry,
            attempt: call.by.attempt,
            call: call.call,
            request: call.request,
        };
        self.log_journal(id, &intent);
        // Nothing of an express execution's calls is recorded: there is nothing to wait for.
        let express = self.hot.get(&id).is_some_and(|h| h.express.is_some());
        (if express { 0 } else { self.batch }, Verdict::Go)
    }

    /// Records a piece of the answer to a call that was let go.
    pub fn call_answered(&mut self, answer: BridgeAnswer, now: Timestamp) {
        let id = answer.by.execution;
        let key = (answer.by.entry, answer.by.attempt);
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        let known = hot.journals.get(&key);
        let known = known.is_some_and(|j| j.calls.contains_key(&answer.call));
        // Of an express execution nothing is read again: its answers need not be kept.
        if !known || hot.express.is_some() || !hot.steps.contains_key(&key) {
            return;
        }
        let piece = if answer.part.len() > INLINE_BYTES_MAX {
            let digest = Digest::of(&answer.part);
            self.open_bytes += answer.part.len();
            hot.blobs.push((digest, answer.part.into()));
            Piece::Blob(digest)
        } else {
            Piece::Inline(answer.part)
        };
        self.notes(answer.by, answer.notes, now);
        let logged = Logged::CallAnswer {
            at: now,
            entry: answer.by.entry,
            attempt: answer.by.attempt,
            call: answer.call,
            answer: piece,
        };
        self.log_journal(id, &logged);
    }

    fn notes(&mut self, by: AttemptId, notes: Option<Vec<u8>>, now: Timestamp) {
        let express = self
            .hot
            .get(&by.execution)
            .is_some_and(|h| h.express.is_some());
        if let Some(notes) = notes.filter(|_| !express) {
            let logged = Logged::CallNotes {
                at: now,
                entry: by.entry,
                attempt: by.attempt,
                notes,
            };
            self.log_journal(by.execution, &logged);
        }
    }

    /// What an attempt saw since its last record goes before its end, into the same batch: for
    /// whoever looks at the attempt again. Nobody resumes it.
    pub(super) fn last_notes(
        &mut self,
        id: ExecutionId,
        entry: EntryId,
        attempt: u32,
        notes: Vec<u8>,
        now: Timestamp,
    ) {
        let hot = self.hot.get(&id);
        let awaited = hot.is_some_and(|hot| hot.express.is_none() && hot.wants_end(entry, attempt));
        if awaited {
            let logged = Logged::CallNotes {
                at: now,
                entry,
                attempt,
                notes,
            };
            self.log(id, &logged);
        }
    }

    fn log_journal(&mut self, id: ExecutionId, logged: &Logged) {
        self.log(id, logged);
        if let Some(hot) = self.hot.get_mut(&id) {
            let row = hot.row_seq;
            note(&mut hot.journals, logged, row);
        }
    }

    /// What an attempt that begins now recorded in an earlier life.
    pub(super) fn recorded(&mut self, by: AttemptId) -> Result<Option<Arc<Recorded>>, Error> {
        let Some(hot) = self.hot.get_mut(&by.execution) else {
            return Ok(None);
        };
        let Some(journal) = hot.journals.get_mut(&(by.entry, by.attempt)) else {
            return Ok(None);
        };
        if !std::mem::take(&mut journal.recovered) {
            return Ok(None);
        }
        let from = journal.from;
        read_recorded(&*self.reader, by, from).map(|r| Some(Arc::new(r)))
    }
}
