//! One turn: an event goes in, states are entered and left until all block or the turn is cut.
//!
//! Refuses to know what a state kind does (`states/`) and how values are made (`evaluate/`).

mod notes;

use std::rc::Rc;
use std::sync::Arc;

use stepwell_flow::Program;
use stepwell_flow::program::{Kind, Next, State as Node, StateIdx};
use stepwell_types::limits::{
    CAUSE_CHARS_MAX, ERROR_CHARS_MAX, EXPRESS_SECONDS_MAX, SPIN_TRANSITIONS_MAX, TRANSITIONS_MAX,
};
use stepwell_types::{Data, EntryId, Failure, Timestamp};

use crate::cloudflow;
use crate::evaluate::{Env, Fault, Given, Library, QUERY_ERROR};
use crate::history::{HistoryKind, Observer, StateType};
use crate::outputs::{self, Outputs};
use crate::state::{Entry, Parent, Phase, Started, State, Variables, Work, held_beside};
use crate::states::{self, task};
use crate::{Command, Error, Event, Outcome, Timer};
use crate::{redrive, retry};

/// Transitions after which a turn is cut, so that others get theirs.
const TURN_TRANSITIONS_MAX: u32 = 1_000;
/// Operations of expressions after which a turn is cut: some milliseconds.
const TURN_OPERATIONS_MAX: u64 = 20_000;
/// Bytes that entries take in after which a turn is cut: whoever drives may want to look at
/// what the execution holds before it holds more.
const TURN_BYTES_MAX: u64 = 64 << 20;

/// Feeds one event: the state moves on, and what it wants done is appended to `out`.
///
/// Events for unknown or finished entries and for older attempts change nothing.
/// `now` is recorded with the event, and may be earlier than the one before.
/// # Errors
/// `RUN0101`, `RUN0102`: `Started` is not the first event, or comes again.
/// `RUN0103`: the state belongs to another program.
pub fn step(
    program: &Program,
    state: &mut State,
    event: &Event,
    now: Timestamp,
    seen: &mut dyn Observer,
    out: &mut Vec<Command>,
) -> Result<(), Error> {
    let mut turn = Turn {
        program,
        state,
        now,
        seen,
        out,
        spent: 0,
        library: Library::default(),
        joined: None,
    };
    turn.event(event)?;
    turn.run()?;
    let spent = turn.spent;
    state.spent = spent;
    Ok(())
}

/// Everything at hand during a turn.
pub(crate) struct Turn<'a> {
    pub program: &'a Program,
    pub state: &'a mut State,
    pub now: Timestamp,
    seen: &'a mut dyn Observer,
    pub out: &'a mut Vec<Command>,
    /// Operations of expressions in this turn.
    pub spent: u64,
    pub library: Library,
    /// The Parallel or Map that the history has told, in this turn, to have succeeded.
    pub joined: Option<EntryId>,
}

impl<'a> Turn<'a> {
    fn event(&mut self, event: &Event) -> Result<(), Error> {
        if let Event::Started {
            flow,
            name,
            input,
            seed,
            parent,
        } = event
        {
            if self.state.core.started.is_some() {
                return Err(Error::StartedTwice);
            }
            return self.start(Started {
                flow: flow.clone(),
                name: Arc::clone(name),
                input: input.clone(),
                seed: *seed,
                at: self.now,
                parent: parent.clone(),
            });
        }
        if self.state.core.started.is_none() {
            return Err(Error::NotStarted);
        }
        if let Event::Redriven { flow, input, .. } = event {
            redrive::relink(self, event);
            return redrive::begin(self, flow, input.as_ref());
        }
        if self.state.outcome.is_some() {
            return Ok(());
        }
        match event {
            Event::Started { .. } | Event::Redriven { .. } | Event::Continued => {}
            Event::StepEnded {
                entry,
                attempt,
                result,
                ..
            } => states::step_ended(self, *entry, *attempt, result)?,
            Event::TokenEnded {
                entry,
                attempt,
                result,
            } => task::token_ended(self, *entry, *attempt, result)?,
            Event::ChildEnded {
                entry,
                attempt,
                result,
            } => states::child::child_ended(self, *entry, *attempt, result)?,
            Event::Signalled { signal } => states::signal::came(self, signal)?,
            Event::ItemEnded {
                entry,
                attempt,
                slot,
                failed,
            } => states::fleet::item_ended(self, *entry, *attempt, *slot, *failed)?,
            Event::Heartbeat { entry, attempt } => task::heartbeat(self, *entry, *attempt),
            Event::ActivityStarted {
                entry,
                attempt,
                worker,
            } => task::activity_started(self, *entry, *attempt, worker.as_ref())?,
            Event::ActivityReturned { entry, attempt } => task::returned(self, *entry, *attempt)?,
            Event::TimerFired { entry, timer } => self.timer(*entry, *timer)?,
            Event::Cancelled { failure } => self.end(Outcome::Aborted(limited(failure))),
            Event::Broken { failure } => self.end(Outcome::Failed(limited(failure))),
        }
        if matches!(event, Event::Continued) {
            self.state.core.cut = false;
        }
        Ok(())
    }

    fn start(&mut self, started: Started<Data>) -> Result<(), Error> {
        let graph = started.parent.as_ref().map_or(0, |link| link.graph);
        let graph = self.program.graphs.get(graph as usize);
        let first = graph
            .ok_or(Error::ForeignProgram("a graph is missing"))?
            .start;
        let input = started.input.clone();
        self.state.bytes += input.len_bytes();
        self.state.core.started = Some(started);
        self.set_deadline();
        self.note(0, || HistoryKind::ExecutionStarted {
            input: input.clone(),
        });
        // Step Functions' first state names no previous event.
        self.spawn(None, first, input, Arc::default(), 0, 0);
        Ok(())
    }

    /// The flow's own `TimeoutSeconds` begin.
    pub fn set_deadline(&mut self) {
        // An item's own flow is a part of the program: the whole one's limit is its parent's.
        let seconds = match self.state.parent() {
            Some(link) if link.item.is_some() => link.express.then_some(EXPRESS_SECONDS_MAX),
            _ => self.program.timeout_seconds,
        };
        if let Some(seconds) = seconds {
            let at = self.now.plus_ms(seconds.saturating_mul(1_000));
            self.state.core.deadline = Some(at);
            self.state.timers.insert((at, EntryId(0), Timer::Timeout));
        }
    }

    fn timer(&mut self, id: EntryId, timer: Timer) -> Result<(), Error> {
        let set = if id == EntryId(0) {
            self.state.core.deadline.filter(|_| timer == Timer::Timeout)
        } else {
            let entry = self.state.core.entries.get(&id);
            let mut timers = entry.into_iter().flat_map(Entry::timers);
            timers.find(|(_, kind)| *kind == timer).map(|(at, _)| at)
        };
        let due = set.is_some_and(|at| at <= self.now);
        // A heartbeat or another attempt moved it meanwhile.
        if !due {
            return Ok(());
        }
        if id == EntryId(0) {
            self.end(Outcome::TimedOut(Failure::new("States.Timeout", "")));
            return Ok(());
        }
        match timer {
            Timer::Wait => states::wait::over(self, id),
            Timer::Backoff => states::begin(self, id),
            Timer::Timeout => task::timed_out(self, id, "States.Timeout"),
            Timer::Heartbeat => task::timed_out(self, id, "States.HeartbeatTimeout"),
        }
    }

    /// Works the stack off, up to the turn's bound.
    fn run(&mut self) -> Result<(), Error> {
        if self.state.core.cut {
            return Ok(());
        }
        let mut left = TURN_TRANSITIONS_MAX;
        let full = self.state.taken_in + TURN_BYTES_MAX;
        while let Some(work) = self.state.core.work.pop() {
            match work {
                Work::Enter(_) | Work::Fill { .. }
                    if left == 0
                        || self.spent >= TURN_OPERATIONS_MAX
                        || self.state.taken_in >= full =>
                {
                    self.state.core.work.push(work);
                    self.state.core.cut = true;
                    self.out.push(Command::Continue);
                    break;
                }
                Work::Enter(id) => {
                    if self.state.core.entries.contains_key(&id) {
                        left -= 1;
                        self.enter(id)?;
                    }
                }
                Work::Branch {
                    entry,
                    attempt,
                    slot,
                } => states::parallel::branch(self, entry, attempt, slot)?,
                Work::Fill { entry, attempt } => {
                    states::map::fill(self, entry, attempt)?;
                    states::fleet::fill(self, entry, attempt)?;
                }
            }
        }
        Ok(())
    }

    /// Makes an entry that the turn will come to next.
    pub fn spawn(
        &mut self,
        parent: Option<Parent>,
        state: StateIdx,
        input: Data,
        variables: Arc<Variables>,
        previous: u64,
        spin: u32,
    ) {
        let core = &mut self.state.core;
        core.last_entry += 1;
        let id = EntryId(core.last_entry);
        if let Some(parent) = parent
            && let Some(join) = core
                .entries
                .get_mut(&parent.entry)
                .and_then(Entry::join_mut)
        {
            join.children.insert(parent.slot, id);
        }
        if core.cut {
            // It waits for its turn, perhaps with many others.
            self.state.taken_in += input.len_bytes() as u64;
        }
        let around = parent.and_then(|p| core.entries.get(&p.entry));
        let held = held_beside(&variables, around.map(|e| &e.variables));
        core.entries.insert(
            id,
            Entry {
                state: state.0,
                parent,
                entered_at: self.now,
                entered_event: 0,
                before: 0,
                previous,
                spin,
                input,
                variables,
                attempt: 0,
                first: 0,
                retries: Vec::new(),
                phase: Phase::Ready,
                weight: 0,
                held,
            },
        );
        core.work.push(Work::Enter(id));
    }

    fn enter(&mut self, id: EntryId) -> Result<(), Error> {
        self.state.core.transitions += 1;
        let Some(entry) = self.state.core.entries.get(&id) else {
            return Ok(());
        };
        let node = self.node(entry.state)?;
        let (spin, previous, input) = (entry.spin, entry.previous, entry.input.clone());
        let entered = self.note_of(id, previous, || HistoryKind::Entered {
            state: state_type(&node.kind),
            name: Arc::clone(&node.name),
            input,
        });
        if let Some(entry) = self.state.core.entries.get_mut(&id) {
            entry.entered_at = self.now;
            entry.entered_event = entered;
            entry.before = previous;
            entry.previous = entered;
        }
        if spin >= SPIN_TRANSITIONS_MAX {
            self.end(Outcome::Failed(Failure::new(
                retry::ENDLESS_LOOP,
                format!("{SPIN_TRANSITIONS_MAX} state transitions in a row without a step, a wait that takes time or a callback between them, the last into '{}'.", node.name),
            )));
            return Ok(());
        }
        if self.state.core.transitions > TRANSITIONS_MAX {
            self.end(Outcome::Failed(Failure::new(
                retry::TRANSITION_LIMIT,
                format!("The execution has made {TRANSITIONS_MAX} state transitions, the most that one may make."),
            )));
            return Ok(());
        }
        states::begin(self, id)
    }

    /// The program's state with this index.
    pub fn node(&self, state: u32) -> Result<&'a Node, Error> {
        self.program
            .states
            .get(state as usize)
            .ok_or(Error::ForeignProgram("a state is missing"))
    }

    /// The program's state that an entry is in; `None`: no such entry.
    pub fn node_of(&self, id: EntryId) -> Result<Option<&'a Node>, Error> {
        match self.state.core.entries.get(&id) {
            Some(entry) => self.node(entry.state).map(Some),
            None => Ok(None),
        }
    }

    /// Evaluates with `data` as `$` and the entry's context as `$$`.
    pub fn evaluate<'g, T>(
        &mut self,
        id: EntryId,
        given: impl Into<Given<'g>>,
        f: impl FnOnce(&Env<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let library = Rc::clone(&self.library);
        let env = Env::new(&self.state.core, self.program, id, given.into(), self.now);
        let env = env.sharing(&library);
        let result = f(&env);
        let (draws, used) = (env.draws.get(), env.used());
        self.state.core.draws = draws;
        self.spent = self.spent.saturating_add(used);
        result
    }

    /// Ends a state that yields a result: ResultSelector, ResultPath, OutputPath, and on.
    pub fn complete(&mut self, id: EntryId, result: Data) -> Result<(), Error> {
        let Some(node) = self.node_of(id)? else {
            return Ok(());
        };
        match outputs::of_result(self, id, node, &result) {
            Ok(outputs) => self.leave(id, outputs, node.next),
            Err(fault) => self.fault(id, fault),
        }
    }

    /// Leaves a state with this output and these variables.
    pub fn leave(&mut self, id: EntryId, outputs: Outputs, next: Next) -> Result<(), Error> {
        let Outputs {
            output,
            assigned,
            onward,
        } = outputs;
        let Some(entry) = self.state.remove(id) else {
            return Ok(());
        };
        self.out.extend(entry.forget(id));
        let node = self.node(entry.state)?;
        let place = (entry.state, entry.parent.map(|p| p.slot));
        let exited = self.note_at(Some(place), entry.previous, || HistoryKind::Exited {
            state: state_type(&node.kind),
            name: Arc::clone(&node.name),
            output: output.clone(),
            assigned: Arc::clone(&assigned),
        });
        let output = onward.unwrap_or(output);
        match next {
            Next::State(target) => {
                let variables = outputs::after(entry.variables, &assigned);
                let spin = entry.spin + 1;
                self.spawn(entry.parent, target, output, variables, exited, spin);
                Ok(())
            }
            Next::End | Next::ByKind => self.end_branch(entry.parent, exited, output),
        }
    }

    /// A branch, or the whole flow, has its output.
    fn end_branch(
        &mut self,
        parent: Option<Parent>,
        previous: u64,
        output: Data,
    ) -> Result<(), Error> {
        let Some(parent) = parent else {
            self.note(previous, || HistoryKind::ExecutionSucceeded {
                output: output.clone(),
            });
            self.finish(Outcome::Succeeded(output));
            return Ok(());
        };
        match self.state.core.entries.get(&parent.entry).map(|e| &e.phase) {
            Some(Phase::Parallel(_)) => states::parallel::joined(self, parent, previous, output),
            Some(Phase::Map(_)) => states::map::joined(self, parent, previous, output),
            _ => Ok(()),
        }
    }

    /// An evaluation failed within a state.
    pub fn fault(&mut self, id: EntryId, fault: Fault) -> Result<(), Error> {
        let Some(entry) = self.state.core.entries.get(&id) else {
            return Ok(());
        };
        let name = Arc::clone(&self.node(entry.state)?.name);
        let failure = self.failure_of(id, &name, fault);
        self.fail(id, failure)
    }

    /// A fault as a failure; one of JSONata mode has a history event of its own.
    pub fn failure_of(&mut self, id: EntryId, name: &Arc<str>, mut fault: Fault) -> Failure {
        let Some(entry) = self.state.core.entries.get(&id) else {
            return Failure::new(fault.error, fault.message);
        };
        let (entered, before, previous) = (entry.entered_event, entry.before, entry.previous);
        let (query, location) = (fault.error == QUERY_ERROR, fault.location.take());
        let mut failure = limited(&fault.at(name, entered));
        if let Ok(Some(node)) = self.node_of(id) {
            failure = cloudflow::named(node, failure);
        }
        if query {
            // As recorded: right after the entering it names the event before that.
            let previous = if previous == entered {
                before
            } else {
                previous
            };
            let event = self.note_of(id, previous, || HistoryKind::EvaluationFailed {
                state: Arc::clone(name),
                location,
                failure: failure.clone(),
            });
            if let Some(entry) = self.state.core.entries.get_mut(&id) {
                entry.previous = event;
            }
        }
        failure
    }

    /// A state failed: retry it, catch it, or let its branch, and with it the state around, fail.
    pub fn fail(&mut self, id: EntryId, failure: Failure) -> Result<(), Error> {
        let mut failure = limited(&failure);
        let origin = id;
        let (mut id, mut of_branch) = (id, false);
        loop {
            let Some(node) = self.node_of(id)? else {
                return Ok(());
            };
            self.abort_below(id, true);
            if self.retry(id, node, &failure, of_branch) {
                self.forget_halted();
                return Ok(());
            }
            if matches!(node.kind, Kind::Parallel { .. } | Kind::Map(_)) {
                states::note_failed(self, id, node, &failure);
            }
            if let Some(rule) = retry::catcher(&node.catch, &failure, of_branch) {
                match outputs::of_caught(self, id, node, rule, &failure) {
                    Ok(outputs) => {
                        self.forget_halted();
                        return self.leave(id, outputs, Next::State(rule.next));
                    }
                    Err(fault) => failure = self.failure_of(id, &node.name, fault),
                }
            }
            let Some(entry) = self.state.remove(id) else {
                return Ok(());
            };
            let (parent, previous) = (entry.parent, entry.previous);
            self.state.core.halted.insert(id, entry);
            let Some(parent) = parent else {
                self.note(previous, || HistoryKind::ExecutionFailed(failure.clone()));
                self.state.core.failed = Some(origin);
                self.finish(Outcome::Failed(failure));
                return Ok(());
            };
            states::branch_failed(self, parent, previous)?;
            (id, of_branch) = (parent.entry, true);
        }
    }

    /// Sets a backoff timer if a retrier grants another attempt.
    fn retry(&mut self, id: EntryId, node: &Node, failure: &Failure, of_branch: bool) -> bool {
        let Some(index) = retry::retrier(&node.retry, failure, of_branch) else {
            return false;
        };
        let (Some(rule), Some(entry)) =
            (node.retry.get(index), self.state.core.entries.get_mut(&id))
        else {
            return false;
        };
        entry.retries.resize(node.retry.len(), 0);
        let forgotten = entry.forget(id);
        let Some(used) = entry.retries.get_mut(index) else {
            return false;
        };
        if *used >= rule.max_attempts {
            return false;
        }
        let seed = self.state.core.started.as_ref().map_or([0; 16], |s| s.seed);
        let draw = if rule.full_jitter {
            crate::random::draw_u64(&seed, "jitter", id.0, u64::from(entry.attempt))
        } else {
            0
        };
        let wait = retry::delay_ms(rule, *used, crate::random::unit(draw));
        *used += 1;
        entry.attempt += 1;
        let at = self.now.plus_ms(wait);
        self.out.extend(forgotten);
        self.state.set_phase(id, Phase::Backoff(at));
        true
    }

    /// What a failure took away below a state that goes on is not gone back to.
    fn forget_halted(&mut self) {
        for (id, entry) in std::mem::take(&mut self.state.core.halted) {
            self.out.extend(entry.forget(id));
        }
    }

    /// Ends everything below an entry; what runs is told to stop.
    pub fn abort_below(&mut self, id: EntryId, told: bool) {
        states::fleet::halt(self, id);
        let children: Vec<(u32, EntryId)> = match self.state.core.entries.get_mut(&id) {
            Some(entry) => match entry.join_mut() {
                Some(join) => std::mem::take(&mut join.children).into_iter().collect(),
                None => return,
            },
            None => return,
        };
        for (slot, child) in children {
            self.abort_below(child, told);
            let Some(entry) = self.state.remove(child) else {
                continue;
            };
            self.out.extend(entry.stop(child));
            if told {
                states::note_aborted(self, id, slot, &entry);
            }
            self.state.core.halted.insert(child, entry);
        }
    }

    /// Ends the execution from outside its states.
    pub fn end(&mut self, outcome: Outcome) {
        let root = self
            .state
            .core
            .entries
            .iter()
            .find(|(_, e)| e.parent.is_none());
        let root = root.map(|(id, e)| (*id, e.previous));
        let previous = root.map_or(0, |(_, previous)| previous);
        if let Some((root, _)) = root {
            self.abort_below(root, false);
            if let Some(entry) = self.state.remove(root) {
                self.out.extend(entry.stop(root));
                self.state.core.halted.insert(root, entry);
            }
        }
        self.note(previous, || match &outcome {
            Outcome::Aborted(failure) => HistoryKind::ExecutionAborted(failure.clone()),
            Outcome::TimedOut(failure) => HistoryKind::ExecutionTimedOut(failure.clone()),
            Outcome::Failed(failure) => HistoryKind::ExecutionFailed(failure.clone()),
            Outcome::Succeeded(output) => HistoryKind::ExecutionSucceeded {
                output: output.clone(),
            },
        });
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome) {
        self.state.core.entries.clear();
        self.state.core.work.clear();
        self.state.core.cut = false;
        self.state.core.deadline = None;
        self.state.timers.clear();
        self.state.waiters.clear();
        self.state.active = 0;
        self.state.fleets = 0;
        if matches!(outcome, Outcome::Succeeded(_)) {
            self.state.core.global = None;
            self.state.core.inbox.signals.clear();
        }
        let halted = self.state.core.halted.values();
        let global = self.state.core.global.as_ref().map_or(0, Data::len_bytes);
        let kept = 256 + global + self.state.core.inbox.weight();
        self.state.bytes = kept + halted.map(|entry| entry.weight).sum::<usize>();
        self.out.push(Command::Finish(outcome.clone()));
        self.state.outcome = Some(outcome);
    }
}

/// A failure within the limits of error names and causes.
pub(crate) fn limited(failure: &Failure) -> Failure {
    let cut = |text: &Arc<str>, max: usize| -> Arc<str> {
        if text.len() <= max {
            return Arc::clone(text);
        }
        match text.char_indices().nth(max) {
            Some((end, _)) => text.get(..end).unwrap_or("").into(),
            None => Arc::clone(text),
        }
    };
    Failure {
        error: cut(&failure.error, ERROR_CHARS_MAX),
        cause: cut(&failure.cause, CAUSE_CHARS_MAX),
    }
}

/// How the history names a kind.
pub(crate) fn state_type(kind: &Kind) -> StateType {
    match kind {
        Kind::Task(_) => StateType::Task,
        Kind::Pass { .. } => StateType::Pass,
        Kind::Choice { .. } => StateType::Choice,
        Kind::Parallel { .. } => StateType::Parallel,
        Kind::Map(_) => StateType::Map,
        Kind::Wait(_) => StateType::Wait,
        Kind::Succeed => StateType::Succeed,
        Kind::Fail { .. } => StateType::Fail,
    }
}
