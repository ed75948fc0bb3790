//! One execution from start to end, in memory, without a server: `stepwell run`.
//!
//! The same driver, interpreter and runner as the server's; the store is memory, and
//! time may be virtual: when nothing runs, it jumps to the next timer.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use stepwell_flow::Program;
use stepwell_store::memory::Memory;
use stepwell_store::{Reader, Writer};
use stepwell_types::id::SHARDS;
use stepwell_types::{
    AttemptId, BridgeAnswer, BridgeCall, Data, EntryId, ExecutionId, Failure, FlowRef, LogLine,
    ShardId, StepOutcome, Timestamp,
};
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::api::{Execution, HistoryLine};
use crate::driver::{Aside, Driver, Options, Output, Reply, Request, Ticket};
use crate::executions::{Ask, Asking, Executions};
use crate::gate::{GateHandle, GateKeeper, Verdict, VerdictFuture};
use crate::history::{Cursor, Walked};
use crate::ports::{Clock, Entropy, Programs, StepRunner};

/// What a one-shot run needs.
pub struct OneShot {
    /// The checked flow.
    pub program: Arc<Program>,
    /// Further flows that it may start, by name.
    pub flows: HashMap<Arc<str>, Arc<Program>>,
    /// Shown as the flow's name.
    pub name: Arc<str>,
    /// Valid JSON.
    pub input: Data,
    /// Runs its steps.
    pub runner: Arc<dyn StepRunner>,
    /// Time; in virtual time only its beginning counts.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Waits, backoffs and timeouts pass at once when nothing runs.
    pub virtual_time: bool,
    /// Told once of each moment until which nothing runs, when it is [`LONG_MS`] away or more.
    pub rests: fn(Timestamp),
    /// What its steps ask of its executions.
    pub door: Door,
}

/// A rest that whoever waits for the run should know of, in milliseconds.
const LONG_MS: u64 = 10_000;

/// The way of a run's steps to its other executions.
pub struct Door {
    memory: Memory,
    requests: mpsc::UnboundedReceiver<(Request, oneshot::Sender<Reply>)>,
}

/// A way for steps, and its other end, which a run takes.
#[must_use]
pub fn door(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> (Executions, Door) {
    let (send, requests) = mpsc::unbounded_channel();
    let memory = Memory::default();
    let executions = Executions {
        ask: Arc::new(Caller(send)),
        reader: Arc::new(memory.clone()),
        clock,
        entropy,
    };
    (executions, Door { memory, requests })
}

struct Caller(mpsc::UnboundedSender<(Request, oneshot::Sender<Reply>)>);

impl Ask for Caller {
    fn ask(&self, _id: ExecutionId, request: Request) -> Asking {
        let (reply_to, reply) = oneshot::channel();
        // A run that is over answers nobody.
        let sent = self.0.send((request, reply_to)).is_ok();
        Box::pin(async move {
            match reply.await {
                Ok(Reply::Refused(e)) => Err(e),
                Ok(reply) if sent => Ok(reply),
                _ => Err(Error::Stopping),
            }
        })
    }
}

/// How it went.
#[derive(Debug)]
pub struct Finished {
    /// The execution, ended.
    pub execution: Execution,
    /// Its whole history.
    pub history: Vec<HistoryLine>,
}

const START: Ticket = Ticket(1);
const CANCEL: Ticket = Ticket(2);

/// Runs to the end. Must be called within a tokio runtime; steps run on it.
/// # Errors
/// `RUN0012` when memory itself fails; a flow's failure is an [`Execution`].
pub async fn run(shot: OneShot) -> Result<Finished, Error> {
    let memory = shot.door.memory.clone();
    let now = shot.clock.now();
    let random = u128::from_be_bytes(shot.entropy.draw());
    let id = ExecutionId::new(now, ShardId(0), random);
    let flow = FlowRef {
        name: shot.name.clone(),
        version: 1,
    };
    let shards: Vec<_> = (0..SHARDS)
        .filter_map(|s| u8::try_from(s).ok().map(ShardId))
        .collect();
    let options = Options {
        hot_max: 16,
        hot_bytes_max: usize::MAX,
        state_bytes_max: stepwell_types::limits::STATE_BYTES_MAX,
        open_bytes_max: usize::MAX,
        steps_running_max: 64,
        calls_running_max: 64,
        checkpoint_bytes_min: usize::MAX,
        descendants_max: stepwell_types::limits::DESCENDANTS_MAX,
        cautious_ms: 0,
        // Nobody else waits.
        aside: Aside::never(),
    };
    let mut given = shot.flows.clone();
    given.insert(shot.name.clone(), shot.program.clone());
    let programs: Arc<dyn Programs> = Arc::new(Given(given));
    let reader: Arc<dyn Reader> = Arc::new(memory.clone());
    let mut driver = Driver::new(0, &shards, options, reader.clone(), programs.clone());
    driver.recover(true, now)?;
    let start = Request::Start {
        flow,
        name: None,
        input: shot.input.clone(),
        id,
        seed: shot.entropy.draw(),
        wait: true,
    };
    driver.request(START, start, now);
    let (ended, inbox) = mpsc::unbounded_channel();
    let mut room = Room {
        driver,
        writer: Box::new(memory.writer()),
        id,
        begun: now,
        root: None,
        jumped_ms: 0,
        tasks: HashMap::new(),
        inbox,
        ended,
        asked: HashMap::new(),
        tickets: CANCEL.0,
        rest_told: None,
        shot,
    };
    let execution = room.until_end().await?;
    let history = whole_history(&reader, &programs, id)?;
    Ok(Finished { execution, history })
}

/// All lines of a finished execution, walked chunk by chunk.
fn whole_history(
    reader: &Arc<dyn Reader>,
    programs: &Arc<dyn Programs>,
    id: ExecutionId,
) -> Result<Vec<HistoryLine>, Error> {
    let fresh = || Cursor::new(reader.clone(), programs.clone(), id);
    let gone = AtomicBool::new(false);
    let mut cursor = fresh();
    let mut all = Vec::new();
    loop {
        let after = all.last().map_or(0, |l: &HistoryLine| l.id);
        let mut lines = VecDeque::new();
        let walked = cursor.advance(after, usize::MAX, &gone, &mut lines)?;
        all.extend(lines);
        match walked {
            Walked::Whole => return Ok(all),
            Walked::Paused => {}
            Walked::Cut => cursor = fresh(),
        }
    }
}

type StepKey = (ExecutionId, EntryId, u32);

struct Room {
    driver: Driver,
    writer: Box<dyn Writer>,
    id: ExecutionId,
    begun: Timestamp,
    /// The execution that was asked for, once it has ended.
    root: Option<Execution>,
    /// What virtual time has skipped.
    jumped_ms: u64,
    tasks: HashMap<StepKey, tokio::task::AbortHandle>,
    inbox: mpsc::UnboundedReceiver<(StepKey, StepOutcome)>,
    ended: mpsc::UnboundedSender<(StepKey, StepOutcome)>,
    /// Steps that asked something of an execution.
    asked: HashMap<Ticket, oneshot::Sender<Reply>>,
    /// The newest ticket.
    tickets: u64,
    /// The rest that was told of last.
    rest_told: Option<Timestamp>,
    shot: OneShot,
}

impl Room {
    fn now(&self) -> Timestamp {
        self.shot
            .clock
            .now()
            .max(self.begun)
            .plus_ms(self.jumped_ms)
    }

    async fn until_end(&mut self) -> Result<Execution, Error> {
        loop {
            let now = self.now();
            self.driver.tick(now)?;
            self.drain()?;
            while self.driver.work(now) {
                self.drain()?;
            }
            if let Some((number, batch)) = self.driver.seal() {
                self.writer.commit(&[batch])?;
                self.driver.committed(number, now);
            }
            self.drain()?;
            if self.driver.has_work() || self.driver.has_unsealed() {
                continue;
            }
            // Executions that the flow started and did not wait for run to their end too,
            // unless they wait for somebody who is not here.
            let idle = self.tasks.is_empty() && self.driver.next_tick().is_none();
            match self.root.take() {
                Some(execution) if self.driver.metrics().open == 0 || idle => {
                    return Ok(execution);
                }
                root => self.root = root,
            }
            self.rest().await;
        }
    }

    /// Nothing to do now: a step ends, or a timer comes due, or nothing ever will.
    async fn rest(&mut self) {
        let now = self.now();
        let timer = self.driver.next_tick();
        if self.tasks.is_empty() && self.inbox.is_empty() {
            match timer {
                None => return self.give_up(now),
                Some(at) if self.shot.virtual_time => {
                    self.jumped_ms += at.since_ms(now);
                    return;
                }
                Some(at) if at.since_ms(now) >= LONG_MS && self.rest_told != Some(at) => {
                    self.rest_told = Some(at);
                    (self.shot.rests)(at);
                }
                Some(_) => {}
            }
        }
        let pause = timer.map_or(u64::MAX, |at| at.since_ms(now)).min(3_600_000);
        tokio::select! {
            biased;
            message = self.inbox.recv() => if let Some((key, outcome)) = message {
                self.tasks.remove(&key);
                let now = self.now();
                self.driver.step_ended(key.0, key.1, key.2, outcome, now);
            },
            Some((request, reply_to)) = self.shot.door.requests.recv() => {
                self.tickets += 1;
                let ticket = Ticket(self.tickets);
                self.asked.insert(ticket, reply_to);
                let now = self.now();
                self.driver.request(ticket, request, now);
            },
            () = tokio::time::sleep(std::time::Duration::from_millis(pause)) => {}
        }
    }

    /// The flow waits for a task token or a signal, and here is nobody who could bring it.
    fn give_up(&mut self, now: Timestamp) {
        let failure = Failure::new(
            "Stepwell.NobodyAnswers",
            "the flow waits for a task token or a signal and has no timeout; a one-shot run has no server that could take it",
        );
        self.driver
            .request(CANCEL, Request::Cancel(self.id, failure), now);
    }

    /// Carries the driver's wishes out.
    fn drain(&mut self) -> Result<(), Error> {
        while let Some(output) = self.driver.output() {
            match output {
                Output::Run(request) | Output::RunAlone(request) => {
                    let key = (request.execution, request.entry, request.attempt);
                    let gate: GateHandle = Arc::new(OpenGate);
                    let step = self.shot.runner.run(*request, gate);
                    let ended = self.ended.clone();
                    let task = tokio::spawn(async move {
                        // The room is gone when nobody listens: nothing to tell then.
                        let _ = ended.send((key, step.await));
                    });
                    self.tasks.insert(key, task.abort_handle());
                    self.driver.step_pending(key.0, key.1, key.2);
                }
                Output::Abort {
                    execution,
                    entry,
                    attempt,
                } => {
                    if let Some(task) = self.tasks.remove(&(execution, entry, attempt)) {
                        task.abort();
                    }
                }
                Output::Turn(turn) => {
                    let now = self.now();
                    self.driver.walked(turn.walk(), now)?;
                }
                Output::Send(post) => {
                    let now = self.now();
                    self.driver.post(post, now)?;
                }
                Output::Reply(START, Reply::Ended(Some(execution))) => {
                    self.root = Some(*execution);
                }
                Output::Reply(START, Reply::Refused(e)) => return Err(e),
                Output::Landed(hold) => hold.landed(),
                Output::Reply(ticket, reply) => {
                    // A step that has gone hears nothing.
                    if let Some(to) = self.asked.remove(&ticket) {
                        let _ = to.send(reply);
                    }
                }
                Output::TaskWaits(_)
                | Output::TaskFreed(..)
                | Output::Discard(_)
                | Output::GivenUp(_) => {}
            }
        }
        Ok(())
    }
}

/// The flows of the command line; each has one version.
struct Given(HashMap<Arc<str>, Arc<Program>>);

impl Programs for Given {
    fn program(&self, flow: &FlowRef) -> Result<Arc<Program>, Error> {
        let found = self.0.get(&flow.name).filter(|_| flow.version == 1);
        found
            .cloned()
            .ok_or_else(|| Error::NoFlow(format!("named {} given here", flow.name)))
    }

    fn newest(&self, flow: &str) -> Result<u32, Error> {
        match self.0.contains_key(flow) {
            true => Ok(1),
            false => Err(Error::NoFlow(format!("named {flow} given here"))),
        }
    }
}

/// Memory forgets with the process: there is nothing to wait for.
struct OpenGate;

impl GateKeeper for OpenGate {
    fn waits(&self, _by: AttemptId) {}

    fn admit(&self, _call: BridgeCall) -> VerdictFuture {
        Box::pin(async { Verdict::Go })
    }

    fn answered(&self, _answer: BridgeAnswer) {}

    fn is_open(&self) -> bool {
        true
    }

    fn log(&self, _call: &BridgeCall, _lines: Vec<LogLine>) {}

    fn logged(&self, _call: &BridgeCall) -> Pin<Box<dyn Future<Output = usize> + Send>> {
        Box::pin(std::future::ready(0))
    }
}
