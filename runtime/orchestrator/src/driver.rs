//! The only loop: requests and outcomes in, events to the interpreter, rows to the
//! open batch, effects out once the batch they depend on is durable.
//!
//! Refuses threads, clocks, randomness and async: all of that is in `shell.rs`, or in
//! the simulation. Time is an argument of every call.
//!
//! Output commit: records of one execution form a prefix; an effect names the batch
//! that holds the last record it depends on and waits in `waiting` until that batch
//! is durable. Commands that stay inside run ahead.

mod activity;
mod apply;
mod away;
mod cancel;
mod child;
mod descendants;
mod effects;
mod errand;
mod express;
mod hot;
mod items;
mod journal;
mod open;
mod outbox;
mod places;
mod recover;
mod redrive;
mod request;
mod seal;
mod signal;
mod timers;
mod token;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use stepwell_interpreter::{Event, RunStep, State};
use stepwell_store::{Batch, NamespaceSize, Reader};
use stepwell_types::{
    Digest, EntryId, ExecutionId, Failure, FlowRef, Hold, ShardId, StepOutcome, StepRequest,
    Timestamp,
};

pub use activity::Claim;
pub use away::Aside;
pub use errand::{Turn, Walked};
pub use items::{Ended, Item};
pub use journal::read_recorded;
pub use open::{count_open_once, gather_open, open_by_flow};
pub use outbox::{Answer, Delivery, Parcel, Post};
pub use recover::{
    Recovered, is_parked, read_execution, read_log, read_some, read_state, usage_transitions,
};
pub(crate) use recover::{TURN_KILLS, blob, each_row, execution_of, moved, read_counted};
pub use redrive::Redrive;
pub use request::{Reply, Request, Ticket, TokenAnswer};

use crate::Error;
use crate::api::Metrics;
use crate::ports::Programs;
use crate::ready::{FlowNumber, Ready};
use crate::rows::UsageRow;
use crate::suspects::Suspects;
use away::{Away, Input};
use hot::Hot;
use open::Open;
use places::{Kind, Place, Places};
use timers::ShardTimers;

/// Bounds of one driver.
#[derive(Debug, Clone)]
pub struct Options {
    /// Executions in memory above which starts are refused.
    pub hot_max: usize,
    /// Bytes of payloads held by executions in memory above which starts are refused.
    pub hot_bytes_max: usize,
    /// Bytes of memory that one execution's data may take; beyond them it fails.
    pub state_bytes_max: usize,
    /// Bytes not yet durable above which starts are refused.
    pub open_bytes_max: usize,
    /// Steps of modules outside their first slice above which no further one begins.
    pub steps_running_max: usize,
    /// The same for what runs outside of the sandbox: calls of Tasks, files that the host reads.
    pub calls_running_max: usize,
    /// Bytes of log below which an execution gets no checkpoint: it is read from its start.
    pub checkpoint_bytes_min: usize,
    /// Executions that one may bring about through those that it starts.
    pub descendants_max: u32,
    /// Milliseconds after an unclean stop in which an execution is durable before its
    /// first step runs.
    pub cautious_ms: u64,
    /// Which turns are walked elsewhere.
    pub aside: Aside,
}

/// What the driver wants done by its surroundings.
#[derive(Debug)]
pub enum Output {
    /// Run this attempt (inline first when its target does not leave).
    Run(Box<StepRequest>),
    /// The same, and while it is on a processor no other step is.
    RunAlone(Box<StepRequest>),
    /// Stop this attempt if it still runs.
    Abort {
        /// Whose.
        execution: ExecutionId,
        /// Which entry.
        entry: EntryId,
        /// Which attempt.
        attempt: u32,
    },
    /// Answer a request.
    Reply(Ticket, Reply),
    /// Walk this turn on another thread, and bring it back: [`Driver::walked`].
    Turn(Box<Turn>),
    /// Let go of this where it holds nobody up: a large value that was read takes
    /// milliseconds to free.
    Discard(Arc<State>),
    /// A step's writes are durable: let go of what held them.
    Landed(Hold),
    /// They never will be: let go of it where it holds nobody up, as files may go with it.
    GivenUp(Hold),
    /// A task of this activity waits for a worker.
    TaskWaits(Arc<str>),
    /// A worker no longer has this task of an activity: execution, entry, attempt.
    TaskFreed(Arc<str>, (ExecutionId, EntryId, u32)),
    /// Bring this to the loop of [`Post::to`], and there to [`Driver::post`].
    Send(Post),
}

/// Work that waits for its flow's turn.
#[derive(Debug)]
enum Work {
    /// An event for the interpreter.
    Event(ExecutionId, Event),
    /// What waited until a half walked execution had left memory.
    Late(Box<Input>),
    /// A step to begin.
    Step(ExecutionId, Box<RunStep>),
    /// A page of a distributed Map's results to gather.
    Gather(Box<items::Gather>),
    /// What an execution holds is to be looked at.
    Look(ExecutionId),
}

/// One loop's share of the engine: some shards, their executions, one open batch.
pub struct Driver {
    options: Options,
    reader: Arc<dyn Reader>,
    programs: Arc<dyn Programs>,
    /// Names this loop's usage and gauge rows.
    index: u8,
    shards: BTreeMap<ShardId, ShardTimers>,
    hot: HashMap<ExecutionId, Hot>,
    /// Roughly what the states in `hot` weigh.
    hot_bytes: usize,
    /// How many of `hot` wait for the items of a distributed Map.
    parents: usize,
    /// Named executions whose name row may not be durable yet.
    names: HashMap<(Arc<str>, Arc<str>), ExecutionId>,
    /// Cancels of children whose start has not come: those since this process began.
    tombstones: HashMap<ExecutionId, (u32, Failure)>,
    /// Starts of children that wait for room, flow by flow.
    held: Ready<outbox::Held>,
    /// Flows of `held` that are being deleted, and until when theirs are not looked at.
    held_until: HashMap<FlowNumber, Timestamp>,
    /// Children in `held` that nobody wants any more, of those that are kept in memory.
    unwanted: HashSet<ExecutionId>,
    /// Of executions that nobody started, by shard: what lies two or more below them.
    descendants: HashMap<(ExecutionId, ShardId), descendants::Count>,
    /// Signals that came under keys and may not be durable yet.
    signals: HashMap<(ExecutionId, Digest), signal::Known>,
    /// Results to gather, by the batch that makes them durable.
    gathering: BTreeMap<u64, Vec<items::Gather>>,
    /// What came for executions that are parked.
    blocked: HashMap<ExecutionId, Vec<Post>>,
    /// Who waits for an execution's end.
    waiters: HashMap<ExecutionId, Vec<Ticket>>,
    /// Inputs whose turns are away, or wait to leave.
    away: HashMap<ExecutionId, Away>,
    /// Turns that wait to leave.
    turns: Ready<Box<Turn>>,
    /// Turns that are away.
    turns_away: usize,
    /// One that is back, while its input is taken in.
    walked: Option<errand::Walk>,
    /// What an input had to wait for, while it is taken in: whose, and as its log tells it.
    brought: Option<(ExecutionId, Option<Result<Recovered, Error>>)>,
    /// Flows whose turns cost much, and for how many more turns that is remembered.
    costly: HashMap<FlowRef, u32>,
    events: Ready<Work>,
    /// Steps of modules to begin.
    steps: Ready<Work>,
    /// What is to begin outside of the sandbox.
    calls: Ready<Work>,
    /// Of the two it is the calls' turn.
    calls_first: bool,
    /// What has begun.
    places: Places,
    /// Earliest timer of each execution in memory.
    timers: BTreeSet<(Timestamp, ExecutionId)>,
    /// Number of the batch that is open now; counts from 1.
    batch: u64,
    /// Batches up to this one are durable.
    durable: u64,
    /// Executions with records that are not in a sealed batch.
    dirty: Vec<ExecutionId>,
    /// Rows of the open batch besides those of dirty executions.
    extra: Batch,
    /// Bytes of records in unsealed and undurable batches.
    open_bytes: usize,
    sealed_bytes: BTreeMap<u64, usize>,
    /// The sum of `sealed_bytes`.
    sealed_bytes_all: usize,
    /// Effects by the batch that they wait for.
    waiting: BTreeMap<u64, Vec<Output>>,
    /// Executions to look at (evict, announce) when a batch is durable.
    settling: BTreeMap<u64, Vec<ExecutionId>>,
    usage: HashMap<(Arc<str>, u32), (UsageRow, bool)>,
    /// By how much this loop has made namespaces larger: of those that it wrote to since the start.
    grown: HashMap<Arc<str>, NamespaceSize>,
    /// Since when usage is changed and not in a sealed batch.
    usage_since: Option<Timestamp>,
    /// It has waited long enough.
    usage_due: bool,
    open: Open,
    metrics: Metrics,
    /// Counters that wait for the batch they belong to.
    uncounted: BTreeMap<u64, Metrics>,
    out: VecDeque<Output>,
    /// Free and floor MiB while admission is closed for want of disk.
    disk_full: Option<(u64, u64)>,
    stopping: bool,
    cautious_until: Timestamp,
    suspects: Suspects,
    /// When this process took over: what came due before, nobody could answer.
    up_since: Timestamp,
    commands: Vec<stepwell_interpreter::Command>,
}

impl Driver {
    /// A driver of these shards, before recovery: call [`Driver::recover`] next.
    #[must_use]
    pub fn new(
        index: u8,
        shards: &[ShardId],
        options: Options,
        reader: Arc<dyn Reader>,
        programs: Arc<dyn Programs>,
    ) -> Driver {
        Driver {
            places: Places::new(options.steps_running_max, options.calls_running_max),
            options,
            reader,
            programs,
            index,
            shards: shards
                .iter()
                .map(|s| (*s, ShardTimers::default()))
                .collect(),
            hot: HashMap::new(),
            hot_bytes: 0,
            parents: 0,
            names: HashMap::new(),
            tombstones: HashMap::new(),
            held: Ready::default(),
            held_until: HashMap::new(),
            unwanted: HashSet::new(),
            descendants: HashMap::new(),
            signals: HashMap::new(),
            gathering: BTreeMap::new(),
            blocked: HashMap::new(),
            waiters: HashMap::new(),
            away: HashMap::new(),
            turns: Ready::default(),
            turns_away: 0,
            walked: None,
            brought: None,
            costly: HashMap::new(),
            events: Ready::default(),
            steps: Ready::default(),
            calls: Ready::default(),
            calls_first: false,
            timers: BTreeSet::new(),
            batch: 1,
            durable: 0,
            dirty: Vec::new(),
            extra: Batch::default(),
            open_bytes: 0,
            sealed_bytes: BTreeMap::new(),
            sealed_bytes_all: 0,
            waiting: BTreeMap::new(),
            settling: BTreeMap::new(),
            usage: HashMap::new(),
            grown: HashMap::new(),
            usage_since: None,
            usage_due: false,
            open: Open::new(index),
            metrics: Metrics::default(),
            uncounted: BTreeMap::new(),
            out: VecDeque::new(),
            disk_full: None,
            stopping: false,
            cautious_until: Timestamp(i64::MIN),
            suspects: Suspects::default(),
            up_since: Timestamp(i64::MIN),
            commands: Vec::new(),
        }
    }

    /// The next thing to do for the surroundings.
    pub fn output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Takes one piece of ready work. `false`: there was none.
    pub fn work(&mut self, now: Timestamp) -> bool {
        match self.events.pop() {
            Some(Work::Event(id, event)) => {
                // An event of an execution in memory reads nothing from the store.
                let _ = self.take(Input::Event(id, event), now);
                return true;
            }
            Some(Work::Late(input)) => {
                self.take_late(*input, now);
                return true;
            }
            Some(Work::Gather(gather)) => {
                self.gather(*gather, now);
                return true;
            }
            Some(Work::Look(id)) => {
                // What is in memory is read from there.
                let _ = self.take(Input::Look(id), now);
                return true;
            }
            Some(Work::Step(..)) | None => {}
        }
        if self.take_held(now) {
            return true;
        }
        if self.stopping {
            return false;
        }
        if let Some(Work::Step(id, step)) = self.next_to_begin() {
            self.begin_step(id, *step, now);
            return true;
        }
        false
    }

    /// Whether [`Driver::work`] would find something.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.events.is_empty()
            || (self.has_held() && self.has_room())
            || (!self.stopping && self.has_place())
    }

    /// The next step or call that has a place, in turn.
    fn next_to_begin(&mut self) -> Option<Work> {
        let kinds = match self.calls_first {
            true => [Kind::Call, Kind::Step],
            false => [Kind::Step, Kind::Call],
        };
        let places = &self.places;
        for kind in kinds {
            let queue = match kind {
                Kind::Step => &mut self.steps,
                Kind::Call => &mut self.calls,
            };
            let next = queue.pop_of(|flow| places.has(Place { kind, flow }));
            if next.is_some() {
                self.calls_first = kind == Kind::Step;
                return next;
            }
        }
        None
    }

    /// Whether something that waits to begin may.
    fn has_place(&self) -> bool {
        let has = |kind, flow| self.places.has(Place { kind, flow });
        self.steps.has_of(|flow| has(Kind::Step, flow))
            || self.calls.has_of(|flow| has(Kind::Call, flow))
    }

    /// An attempt did not end in its first slice: it runs elsewhere now.
    pub fn step_pending(&mut self, execution: ExecutionId, entry: EntryId, attempt: u32) {
        if let Some(running) = self
            .hot
            .get_mut(&execution)
            .and_then(|h| h.steps.get_mut(&(entry, attempt)))
        {
            running.take(&mut self.places);
        }
    }

    /// An attempt ended. Late ones are ignored.
    pub fn step_ended(
        &mut self,
        execution: ExecutionId,
        entry: EntryId,
        attempt: u32,
        outcome: StepOutcome,
        now: Timestamp,
    ) {
        // The end of a step reads nothing from the store.
        let _ = self.take(Input::Step(execution, entry, attempt, outcome.into()), now);
    }

    fn take_step(
        &mut self,
        execution: ExecutionId,
        entry: EntryId,
        attempt: u32,
        mut outcome: StepOutcome,
        now: Timestamp,
    ) {
        let step = (entry, attempt);
        let hot = self.hot.get_mut(&execution);
        let hot = hot.filter(|hot| hot.steps.get(&step).is_some_and(|r| !r.set_aside));
        let Some((hot, mut running)) =
            hot.and_then(|hot| hot.steps.remove(&step).map(|r| (hot, r)))
        else {
            // Nobody waits for it any more.
            self.give_up(outcome.effects.take());
            return;
        };
        let mut outcome = items::reached(outcome, running.next_slot);
        running.give_back(&mut self.places);
        hot.forget_journal(entry, attempt);
        self.suspects.clear(execution, entry, attempt);
        let logs = std::mem::take(&mut outcome.logs);
        if !logs.is_empty() {
            self.log_lines(execution, entry, attempt, logs, now);
        }
        if let Some(notes) = outcome.notes.take() {
            self.last_notes(execution, entry, attempt, notes, now);
        }
        self.count_attempt(execution, &outcome.spent, now);
        let effects = self.effects_of(execution, entry, attempt, &mut outcome);
        self.apply(
            execution,
            Event::StepEnded {
                entry,
                attempt,
                result: outcome.result,
                spent: outcome.spent,
            },
            now,
        );
        if let Some(effects) = effects {
            self.land(effects);
        }
    }

    /// Closes or opens admission for want of disk: free and floor in MiB.
    pub fn set_disk(&mut self, full: Option<(u64, u64)>) {
        self.disk_full = full;
    }

    /// No further step begins; starts are refused.
    pub fn stop(&mut self) {
        self.stopping = true;
        let steps = self.hot.values_mut().flat_map(|hot| hot.steps.values_mut());
        for running in steps.filter(|running| running.waits) {
            running.set_aside(&mut self.places);
        }
        self.usage_due = self.usage_since.is_some();
    }

    /// Attempts that run outside their first slice.
    #[must_use]
    pub fn steps_running(&self) -> usize {
        self.places.taken()
    }

    /// Counters of what is durable, and gauges of now.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics {
            hot: self.hot.len() as u64,
            open: self.open.all(),
            steps_running: self.places.taken() as u64,
            ..self.metrics.clone()
        }
    }

    /// Whether a start may come in.
    fn admit(&mut self) -> Result<(), Error> {
        let refusal = if self.stopping {
            Error::Stopping
        } else if let Some((free_mib, floor_mib)) = self.disk_full {
            Error::DiskFull {
                free_mib,
                floor_mib,
            }
        } else if self.hot.len() >= self.options.hot_max {
            Error::Busy {
                reason: "as many executions are active as memory allows",
                retry_after_s: 1,
            }
        } else if self.hot_bytes >= self.options.hot_bytes_max {
            Error::Busy {
                reason: "the payloads of active executions fill the memory meant for them",
                retry_after_s: 1,
            }
        } else if self.undurable_bytes() >= self.options.open_bytes_max {
            Error::Busy {
                reason: "the store cannot keep up with what is being written",
                retry_after_s: 1,
            }
        } else {
            return Ok(());
        };
        self.metrics.refused += 1;
        Err(refusal)
    }

    /// Lets an effect out when `batch` is durable, at once if it is.
    fn after(&mut self, batch: u64, effect: Output) {
        if batch <= self.durable {
            self.out.push_back(effect);
        } else {
            self.waiting.entry(batch).or_default().push(effect);
        }
    }
}
