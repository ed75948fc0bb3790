//! What the edges ask of a driver: start, wait, cancel, answer a token, pass the gate.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use stepwell_flow::program::Mode;
use stepwell_interpreter::codec::Row;
use stepwell_interpreter::{Event, State};
use stepwell_store::Key;
use stepwell_types::{
    AttemptId, BridgeCall, ChildStart, Data, Digest, ExecutionId, Failure, FlowRef, ParentLink,
    Signal, TaskToken, Timestamp, WaitReason, Waiting,
};

use super::away::Input;
use super::express::Express;
use super::places::Kind;
use super::{Claim, Driver, Hot, Output, Redrive};
use crate::Error;
use crate::api::{ActivityTask, Execution, Redriven, Started};
use crate::gate::Verdict;
use crate::rows::{self, NameRow};
use crate::same::{same_input, started_with};

/// Steps of one execution that wait for a place, as far as they are told of.
const QUEUED_SHOWN: usize = 100;

/// Names one open request; the shell keeps who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// One wish.
#[derive(Debug, Clone)]
pub enum Request {
    /// Start an execution.
    Start {
        /// The published version to run.
        flow: FlowRef,
        /// `None`: named by its id.
        name: Option<Arc<str>>,
        /// Valid JSON.
        input: Data,
        /// The id it gets if it is new; on a shard of this driver.
        id: ExecutionId,
        /// Its secret seed.
        seed: [u8; 16],
        /// Answer with [`Reply::Ended`] instead of [`Reply::Started`].
        wait: bool,
    },
    /// Answer when the execution has ended, at once if it has.
    Wait(ExecutionId),
    /// End the execution.
    Cancel(ExecutionId, Failure),
    /// Send the execution a signal; what comes twice under one key is taken once.
    Signal(ExecutionId, Signal, Option<Digest>),
    /// Let an execution that ended without success go on.
    Redrive(ExecutionId, Redrive),
    /// Start an execution on behalf of an attempt; one that has its name and had its input is the
    /// same.
    Spawn(Box<ChildStart>),
    /// What an attempt's execution goes back to.
    Lineage(AttemptId),
    /// Whether an execution of this flow runs in memory.
    Runs(Arc<str>),
    /// Which steps of the execution wait for a place to run in.
    Queued(ExecutionId),
    /// An outside program answers for a task.
    Token(TaskToken, TokenAnswer),
    /// A bridge asks leave for a call.
    Gate(BridgeCall),
    /// A worker asks for a task of an activity.
    Claim(Claim),
    /// That worker had gone when the task was to be handed out.
    GiveBack(Box<ActivityTask>),
}

/// What an outside program says of its task.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenAnswer {
    /// It ended, well or badly.
    Ended(Result<Data, Failure>),
    /// It is still at work.
    Heartbeat,
}

/// The answer to a [`Request`].
#[derive(Debug, Clone)]
pub enum Reply {
    /// To `Start` and `Spawn`.
    Started(Started),
    /// To `Spawn`: there will be no such execution.
    NotStarted(Failure),
    /// To `Lineage`.
    Lineage {
        /// The execution that nobody started, which all goes back to.
        root: ExecutionId,
        /// How many are above the attempt's own.
        depth: u16,
    },
    /// To `Runs`, when all that was decided before is durable: one that runs.
    Runs(Option<ExecutionId>),
    /// To `Queued`.
    Queued(Vec<Waiting>),
    /// To `Start` with `wait`, and to `Wait`. `None`: read it from the store.
    Ended(Option<Box<Execution>>),
    /// To `Cancel`, `Signal`, `Token` and `GiveBack`.
    Done,
    /// To `Redrive`.
    Redriven(Redriven),
    /// To `Gate`.
    Gate(Verdict),
    /// To `Claim`; `None`: the task is not to be had.
    Claimed(Option<Box<ActivityTask>>),
    /// To any.
    Refused(Error),
}

/// All that an execution begins with.
pub(super) struct Begin {
    pub program: Arc<stepwell_flow::Program>,
    pub flow: FlowRef,
    /// `None`: named by its id.
    pub name: Option<Arc<str>>,
    pub input: Data,
    pub id: ExecutionId,
    pub seed: [u8; 16],
    pub parent: Option<Arc<ParentLink>>,
    /// `None`: every event of it is recorded, as of a child of another execution.
    pub express: Option<Express>,
    pub now: Timestamp,
}

impl Driver {
    /// Takes one request in. Its answer comes as [`Output::Reply`], when what it
    /// says is durable.
    pub fn request(&mut self, ticket: Ticket, request: Request, now: Timestamp) {
        if let Err(e) = self.take(Input::Request(ticket, request.into()), now) {
            self.out.push_back(Output::Reply(ticket, Reply::Refused(e)));
        }
    }

    pub(super) fn take_request(&mut self, ticket: Ticket, request: Request, now: Timestamp) {
        let answer = match request {
            Request::Start {
                flow,
                name,
                input,
                id,
                seed,
                wait,
            } => self.start(ticket, flow, name, input, id, seed, wait, now),
            Request::Wait(id) => self.wait(ticket, id),
            Request::Cancel(id, failure) => self.cancel(ticket, id, failure, now),
            Request::Signal(id, signal, key) => self.signal(ticket, id, signal, key, now),
            Request::Redrive(id, wish) => self.redrive(ticket, id, wish, now),
            Request::Token(token, answer) => self.token(ticket, &token, answer, now),
            Request::Spawn(start) => self.spawn(ticket, *start, now),
            Request::Lineage(by) => self.lineage(ticket, by),
            Request::Runs(flow) => {
                let mut hot = self.hot.iter();
                let runs = hot.find(|(_, hot)| hot.flow.name == flow && hot.ended.is_none());
                let reply = Reply::Runs(runs.map(|(id, _)| *id));
                self.after(self.last_batch(), Output::Reply(ticket, reply));
                Ok(())
            }
            Request::Queued(id) => {
                let reply = Reply::Queued(self.queued(id));
                self.out.push_back(Output::Reply(ticket, reply));
                Ok(())
            }
            Request::Claim(claim) => self.claim(ticket, claim, now),
            Request::GiveBack(task) => self.give_back(ticket, &task, now),
            Request::Gate(call) => {
                let (batch, verdict) = self.gate(ticket, call, now);
                self.after(batch, Output::Reply(ticket, Reply::Gate(verdict)));
                Ok(())
            }
        };
        if let Err(e) = answer {
            self.out.push_back(Output::Reply(ticket, Reply::Refused(e)));
        }
    }

    /// What of an execution waits to begin, the longest first, as far as it is shown.
    fn queued(&self, id: ExecutionId) -> Vec<Waiting> {
        let steps = self.hot.get(&id).map(|hot| hot.steps.iter());
        let queued = steps.into_iter().flatten().filter(|(_, step)| step.queued);
        let mut queued: Vec<_> = queued.collect();
        queued.sort_by_key(|(_, step)| step.since);
        queued.truncate(QUEUED_SHOWN);
        let shown = queued.into_iter().map(|((entry, _), step)| Waiting {
            entry: *entry,
            state: step.state.clone(),
            target: None,
            reason: match step.place.kind {
                Kind::Step => WaitReason::Steps,
                Kind::Call => WaitReason::Calls,
            },
            since: step.since,
        });
        shown.collect()
    }

    /// Nobody waits for this ticket any more.
    pub fn forget(&mut self, ticket: Ticket, id: ExecutionId) {
        if let Some(list) = self.waiters.get_mut(&id) {
            list.retain(|t| *t != ticket);
            if list.is_empty() {
                self.waiters.remove(&id);
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one request")]
    fn start(
        &mut self,
        ticket: Ticket,
        flow: FlowRef,
        name: Option<Arc<str>>,
        input: Data,
        id: ExecutionId,
        seed: [u8; 16],
        wait: bool,
        now: Timestamp,
    ) -> Result<(), Error> {
        let program = self.programs.program(&flow)?;
        let express = match program.mode {
            Mode::Standard => None,
            Mode::Express(keep) => Some(Express::new(keep, !wait)),
        };
        // Names of express executions need not be unique.
        if let Some(name) = &name
            && express.is_none()
            && self.start_again(ticket, &flow, name, &input, wait)?
        {
            return Ok(());
        }
        // It may have been deleted since it was looked up.
        self.programs.may_begin(&flow)?;
        self.admit()?;
        if wait {
            self.waiters.entry(id).or_default().push(ticket);
        }
        let version = flow.version;
        let shown = self.begin(Begin {
            program,
            flow,
            name,
            input,
            id,
            seed,
            parent: None,
            express,
            now,
        });
        if !wait {
            let started = Started {
                id,
                name: shown,
                version,
                started: now,
                new: true,
            };
            self.after(self.batch, Output::Reply(ticket, Reply::Started(started)));
        }
        Ok(())
    }

    /// Makes an execution whose id and name are known to be free. Gives the name that it shows.
    pub(super) fn begin(&mut self, begin: Begin) -> Arc<str> {
        let Begin {
            program,
            flow,
            name,
            input,
            id,
            seed,
            parent,
            express,
            now,
        } = begin;
        let shown: Arc<str> = match &name {
            Some(name) => name.clone(),
            None => id.to_string().into(),
        };
        if let Some(name) = &name
            && express.is_none()
        {
            let row = NameRow {
                execution: id,
                input: Digest::of(input.text().as_bytes()),
            };
            let key = Key::Name {
                flow: flow.name.clone(),
                name: name.clone(),
            };
            self.extra.put(key, rows::encode(&row));
            self.names.insert((flow.name.clone(), name.clone()), id);
        }
        let mut hot = self.new_hot(program, State::new(id), flow.clone(), name, now);
        hot.express = express;
        self.hot.insert(id, hot);
        self.count_open(id, 1);
        self.count(&flow.name, now, |u, m| {
            u.started += 1;
            m.started += 1;
        });
        let event = Event::Started {
            flow,
            name: shown.clone(),
            input,
            seed,
            parent,
        };
        self.apply(id, event, now);
        shown
    }

    /// Answers a start whose name is taken. `false`: it is free.
    pub(super) fn start_again(
        &mut self,
        ticket: Ticket,
        flow: &FlowRef,
        name: &Arc<str>,
        input: &Data,
        wait: bool,
    ) -> Result<bool, Error> {
        let key = (flow.name.clone(), name.clone());
        let taken = |existing: ExecutionId| Error::NameTaken {
            flow: flow.name.to_string(),
            name: name.to_string(),
            existing,
        };
        if let Some(id) = self.names.get(&key).copied()
            && let Some(hot) = self.hot.get(&id)
        {
            // As the row tells it once the execution has left memory: the answer must not depend on
            // where it is.
            if !hot.state.input().is_some_and(|had| same_input(had, input)) {
                return Err(taken(id));
            }
            let started = Started {
                id,
                name: name.clone(),
                version: hot.flow.version,
                started: hot.started,
                new: false,
            };
            let batch = hot.batch;
            if wait {
                self.wait(ticket, id)?;
            } else {
                self.after(batch, Output::Reply(ticket, Reply::Started(started)));
            }
            return Ok(true);
        }
        let row = self.reader.get(&Key::Name {
            flow: key.0,
            name: key.1,
        })?;
        let Some(row) = row else {
            return Ok(false);
        };
        let row: NameRow = rows::decode(&row)?;
        if !started_with(&*self.reader, &row, input)? {
            return Err(taken(row.execution));
        }
        if wait {
            self.wait(ticket, row.execution)?;
            return Ok(true);
        }
        let summary = self.read_summary(row.execution)?;
        let started = Started {
            id: row.execution,
            name: name.clone(),
            version: summary.version,
            started: summary.started,
            new: false,
        };
        self.out
            .push_back(Output::Reply(ticket, Reply::Started(started)));
        Ok(true)
    }

    fn wait(&mut self, ticket: Ticket, id: ExecutionId) -> Result<(), Error> {
        if let Some(hot) = self.hot.get(&id) {
            if hot.ended.is_some() {
                let (batch, described) = (hot.batch, self.described(id));
                let reply = Reply::Ended(described.map(Box::new));
                self.after(batch, Output::Reply(ticket, reply));
            } else {
                self.waiters.entry(id).or_default().push(ticket);
            }
            return Ok(());
        }
        if self.read_summary(id)?.status == 0 {
            self.waiters.entry(id).or_default().push(ticket);
        } else {
            self.out
                .push_back(Output::Reply(ticket, Reply::Ended(None)));
        }
        Ok(())
    }

    /// The execution has ended: who waits is answered when that is durable.
    pub(super) fn wake_waiters(&mut self, id: ExecutionId) {
        let Some(tickets) = self.waiters.remove(&id) else {
            return;
        };
        let described = self.described(id);
        let express = self.hot.get(&id).is_some_and(|h| h.express.is_some());
        // An express execution's end is told whether or not a history of it is written.
        let batch = if express { 0 } else { self.batch };
        for ticket in tickets {
            let reply = Reply::Ended(described.clone().map(Box::new));
            self.after(batch, Output::Reply(ticket, reply));
        }
    }

    fn cancel(
        &mut self,
        ticket: Ticket,
        id: ExecutionId,
        failure: Failure,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.wake(id, now)?;
        let Some(hot) = self.hot.get_mut(&id) else {
            return Err(Error::NoExecution(id.to_string()));
        };
        if hot.ended.is_some() {
            return Err(Error::Ended(id));
        }
        let batch = if self.is_unrecorded(id) {
            0
        } else {
            self.batch
        };
        self.apply(id, Event::Cancelled { failure }, now);
        self.after(batch, Output::Reply(ticket, Reply::Done));
        Ok(())
    }

    /// Brings an execution into memory if it is there.
    pub(super) fn recall(&mut self, id: ExecutionId, now: Timestamp) -> Result<(), Error> {
        match self.hot.contains_key(&id) {
            true => Ok(()),
            false => self.load(id, now),
        }
    }

    /// Brings an execution into memory if it is there and has not ended.
    pub(super) fn wake(&mut self, id: ExecutionId, now: Timestamp) -> Result<(), Error> {
        if self.hot.contains_key(&id) {
            return Ok(());
        }
        if self.read_summary(id)?.status != 0 {
            return Err(Error::Ended(id));
        }
        self.load(id, now)
    }

    pub(super) fn read_summary(&self, id: ExecutionId) -> Result<rows::SummaryRow, Error> {
        let row = self.reader.get(&Key::Summary { execution: id })?;
        let row = row.ok_or_else(|| Error::NoExecution(id.to_string()))?;
        rows::decode(&row)
    }

    /// An execution's place in memory, nothing of it written yet.
    pub(super) fn new_hot(
        &mut self,
        program: Arc<stepwell_flow::Program>,
        state: State,
        flow: FlowRef,
        given_name: Option<Arc<str>>,
        started: Timestamp,
    ) -> Hot {
        Hot {
            program,
            state: Arc::new(state),
            events: self.events.number(&flow.name),
            steps_queue: self.steps.number(&flow.name),
            calls_queue: self.calls.number(&flow.name),
            flow,
            given_name,
            started,
            last_at: started,
            logged: 0,
            row: Row::new(),
            row_seq: 0,
            blobs: Vec::new(),
            batch: self.batch,
            is_dirty: false,
            steps: BTreeMap::new(),
            journals: HashMap::new(),
            answered: HashMap::new(),
            queued_events: 0,
            first_batch: self.batch,
            hot_row: false,
            timer_row: None,
            timer: None,
            outbox: 0,
            log_bytes: 0,
            has_checkpoint: false,
            summary_saved: false,
            heavy_saved: false,
            summary_stale: false,
            express: None,
            kept_row: None,
            forget_start: false,
            ended: None,
            parked: None,
            spoiled: None,
            fuel: 0,
            counted_transitions: 0,
            weight: 0,
            looked_at: 0,
            is_parent: false,
            taken: None,
            taken_known: false,
        }
    }
}
