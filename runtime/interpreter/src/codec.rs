//! The log and the checkpoint as bytes: compact, versioned, never trusted.
//!
//! A log row is a version byte and then its items, one after another; a checkpoint is a
//! version byte and one item. Refuses to panic on damaged bytes, and to read a newer format.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stepwell_types::limits::INLINE_BYTES_MAX;
use stepwell_types::{
    Data, Digest, EntryId, ExecutionId, Failure, FlowRef, LogLine, ParentLink, Recipient, Signal,
    Spent, Timestamp,
};

use crate::{Command, Error, Event, Outcome, Timer};

mod checkpoint;

pub use checkpoint::{decode_state, encode_state};

/// Format of a log row.
const ROW_VERSION: u8 = 5;
/// Payloads shorter than this are written again rather than named.
const REPEAT_BYTES_MIN: usize = 64;
/// Payloads of a row that a later one is compared with.
const REMEMBERED: usize = 8;

/// Asks for a payload that is stored apart.
///
/// # Errors
/// The store's words; they end up in `RUN0106`.
pub type Fetch<'a> = dyn Fn(&Digest) -> Result<Data, String> + 'a;

/// One event with its time and a digest of what was decided on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// `now` of the step.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
    /// [`digest`] of the commands; another one on replay parks the execution.
    pub commands: u32,
}

/// What one log row holds, in order: the interpreter's events, the gate's journal and step logs.
#[derive(Debug, Clone, PartialEq)]
pub enum Logged {
    /// The interpreter's.
    Event(Record),
    /// One that the interpreter could not walk: readers call [`crate::troubled`] on it, and
    /// the execution waits for somebody to end it.
    Troubled {
        /// When.
        at: Timestamp,
        /// What happened.
        event: Event,
    },
    /// A host call is about to be sent.
    CallIntent {
        /// When.
        at: Timestamp,
        /// Which state entry.
        entry: EntryId,
        /// Which attempt, from 0.
        attempt: u32,
        /// Which call of the attempt, from 0.
        call: u32,
        /// Digest of the request.
        request: Digest,
    },
    /// A host call was answered.
    CallAnswer {
        /// When.
        at: Timestamp,
        /// Which state entry.
        entry: EntryId,
        /// Which attempt, from 0.
        attempt: u32,
        /// Which call of the attempt, from 0.
        call: u32,
        /// The next piece of the answer: the bridge's own bytes.
        answer: Piece,
    },
    /// What an attempt has seen apart from answers: what it waited for, and for how long.
    CallNotes {
        /// When.
        at: Timestamp,
        /// Which state entry.
        entry: EntryId,
        /// Which attempt, from 0.
        attempt: u32,
        /// The host's own bytes.
        notes: Vec<u8>,
    },
    /// What an attempt logged.
    Logs {
        /// When.
        at: Timestamp,
        /// Which state entry.
        entry: EntryId,
        /// Which attempt, from 0.
        attempt: u32,
        /// In order.
        lines: Vec<LogLine>,
    },
}

/// Bytes of an answer, or where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Here.
    Inline(Vec<u8>),
    /// In a blob of this digest.
    Blob(Digest),
}

/// A log row in the making, which names a payload that it holds already instead of repeating it.
#[derive(Debug, Clone, Default)]
pub struct Row {
    bytes: Vec<u8>,
    count: u32,
    recent: std::collections::VecDeque<(u32, Data)>,
}

impl Row {
    /// An empty row.
    #[must_use]
    pub fn new() -> Row {
        Row::default()
    }

    /// Appends one item. `blobs` is asked for every payload above `INLINE_BYTES_MAX`, and
    /// stores it apart (the digest) or not (`None`: it is written inline).
    pub fn append(&mut self, logged: &Logged, blobs: &mut dyn FnMut(&Data) -> Option<Digest>) {
        let Row {
            bytes,
            count,
            recent,
        } = self;
        write(bytes, logged, &mut |data| {
            let known = recent.iter().find(|(_, known)| {
                known.same(data)
                    || (data.len_bytes() >= REPEAT_BYTES_MIN && known.text() == data.text())
            });
            if let Some((n, _)) = known
                && data.len_bytes() >= REPEAT_BYTES_MIN
            {
                return Payload::Repeat(*n);
            }
            if recent.len() == REMEMBERED {
                recent.pop_front();
            }
            recent.push_back((*count, data.clone()));
            *count += 1;
            payload(data, blobs)
        });
    }

    /// Whether nothing was appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the finished bytes and begins a new row.
    pub fn take(&mut self) -> Vec<u8> {
        self.count = 0;
        self.recent.clear();
        std::mem::take(&mut self.bytes)
    }
}

/// Appends one item to a row, as [`Row::append`] does but without naming repeated payloads.
/// A row is written with the one or the other, never with both.
pub fn append(row: &mut Vec<u8>, logged: &Logged, blobs: &mut dyn FnMut(&Data) -> Option<Digest>) {
    write(row, logged, &mut |data| payload(data, blobs));
}

/// Reads a row, in order.
///
/// # Errors
/// `RUN0104` for damaged bytes, `RUN0105` for a newer format, `RUN0106` for a missing blob.
pub fn decode(row: &[u8], fetch: &Fetch<'_>) -> Result<Vec<Logged>, Error> {
    const WHAT: &str = "log row";
    let (version, mut rest) = row.split_first().ok_or_else(|| damaged(WHAT, "empty"))?;
    if *version != ROW_VERSION {
        return Err(Error::Version {
            what: WHAT,
            found: *version,
            known: ROW_VERSION,
        });
    }
    let mut payloads = Vec::new();
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (wire, after): (Wire<'_>, _) =
            postcard::take_from_bytes(rest).map_err(|e| damaged(WHAT, e))?;
        out.push(read(wire, &mut |payload| {
            let data = match payload {
                Payload::Repeat(n) => {
                    let known: Option<&Data> = payloads.get(n as usize);
                    return known
                        .cloned()
                        .ok_or_else(|| damaged(WHAT, "no such payload"));
                }
                other => open(WHAT, other, fetch)?,
            };
            payloads.push(data.clone());
            Ok(data)
        })?);
        rest = after;
    }
    Ok(out)
}

/// A digest of decided commands: cheap, and the same on every platform and in every release.
///
/// It covers kinds, entries, attempts, state names, tokens' presence and payloads (of large
/// ones the length and both ends). It tells mistakes apart, not forgeries.
#[must_use]
pub fn digest(commands: &[Command]) -> u32 {
    let mut hash = Mix(0x5851_f42d_4c95_7f2d ^ commands.len() as u64);
    for command in commands {
        match command {
            Command::Run(run) => {
                hash.word(1);
                hash.word(run.entry.0);
                hash.word(u64::from(run.attempt));
                hash.word(run.seed);
                hash.word(u64::from(run.token.is_some()));
                hash.word(run.deadline.map_or(0, |at| at.0.cast_unsigned()));
                hash.bytes(run.state.as_bytes());
                hash.bytes(run.input.text().as_bytes());
            }
            Command::Abort { entry, attempt } => {
                hash.word(2);
                hash.word(entry.0);
                hash.word(u64::from(*attempt));
            }
            Command::Continue => hash.word(3),
            Command::StartChild(start) => {
                hash.word(8);
                hash.bytes(&start.child.0);
                hash.bytes(start.flow.as_bytes());
                hash.word(u64::from(start.version.unwrap_or(0)));
                hash.word(start.link.entry.0);
                hash.word(u64::from(start.link.attempt));
                hash.bytes(start.input.text().as_bytes());
            }
            Command::CancelChild { child, attempt, .. } => {
                hash.word(9);
                hash.bytes(&child.0);
                hash.word(u64::from(*attempt));
            }
            Command::Signal {
                entry,
                attempt,
                send,
            } => {
                hash.word(11);
                hash.word(entry.0);
                hash.word(u64::from(*attempt));
                match &send.to {
                    Recipient::Execution(id) => hash.bytes(&id.0),
                    Recipient::Named { flow, name } => {
                        hash.bytes(flow.as_bytes());
                        hash.bytes(name.as_bytes());
                    }
                }
                hash.bytes(send.signal.name.as_bytes());
                hash.bytes(send.signal.data.text().as_bytes());
            }
            Command::ForgetResults { entry, run } => {
                hash.word(10);
                hash.word(entry.0);
                hash.word(u64::from(*run));
            }
            Command::Finish(outcome) => hash.outcome(outcome),
        }
    }
    (hash.0 >> 32) as u32
}

struct Mix(u64);

impl Mix {
    fn word(&mut self, word: u64) {
        // A folded multiplication: every bit of the word reaches every bit of the sum.
        let mixed = (self.0 ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let product = u128::from(mixed) * 0xd6e8_feb8_6659_fd93;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        /// Longer ones are sampled: a digest must not cost more than the step.
        const END: usize = 8 << 10;
        self.word(bytes.len() as u64);
        match (bytes.get(..END), bytes.len().checked_sub(END)) {
            (Some(head), Some(tail)) if tail > END => {
                self.run(head);
                self.run(bytes.get(tail..).unwrap_or_default());
            }
            _ => self.run(bytes),
        }
    }

    fn run(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.word(u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
        }
        let mut last = [0u8; 8];
        for (slot, byte) in last.iter_mut().zip(chunks.remainder()) {
            *slot = *byte;
        }
        self.word(u64::from_le_bytes(last));
    }

    fn outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Succeeded(output) => {
                self.word(4);
                self.bytes(output.text().as_bytes());
            }
            Outcome::Failed(failure) => self.failure(5, failure),
            Outcome::TimedOut(failure) => self.failure(6, failure),
            Outcome::Aborted(failure) => self.failure(7, failure),
        }
    }

    fn failure(&mut self, kind: u64, failure: &Failure) {
        self.word(kind);
        self.bytes(failure.error.as_bytes());
        self.bytes(failure.cause.as_bytes());
    }
}

/// How one payload is written.
#[derive(Debug, Serialize, Deserialize)]
enum Payload<'a> {
    Inline(&'a str),
    Blob(Digest),
    /// The n-th payload of this row.
    Repeat(u32),
}

/// [`Logged`] as written. New members go to the end of an enum; others need a new version.
#[derive(Serialize, Deserialize)]
enum Wire<'a> {
    Event(Timestamp, #[serde(borrow)] WireEvent<'a>, u32),
    CallIntent(Timestamp, EntryId, u32, u32, Digest),
    CallAnswer(Timestamp, EntryId, u32, u32, &'a [u8]),
    Logs(Timestamp, EntryId, u32, Vec<LogLine>),
    Troubled(Timestamp, #[serde(borrow)] WireEvent<'a>),
    /// `CallAnswer` whose bytes are a blob.
    CallBlob(Timestamp, EntryId, u32, u32, Digest),
    CallNotes(Timestamp, EntryId, u32, &'a [u8]),
}

#[derive(Serialize, Deserialize)]
enum WireEvent<'a> {
    Started(FlowRef, Arc<str>, #[serde(borrow)] Payload<'a>, [u8; 16]),
    StepEnded(
        EntryId,
        u32,
        #[serde(borrow)] Result<Payload<'a>, Failure>,
        Spent,
    ),
    TokenEnded(EntryId, u32, #[serde(borrow)] Result<Payload<'a>, Failure>),
    Heartbeat(EntryId, u32),
    TimerFired(EntryId, Timer),
    Cancelled(Failure),
    Broken(Failure),
    Continued,
    Redriven(
        FlowRef,
        #[serde(borrow)] Option<(EntryId, Payload<'a>)>,
        Option<u32>,
    ),
    ActivityStarted(EntryId, u32, Option<Arc<str>>),
    /// `Started` of an execution that another one started.
    ChildStarted(
        FlowRef,
        Arc<str>,
        #[serde(borrow)] Payload<'a>,
        [u8; 16],
        Arc<ParentLink>,
    ),
    ChildEnded(EntryId, u32, #[serde(borrow)] Result<Payload<'a>, Failure>),
    ItemEnded(EntryId, u32, u32, bool),
    ActivityReturned(EntryId, u32),
    Signalled(Arc<str>, #[serde(borrow)] Payload<'a>, Option<ExecutionId>),
}

fn payload<'a>(data: &'a Data, blobs: &mut dyn FnMut(&Data) -> Option<Digest>) -> Payload<'a> {
    if data.len_bytes() > INLINE_BYTES_MAX
        && let Some(digest) = blobs(data)
    {
        return Payload::Blob(digest);
    }
    Payload::Inline(data.text())
}

/// A payload's data; text is checked, since bytes may be damaged.
fn open(what: &'static str, payload: Payload<'_>, fetch: &Fetch<'_>) -> Result<Data, Error> {
    match payload {
        Payload::Inline(text) => Data::parse(text).map_err(|e| damaged(what, e)),
        Payload::Blob(digest) => fetch(&digest).map_err(|why| Error::Blob { digest, why }),
        Payload::Repeat(_) => Err(damaged(what, "a repeated payload has no place here")),
    }
}

fn write<'d>(
    row: &mut Vec<u8>,
    logged: &'d Logged,
    payload: &mut dyn FnMut(&'d Data) -> Payload<'d>,
) {
    let wire = match logged {
        Logged::Event(record) => Wire::Event(
            record.at,
            wire_event(&record.event, payload),
            record.commands,
        ),
        Logged::Troubled { at, event } => Wire::Troubled(*at, wire_event(event, payload)),
        Logged::CallIntent {
            at,
            entry,
            attempt,
            call,
            request,
        } => Wire::CallIntent(*at, *entry, *attempt, *call, *request),
        Logged::CallAnswer {
            at,
            entry,
            attempt,
            call,
            answer,
        } => match answer {
            Piece::Inline(bytes) => Wire::CallAnswer(*at, *entry, *attempt, *call, bytes),
            Piece::Blob(digest) => Wire::CallBlob(*at, *entry, *attempt, *call, *digest),
        },
        Logged::CallNotes {
            at,
            entry,
            attempt,
            notes,
        } => Wire::CallNotes(*at, *entry, *attempt, notes),
        Logged::Logs {
            at,
            entry,
            attempt,
            lines,
        } => Wire::Logs(*at, *entry, *attempt, lines.clone()),
    };
    if row.is_empty() {
        row.push(ROW_VERSION);
    }
    append_postcard(row, &wire);
}

/// Writing plain data to memory cannot fail; if it ever did, the row would be
/// refused as damaged on reading.
fn append_postcard(row: &mut Vec<u8>, value: &impl Serialize) {
    struct Appender<'r>(&'r mut Vec<u8>);
    impl postcard::ser_flavors::Flavor for Appender<'_> {
        type Output = ();
        fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
            self.0.push(byte);
            Ok(())
        }
        fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
        fn finalize(self) -> postcard::Result<()> {
            Ok(())
        }
    }
    let written = postcard::serialize_with_flavor(value, Appender(row));
    debug_assert!(written.is_ok(), "plain data serialises");
}

fn wire_event<'d>(
    event: &'d Event,
    payload: &mut dyn FnMut(&'d Data) -> Payload<'d>,
) -> WireEvent<'d> {
    let mut answer = |result: &'d Result<Data, Failure>| match result {
        Ok(data) => Ok(payload(data)),
        Err(failure) => Err(failure.clone()),
    };
    match event {
        Event::Started {
            flow,
            name,
            input,
            seed,
            parent,
        } => match parent {
            None => WireEvent::Started(flow.clone(), Arc::clone(name), payload(input), *seed),
            Some(parent) => WireEvent::ChildStarted(
                flow.clone(),
                Arc::clone(name),
                payload(input),
                *seed,
                Arc::clone(parent),
            ),
        },
        Event::StepEnded {
            entry,
            attempt,
            result,
            spent,
        } => WireEvent::StepEnded(*entry, *attempt, answer(result), *spent),
        Event::TokenEnded {
            entry,
            attempt,
            result,
        } => WireEvent::TokenEnded(*entry, *attempt, answer(result)),
        Event::Heartbeat { entry, attempt } => WireEvent::Heartbeat(*entry, *attempt),
        Event::TimerFired { entry, timer } => WireEvent::TimerFired(*entry, *timer),
        Event::Cancelled { failure } => WireEvent::Cancelled(failure.clone()),
        Event::Broken { failure } => WireEvent::Broken(failure.clone()),
        Event::Continued => WireEvent::Continued,
        Event::Redriven {
            flow,
            input,
            attempt,
        } => {
            let input = input.as_ref().map(|(entry, data)| (*entry, payload(data)));
            WireEvent::Redriven(flow.clone(), input, *attempt)
        }
        Event::ActivityStarted {
            entry,
            attempt,
            worker,
        } => WireEvent::ActivityStarted(*entry, *attempt, worker.clone()),
        Event::ActivityReturned { entry, attempt } => WireEvent::ActivityReturned(*entry, *attempt),
        Event::Signalled { signal } => WireEvent::Signalled(
            Arc::clone(&signal.name),
            payload(&signal.data),
            signal.sender,
        ),
        Event::ChildEnded {
            entry,
            attempt,
            result,
        } => WireEvent::ChildEnded(*entry, *attempt, answer(result)),
        Event::ItemEnded {
            entry,
            attempt,
            slot,
            failed,
        } => WireEvent::ItemEnded(*entry, *attempt, *slot, *failed),
    }
}

fn read(
    wire: Wire<'_>,
    payload: &mut dyn FnMut(Payload<'_>) -> Result<Data, Error>,
) -> Result<Logged, Error> {
    Ok(match wire {
        Wire::Event(at, event, commands) => Logged::Event(Record {
            at,
            event: read_event(event, payload)?,
            commands,
        }),
        Wire::Troubled(at, event) => Logged::Troubled {
            at,
            event: read_event(event, payload)?,
        },
        Wire::CallIntent(at, entry, attempt, call, request) => Logged::CallIntent {
            at,
            entry,
            attempt,
            call,
            request,
        },
        Wire::CallAnswer(at, entry, attempt, call, answer) => Logged::CallAnswer {
            at,
            entry,
            attempt,
            call,
            answer: Piece::Inline(answer.to_vec()),
        },
        Wire::CallBlob(at, entry, attempt, call, digest) => Logged::CallAnswer {
            at,
            entry,
            attempt,
            call,
            answer: Piece::Blob(digest),
        },
        Wire::CallNotes(at, entry, attempt, notes) => Logged::CallNotes {
            at,
            entry,
            attempt,
            notes: notes.to_vec(),
        },
        Wire::Logs(at, entry, attempt, lines) => Logged::Logs {
            at,
            entry,
            attempt,
            lines,
        },
    })
}

fn read_event(
    event: WireEvent<'_>,
    payload: &mut dyn FnMut(Payload<'_>) -> Result<Data, Error>,
) -> Result<Event, Error> {
    let mut answer = |result: Result<Payload<'_>, Failure>| match result {
        Ok(found) => payload(found).map(Ok),
        Err(failure) => Ok(Err(failure)),
    };
    Ok(match event {
        WireEvent::Started(flow, name, input, seed) => Event::Started {
            flow,
            name,
            input: payload(input)?,
            seed,
            parent: None,
        },
        WireEvent::ChildStarted(flow, name, input, seed, parent) => Event::Started {
            flow,
            name,
            input: payload(input)?,
            seed,
            parent: Some(parent),
        },
        WireEvent::ChildEnded(entry, attempt, result) => Event::ChildEnded {
            entry,
            attempt,
            result: answer(result)?,
        },
        WireEvent::ItemEnded(entry, attempt, slot, failed) => Event::ItemEnded {
            entry,
            attempt,
            slot,
            failed,
        },
        WireEvent::StepEnded(entry, attempt, result, spent) => Event::StepEnded {
            entry,
            attempt,
            result: answer(result)?,
            spent,
        },
        WireEvent::TokenEnded(entry, attempt, result) => Event::TokenEnded {
            entry,
            attempt,
            result: answer(result)?,
        },
        WireEvent::Heartbeat(entry, attempt) => Event::Heartbeat { entry, attempt },
        WireEvent::TimerFired(entry, timer) => Event::TimerFired { entry, timer },
        WireEvent::Cancelled(failure) => Event::Cancelled { failure },
        WireEvent::Broken(failure) => Event::Broken { failure },
        WireEvent::Continued => Event::Continued,
        WireEvent::Redriven(flow, input, attempt) => Event::Redriven {
            flow,
            input: match input {
                None => None,
                Some((entry, found)) => Some((entry, payload(found)?)),
            },
            attempt,
        },
        WireEvent::ActivityStarted(entry, attempt, worker) => Event::ActivityStarted {
            entry,
            attempt,
            worker,
        },
        WireEvent::ActivityReturned(entry, attempt) => Event::ActivityReturned { entry, attempt },
        WireEvent::Signalled(name, data, sender) => Event::Signalled {
            signal: Signal {
                name,
                data: payload(data)?,
                sender,
            },
        },
    })
}

fn damaged(what: &'static str, why: impl ToString) -> Error {
    Error::Damaged {
        what,
        why: why.to_string(),
    }
}
