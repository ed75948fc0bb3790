//! Recorded cases under crashes: each runs once in peace, then once for every commit
//! with a death at that commit, which is lost or durable; what the log then holds must be
//! the recorded end and the recorded history.
//!
//! The client hears nothing of a start that a death swallowed, and asks again under
//! the same name. Where a case may be express, it also runs so, in both ways. Refuses luck:
//! no choice is drawn.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use stepwell_cases::{Case, Ended, Functions};
use stepwell_flow::program::Keep;
use stepwell_flow::{Program, Resolve, Unresolved};
use stepwell_interpreter::codec::Logged;
use stepwell_interpreter::{HistoryEvent, Outcome, State, step};
use stepwell_orchestrator::api::Status;
use stepwell_orchestrator::driver::{
    Aside, Driver, Output, Post, Reply, Request, Ticket, read_log,
};
use stepwell_store::memory::Memory;
use stepwell_store::{Batch, Key, Range, Reader as _, Writer as _};
use stepwell_types::limits::EXPRESS_SECONDS_MAX;
use stepwell_types::{
    Data, Digest, EntryId, ExecutionId, Failure, FlowRef, ShardId, Spent, StepOutcome, StepRequest,
    StepTarget, Timestamp,
};

use super::checks::status_of;
use super::faults::Faults;
use super::posts::{new_drivers, of_loop};
use super::world::Flows;

/// Rounds after which a case must have ended.
const ROUNDS_MAX: usize = 200_000;
/// The execution's name, as the recordings have it: any UUID.
const NAME: &str = "0a1b2c3d-0000-4000-8000-000000000000";
const FLOW: &str = "flow-under-test";

/// What many cases showed.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Cases whose every run ended as recorded.
    pub cases: u64,
    /// Of these, so many also as express executions.
    pub express: u64,
    /// Runs that a death struck.
    pub deaths: u64,
}

/// How a case is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Standard,
    /// Express, and the client waits for the end: nothing is stored before it.
    Waited,
    /// Express, and the client is told that it began: that is durable.
    Accepted,
}

/// Runs a case in peace and with a death at each commit, and an express one also whenever it
/// rests.
///
/// # Errors
/// The first run that ended otherwise, or never.
pub fn run(case: &Case) -> Result<Tally, String> {
    let (mut deaths, lasted_ms) = one_way(case, Way::Standard)?;
    let express = lasted_ms < EXPRESS_SECONDS_MAX * 1000 && program(case, Way::Waited).is_ok();
    if express {
        deaths += one_way(case, Way::Waited)?.0 + one_way(case, Way::Accepted)?.0;
    }
    Ok(Tally {
        cases: 1,
        express: express.into(),
        deaths,
    })
}

/// The number of deaths, and how long the run in peace lasted, in milliseconds.
fn one_way(case: &Case, way: Way) -> Result<(u64, u64), String> {
    let peace = Room::new(case, way, None)?.until_end();
    let (moments, lasted_ms) = peace.map_err(|why| format!("{way:?}: {why}"))?;
    let mut deaths = 0;
    for at in 0..moments {
        for durable in [false, true] {
            let death = Death { at, durable };
            Room::new(case, way, Some(death))?
                .until_end()
                .map_err(|why| format!("{way:?}, {death:?}: {why}"))?;
            deaths += 1;
        }
    }
    Ok((deaths, lasted_ms))
}

fn program(case: &Case, way: Way) -> Result<Program, String> {
    let functions = Functions::of(case);
    let express = Express(&functions);
    let resolve: &dyn Resolve = match way {
        Way::Standard => &functions,
        Way::Waited | Way::Accepted => &express,
    };
    let checked = stepwell_flow::compile(&case.definition(), resolve);
    let program = checked.program;
    let mut program = program.ok_or_else(|| format!("{:?}", checked.diagnostics))?;
    if way != Way::Standard {
        program.make_express(Keep::All);
    }
    Ok(program)
}

/// The functions of a case, for a flow whose executions are express ones.
struct Express<'a>(&'a Functions<'a>);

impl Resolve for Express<'_> {
    fn module(
        &self,
        name: &str,
        version: Option<&str>,
        function: Option<&str>,
    ) -> Result<Digest, Unresolved> {
        self.0.module(name, version, function)
    }

    fn modules(&self) -> Vec<(Arc<str>, Digest)> {
        self.0.modules()
    }

    fn express(&self) -> bool {
        true
    }
}

/// When the process dies.
#[derive(Debug, Clone, Copy)]
struct Death {
    /// At this moment, from 0: a commit, or a rest of an express execution.
    at: u64,
    /// Whether a commit had reached the disk.
    durable: bool,
}

/// When it ends, and which.
type Step = (Timestamp, ExecutionId, EntryId, u32);

struct Room<'a> {
    case: &'a Case,
    flows: Arc<Flows>,
    memory: Memory,
    drivers: Vec<Driver>,
    /// Between the drivers, in order.
    posts: VecDeque<Post>,
    now: Timestamp,
    /// What runs, by when it ends.
    running: BTreeMap<Step, StepRequest>,
    way: Way,
    begun: Timestamp,
    moments: u64,
    death: Option<Death>,
    asks: u64,
    /// What the client knows by its id: it asks for that one's end.
    accepted: Option<ExecutionId>,
}

/// Each turn is walked away from its driver.
const EVERY_TURN: Aside = Aside {
    bytes: 0,
    operations: 0,
    at_once: 1,
};

impl<'a> Room<'a> {
    fn new(case: &'a Case, way: Way, death: Option<Death>) -> Result<Room<'a>, String> {
        let program = program(case, way)?;
        let flows = BTreeMap::from([(Arc::from(FLOW), Arc::new(program))]);
        let flows = Arc::new(Flows(flows, Faults::default(), Mutex::default()));
        let memory = Memory::default();
        let now = Timestamp(1_700_000_000_000);
        let drivers = new_drivers(&memory, &flows, now, true, EVERY_TURN)?;
        Ok(Room {
            case,
            flows,
            memory,
            drivers,
            posts: VecDeque::new(),
            now,
            running: BTreeMap::new(),
            way,
            begun: now,
            moments: 0,
            death,
            asks: 0,
            accepted: None,
        })
    }

    /// To the end, which must be the recorded one: the number of moments to die at, and how
    /// long it lasted, in milliseconds.
    fn until_end(mut self) -> Result<(u64, u64), String> {
        self.ask();
        for _ in 0..ROUNDS_MAX {
            let Some(told) = self.round()? else {
                continue;
            };
            let (moments, lasted_ms) = (self.moments, self.now.since_ms(self.begun));
            while !self.is_idle() {
                self.round()?;
            }
            self.compare(told)?;
            return Ok((moments, lasted_ms));
        }
        Err("it does not end".into())
    }

    fn is_idle(&self) -> bool {
        let quiet = |d: &Driver| !d.has_work() && !d.has_unsealed() && d.next_tick().is_none();
        self.posts.is_empty() && self.running.is_empty() && self.drivers.iter().all(quiet)
    }

    /// One piece of work, or a commit, or a rest. Some: what the client is told of the end.
    fn round(&mut self) -> Result<Option<Option<Status>>, String> {
        let now = self.now;
        let worked = self.drivers.iter_mut().any(|driver| driver.work(now));
        let told = self.outputs()?;
        // A turn that came back may have left work.
        let worked = worked || self.drivers.iter().any(Driver::has_work);
        if worked || told.is_some() {
            return Ok(told);
        }
        if let Some(post) = self.posts.pop_front() {
            let driver = self.driver_of(post.to());
            driver.post(post, now).map_err(|e| e.to_string())?;
            return Ok(None);
        }
        let sealed = self.drivers.iter_mut().enumerate();
        let sealed = sealed.filter_map(|(at, driver)| Some((at, driver.seal()?)));
        let sealed: Vec<_> = sealed.collect();
        if !sealed.is_empty() {
            self.commit(sealed)?;
        } else if self.way == Way::Standard || !self.dies(None)? {
            self.time_passes()?;
        }
        Ok(None)
    }

    fn driver_of(&mut self, id: ExecutionId) -> &mut Driver {
        &mut self.drivers[of_loop(id)]
    }

    /// Starts, or asks for what it started before.
    fn ask(&mut self) {
        self.asks += 1;
        let shard = ShardId::of_name(FLOW, NAME);
        let new = ExecutionId::new(self.now, shard, u128::from(self.asks));
        let (id, request) = match self.accepted {
            Some(id) => (id, Request::Wait(id)),
            None => {
                let start = Request::Start {
                    flow: FlowRef {
                        name: FLOW.into(),
                        version: 1,
                    },
                    name: Some(NAME.into()),
                    input: Data::from_value(self.case.json["input"].clone()),
                    id: new,
                    seed: [3; 16],
                    wait: self.way != Way::Accepted,
                };
                (new, start)
            }
        };
        let (ticket, now) = (Ticket(self.asks), self.now);
        self.driver_of(id).request(ticket, request, now);
    }

    /// One group commit of what the loops have sealed.
    fn commit(&mut self, sealed: Vec<(usize, (u64, Batch))>) -> Result<(), String> {
        let (numbers, batches): (Vec<_>, Vec<_>) = sealed
            .into_iter()
            .map(|(at, (number, batch))| ((at, number), batch))
            .unzip();
        if self.dies(Some(&batches))? {
            return Ok(());
        }
        self.write(&batches)?;
        for (at, number) in numbers {
            self.drivers[at].committed(number, self.now);
        }
        Ok(())
    }

    fn write(&self, batches: &[Batch]) -> Result<(), String> {
        let mut writer = self.memory.writer();
        writer.commit(batches).map_err(|e| e.to_string())
    }

    /// A moment to die at, with a commit or without. `true`: it died, and another lives.
    fn dies(&mut self, commit: Option<&[Batch]>) -> Result<bool, String> {
        let at = self.moments;
        self.moments += 1;
        let Some(death) = self.death.filter(|death| death.at == at) else {
            return Ok(false);
        };
        if let Some(batches) = commit.filter(|_| death.durable) {
            self.write(batches)?;
        }
        // The process is gone, with what ran in it and what was under way.
        self.running.clear();
        self.posts.clear();
        self.memory = Memory::from_snapshot(self.memory.snapshot());
        self.drivers = new_drivers(&self.memory, &self.flows, self.now, false, EVERY_TURN)?;
        self.ask();
        Ok(true)
    }

    /// What the client is told at the end: the status, or `None` to read it from the store.
    fn outputs(&mut self) -> Result<Option<Option<Status>>, String> {
        while let Some(output) = self.drivers.iter_mut().find_map(Driver::output) {
            match output {
                Output::Run(request) | Output::RunAlone(request) => self.begin(*request),
                Output::Abort {
                    execution,
                    entry,
                    attempt,
                } => {
                    self.running
                        .retain(|(_, x, e, a), _| (*x, *e, *a) != (execution, entry, attempt));
                }
                Output::Send(post) => self.posts.push_back(post),
                Output::Reply(_, Reply::Ended(told)) => {
                    return Ok(Some(told.map(|execution| execution.status)));
                }
                Output::Reply(_, Reply::Started(started)) => {
                    self.accepted = Some(started.id);
                    self.ask();
                }
                Output::Reply(_, Reply::Refused(why)) => return Err(why.to_string()),
                Output::Turn(turn) => {
                    let (id, now) = (turn.execution(), self.now);
                    self.driver_of(id)
                        .walked(turn.walk(), now)
                        .map_err(|e| e.to_string())?;
                }
                Output::Reply(..)
                | Output::TaskWaits(_)
                | Output::TaskFreed(..)
                | Output::Discard(_)
                | Output::Landed(_)
                | Output::GivenUp(_) => {}
            }
        }
        Ok(None)
    }

    /// What the durable log says of what the client started: one execution, or where names
    /// need not be unique and it had to ask again, some that all ended the same.
    fn compare(&self, told: Option<Status>) -> Result<(), String> {
        let rows = self
            .memory
            .scan(&Range::Summaries { before: None }, usize::MAX);
        let mut roots = Vec::new();
        for (key, _) in rows.map_err(|e| e.to_string())? {
            let Key::Summary { execution } = key else {
                continue;
            };
            let (history, state) = self.walk(execution)?;
            if state.parent().is_none() {
                roots.push((history, state));
            }
        }
        if roots.is_empty() || (self.way == Way::Standard && roots.len() > 1) {
            return Err(format!("{} executions of one name", roots.len()));
        }
        for (history, state) in &roots {
            self.compare_one(told, history, state)?;
        }
        Ok(())
    }

    fn compare_one(
        &self,
        told: Option<Status>,
        history: &[Value],
        state: &State,
    ) -> Result<(), String> {
        let outcome = state
            .outcome()
            .ok_or("told of an end that is not durable")?;
        let (status, failure) = match outcome {
            Outcome::Succeeded(_) => ("SUCCEEDED", None),
            Outcome::Failed(failure) => ("FAILED", Some(failure)),
            Outcome::TimedOut(failure) => ("TIMED_OUT", Some(failure)),
            Outcome::Aborted(failure) => ("ABORTED", Some(failure)),
        };
        if told.is_some_and(|told| told != status_of(outcome)) {
            return Err(format!("the client was told {told:?}, durable is {status}"));
        }
        let ended = Ended {
            status: status.into(),
            output: match outcome {
                Outcome::Succeeded(output) => Some(output.value().clone()),
                _ => None,
            },
            failure: failure.map(|f| (f.error.to_string(), f.cause.to_string())),
        };
        stepwell_cases::compare(self.case, &ended, Some(history))
    }

    fn walk(&self, id: ExecutionId) -> Result<(Vec<Value>, State), String> {
        let mut state = State::new(id);
        let mut history: Vec<(Timestamp, HistoryEvent)> = Vec::new();
        let program = self.flows.0.get(FLOW).ok_or("no flow")?;
        for logged in read_log(&self.memory, id, 0).map_err(|e| e.to_string())? {
            let Logged::Event(record) = logged else {
                continue;
            };
            let (event, at) = (&record.event, record.at);
            step(
                program,
                &mut state,
                event,
                at,
                &mut history,
                &mut Vec::new(),
            )
            .map_err(|e| e.to_string())?;
        }
        let rendered = history.iter().map(|(at, event)| event.render(*at));
        Ok((rendered.collect(), state))
    }

    fn begin(&mut self, request: StepRequest) {
        let (id, entry, attempt) = (request.execution, request.entry, request.attempt);
        let after_ms = self.answer(&request).0;
        self.driver_of(id).step_pending(id, entry, attempt);
        let step = (self.now.plus_ms(after_ms), id, entry, attempt);
        self.running.insert(step, request);
    }

    fn answer(&self, request: &StepRequest) -> (u64, Result<Data, Failure>) {
        let StepTarget::Wasm { name, .. } = &request.target else {
            return (0, Err(Failure::new("NoSuchFunction", "")));
        };
        let behaviours = &self.case.json["task_behaviour"];
        let answer = stepwell_cases::behave(behaviours, name, request.input.value());
        let result = answer.result.map(Data::from_value);
        let result = result.map_err(|(error, cause)| Failure::new(error.as_str(), cause.as_str()));
        (answer.after_ms, result)
    }

    /// The next step ends, or the next timer comes due.
    fn time_passes(&mut self) -> Result<(), String> {
        let step = self.running.first_key_value().map(|((at, ..), _)| *at);
        let timer = self.drivers.iter().filter_map(Driver::next_tick).min();
        match (step, timer) {
            (None, None) => return Err("it waits for nothing".into()),
            (step, Some(at)) if step.is_none_or(|step| at < step) => self.now = self.now.max(at),
            _ => {
                let Some(((at, id, entry, attempt), request)) = self.running.pop_first() else {
                    return Err("no step".into());
                };
                self.now = self.now.max(at);
                let outcome = StepOutcome {
                    result: self.answer(&request).1,
                    spent: Spent::default(),
                    logs: Vec::new(),
                    effects: None,
                    notes: None,
                };
                let now = self.now;
                self.driver_of(id)
                    .step_ended(id, entry, attempt, outcome, now);
            }
        }
        for driver in &mut self.drivers {
            driver.tick(self.now).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

/// Runs all cases in scope on so many threads: the sums, and the cases that ended otherwise.
///
/// # Panics
/// A thread of its own did.
#[must_use]
pub fn run_all(cases: &[Case], jobs: usize) -> (Tally, Vec<(String, String)>) {
    let held = |case: &&Case| {
        let runs = !case.is_refused() && !case.is_validation();
        runs && case.out_of_scope().is_none() && case.cannot_hold().is_none()
    };
    let cases: Vec<&Case> = cases.iter().filter(held).collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = run(case);
                    let mut done = done.lock().expect("no thread panics with it");
                    done.push((case.name.clone(), result));
                }
            });
        }
    });
    let (mut tally, mut failed) = (Tally::default(), Vec::new());
    for (name, result) in done.into_inner().expect("no thread panics with it") {
        match result {
            Ok(one) => {
                tally.cases += one.cases;
                tally.express += one.express;
                tally.deaths += one.deaths;
            }
            Err(why) => failed.push((name, why)),
        }
    }
    failed.sort();
    (tally, failed)
}
