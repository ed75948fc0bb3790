//! All of one execution's state, between two events.
//!
//! Refuses to decide anything: `turn.rs` and `states/` do. Heavy values are
//! shared [`Data`]; what can be derived (timers, sizes) is kept beside and
//! rebuilt on decoding.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stepwell_types::{Data, EntryId, ExecutionId, FlowRef, ParentLink, TaskToken, Timestamp};

mod held;
mod inbox;

use crate::fleet::Fleet;
use crate::{Command, Outcome, Timer};
pub(crate) use inbox::{Inbox, Received, Wanted};

/// One execution's state. Cheap to clone as long as it is small; grows with
/// the number of live state entries and the results that joins still hold.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) core: Core<Data>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) timers: BTreeSet<(Timestamp, EntryId, Timer)>,
    /// Who waits for signals, by name and by when it began to.
    pub(crate) waiters: BTreeMap<(Arc<str>, u64), EntryId>,
    pub(crate) bytes: usize,
    pub(crate) active: usize,
    pub(crate) fleets: usize,
    /// Operations of expressions in the last turn.
    pub(crate) spent: u64,
    /// Bytes of text that entries took in since this state was made or restored, whether they
    /// share them or not: a sum that only grows, the same wherever a turn is walked.
    pub(crate) taken_in: u64,
}

/// Variables by name.
pub(crate) type Variables<D = Data> = BTreeMap<Arc<str>, D>;

/// What a checkpoint holds; `D` is [`Data`] in memory and an index in the bytes,
/// and so is `V` for a map of variables.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Core<D, V = Arc<Variables>> {
    pub execution: ExecutionId,
    pub started: Option<Started<D>>,
    pub entries: BTreeMap<EntryId, Entry<D, V>>,
    /// A stack: the last is done first, so that one branch runs until it blocks.
    pub work: Vec<Work>,
    /// A `Continue` is under way; until it comes back work only piles up.
    pub cut: bool,
    pub last_entry: u64,
    pub transitions: u64,
    /// Number of the last history event.
    pub events: u64,
    /// Random draws made by expressions.
    pub draws: u64,
    /// When the execution's own `TimeoutSeconds` pass.
    pub deadline: Option<Timestamp>,
    /// The entries that a failure, a timeout or a cancel took away, as they were: what a redrive
    /// goes on from. Empty while the execution runs, and after a success.
    pub halted: BTreeMap<EntryId, Entry<D, V>>,
    /// The one of them that failed; `None`: the execution was ended from outside.
    pub failed: Option<EntryId>,
    /// Redrives so far.
    pub redrives: u32,
    /// When the last of them was.
    pub redriven: Option<Timestamp>,
    /// CloudFlow's `$Global`, once something was merged into it.
    pub global: Option<D>,
    /// Signals that nobody has waited for yet.
    pub inbox: Inbox<D>,
}

/// From the first event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Started<D> {
    pub flow: FlowRef,
    pub name: Arc<str>,
    pub input: D,
    pub seed: [u8; 16],
    pub at: Timestamp,
    pub parent: Option<Arc<ParentLink>>,
}

/// One live entry into a state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry<D, V = Arc<Variables>> {
    /// Index into the program's states.
    pub state: u32,
    /// The Parallel or Map entry whose branch this is; `None`: the flow itself.
    pub parent: Option<Parent>,
    pub entered_at: Timestamp,
    /// Number of its `…StateEntered` history event; 0 before.
    pub entered_event: u64,
    /// Number of the history event before that one.
    pub before: u64,
    /// Number of the last history event of its branch.
    pub previous: u64,
    /// Transitions of its branch without a step, wait or callback.
    pub spin: u32,
    /// Raw input.
    pub input: D,
    /// What expressions see as variables. Shared with other entries: a branch begins
    /// with those of its Parallel or Map, and never changes them.
    pub variables: V,
    /// Counts on with each retry, and with a redrive of a distributed Map.
    pub attempt: u32,
    /// The attempt that the last redrive began with: `RetryCount` counts from there.
    pub first: u32,
    /// Uses of each retrier, in order; empty before the first.
    pub retries: Vec<u32>,
    pub phase: Phase<D>,
    /// Its share of [`State::size_hint_bytes`].
    #[serde(skip)]
    pub weight: usize,
    /// Bytes of the variables that it does not share with the entry around it.
    #[serde(skip)]
    pub held: usize,
}

/// Where a branch belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parent {
    pub entry: EntryId,
    pub slot: u32,
}

/// What an entry is waiting for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Phase<D> {
    /// Its turn.
    Ready,
    /// A Task attempt's end.
    Running(Running<D>),
    /// The next attempt.
    Backoff(Timestamp),
    /// The end of a Wait.
    Waiting(Timestamp),
    /// All branches.
    Parallel(ParallelRun<D>),
    /// All iterations.
    Map(MapRun<D>),
    /// All children of a distributed Map.
    Fleet(Box<Fleet<D>>),
}

/// One attempt of a Task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Running<D> {
    /// The step's own end has not come yet; of a started flow, the answer to the start.
    pub step: bool,
    /// The execution whose end the task waits for.
    pub child: Option<ExecutionId>,
    /// Effective input.
    pub input: D,
    pub timeout: Option<Timestamp>,
    /// When the next heartbeat is missed.
    pub heartbeat: Option<Timestamp>,
    pub heartbeat_ms: u64,
    /// The signals that it waits for.
    pub signals: Option<Box<Wanted>>,
}

/// Results of branches, and the branches that still run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Join<D> {
    pub results: Vec<Option<D>>,
    pub missing: u32,
    pub children: BTreeMap<u32, EntryId>,
}

/// A Parallel under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ParallelRun<D> {
    pub join: Join<D>,
    /// Effective input: what every branch begins with.
    pub input: D,
}

/// A Map under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MapRun<D> {
    pub join: Join<D>,
    /// What `ItemsPath` reads from, or, where that yields a new list, the list.
    pub source: D,
    /// `source` is the list itself.
    pub listed: bool,
    /// Effective input, for `ItemSelector`.
    pub input: D,
    pub window: u32,
    pub next: u32,
    /// A `Fill` is on the work stack.
    pub filling: bool,
}

/// What the turn has yet to do.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Enter a state.
    Enter(EntryId),
    /// Begin a branch of this attempt of a Parallel, or again an iteration of a Map.
    Branch {
        entry: EntryId,
        attempt: u32,
        slot: u32,
    },
    /// Begin iterations of this attempt of a Map, as many as may run.
    Fill { entry: EntryId, attempt: u32 },
}

impl State {
    /// The state before `Started`.
    #[must_use]
    pub fn new(execution: ExecutionId) -> State {
        State::restore(
            Core {
                execution,
                started: None,
                entries: BTreeMap::new(),
                work: Vec::new(),
                cut: false,
                last_entry: 0,
                transitions: 0,
                events: 0,
                draws: 0,
                deadline: None,
                halted: BTreeMap::new(),
                failed: None,
                redrives: 0,
                redriven: None,
                global: None,
                inbox: Inbox {
                    signals: VecDeque::new(),
                    waits: 0,
                },
            },
            None,
        )
    }

    /// Rebuilds what is derived.
    pub(crate) fn restore(core: Core<Data>, outcome: Option<Outcome>) -> State {
        let mut state = State {
            core,
            outcome,
            timers: BTreeSet::new(),
            waiters: BTreeMap::new(),
            bytes: 256,
            active: 0,
            fleets: 0,
            spent: 0,
            taken_in: 0,
        };
        if let Some(at) = state.core.deadline {
            state.timers.insert((at, EntryId(0), Timer::Timeout));
        }
        if let Some(started) = &state.core.started {
            state.bytes += started.input.len_bytes();
        }
        state.bytes += state.core.global.as_ref().map_or(0, Data::len_bytes);
        state.bytes += state.core.inbox.weight();
        let all = state.core.entries.iter().chain(&state.core.halted);
        let shared: BTreeMap<EntryId, Arc<Variables>> = all
            .map(|(id, entry)| (*id, Arc::clone(&entry.variables)))
            .collect();
        for (id, entry) in &mut state.core.entries {
            let around = entry.parent.and_then(|p| shared.get(&p.entry));
            entry.held = held_beside(&entry.variables, around);
            for (at, timer) in entry.timers() {
                state.timers.insert((at, *id, timer));
            }
            for waiter in entry.waits_for() {
                state.waiters.insert(waiter, *id);
            }
            entry.weight = entry.measure();
            state.bytes += entry.weight;
            state.active += usize::from(entry.step_active());
            state.fleets += usize::from(entry.is_fleet());
        }
        for entry in state.core.halted.values_mut() {
            let around = entry.parent.and_then(|p| shared.get(&p.entry));
            entry.held = held_beside(&entry.variables, around);
            entry.weight = entry.measure();
            state.bytes += entry.weight;
        }
        state.taken_in = state.bytes as u64;
        state
    }

    /// The earliest timer: feed [`crate::Event::TimerFired`] at or after its time.
    #[must_use]
    pub fn next_timer(&self) -> Option<(Timestamp, EntryId, Timer)> {
        self.timers.first().copied()
    }

    /// How the execution ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Entries into states so far: the unit of usage. A retry's further
    /// attempt is not an entry; the states inside a retried Parallel or Map are entered anew.
    #[must_use]
    pub fn transitions(&self) -> u64 {
        self.core.transitions
    }

    /// When a live entry began.
    #[must_use]
    pub fn entered(&self, entry: EntryId) -> Option<Timestamp> {
        self.core.entries.get(&entry).map(|entry| entry.entered_at)
    }

    /// How often it was redriven.
    #[must_use]
    pub fn redrives(&self) -> u32 {
        self.core.redrives
    }

    /// When it was redriven last.
    #[must_use]
    pub fn redriven_at(&self) -> Option<Timestamp> {
        self.core.redriven
    }

    /// The execution.
    #[must_use]
    pub fn execution(&self) -> ExecutionId {
        self.core.execution
    }

    /// The secret seed, once started.
    #[must_use]
    pub fn seed(&self) -> Option<&[u8; 16]> {
        self.core.started.as_ref().map(|s| &s.seed)
    }

    /// Definition and version that it runs now, once started: a redrive may name another version.
    #[must_use]
    pub fn flow(&self) -> Option<&FlowRef> {
        self.core.started.as_ref().map(|s| &s.flow)
    }

    /// The execution's name, once started.
    #[must_use]
    pub fn name(&self) -> Option<&Arc<str>> {
        self.core.started.as_ref().map(|s| &s.name)
    }

    /// The execution that started this one, if one did.
    #[must_use]
    pub fn parent(&self) -> Option<&ParentLink> {
        self.core.started.as_ref()?.parent.as_deref()
    }

    /// Whether the answer to this attempt's start of a child is still awaited.
    #[must_use]
    pub fn awaits_start(&self, entry: EntryId, attempt: u32) -> bool {
        self.running(entry, attempt).is_some_and(|run| run.step)
    }

    /// Whether the end of this attempt's child is still awaited.
    #[must_use]
    pub fn awaits_child(&self, entry: EntryId, attempt: u32) -> bool {
        self.running(entry, attempt)
            .is_some_and(|run| run.child.is_some())
    }

    /// When it started.
    #[must_use]
    pub fn started_at(&self) -> Option<Timestamp> {
        self.core.started.as_ref().map(|s| s.at)
    }

    /// The execution's raw input, once started.
    #[must_use]
    pub fn input(&self) -> Option<&Data> {
        self.core.started.as_ref().map(|s| &s.input)
    }

    /// The token of one attempt. Before `Started` its proof is worthless.
    #[must_use]
    pub fn token(&self, entry: EntryId, attempt: u32) -> TaskToken {
        let seed = self.seed().copied().unwrap_or_default();
        TaskToken::derive(&seed, self.core.execution, entry, attempt)
    }

    /// Whether the end (`TokenEnded`) or heartbeat of this attempt by its token would be accepted now.
    ///
    /// The interpreter does not see tokens: compare the caller's with [`State::token`] first.
    #[must_use]
    pub fn awaits(&self, entry: EntryId, attempt: u32) -> bool {
        self.running(entry, attempt).is_some()
    }

    /// The input of an attempt whose step's end, or worker's beginning, is awaited.
    #[must_use]
    pub fn unstarted(&self, entry: EntryId, attempt: u32) -> Option<&Data> {
        self.running(entry, attempt)
            .filter(|run| run.step)
            .map(|run| &run.input)
    }

    /// Attempts with a heartbeat limit that are under way, and its length in milliseconds: fed an
    /// [`crate::Event::Heartbeat`] after a recovery, downtime does not count against them.
    pub fn heartbeats(&self) -> impl Iterator<Item = (EntryId, u32, u64)> + '_ {
        self.core
            .entries
            .iter()
            .filter_map(|(id, entry)| match &entry.phase {
                Phase::Running(run) if run.heartbeat.is_some() => {
                    Some((*id, entry.attempt, run.heartbeat_ms))
                }
                _ => None,
            })
    }

    /// Steps whose end is awaited. A `callback` Task has none.
    #[must_use]
    pub fn active_steps(&self) -> usize {
        self.active
    }

    /// Number of the last history event.
    #[must_use]
    pub fn history_events(&self) -> u64 {
        self.core.events
    }

    /// Whether a turn was cut short and [`crate::Event::Continued`] is awaited.
    #[must_use]
    pub fn cut(&self) -> bool {
        self.core.cut
    }

    /// Counted operations of expressions in the last turn.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.spent
    }

    /// Roughly the encoded size; maintained, costs nothing to ask.
    #[must_use]
    pub fn size_hint_bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn running(&self, entry: EntryId, attempt: u32) -> Option<&Running<Data>> {
        let found = self.core.entries.get(&entry)?;
        match &found.phase {
            Phase::Running(run) if found.attempt == attempt => Some(run),
            _ => None,
        }
    }

    /// Puts an entry into a new phase, with its timers and its weight.
    pub(crate) fn set_phase(&mut self, id: EntryId, phase: Phase<Data>) {
        let Some(entry) = self.core.entries.get_mut(&id) else {
            return;
        };
        for (at, timer) in entry.timers() {
            self.timers.remove(&(at, id, timer));
        }
        for waiter in entry.waits_for() {
            self.waiters.remove(&waiter);
        }
        self.active -= usize::from(entry.step_active());
        self.fleets -= usize::from(entry.is_fleet());
        entry.phase = phase;
        let parent = entry.parent;
        let blocks = matches!(
            &entry.phase,
            Phase::Running(_) | Phase::Waiting(_) | Phase::Backoff(_)
        );
        for (at, timer) in entry.timers() {
            self.timers.insert((at, id, timer));
        }
        for waiter in entry.waits_for() {
            self.waiters.insert(waiter, id);
        }
        self.active += usize::from(entry.step_active());
        self.fleets += usize::from(entry.is_fleet());
        self.bytes = self.bytes.saturating_sub(entry.weight);
        entry.weight = entry.measure();
        self.bytes += entry.weight;
        self.taken_in += entry.weight as u64;
        if blocks {
            entry.spin = 0;
            self.reset_spin(parent);
        }
    }

    /// A branch waits for the outside: what is around it is no endless loop either.
    pub(crate) fn reset_spin(&mut self, mut parent: Option<Parent>) {
        while let Some(at) = parent {
            let Some(entry) = self.core.entries.get_mut(&at.entry) else {
                return;
            };
            entry.spin = 0;
            parent = entry.parent;
        }
    }

    /// Takes an entry out, with its timers.
    pub(crate) fn remove(&mut self, id: EntryId) -> Option<Entry<Data>> {
        let entry = self.core.entries.remove(&id)?;
        for (at, timer) in entry.timers() {
            self.timers.remove(&(at, id, timer));
        }
        for waiter in entry.waits_for() {
            self.waiters.remove(&waiter);
        }
        self.active -= usize::from(entry.step_active());
        self.fleets -= usize::from(entry.is_fleet());
        self.bytes = self.bytes.saturating_sub(entry.weight);
        Some(entry)
    }
}

/// Bytes of an entry's variables, none if they are those of the entry around it.
pub(crate) fn held_beside(variables: &Arc<Variables>, around: Option<&Arc<Variables>>) -> usize {
    if around.is_some_and(|around| Arc::ptr_eq(around, variables)) {
        return 0;
    }
    let each = |(name, value): (&Arc<str>, &Data)| name.len() + value.len_bytes();
    variables.iter().map(each).sum()
}

impl<D, V> Entry<D, V> {
    /// The timers that its phase asks for.
    pub fn timers(&self) -> impl Iterator<Item = (Timestamp, Timer)> + use<D, V> {
        let pair = match &self.phase {
            Phase::Running(run) => [
                run.timeout.map(|at| (at, Timer::Timeout)),
                run.heartbeat.map(|at| (at, Timer::Heartbeat)),
            ],
            Phase::Backoff(at) => [Some((*at, Timer::Backoff)), None],
            Phase::Waiting(at) => [Some((*at, Timer::Wait)), None],
            Phase::Ready | Phase::Parallel(_) | Phase::Map(_) | Phase::Fleet(_) => [None, None],
        };
        pair.into_iter().flatten()
    }

    pub fn step_active(&self) -> bool {
        match &self.phase {
            Phase::Running(run) => run.step,
            Phase::Fleet(fleet) => fleet.asks(),
            _ => false,
        }
    }

    pub fn is_fleet(&self) -> bool {
        matches!(self.phase, Phase::Fleet(_))
    }

    /// What stops that which its attempt waits for, if anything need be stopped.
    pub fn stop(&self, id: EntryId) -> Option<Command> {
        let Phase::Running(run) = &self.phase else {
            return None;
        };
        match run.child {
            Some(child) => Some(Command::CancelChild {
                child,
                attempt: self.attempt,
                express: false,
            }),
            None => run.step.then_some(Command::Abort {
                entry: id,
                attempt: self.attempt,
            }),
        }
    }

    /// What takes the results of a distributed Map's run away.
    pub fn forget(&self, id: EntryId) -> Option<Command> {
        match &self.phase {
            Phase::Fleet(fleet) => Some(Command::ForgetResults {
                entry: id,
                run: fleet.run,
            }),
            _ => None,
        }
    }

    /// The branches under way, of a Parallel or Map.
    pub fn join(&self) -> Option<&Join<D>> {
        match &self.phase {
            Phase::Parallel(run) => Some(&run.join),
            Phase::Map(map) => Some(&map.join),
            _ => None,
        }
    }

    /// As [`Entry::join`], to change it.
    pub fn join_mut(&mut self) -> Option<&mut Join<D>> {
        match &mut self.phase {
            Phase::Parallel(run) => Some(&mut run.join),
            Phase::Map(map) => Some(&mut map.join),
            _ => None,
        }
    }
}

impl Entry<Data> {
    /// Bytes that it holds while it blocks. A ready one is about to run and is not measured.
    fn measure(&self) -> usize {
        let phase = match &self.phase {
            Phase::Ready => return 64,
            Phase::Running(run) if run.input.same(&self.input) => 0,
            Phase::Running(run) => run.input.len_bytes(),
            Phase::Backoff(_) | Phase::Waiting(_) => 0,
            Phase::Parallel(run) => {
                let input = if run.input.same(&self.input) {
                    0
                } else {
                    run.input.len_bytes()
                };
                input + run.join.measure()
            }
            Phase::Map(map) => {
                let source = if map.source.same(&self.input) {
                    0
                } else {
                    map.source.len_bytes()
                };
                source + map.join.measure()
            }
            Phase::Fleet(fleet) => fleet.measure(&self.input),
        };
        64 + self.held + self.input.len_bytes() + phase
    }
}

impl<D> Join<D> {
    pub fn new(slots: usize) -> Join<D> {
        Join {
            results: std::iter::repeat_with(|| None).take(slots).collect(),
            missing: u32::try_from(slots).unwrap_or(u32::MAX),
            children: BTreeMap::new(),
        }
    }
}

impl Join<Data> {
    /// Takes a branch's output in; gives the bytes that it adds.
    pub fn take(&mut self, slot: u32, output: Data) -> usize {
        self.children.remove(&slot);
        let bytes = output.len_bytes();
        if let Some(place) = self.results.get_mut(slot as usize)
            && place.is_none()
        {
            *place = Some(output);
            self.missing = self.missing.saturating_sub(1);
        }
        bytes
    }

    /// All outputs, as one JSON array.
    pub fn array(&self) -> Data {
        let bytes: usize = self
            .results
            .iter()
            .flatten()
            .map(|d| d.len_bytes() + 1)
            .sum();
        let mut text = String::with_capacity(bytes + 2);
        text.push('[');
        for (i, result) in self.results.iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            text.push_str(result.as_ref().map_or("null", Data::text));
        }
        text.push(']');
        Data::from_valid_text(text)
    }

    fn measure(&self) -> usize {
        let held: usize = self.results.iter().flatten().map(Data::len_bytes).sum();
        held + self.results.len() * 2
    }
}
