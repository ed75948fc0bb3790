//! What is carried out away from the loop: turns, what must be read or compiled before one, and looks
//! at how much an execution holds.
//!
//! Refuses to decide anything that a turn on the loop would not: it is the same function of
//! the same values, and what is read was written by this loop alone.

use std::sync::Arc;

use stepwell_flow::Program;
use stepwell_interpreter::{Command, Event, NoHistory, State};
use stepwell_store::Reader;
use stepwell_types::{ChildStart, ExecutionId, FlowRef, Timestamp};

use super::away::Input;
use super::outbox::Parcel;
use super::{Driver, Item, Post, Recovered, Request, read_state};
use crate::Error;
use crate::ports::Programs;
use crate::walk::walk;

/// What is done away from the loop for one execution.
pub struct Turn {
    pub(super) id: ExecutionId,
    pub(super) flow: FlowRef,
    programs: Arc<dyn Programs>,
    pub(super) errand: Errand,
}

pub(super) enum Errand {
    /// A turn is walked.
    Walk(Box<Begun>),
    /// Flows are compiled, and the execution is read from its log if there is a reader.
    Fetch(Vec<FlowRef>, Option<Arc<dyn Reader>>),
    /// What a state holds is counted.
    Look(Arc<State>),
}

/// A turn to be walked.
pub(super) struct Begun {
    pub program: Arc<Program>,
    pub base: Arc<State>,
    /// The execution moves to this version first.
    pub rebase: Option<Arc<Program>>,
    pub event: Event,
    pub at: Timestamp,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Turn of {} ({})", self.id, self.flow.name)
    }
}

/// What comes back.
pub struct Walked {
    pub(super) id: ExecutionId,
    pub(super) found: Found,
}

pub(super) enum Found {
    Walk(Box<Walk>),
    Fetched(Option<Box<Result<Recovered, Error>>>),
    /// Bytes of memory.
    Looked(usize),
}

/// A turn that was walked.
pub(super) struct Walk {
    id: ExecutionId,
    /// The state that it began with.
    base: Arc<State>,
    rebased: bool,
    event: Event,
    at: Timestamp,
    result: Result<State, String>,
    commands: Vec<Command>,
}

impl Turn {
    /// Whose.
    #[must_use]
    pub fn execution(&self) -> ExecutionId {
        self.id
    }

    /// Of which flow.
    #[must_use]
    pub fn flow(&self) -> &FlowRef {
        &self.flow
    }

    /// Whether it may be given up ([`Driver::turn_stuck`]): what is only read or counted is waited for.
    #[must_use]
    pub fn may_stick(&self) -> bool {
        matches!(self.errand, Errand::Walk(_))
    }

    /// Walks it: as long as it takes.
    #[must_use]
    pub fn walk(self) -> Walked {
        let id = self.id;
        let found = match self.errand {
            Errand::Walk(begun) => Found::Walk(Box::new(begun.walk(id, &*self.programs))),
            Errand::Fetch(flows, reader) => {
                for flow in flows {
                    // Who needs it meets the error.
                    let _ = self.programs.program(&flow);
                }
                let read = |reader: Arc<dyn Reader>| read_state(&*reader, &*self.programs, id);
                Found::Fetched(reader.map(read).map(Box::new))
            }
            // The loop has it back, and shares it with nobody, when the turn is.
            Errand::Look(state) => Found::Looked(state.memory_bytes()),
        };
        Walked { id, found }
    }
}

impl Begun {
    /// Walks it on a copy of its state.
    pub fn walk(self, id: ExecutionId, programs: &dyn Programs) -> Walk {
        let mut state = State::clone(&self.base);
        let mut commands = Vec::new();
        let mut program = &self.program;
        let mut trouble = None;
        if let Some(other) = &self.rebase {
            trouble = state.rebase(program, other).err().map(|e| e.to_string());
            program = other;
        }
        let input = (&self.event, self.at);
        let trouble = trouble.or_else(|| {
            let seen = &mut NoHistory;
            walk(programs, program, &mut state, input, seen, &mut commands).err()
        });
        Walk {
            id,
            base: self.base,
            rebased: self.rebase.is_some(),
            event: self.event,
            at: self.at,
            result: match trouble {
                None => Ok(state),
                Some(cause) => Err(cause),
            },
            commands,
        }
    }
}

impl Walk {
    /// Whether it is the turn that this event begins now.
    pub fn fits(&self, id: ExecutionId, event: &Event, at: Timestamp, now: &Arc<State>) -> bool {
        let same =
            self.rebased || matches!(event, Event::Started { .. }) || Arc::ptr_eq(&self.base, now);
        self.id == id && self.at == at && same && self.event == *event
    }

    /// Why there is no state after it.
    pub fn trouble(&self) -> Option<&str> {
        self.result.as_ref().err().map(String::as_str)
    }

    /// The state after it, and what it decided.
    pub fn take(self) -> (Result<State, String>, Vec<Command>) {
        (self.result, self.commands)
    }
}

impl Driver {
    pub(super) fn errand(&self, id: ExecutionId, flow: FlowRef, errand: Errand) -> Turn {
        Turn {
            id,
            flow,
            programs: self.programs.clone(),
            errand,
        }
    }

    /// The flow of a child: its newest version where none is wished.
    pub(super) fn flow_to_run(&self, start: &ChildStart) -> Option<FlowRef> {
        Some(FlowRef {
            name: start.flow.clone(),
            version: match start.version {
                Some(version) => version,
                None => self.programs.newest(&start.flow).ok()?,
            },
        })
    }

    /// What an input needs that is not at hand: a flow that is not compiled yet, or an
    /// execution that takes long to be read from its log.
    pub(super) fn fetch(&self, input: &Input) -> Option<Turn> {
        let id = input.execution()?;
        let brought = self.brought.as_ref().is_some_and(|(of, _)| *of == id);
        if self.options.aside.at_once == 0 || brought {
            return None;
        }
        let is_redrive = match input {
            Input::Request(_, request) => matches!(**request, Request::Redrive(..)),
            Input::Post(post) => post.wanted_again().is_some_and(|start| {
                // Should it be held back, it comes again.
                self.has_room() && self.is_there(start.child)
            }),
            _ => false,
        };
        let mut flows = match input {
            Input::Request(_, request) => match &**request {
                Request::Start { flow, .. } => vec![flow.clone()],
                Request::Spawn(start) => vec![self.flow_to_run(start)?],
                _ => Vec::new(),
            },
            Input::Post(post) => match &**post {
                Post::Delivery(delivery) => match &delivery.parcel {
                    Parcel::Start(_) if is_redrive => Vec::new(),
                    Parcel::Start(start) => vec![self.flow_to_run(start)?],
                    _ => Vec::new(),
                },
                Post::Item(Item::Begin(start)) => vec![self.flow_to_run(start)?],
                Post::Item(_) | Post::Receipt { .. } => Vec::new(),
            },
            // Of an execution in memory.
            Input::Step(..) | Input::Event(..) | Input::Timer(_) | Input::Look(_) => return None,
            Input::Row(..) => Vec::new(),
        };
        let mut reader = None;
        if flows.is_empty() && !self.hot.contains_key(&id) {
            let summary = self.read_summary(id).ok()?;
            if summary.status != 0 && !is_redrive {
                return None;
            }
            let flow = FlowRef {
                name: summary.flow,
                version: summary.version,
            };
            let long = summary.heavy || self.costly.contains_key(&flow);
            if long || !self.programs.is_ready(&flow) {
                reader = Some(self.reader.clone());
            }
            flows.push(flow);
        }
        if let Input::Request(_, request) = input
            && let Request::Redrive(_, wish) = &**request
            && let Some(version) = wish.version
        {
            let known = flows.first().map(|flow| flow.name.clone());
            let name = known.or_else(|| Some(self.hot.get(&id)?.flow.name.clone()))?;
            flows.push(FlowRef { name, version });
        }
        if is_redrive
            && let Input::Post(post) = input
            && let Some(start) = post.wanted_again()
            && let (name, Some(version)) = (start.flow.clone(), start.version)
        {
            flows.push(FlowRef { name, version });
        }
        let flow = flows.first()?.clone();
        flows.retain(|flow| !self.programs.is_ready(flow));
        if flows.is_empty() && reader.is_none() {
            return None;
        }
        Some(self.errand(id, flow, Errand::Fetch(flows, reader)))
    }
}
