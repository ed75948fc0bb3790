//! The journal of one attempt: numbers for its calls, answers from before a crash, and what it saw.
//!
//! An attempt that runs again from its start asks the same calls in the same order. Those whose
//! answers were recorded are answered from here; the first that was not goes out again under the same
//! key. Every bridge calls through here, whichever door it was called by.
//! Refuses to go on after a divergence: the attempt ends with its name.

mod masked;
mod search;
mod secrets;
mod seen;

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use stepwell_types::limits::{JOURNAL_BYTES_MAX, JOURNAL_CALLS_MAX};
use stepwell_types::{
    BridgeAnswer, BridgeCall, Data, Digest, Failure, Recorded, StepRequest, Timestamp,
};

use crate::answer;
use crate::gate::{Asked, Gate, Verdict};
use crate::limit::Asker;
use crate::secrets::Secrets;
use masked::Seam;
pub(crate) use seen::{Seen, page};

/// First byte of recorded notes. Version 1 knew neither secrets nor namespaces, version 2 no namespaces,
/// version 3 of what was seen its digest alone.
const NOTES_VERSION: u8 = 4;
/// What a note weighs in the journal, beside the indices of what was ready.
const NOTE_BYTES: usize = 8;

/// What an attempt saw that is no answer to a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Note {
    /// When its clock began, in milliseconds since 1970.
    Began(i64),
    /// It waited.
    Waited(Wait),
    /// It read a secret of this name in this version; 0: there was none.
    Read(String, u32),
    /// It saw in a namespace or a bucket what has this digest.
    Saw([u8; 32]),
    /// As [`Note::Saw`], with what it was.
    Kept([u8; 32], Vec<u8>),
    /// The operation of this number was refused: error and cause.
    Refused(u32, String, String),
}

/// How one wait of a guest ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wait {
    /// Microseconds of the attempt's time when it ended.
    pub(crate) us: u64,
    /// Which of what it waited for was ready.
    pub(crate) ready: Vec<u32>,
}

/// The journal of one attempt. Costs two words until the attempt calls or waits.
pub struct Journal {
    asker: Asker,
    secrets: Arc<dyn Secrets>,
    began: Timestamp,
    state: Mutex<State>,
    known: Mutex<secrets::Known>,
    /// Held from when notes are taken until they are with the gate: calls run at once, and the log must
    /// have the notes in the order in which they were made.
    in_order: Mutex<()>,
}

#[derive(Default)]
struct State {
    calls: u32,
    bytes: usize,
    /// Waits from before the crash that the attempt has not come to yet.
    before: VecDeque<Wait>,
    /// What it saw before the crash, and has not come to yet.
    seen: VecDeque<Seen>,
    /// Bytes that are noted of what it saw, beside digests.
    kept: usize,
    /// Operations that may be refused, so far.
    operations: u32,
    /// Those that were.
    refused: BTreeMap<u32, Failure>,
    /// Bytes of them.
    refused_bytes: usize,
    /// Notes that no record carries yet.
    notes: Vec<Note>,
    /// Whether it looked at the clock.
    looked: bool,
    /// Whether the log knows when the attempt's clock began.
    dated: bool,
    broken: Option<Failure>,
    waker: Option<Waker>,
}

impl Journal {
    /// The journal of the attempt that a request asks for, which reads its secrets there. `now`:
    /// when it begins, if it did not begin before a crash.
    #[must_use]
    pub fn new(
        gate: Arc<dyn Gate>,
        secrets: Arc<dyn Secrets>,
        request: Arc<StepRequest>,
        now: Timestamp,
    ) -> Arc<Journal> {
        let mut journal = Journal {
            began: request.again().unwrap_or(now),
            asker: Asker::new(gate, request),
            secrets,
            state: Mutex::default(),
            known: Mutex::default(),
            in_order: Mutex::default(),
        };
        if let Some(recorded) = journal.request().recorded.clone() {
            journal.read_notes(&recorded);
        }
        Arc::new(journal)
    }

    fn read_notes(&mut self, recorded: &Recorded) {
        let state = self.state.get_mut();
        for bytes in &recorded.notes {
            let notes: Option<Vec<Note>> = match bytes.split_first() {
                Some((1..=NOTES_VERSION, rest)) => postcard::from_bytes(rest).ok(),
                _ => None,
            };
            let Some(notes) = notes else {
                state.broken = Some(diverged("the recorded notes of this attempt can't be read"));
                return;
            };
            for note in notes {
                match note {
                    Note::Began(ms) => {
                        self.began = Timestamp(ms);
                        state.dated = true;
                    }
                    Note::Waited(wait) => state.before.push_back(wait),
                    Note::Saw(digest) => state.seen.push_back(Seen { digest, what: None }),
                    Note::Kept(digest, what) => {
                        state.kept += what.len();
                        let what = Some(what);
                        state.seen.push_back(Seen { digest, what });
                    }
                    Note::Refused(operation, error, cause) => {
                        let failure = Failure::new(error, cause);
                        state.refused.insert(operation, failure);
                    }
                    Note::Read(name, version) => self.known.get_mut().was_read(name, version),
                }
            }
        }
    }

    /// The attempt, as it asks for a turn outside.
    pub(crate) fn asker(&self) -> &Asker {
        &self.asker
    }

    /// What asked for the attempt.
    pub(crate) fn request(&self) -> &StepRequest {
        &self.asker.request
    }

    /// What the attempt recorded before a crash.
    fn recorded(&self) -> Option<&Recorded> {
        self.request().recorded.as_deref()
    }

    /// When the attempt's clock began: before the crash, if there was one.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// The attempt's next outside call. Calls are numbered in the order of this.
    #[must_use]
    pub fn call(self: &Arc<Journal>) -> Call {
        let mut state = self.state.lock();
        let number = state.calls;
        state.calls += 1;
        drop(state);
        if number >= JOURNAL_CALLS_MAX {
            let cause = format!("the step made more than {JOURNAL_CALLS_MAX} outside calls");
            self.break_off(Failure::new("Stepwell.JournalFull", cause));
        }
        Call {
            journal: self.clone(),
            number,
            next: 0,
            known_by: OnceLock::new(),
            seam: Mutex::default(),
        }
    }

    /// How the next wait ended before the crash; `None`: the attempt is further than it came then.
    pub(crate) fn wait_before(&self) -> Option<Wait> {
        let mut state = self.state.lock();
        let wait = state.before.pop_front()?;
        drop(state);
        self.weigh(NOTE_BYTES + 4 * wait.ready.len());
        Some(wait)
    }

    /// The attempt's time at its last recorded wait, in microseconds.
    pub(crate) fn time_before(&self) -> u64 {
        self.state.lock().before.back().map_or(0, |wait| wait.us)
    }

    /// Notes how a wait ended. It becomes durable with the next call.
    pub(crate) fn waited(&self, wait: Wait) {
        self.weigh(NOTE_BYTES + 4 * wait.ready.len());
        self.state.lock().notes.push(Note::Waited(wait));
    }

    /// Whether the attempt has called outside, before a crash or after.
    #[must_use]
    pub fn has_called(&self) -> bool {
        let before = self.recorded().is_some_and(|r| !r.calls.is_empty());
        before || self.state.lock().calls > 0
    }

    /// Notes that a secret was read.
    fn read_secret(&self, name: &str, version: u32) {
        self.weigh(NOTE_BYTES + name.len());
        let note = Note::Read(name.to_owned(), version);
        self.state.lock().notes.push(note);
    }

    /// What the attempt must end with, if it must.
    #[must_use]
    pub fn broken(&self) -> Option<Failure> {
        self.state.lock().broken.clone()
    }

    /// What the attempt ends with, whatever it does: a divergence, a full journal, a stop.
    pub fn poll_broken(&self, cx: &mut Context<'_>) -> Poll<Failure> {
        let mut state = self.state.lock();
        if let Some(failure) = &state.broken {
            return Poll::Ready(failure.clone());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Ends the attempt with this failure. The first one counts.
    pub fn break_off(&self, failure: Failure) {
        let mut state = self.state.lock();
        state.broken.get_or_insert(failure);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    fn weigh(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.bytes += bytes;
        let full = state.bytes > JOURNAL_BYTES_MAX;
        drop(state);
        if full {
            let cause = format!(
                "what the step's journal keeps (answers to calls, waits, what it read and was refused) is over {JOURNAL_BYTES_MAX} bytes"
            );
            self.break_off(Failure::new("Stepwell.JournalFull", cause));
        }
    }

    /// The notes that the next record carries.
    fn take_notes(&self) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        let mut notes = std::mem::take(&mut state.notes);
        if !std::mem::replace(&mut state.dated, true) {
            notes.insert(0, Note::Began(self.began.0));
        }
        drop(state);
        if notes.is_empty() {
            return None;
        }
        self.without_secrets(&mut notes);
        // Plain data into memory: the encoder has no way to fail.
        let mut bytes = vec![NOTES_VERSION];
        bytes.extend(postcard::to_allocvec(&notes).unwrap_or_default());
        Some(bytes)
    }

    /// Tells what a call asks, without what nobody may see of it.
    fn asked(&self, call: u32, what: &dyn Fn() -> String) {
        self.asker.gate.asked(call, &|| {
            let all = what();
            Asked {
                digest: Digest::of(all.as_bytes()),
                shown: self.hide(all),
            }
        });
    }

    /// Waits for ever, or until the attempt must end.
    async fn until_broken(&self) -> Failure {
        poll_fn(|cx| self.poll_broken(cx)).await
    }
}

/// One outside call of an attempt.
pub struct Call {
    journal: Arc<Journal>,
    number: u32,
    /// Pieces of the recorded answer that were taken.
    next: usize,
    /// What the log knows its request by: decided once.
    known_by: OnceLock<Digest>,
    /// Where the recorded pieces of a long answer are.
    seam: Mutex<Seam>,
}

impl Call {
    /// The attempt, as it asks for a turn outside.
    pub(crate) fn asker(&self) -> &Asker {
        self.journal.asker()
    }

    /// The journal that it is of.
    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The key under which the other side can tell a repetition: the same for every attempt
    /// of the state entry, and after every crash.
    #[must_use]
    pub fn key(&self) -> String {
        let by = self.journal.asker.by();
        stepwell_types::journal::idempotency_key(by.execution, by.entry, self.number)
    }

    /// Whether it was let go before a crash: it may be under way where it was sent.
    pub(crate) fn was_sent(&self) -> bool {
        let recorded = self.journal.recorded();
        recorded.is_some_and(|r| r.calls.contains_key(&self.number))
    }

    /// Whether it was answered before a crash, in part at least.
    pub(crate) fn is_answered(&self) -> bool {
        !self.recorded_all().is_empty()
    }

    /// Whether its attempt is over and only looked at again.
    pub(crate) fn is_again(&self) -> bool {
        self.journal.is_again()
    }

    /// Checks it against what this server allows: an answer for the journal, should the attempt
    /// be looked at where something else is allowed.
    /// # Errors
    /// That of the check, now or then.
    pub(crate) fn allowed<T>(
        &self,
        check: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        let (operation, refused) = self.journal.operation();
        if let Some(failure) = refused {
            return Err(failure);
        }
        if self.is_again() || self.is_answered() {
            return Ok(None);
        }
        let checked = check();
        if let Err(failure) = &checked {
            self.journal.refused(operation, failure);
        }
        checked.map(Some)
    }

    /// The call as the gate knows it. It carries no notes.
    pub(crate) fn at_gate(&self, request: Digest) -> BridgeCall {
        BridgeCall {
            by: self.journal.asker.by(),
            call: self.number,
            request: self.known_by(request),
            notes: None,
        }
    }

    /// What the log knows its request by, or will.
    fn known_by(&self, request: Digest) -> Digest {
        *self.known_by.get_or_init(|| {
            let recorded = self.recorded_request();
            let same = recorded.filter(|digest| self.journal.is_of(*digest, request) == Ok(true));
            let own = || self.journal.digest(request).unwrap_or(request);
            same.unwrap_or_else(own)
        })
    }

    fn recorded_request(&self) -> Option<Digest> {
        let recorded = self.journal.recorded()?;
        recorded.calls.get(&self.number).map(|call| call.request)
    }

    /// Whether the call was answered, in part at least, before a crash: then the pieces are
    /// there ([`Call::recorded`]) and nothing is to be sent. Otherwise asks for leave to send it.
    /// `what` says for people what is asked.
    /// # Errors
    /// `Stepwell.ReplayDiverged`, `Stepwell.Stopped`, `Stepwell.JournalFull`; the attempt ends.
    pub async fn admit(
        &self,
        request: Digest,
        what: &(dyn Fn() -> String + Sync),
    ) -> Result<bool, Failure> {
        let turn = std::future::ready(());
        Ok(self.admit_in_turn(request, what, turn).await?.is_none())
    }

    /// As [`Call::admit`], for a call that waits for its turn before it asks for leave. `None`:
    /// it was answered before a crash, and waits for none.
    /// # Errors
    /// As [`Call::admit`].
    pub(crate) async fn admit_in_turn<T>(
        &self,
        request: Digest,
        what: &(dyn Fn() -> String + Sync),
        turn: impl Future<Output = T>,
    ) -> Result<Option<T>, Failure> {
        self.journal.asked(self.number, what);
        if let Some(recorded) = self.recorded_request() {
            if !self.journal.is_of(recorded, request)? {
                return Err(self.ends(self.other()));
            }
            if self.is_answered() {
                return Ok(None);
            }
        }
        let turn = tokio::select! {
            turn = turn => turn,
            failure = self.journal.until_broken() => return Err(failure),
        };
        self.leave(request).await.map(|()| Some(turn))
    }

    /// Waits for leave to send the call.
    /// # Errors
    /// As [`Call::admit`].
    pub async fn leave(&self, request: Digest) -> Result<(), Failure> {
        if let Some(failure) = self.journal.state.lock().broken.clone() {
            return Err(failure);
        }
        let asked = {
            let _in_order = self.journal.in_order.lock();
            // Before the notes: these say which secret's key it is made with, or those before do.
            let call = self.at_gate(request);
            self.journal.asker.gate.admit(BridgeCall {
                notes: self.journal.take_notes(),
                ..call
            })
        };
        match asked.await {
            Verdict::Go => Ok(()),
            Verdict::Diverged => Err(self.ends(self.other())),
            Verdict::Stopped => Err(self.ends(Failure::new(
                "Stepwell.Stopped",
                "the call was not sent: the attempt was stopped",
            ))),
        }
    }

    /// All pieces of the answer that were recorded before a crash.
    pub(crate) fn recorded_all(&self) -> &[Vec<u8>] {
        let known = self.journal.recorded();
        let known = known.and_then(|r| r.calls.get(&self.number));
        known.map_or(&[], |known| &known.parts)
    }

    /// Who can tell of the call what comes to be known while it is under way.
    pub(crate) fn witness(&self) -> Witness {
        Witness {
            journal: self.journal.clone(),
            number: self.number,
        }
    }

    /// The next piece of the answer that was recorded before a crash.
    pub fn recorded(&mut self) -> Option<Vec<u8>> {
        let known = self.journal.recorded()?.calls.get(&self.number)?;
        let kept = known.parts.get(self.next)?;
        let part = self.opened(kept);
        self.journal.weigh(part.len().max(kept.len()));
        self.next += 1;
        Some(part)
    }

    /// A recorded piece as it came. One that can't be opened ends the attempt, and says nothing.
    pub(crate) fn opened(&self, part: &[u8]) -> Vec<u8> {
        self.journal.unmasked(part).unwrap_or_else(|failure| {
            self.journal.break_off(failure);
            Vec::new()
        })
    }

    /// Records a piece of the answer. To be done before the guest sees it.
    pub fn record(&self, part: Vec<u8>) {
        self.record_streamed(part, 0);
    }

    /// The same of a piece whose last `streamed` bytes go on where those of the piece before end: a value
    /// may be in both.
    pub(crate) fn record_streamed(&self, part: Vec<u8>, streamed: usize) {
        let came = part.len();
        let masked = self.journal.masked(part, streamed, &mut self.seam.lock());
        let part = match masked {
            Ok(part) => part,
            Err(failure) => return self.journal.break_off(failure),
        };
        // Names may be longer than what they stand for.
        self.journal.weigh(part.len().max(came));
        let _in_order = self.journal.in_order.lock();
        self.journal.asker.gate.answered(BridgeAnswer {
            by: self.journal.asker.by(),
            call: self.number,
            part,
            notes: self.journal.take_notes(),
        });
    }

    /// The answer goes on behind these bytes, which were recorded before a crash.
    pub(crate) fn goes_on_behind(&self, streamed: &[u8]) {
        if let Some(search) = self.journal.search() {
            self.seam.lock().pass(&search, streamed);
        }
    }

    /// The recorded answer, which came in one piece.
    pub(crate) fn answer(&mut self) -> Result<Data, Failure> {
        let bytes = self.recorded().unwrap_or_default();
        answer::decode(&bytes).unwrap_or_else(|| {
            Err(self.ends(diverged("the recorded answer of this call can't be read")))
        })
    }

    fn other(&self) -> Failure {
        other(self.number)
    }

    /// The attempt ends with this failure.
    pub(crate) fn ends(&self, failure: Failure) -> Failure {
        self.journal.break_off(failure.clone());
        failure
    }
}

/// Tells of a call that is under way.
pub(crate) struct Witness {
    journal: Arc<Journal>,
    number: u32,
}

impl Witness {
    /// What it asks, in full.
    pub(crate) fn asked(&self, what: &dyn Fn() -> String) {
        self.journal.asked(self.number, what);
    }

    /// It asks for something else than before the crash: the attempt ends.
    pub(crate) fn diverges(&self) {
        self.journal.break_off(other(self.number));
    }
}

fn other(number: u32) -> Failure {
    let cause = format!("call {number} of this attempt was another request before the crash");
    Failure::new("Stepwell.ReplayDiverged", cause)
}

/// That of an attempt that calls nobody.
#[cfg(test)]
pub(crate) fn for_tests() -> Arc<Journal> {
    that_reads(crate::secrets::GivenSecrets::default())
}

/// The same, with secrets that it may read.
#[cfg(test)]
pub(crate) fn that_reads(secrets: crate::secrets::GivenSecrets) -> Arc<Journal> {
    let gate = Arc::new(crate::OpenGate);
    let request = Arc::new(attempt_for_tests());
    Journal::new(gate, Arc::new(secrets), request, Timestamp(5))
}

/// An attempt that began with nothing.
#[cfg(test)]
pub(crate) fn attempt_for_tests() -> StepRequest {
    use stepwell_types::{EntryId, ExecutionId, ShardId, StepTarget};
    StepRequest {
        execution: ExecutionId::new(Timestamp(1), ShardId(0), 7),
        execution_name: "e".into(),
        flow: "f".into(),
        state: "S".into(),
        entry: EntryId(1),
        attempt: 0,
        target: StepTarget::Http,
        input: Data::from_valid_text("{}"),
        deadline: None,
        token: None,
        seed: 1,
        grants: None,
        recorded: None,
        entered: None,
    }
}

pub(crate) fn diverged(cause: &'static str) -> Failure {
    Failure::new("Stepwell.ReplayDiverged", cause)
}
