//! One execution from start to end, in memory, without a server: `stepwell run`.
//!
//! The same driver, interpreter and runner as the server's; the store is memory, and
//! time may be virtual: when nothing runs, it jumps to the next timer.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use stepwell_flow::Program;
use stepwell_store::memory::Memory;
use stepwell_store::{Reader, Writer};
use stepwell_types::id::SHARDS;
use stepwell_types::{
    BridgeCall, Data, EntryId, ExecutionId, Failure, FlowRef, ShardId, StepOutcome, Timestamp,
};
use tokio::sync::mpsc;

use crate::Error;
use crate::api::{Execution, HistoryLine};
use crate::driver::{Driver, Options, Output, Reply, Request, Ticket};
use crate::gate::{GateHandle, GateKeeper, Verdict, VerdictFuture};
use crate::history::{Cursor, Walked};
use crate::ports::{Clock, Entropy, Programs, StepRunner};

/// What a one-shot run needs.
pub struct OneShot {
    /// The checked flow.
    pub program: Arc<Program>,
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
    let memory = Memory::default();
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
        open_bytes_max: usize::MAX,
        steps_running_max: 64,
        checkpoint_bytes_min: usize::MAX,
        cautious_ms: 0,
    };
    let programs: Arc<dyn Programs> = Arc::new(Only(shot.program.clone()));
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
        jumped_ms: 0,
        tasks: HashMap::new(),
        inbox,
        ended,
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

type StepKey = (EntryId, u32);

struct Room {
    driver: Driver,
    writer: Box<dyn Writer>,
    id: ExecutionId,
    begun: Timestamp,
    /// What virtual time has skipped.
    jumped_ms: u64,
    tasks: HashMap<StepKey, tokio::task::AbortHandle>,
    inbox: mpsc::UnboundedReceiver<(StepKey, StepOutcome)>,
    ended: mpsc::UnboundedSender<(StepKey, StepOutcome)>,
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
            while self.driver.work(now) {
                if let Some(execution) = self.drain()? {
                    return Ok(execution);
                }
            }
            if let Some((number, batch)) = self.driver.seal() {
                self.writer.commit(&[batch])?;
                self.driver.committed(number, now);
            }
            if let Some(execution) = self.drain()? {
                return Ok(execution);
            }
            if !self.driver.has_work() && !self.driver.has_unsealed() {
                self.rest().await;
            }
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
                Some(_) => {}
            }
        }
        let pause = timer.map_or(u64::MAX, |at| at.since_ms(now)).min(3_600_000);
        tokio::select! {
            biased;
            message = self.inbox.recv() => if let Some(((entry, attempt), outcome)) = message {
                self.tasks.remove(&(entry, attempt));
                let now = self.now();
                self.driver.step_ended(self.id, entry, attempt, outcome, now);
            },
            () = tokio::time::sleep(std::time::Duration::from_millis(pause)) => {}
        }
    }

    /// The flow waits for a task token, and here is nobody who could bring it.
    fn give_up(&mut self, now: Timestamp) {
        let failure = Failure::new(
            "Stepwell.NobodyAnswers",
            "the flow waits for a task token and has no timeout; a one-shot run has no server that could take the answer",
        );
        self.driver
            .request(CANCEL, Request::Cancel(self.id, failure), now);
    }

    /// Carries the driver's wishes out. `Some`: the execution has ended.
    fn drain(&mut self) -> Result<Option<Execution>, Error> {
        while let Some(output) = self.driver.output() {
            match output {
                Output::Run(request) | Output::RunAlone(request) => {
                    let key = (request.entry, request.attempt);
                    let gate: GateHandle = Arc::new(OpenGate);
                    let step = self.shot.runner.run(*request, gate);
                    let ended = self.ended.clone();
                    let task = tokio::spawn(async move {
                        // The room is gone when nobody listens: nothing to tell then.
                        let _ = ended.send((key, step.await));
                    });
                    self.tasks.insert(key, task.abort_handle());
                    self.driver.step_pending(self.id, key.0, key.1);
                }
                Output::Abort { entry, attempt, .. } => {
                    if let Some(task) = self.tasks.remove(&(entry, attempt)) {
                        task.abort();
                    }
                }
                Output::Reply(_, Reply::Ended(Some(execution))) => return Ok(Some(*execution)),
                Output::Reply(START, Reply::Refused(e)) => return Err(e),
                Output::Reply(..) | Output::TaskWaits(_) => {}
            }
        }
        Ok(None)
    }
}

/// The one program there is.
struct Only(Arc<Program>);

impl Programs for Only {
    fn program(&self, _flow: &FlowRef) -> Result<Arc<Program>, Error> {
        Ok(self.0.clone())
    }
}

/// Memory forgets with the process: there is nothing to wait for.
struct OpenGate;

impl GateKeeper for OpenGate {
    fn admit(&self, _call: BridgeCall) -> VerdictFuture {
        Box::pin(async { Verdict::Go })
    }

    fn answered(&self, _call: BridgeCall, _answer: Vec<u8>) {}
}
