//! Signals: a Task waits for one, or sends one; one comes and finds somebody who waits, or does not.
//!
//! Each is taken once: by the Task that began to wait first, or, if it came before any, by the
//! first that asks. Refuses to count what may wait here: [`State::room_for`] is asked before.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stepwell_flow::signal::{SendCall, WaitCall};
use stepwell_types::limits::{SIGNAL_BYTES_MAX, SIGNALS_BYTES_MAX, SIGNALS_MAX};
use stepwell_types::{
    Data, Digest, EntryId, ExecutionId, Failure, Recipient, Signal, SignalSend, Timestamp, journal,
};

use crate::history::HistoryKind;
use crate::state::{Received, State, Wanted};
use crate::turn::Turn;
use crate::{Command, Error, time};

/// Error name of a request with fields that make no sense.
const INVALID: &str = "Stepwell.SignalInvalid";

/// What a Task that wants a signal finds.
pub(crate) enum Wait {
    /// There is one: the Task's result.
    Over(Data),
    /// There is none yet.
    Until(Box<Wanted>),
}

/// Takes the oldest signal of these names, or begins to wait for one.
pub(crate) fn wait(turn: &mut Turn<'_>, input: &Data) -> Result<Wait, Failure> {
    let names = request::<WaitCall>(input)?;
    let names = names.names().map_err(|e| Failure::new(INVALID, e))?;
    let inbox = &mut turn.state.core.inbox;
    let found = inbox.signals.iter().position(|s| names.contains(&s.name));
    if let Some(received) = found.and_then(|at| inbox.signals.remove(at)) {
        turn.state.bytes = turn.state.bytes.saturating_sub(received.weight());
        return Ok(Wait::Over(result(&received)));
    }
    inbox.waits += 1;
    let since = inbox.waits;
    Ok(Wait::Until(Box::new(Wanted { names, since })))
}

/// Asks that a signal be sent.
pub(crate) fn send(turn: &mut Turn<'_>, id: EntryId, input: &Data) -> Result<(), Failure> {
    let call = request::<SendCall>(input)?;
    let to = call.recipient().map_err(|e| Failure::new(INVALID, e))?;
    // Whose an id is, the receiver knows.
    if let (Recipient::Named { flow, .. }, Some(grants)) = (&to, &turn.program.grants.flow) {
        grants.allow_flow(flow)?;
    }
    let data = Data::from_value(call.data);
    if data.len_bytes() > SIGNAL_BYTES_MAX {
        let bytes = data.len_bytes();
        let cause = format!(
            "a signal's data has at most {SIGNAL_BYTES_MAX} bytes, this has {bytes}; send where the data is instead"
        );
        return Err(Failure::new("Stepwell.SignalTooLarge", cause));
    }
    let execution = turn.state.core.execution;
    let attempt = turn.state.core.entries.get(&id).map_or(0, |e| e.attempt);
    // Of the entry, not of the attempt: a retry does not send it twice.
    let key = journal::idempotency_key(execution, id, 0);
    turn.out.push(Command::Signal {
        entry: id,
        attempt,
        send: Box::new(SignalSend {
            to,
            signal: Signal {
                name: call.name,
                data,
                sender: Some(execution),
            },
            key: Some(Digest::of(key.as_bytes())),
        }),
    });
    Ok(())
}

/// A signal came: whoever waits for it goes on.
pub(crate) fn came(turn: &mut Turn<'_>, signal: &Signal) -> Result<(), Error> {
    turn.note(0, || HistoryKind::SignalReceived {
        signal: signal.clone(),
    });
    let received = Received {
        name: Arc::clone(&signal.name),
        data: signal.data.clone(),
        sender: signal.sender,
        at: turn.now,
    };
    if let Some(id) = turn.state.waits_for(&signal.name)
        && let Some((node, task)) = super::task::task_of(turn, id)?
    {
        return super::task::ended(turn, id, node, task, &Ok(result(&received)));
    }
    turn.state.bytes += received.weight();
    turn.state.core.inbox.signals.push_back(received);
    Ok(())
}

fn request<T: DeserializeOwned>(input: &Data) -> Result<T, Failure> {
    serde_json::from_value(input.value().clone()).map_err(|e| Failure::new(INVALID, e.to_string()))
}

/// What the Task that took a signal ends with.
fn result(received: &Received<Data>) -> Data {
    let mut result = json!({
        "Name": &*received.name,
        "Data": received.data.value().clone(),
        "ReceivedAt": time::print(received.at),
    });
    if let (Some(sender), Value::Object(fields)) = (received.sender, &mut result) {
        fields.insert("Sender".into(), sender.to_string().into());
    }
    Data::from_value(result)
}

/// Why a signal is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Too many wait.
    #[error("{SIGNALS_MAX} signals wait in it, the most that may")]
    Count,
    /// They are too large together.
    #[error(
        "the signals that wait in it have {SIGNALS_BYTES_MAX} bytes of data, the most that they may"
    )]
    Bytes,
}

impl State {
    /// Whether a signal would be taken: somebody waits for it, or there is room to keep it.
    /// # Errors
    /// There is none.
    pub fn room_for(&self, signal: &Signal) -> Result<(), Full> {
        if self.waits_for(&signal.name).is_some() {
            return Ok(());
        }
        let signals = &self.core.inbox.signals;
        let bytes: usize = signals.iter().map(|s| s.data.len_bytes()).sum();
        if signals.len() >= SIGNALS_MAX {
            return Err(Full::Count);
        }
        if bytes + signal.data.len_bytes() > SIGNALS_BYTES_MAX {
            return Err(Full::Bytes);
        }
        Ok(())
    }

    /// Whether a Task waits for a signal of this name.
    #[must_use]
    pub fn awaits_signal(&self, name: &Arc<str>) -> bool {
        self.waits_for(name).is_some()
    }

    /// The entry that gets the next signal of this name.
    #[must_use]
    pub(crate) fn waits_for(&self, name: &Arc<str>) -> Option<EntryId> {
        let from = (Arc::clone(name), 0);
        let first = self.waiters.range(from..).next();
        first.filter(|((of, _), _)| of == name).map(|(_, id)| *id)
    }

    /// The signals that came before somebody waited for them, the oldest first: name, bytes of
    /// data, sender, and when each came.
    pub fn signals_kept(
        &self,
    ) -> impl ExactSizeIterator<Item = (&Arc<str>, usize, Option<ExecutionId>, Timestamp)> {
        let signals = self.core.inbox.signals.iter();
        signals.map(|s| (&s.name, s.data.len_bytes(), s.sender, s.at))
    }

    /// The names of the signals that are waited for, in order, some perhaps more than once.
    pub fn signals_wanted(&self) -> impl Iterator<Item = &Arc<str>> {
        self.waiters.keys().map(|(name, _)| name)
    }
}
