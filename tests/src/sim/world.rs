//! The simulated surroundings of two drivers: store, steps, outside systems, clients, faults.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use stepwell_flow::{AnyModule, Program};
use stepwell_host_api::Namespaces;
use stepwell_host_api::keyvalue::Touched;
use stepwell_interpreter::{Command, Event, Observer, Outcome, State};
use stepwell_orchestrator::Error;
use stepwell_orchestrator::api::Execution;
use stepwell_orchestrator::driver::{Aside, Driver, Output, Post, Reply, Request, Ticket, Turn};
use stepwell_orchestrator::gate::Verdict;
use stepwell_orchestrator::ports::{Programs, StepKey};
use stepwell_store::memory::Memory;
use stepwell_store::{Batch, Writer};
use stepwell_types::{
    BridgeCall, Data, Digest, EntryId, ExecutionId, Failure, FlowRef, Spent, StepOutcome,
    StepRequest, StepTarget, TaskToken, Timestamp,
};

use super::deaths::{Deaths, key};
use super::express;
use super::faults::Faults;
use super::flows::{self, Behaviour};
use super::kept::{self, Kept};
use super::posts::{aside, new_drivers};
use super::signals::Sent;
use super::{Tally, checks};
use crate::random::Random;

/// Actions of one storm.
const ACTIONS: usize = 400;
/// Rounds after which a calm world must have ended everything.
const CALM_ROUNDS: usize = 60_000;

/// The published flows, by name and version 1.
pub struct Flows(
    pub BTreeMap<Arc<str>, Arc<Program>>,
    pub Faults,
    /// Those that this process has compiled.
    pub Mutex<BTreeSet<Arc<str>>>,
);

impl Programs for Flows {
    fn program(&self, flow: &FlowRef) -> Result<Arc<Program>, Error> {
        if let Ok(mut compiled) = self.2.lock() {
            compiled.insert(flow.name.clone());
        }
        self.0
            .get(&flow.name)
            .cloned()
            .ok_or_else(|| Error::NoFlow(flow.name.to_string()))
    }

    fn is_ready(&self, flow: &FlowRef) -> bool {
        self.2.lock().is_ok_and(|c| c.contains(&flow.name))
    }

    fn newest(&self, flow: &str) -> Result<u32, Error> {
        match self.0.contains_key(flow) {
            true => Ok(1),
            false => Err(Error::NoFlow(flow.to_owned())),
        }
    }

    fn step(
        &self,
        program: &Program,
        state: &mut State,
        event: &Event,
        at: Timestamp,
        seen: &mut dyn Observer,
        out: &mut Vec<Command>,
    ) -> Result<(), stepwell_interpreter::Error> {
        self.1.turn(program, state, (event, at), seen, out)
    }
}

/// What a client knows of one execution that it started.
#[derive(Debug, Default, Clone)]
pub struct Known {
    /// Which flow.
    pub flow: Arc<str>,
    /// The name it was given.
    pub name: Option<Arc<str>>,
    /// Its input.
    pub input: Option<Data>,
    /// The server acknowledged the start.
    pub accepted: bool,
    /// The server acknowledged a cancel.
    pub cancelled: bool,
    /// A cancel was sent: the end may be `Aborted`.
    pub cancel_sent: bool,
    /// A redrive was sent: what did not succeed may end otherwise yet.
    pub redrive_sent: bool,
    /// The end, as a waiting client was told.
    pub told: Option<Outcome>,
}

/// What was asked under a ticket.
#[derive(Debug, Clone)]
pub enum Asked {
    /// A start that would get this id.
    Start(ExecutionId),
    /// A cancel.
    Cancel(ExecutionId),
    /// A redrive.
    Redrive(ExecutionId),
    /// An answer for a task.
    Token(TaskToken, Result<Data, Failure>),
    /// A made-up token.
    Forged,
    /// A signal, by its number.
    Signal(u64),
    /// Leave for a call.
    Gate(BridgeCall),
}

/// A step that runs in the simulated sandbox or bridge.
#[derive(Debug, Clone)]
pub struct Running {
    /// What runs.
    pub request: StepRequest,
    /// A bridge call that has not got leave yet.
    pub wants_leave: bool,
    /// When it can end.
    pub ready_at: Timestamp,
    /// It gets its slices alone.
    pub alone: bool,
}

/// One outside call that was really made.
#[derive(Debug, Clone)]
pub struct Made {
    /// Which.
    pub call: BridgeCall,
    /// Process life in which it was made.
    pub life: u64,
}

/// Two drivers and all that surrounds them.
pub struct World {
    /// Decides everything.
    pub random: Random,
    /// Wall time; may step either way.
    pub now: Timestamp,
    /// What is durable.
    pub memory: Memory,
    /// What is published.
    pub flows: Arc<Flows>,
    /// What clients know.
    pub known: BTreeMap<ExecutionId, Known>,
    /// Outside calls, in order.
    pub made: Vec<Made>,
    /// Token answers that the server took: what a repeat must agree with.
    pub taken: BTreeMap<(ExecutionId, EntryId, u32), Result<Data, Failure>>,
    /// Signals that clients sent, by their numbers.
    pub signals: BTreeMap<u64, Sent>,
    /// Sums.
    pub tally: Tally,
    /// Digest of everything that happened.
    pub trace: u64,
    /// Which process life this is, from 0.
    pub life: u64,
    /// How often each step was on a processor when the process died.
    pub deaths: BTreeMap<StepKey, Deaths>,
    /// In which life an execution was last asked to go on after its end.
    pub redriven: BTreeMap<ExecutionId, u64>,
    /// Executions whose parked child an operator cancelled: they may end otherwise.
    pub disturbed: std::collections::BTreeSet<ExecutionId>,
    /// Steps whose writes were handed over with a success.
    pub kept: BTreeSet<StepKey>,
    /// What this process's steps keep.
    pub(super) namespaces: Namespaces,
    /// What running steps have read, and want to write.
    pub(super) keeping: BTreeMap<StepKey, Touched>,
    pub(super) drivers: Vec<Driver>,
    /// Batches on their way to the store: whose, its number, the rows.
    pub(super) pending: VecDeque<(usize, u64, Batch)>,
    /// What is under way between the drivers, in no order.
    pub(super) posts: Vec<Post>,
    /// Cancels of children that were sent in this life.
    pub(super) cancels: Vec<Post>,
    /// Turns that are walked elsewhere.
    pub(super) turns: Vec<Turn>,
    /// Which those are.
    pub(super) aside: Aside,
    pub(super) running: Vec<Running>,
    pub(super) asked: HashMap<Ticket, Asked>,
    pub(super) next_ticket: u64,
    violation: Option<String>,
}

impl World {
    /// A fresh world with a few random flows.
    ///
    /// # Errors
    /// A flow that the compiler refuses.
    pub fn new(mut random: Random) -> Result<World, String> {
        let poisonous = random.chance(6);
        let faults = Faults::new(random.chance(12));
        let mut programs = BTreeMap::new();
        let count = 2 + random.index(3);
        for i in 0..=count {
            // A flow starts later ones only, so that no flow starts itself for ever.
            let text = match i == count {
                true => flows::SLEEPER.to_owned(),
                false => flows::definition(&mut random, poisonous && i == 0, i + 1..count),
            };
            let checked = stepwell_flow::compile(&text, &AnyModule);
            let program = checked.program.ok_or_else(|| {
                format!("flow {text} does not compile: {:?}", checked.diagnostics)
            })?;
            let name = match i == count {
                true => flows::SLEEPER_NAME.to_owned(),
                false => format!("flow{i}"),
            };
            programs.insert(Arc::from(name), Arc::new(program));
        }
        if random.chance(40) {
            let program = express::program(&mut random)?;
            programs.insert(Arc::from(express::NAME), Arc::new(program));
        }
        let memory = Memory::default();
        let namespaces = kept::namespaces(&memory);
        let flows = Arc::new(Flows(programs, faults, Mutex::default()));
        let now = Timestamp(1_800_000_000_000);
        let aside = aside(&mut random);
        let drivers = new_drivers(&memory, &flows, now, true, aside)?;
        Ok(World {
            random,
            now,
            memory,
            flows,
            known: BTreeMap::new(),
            made: Vec::new(),
            taken: BTreeMap::new(),
            signals: BTreeMap::new(),
            tally: Tally::default(),
            trace: 0,
            life: 0,
            deaths: BTreeMap::new(),
            redriven: BTreeMap::new(),
            disturbed: std::collections::BTreeSet::new(),
            kept: BTreeSet::new(),
            namespaces,
            keeping: BTreeMap::new(),
            drivers,
            pending: VecDeque::new(),
            posts: Vec::new(),
            cancels: Vec::new(),
            turns: Vec::new(),
            aside,
            running: Vec::new(),
            asked: HashMap::new(),
            next_ticket: 1,
            violation: None,
        })
    }

    /// Everything at once, with faults.
    /// # Errors
    /// What was violated.
    pub fn storm(&mut self) -> Result<(), String> {
        for _ in 0..ACTIONS {
            if !self.turns.is_empty() && self.random.chance(25) {
                self.turn_ends()?;
            }
            match self.random.index(100) {
                0..10 => self.client_starts(),
                10..13 => self.client_cancels(),
                13..20 => self.client_answers()?,
                20..22 => self.client_signals()?,
                22..24 => self.client_forges(),
                24..28 => self.client_redrives(),
                28..43 => self.driver_works()?,
                43..50 => self.post_arrives()?,
                50..62 => self.seal(),
                62..74 => self.commit_one()?,
                74..84 => self.step_ends()?,
                84..93 => self.time_passes()?,
                93..95 => self.clock_steps()?,
                95..97 => self.commit_fails()?,
                _ => self.crash()?,
            }
            self.outputs()?;
        }
        for _ in 0..self.random.index(8) {
            self.client_redrives();
        }
        Ok(())
    }

    /// No more faults: everything accepted must end.
    ///
    /// # Errors
    /// What was violated.
    pub fn calm_down(&mut self) -> Result<(), String> {
        for _ in 0..CALM_ROUNDS {
            self.outputs()?;
            if self.all_work() {
                continue;
            }
            self.seal_all();
            if !self.pending.is_empty() {
                self.commit_one()?;
                continue;
            }
            if !self.turns.is_empty() {
                self.turn_ends()?;
                continue;
            }
            if !self.posts.is_empty() {
                self.post_arrives()?;
                continue;
            }
            if !self.running.is_empty() {
                for r in &mut self.running {
                    r.ready_at = self.now;
                }
                self.step_ends()?;
                continue;
            }
            if self.answer_all()? || self.signal_all()? {
                continue;
            }
            match self.next_tick() {
                Some(at) => {
                    self.now = self.now.max(at);
                    self.tick()?;
                }
                None if self.cancel_parked()? => {}
                None => return Ok(()),
            }
        }
        Err(format!(
            "executions do not come to an end: at {:?}, next tick {:?}, {} batches, {} turns, {} posts, {} steps",
            self.now,
            self.next_tick(),
            self.pending.len(),
            self.turns.len(),
            self.posts.len(),
            self.running.len()
        ))
    }

    pub(super) fn ticket(&mut self, asked: Asked) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.asked.insert(ticket, asked);
        ticket
    }

    /// Something must not be: the next look at outputs says so.
    pub(super) fn violated(&mut self, why: String) {
        self.violation.get_or_insert(why);
    }

    pub(super) fn note(&mut self, what: &str) {
        let digest = Digest::of(format!("{:016x}{what}", self.trace).as_bytes());
        self.trace = digest
            .0
            .iter()
            .take(8)
            .fold(0, |n, b| n << 8 | u64::from(*b));
    }

    fn driver_works(&mut self) -> Result<(), String> {
        for _ in 0..1 + self.random.index(8) {
            let at = self.random.index(self.drivers.len());
            if !self.drivers[at].work(self.now) {
                break;
            }
            self.outputs()?;
        }
        Ok(())
    }

    fn seal(&mut self) {
        let at = self.random.index(self.drivers.len());
        if let Some((number, batch)) = self.drivers[at].seal() {
            self.pending.push_back((at, number, batch));
        }
    }

    fn commit_one(&mut self) -> Result<(), String> {
        // One group commit may take several batches.
        let take = 1 + self.random.index(self.pending.len().max(1));
        let mut last = BTreeMap::new();
        let mut batches = Vec::new();
        for _ in 0..take {
            if let Some((at, number, batch)) = self.pending.pop_front() {
                last.insert(at, number);
                batches.push(batch);
            }
        }
        if last.is_empty() {
            return Ok(());
        }
        self.memory
            .writer()
            .commit(&batches)
            .map_err(|e| e.to_string())?;
        self.tally.commits += 1;
        for (at, number) in last {
            self.drivers[at].committed(number, self.now);
        }
        self.note("commit");
        Ok(())
    }

    /// A commit reports failure: the process stops, whether the rows are there or not.
    fn commit_fails(&mut self) -> Result<(), String> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.tally.failed_commits += 1;
        self.crash()
    }

    fn time_passes(&mut self) -> Result<(), String> {
        let ms = match self.random.index(4) {
            0 => self.next_tick().map_or(1, |at| at.since_ms(self.now)),
            1 => 30_000,
            _ => self.random.index(2_000) as u64,
        };
        self.now = self.now.plus_ms(ms);
        self.tick()
    }

    /// The wall clock is set, forward or back.
    fn clock_steps(&mut self) -> Result<(), String> {
        self.tally.clock_steps += 1;
        let step = self.random.index(7_200_000) as i64 - 3_600_000;
        self.now = Timestamp(self.now.0 + step);
        self.tick()
    }

    fn tick(&mut self) -> Result<(), String> {
        for driver in &mut self.drivers {
            driver.tick(self.now).map_err(|e| e.to_string())?;
        }
        self.outputs()
    }

    fn step_ends(&mut self) -> Result<(), String> {
        let now = self.now;
        let ready: Vec<usize> = (0..self.running.len())
            .filter(|i| self.running[*i].ready_at <= now && !self.running[*i].wants_leave)
            .collect();
        if ready.is_empty() {
            return Ok(());
        }
        let at = ready[self.random.index(ready.len())];
        let step = self.running.remove(at);
        if !self.end_step(&step.request)? {
            let ready_at = self.now.plus_ms(self.random.index(500) as u64);
            self.running.push(Running { ready_at, ..step });
        }
        Ok(())
    }

    /// `false`: it runs again.
    fn end_step(&mut self, request: &StepRequest) -> Result<bool, String> {
        if flows::behaviour(&request.state) == Behaviour::Poison {
            self.tally.poisonings += 1;
            self.die(vec![key(request)])?;
            return Ok(true);
        }
        let result = flows::answer(request);
        let Kept::Lands(effects) = self.end_keeping(request, result.is_ok()) else {
            self.note("again");
            return Ok(false);
        };
        let outcome = StepOutcome {
            result,
            spent: Spent {
                fuel: 100,
                time_us: 10,
                bytes: request.input.text().len() as u64,
            },
            logs: Vec::new(),
            // Nobody reads them again: of an attempt that ended none is resumed.
            notes: effects.is_some().then(|| vec![0]),
            effects,
        };
        self.note("step");
        let now = self.now;
        self.driver_of(request.execution).step_ended(
            request.execution,
            request.entry,
            request.attempt,
            outcome,
            now,
        );
        Ok(true)
    }

    /// Carries out what the driver wants, as the shell would.
    pub(super) fn outputs(&mut self) -> Result<(), String> {
        while let Some(output) = self.drivers.iter_mut().find_map(Driver::output) {
            match output {
                Output::Send(post) => self.post_leaves(post)?,
                Output::Run(request) => self.run(*request, false)?,
                Output::RunAlone(request) => self.run(*request, true)?,
                Output::Abort {
                    execution,
                    entry,
                    attempt,
                } => {
                    let step = (execution, entry, attempt);
                    self.keeping.remove(&step);
                    self.running.retain(|r| key(&r.request) != step);
                }
                Output::Reply(ticket, reply) => self.reply(ticket, reply)?,
                // Its flows have no activities.
                Output::Turn(turn) => self.turns.push(*turn),
                Output::Landed(hold) => hold.landed(),
                Output::TaskWaits(_)
                | Output::TaskFreed(..)
                | Output::Discard(_)
                | Output::GivenUp(_) => {}
            }
        }
        match self.violation.take() {
            Some(why) => Err(why),
            None => Ok(()),
        }
    }

    fn run(&mut self, request: StepRequest, alone: bool) -> Result<(), String> {
        self.may_run(&request, alone)?;
        let outside = request.target == StepTarget::Http;
        self.begin_keeping(&request);
        // Ends in its first slice.
        if !outside && self.random.chance(60) && self.end_step(&request)? {
            return Ok(());
        }
        self.driver_of(request.execution).step_pending(
            request.execution,
            request.entry,
            request.attempt,
        );
        if outside {
            let call = BridgeCall {
                by: request.id(),
                call: 0,
                request: Digest::of(request.input.text().as_bytes()),
                notes: None,
            };
            let ticket = self.ticket(Asked::Gate(call.clone()));
            self.running.push(Running {
                request,
                wants_leave: true,
                ready_at: self.now,
                alone,
            });
            let now = self.now;
            self.driver_of(call.by.execution)
                .request(ticket, Request::Gate(call), now);
        } else {
            let ready_at = self.now.plus_ms(self.random.index(3_000) as u64);
            self.running.push(Running {
                request,
                wants_leave: false,
                ready_at,
                alone,
            });
        }
        Ok(())
    }

    fn reply(&mut self, ticket: Ticket, reply: Reply) -> Result<(), String> {
        let Some(asked) = self.asked.remove(&ticket) else {
            return Ok(());
        };
        match (asked, reply) {
            (Asked::Start(id), Reply::Started(started)) => {
                if started.id != id {
                    self.known.remove(&id);
                }
                let k = self.known.get_mut(&started.id);
                k.ok_or("a start was answered with an execution that nobody started")?
                    .accepted = true;
                checks::is_durable(self, started.id)
            }
            (Asked::Start(id), Reply::Ended(execution)) => self.told(id, execution),
            (Asked::Start(id), Reply::Refused(_)) => {
                self.known.remove(&id);
                Ok(())
            }
            (Asked::Cancel(id), Reply::Done) => {
                if let Some(k) = self.known.get_mut(&id) {
                    k.cancelled = true;
                    k.accepted = true;
                }
                checks::is_durable(self, id)
            }
            (Asked::Redrive(id), Reply::Redriven(redriven)) => {
                self.tally.redrives += 1;
                if let Some(k) = self.known.get_mut(&id) {
                    k.accepted = true;
                }
                checks::redrive_is_recorded(self, id, redriven.count)
            }
            (Asked::Token(token, result), reply) => self.token_replied(&token, result, &reply),
            (Asked::Signal(number), reply) => self.signal_replied(number, &reply),
            (Asked::Forged, Reply::Done) => Err("a forged token was taken".into()),
            (Asked::Gate(call), Reply::Gate(verdict)) => self.verdict(&call, &verdict),
            _ => Ok(()),
        }
    }

    fn told(&mut self, id: ExecutionId, execution: Option<Box<Execution>>) -> Result<(), String> {
        let real = match &execution {
            Some(e) => e.id,
            None => return Ok(()),
        };
        if real != id {
            self.known.remove(&id);
        }
        if let Some(told) = execution.as_deref().filter(|e| e.express) {
            if let Some(k) = self.known.get_mut(&real) {
                k.accepted = true;
                k.told = express::end_of(told);
            }
            self.tally.express += 1;
            return Ok(());
        }
        let status = execution.map(|e| e.status);
        // Another client may have redriven it meanwhile: then this end is an earlier one.
        let outcome = checks::durable_ends(self, real)?
            .into_iter()
            .rfind(|end| Some(checks::status_of(end)) == status)
            .ok_or("a client was told of an end that is not durable")?;
        if let Some(k) = self.known.get_mut(&real) {
            k.accepted = true;
            k.told = Some(outcome);
        }
        Ok(())
    }

    fn token_replied(
        &mut self,
        token: &TaskToken,
        result: Result<Data, Failure>,
        reply: &Reply,
    ) -> Result<(), String> {
        let key = (token.execution, token.entry, token.attempt);
        match (reply, self.taken.get(&key)) {
            (Reply::Done, None) => {
                self.taken.insert(key, result);
                checks::token_is_recorded(self, token)
            }
            (Reply::Done, Some(first)) if *first != result => {
                Err("two different answers for one task were both taken".into())
            }
            (Reply::Refused(e), Some(first)) if *first == result => {
                Err(format!("a repeated answer was refused: {e}"))
            }
            _ => Ok(()),
        }
    }

    /// The gate spoke: on `Go` the call is really made.
    fn verdict(&mut self, call: &BridgeCall, verdict: &Verdict) -> Result<(), String> {
        let same = |r: &Running| r.request.id() == call.by;
        match verdict {
            Verdict::Go => {
                self.tally.calls += 1;
                let life = self.life;
                self.made.push(Made {
                    call: call.clone(),
                    life,
                });
                self.note("call");
                checks::call_may_be_made(self, call)?;
                let ready_at = self.now.plus_ms(self.random.index(2_000) as u64);
                if let Some(r) = self.running.iter_mut().find(|r| same(r)) {
                    r.wants_leave = false;
                    r.ready_at = ready_at;
                }
                Ok(())
            }
            Verdict::Stopped => {
                self.running.retain(|r| !same(r));
                Ok(())
            }
            Verdict::Diverged => Err("a replayed step asked for another call".into()),
        }
    }
}
