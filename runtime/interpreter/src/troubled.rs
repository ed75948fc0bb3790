//! What remains of an event that the interpreter could not walk.
//!
//! It is recorded all the same, and marked; whoever reads the log calls [`troubled`] instead of
//! [`crate::step`]. Refuses to evaluate anything: this must succeed where a turn did not.

use std::sync::Arc;

use stepwell_types::Timestamp;

use crate::history::{HistoryEvent, HistoryKind, Observer};
use crate::state::{Phase, Started, State};
use crate::turn::limited;
use crate::{Command, Event, Outcome};

/// Puts the state past an event that was not walked, and was not left half walked either.
///
/// Of a start there remains an execution with its input and no state entered: it can only be
/// ended. A cancel ends the execution, and what runs for it is told to stop. Of any other event
/// there remains nothing.
pub fn troubled(
    state: &mut State,
    event: &Event,
    now: Timestamp,
    seen: &mut dyn Observer,
    out: &mut Vec<Command>,
) {
    match event {
        Event::Started {
            flow,
            name,
            input,
            seed,
            parent,
        } if state.core.started.is_none() => {
            state.bytes += input.len_bytes();
            note(state, now, seen, || HistoryKind::ExecutionStarted {
                input: input.clone(),
            });
            state.core.started = Some(Started {
                flow: flow.clone(),
                name: Arc::clone(name),
                input: input.clone(),
                seed: *seed,
                at: now,
                parent: parent.clone(),
            });
        }
        Event::Cancelled { failure } if state.outcome.is_none() => {
            let failure = limited(failure);
            note(state, now, seen, || {
                HistoryKind::ExecutionAborted(failure.clone())
            });
            end(state, Outcome::Aborted(failure), out);
        }
        _ => {}
    }
}

fn note(
    state: &mut State,
    now: Timestamp,
    seen: &mut dyn Observer,
    kind: impl FnOnce() -> HistoryKind,
) {
    let previous = state.core.events;
    state.core.events += 1;
    if seen.wants() {
        let event = HistoryEvent {
            id: state.core.events,
            previous,
            place: None,
            kind: kind(),
        };
        seen.event(now, event);
    }
}

/// Ends it without a redrive: nothing is known to be whole enough to go on from.
fn end(state: &mut State, outcome: Outcome, out: &mut Vec<Command>) {
    for (id, entry) in std::mem::take(&mut state.core.entries) {
        out.extend(entry.stop(id));
        out.extend(entry.forget(id));
        if let Phase::Fleet(fleet) = &entry.phase {
            out.extend(fleet.away.values().map(|away| Command::CancelChild {
                child: away.child,
                attempt: entry.attempt,
                express: fleet.express,
            }));
        }
    }
    state.core.work.clear();
    state.core.cut = false;
    state.core.deadline = None;
    state.timers.clear();
    state.waiters.clear();
    state.core.inbox.signals.clear();
    state.active = 0;
    state.fleets = 0;
    state.bytes = 256;
    out.push(Command::Finish(outcome.clone()));
    state.outcome = Some(outcome);
}
