//! An interpreter that panics on some events, and the logs in which those are marked.

use std::collections::BTreeSet;
use std::sync::{Mutex, Once};

use stepwell_flow::Program;
use stepwell_interpreter::codec::Logged;
use stepwell_interpreter::{Command, Event, NoHistory, Observer, State, step, troubled};
use stepwell_types::{Digest, ExecutionId, Timestamp};

/// Of 256 events, how many: the same ones whenever they come.
const OF_256: u8 = 4;

/// Where a world's interpreter has panicked.
#[derive(Debug, Default)]
pub struct Faults {
    /// It does not in every world.
    pub on: bool,
    /// Whose turn it was; of an item that is kept in memory, whose item.
    met: Mutex<BTreeSet<ExecutionId>>,
}

impl Faults {
    /// A world with an interpreter that panics, or with one that does not.
    #[must_use]
    pub fn new(on: bool) -> Faults {
        static QUIET: Once = Once::new();
        if on {
            // Thousands of them are wanted: none is told of.
            QUIET.call_once(|| {
                let told = std::panic::take_hook();
                std::panic::set_hook(Box::new(move |info| {
                    if info.payload().downcast_ref::<Planted>().is_none() {
                        told(info);
                    }
                }));
            });
        }
        Faults {
            on,
            met: Mutex::default(),
        }
    }

    /// How many executions.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.met.lock().map_or(0, |met| met.len() as u64)
    }

    /// Whether one of this execution's own turns, or one of an item's in memory, panicked.
    #[must_use]
    pub fn has(&self, id: ExecutionId) -> bool {
        self.met.lock().is_ok_and(|met| met.contains(&id))
    }

    /// A turn of the interpreter, and perhaps a panic when it is done.
    pub fn turn(
        &self,
        program: &Program,
        state: &mut State,
        (event, at): (&Event, Timestamp),
        seen: &mut dyn Observer,
        out: &mut Vec<Command>,
    ) -> Result<(), stepwell_interpreter::Error> {
        let done = step(program, state, event, at, seen, out);
        let id = state.execution();
        if self.on && is_bad(id, event) {
            let around = state.parent().filter(|link| link.express);
            if let Ok(mut met) = self.met.lock() {
                met.insert(around.map_or(id, |link| link.execution));
            }
            std::panic::panic_any(Planted);
        }
        done
    }
}

/// What it panics with.
struct Planted;

fn is_bad(id: ExecutionId, event: &Event) -> bool {
    let Digest(digest) = Digest::of(format!("{id} {event:?}").as_bytes());
    digest[0] < OF_256
}

/// The event of a record, and whether it was walked.
#[must_use]
pub fn event_of(logged: &Logged) -> Option<(&Event, Timestamp, bool)> {
    match logged {
        Logged::Event(record) => Some((&record.event, record.at, true)),
        Logged::Troubled { at, event } => Some((event, *at, false)),
        _ => None,
    }
}

/// Walks a record as any reader of a log does.
/// # Errors
/// The interpreter's.
pub fn walk(
    program: &Program,
    state: &mut State,
    logged: &Logged,
    out: &mut Vec<Command>,
) -> Result<(), String> {
    match event_of(logged) {
        None => Ok(()),
        Some((event, at, true)) => {
            let walked = step(program, state, event, at, &mut NoHistory, out);
            walked.map_err(|e| e.to_string())
        }
        Some((event, at, false)) => {
            troubled(state, event, at, &mut NoHistory, out);
            Ok(())
        }
    }
}
