//! What an attempt's journal is made of: the way from a bridge to the log, and back after a crash.
//!
//! Refuses to know what an answer says: bytes in, the same bytes out.

use std::collections::BTreeMap;

use crate::{Digest, EntryId, ExecutionId, Timestamp};

/// Names one attempt of one state entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId {
    /// The execution.
    pub execution: ExecutionId,
    /// The state entry.
    pub entry: EntryId,
    /// From 0.
    pub attempt: u32,
}

/// The key under which outside systems deduplicate a state entry's `call`-th call. The same
/// for every attempt, so that a retry is deduplicated too.
#[must_use]
pub fn idempotency_key(execution: ExecutionId, entry: EntryId, call: u32) -> String {
    format!("{execution}-{}-{call}", entry.0)
}

/// An outside call that asks the gate for leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeCall {
    /// Who calls.
    pub by: AttemptId,
    /// Number of the call within the attempt, from 0.
    pub call: u32,
    /// Digest of the request: another one on replay is a divergence.
    pub request: Digest,
    /// What the attempt has seen since its last record: it becomes durable with the intent.
    pub notes: Option<Vec<u8>>,
}

/// A piece of an answer that came, for the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeAnswer {
    /// Who called.
    pub by: AttemptId,
    /// Number of the call within the attempt, from 0.
    pub call: u32,
    /// The next piece of the answer.
    pub part: Vec<u8>,
    /// What the attempt has seen since its last record.
    pub notes: Option<Vec<u8>>,
}

/// What an attempt recorded before the process died: it is run again from its start, and
/// is answered from here until it goes further than it had come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// What it saw apart from answers, in order: the host's own bytes.
    pub notes: Vec<Vec<u8>>,
    /// Its calls, by number.
    pub calls: BTreeMap<u32, RecordedCall>,
    /// It is over and is only looked at again: what it asked is answered from here or not at all,
    /// and nothing comes of what it writes. Its clock began at this time, if no note tells when.
    pub again: Option<Timestamp>,
}

/// One call in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCall {
    /// Digest of the request.
    pub request: Digest,
    /// The pieces of the answer that were recorded, in order.
    pub parts: Vec<Vec<u8>>,
}
