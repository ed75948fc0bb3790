//! An event meets the interpreter; what it decided is recorded and carried out.

use std::sync::Arc;

use stepwell_interpreter::codec::{self, Logged, Record};
use stepwell_interpreter::{Command, Event, NoHistory, Outcome, RunStep, State};
use stepwell_store::Range;
use stepwell_types::limits::INLINE_BYTES_MAX;
use stepwell_types::{
    AttemptId, Data, Digest, EntryId, ExecutionId, Failure, LogLine, Spent, StepRequest,
    StepTarget, Timestamp,
};

use super::hot::Running;
use super::outbox::Parcel;
use super::places::Kind;
use super::{Driver, Hot, Output, Work};
use crate::suspects::WALK;
use crate::walk::walk;

/// Bytes that an execution takes in until what it holds is looked at again.
const LOOK_BYTES: u64 = 16 << 20;

impl Driver {
    /// Feeds one event, records it with the digest of what was decided, carries the commands out.
    pub(super) fn apply(&mut self, id: ExecutionId, event: Event, now: Timestamp) {
        let mut commands = std::mem::take(&mut self.commands);
        commands.clear();
        let Some(hot) = self.hot.get_mut(&id) else {
            self.commands = commands;
            return;
        };
        if matches!(event, Event::Continued) {
            hot.queued_events = hot.queued_events.saturating_sub(1);
        }
        let parked = hot.parked.is_some() && !matches!(event, Event::Cancelled { .. });
        if hot.ended.is_some() || parked || hot.spoiled.is_some() {
            self.commands = commands;
            return;
        }
        hot.look_for_taken();
        let awaited = match &event {
            Event::Signalled { signal } => Some(hot.state.awaits_signal(&signal.name)),
            _ => None,
        };
        let at = now.max(hot.last_at);
        let fits = |w: &mut super::errand::Walk| w.fits(id, &event, at, &hot.state);
        // A cancel must end it in any case: it is walked on a copy.
        let mut whole = matches!(event, Event::Cancelled { .. }).then(|| hot.state.clone());
        let trouble = match self.walked.take_if(fits) {
            Some(walked) => {
                let (result, decided) = walked.take();
                commands = decided;
                whole = Some(hot.state.clone());
                result.map(|state| hot.state = Arc::new(state)).err()
            }
            None => {
                let state = Arc::make_mut(&mut hot.state);
                let (programs, program) = (&*self.programs, &*hot.program);
                let (input, seen) = ((&event, at), &mut NoHistory);
                walk(programs, program, state, input, seen, &mut commands).err()
            }
        };
        if let Some(cause) = trouble {
            if matches!(event, Event::Started { .. }) {
                whole = Some(Arc::new(State::new(id)));
            }
            commands.clear();
            self.commands = commands;
            self.troubled(id, event, at, whole, cause);
            return;
        }
        drop(whole);
        hot.last_at = at;
        let (flow, operations) = (hot.flow.clone(), hot.state.operations());
        if let Some(awaited) = awaited {
            self.count_signal(awaited);
        }
        self.learn(&flow, operations);
        let record = Record {
            at,
            commands: codec::digest(&commands),
            event,
        };
        self.log(id, &Logged::Event(record));
        self.after_walk(id, now);
        // Before what it goes on with, which may be queued as well.
        self.look_when_due(id);
        for command in commands.drain(..) {
            self.carry_out(id, command, now);
        }
        self.commands = commands;
        self.free_taken(id);
        self.suspects.came_further(id, WALK.0, WALK.1);
    }

    /// What an execution holds is looked at when it has taken in much since the last look. A look goes
    /// over all documents and the values in them, which may be a gigabyte: it is made away from the loop.
    fn look_when_due(&mut self, id: ExecutionId) {
        let max = self.options.state_bytes_max as u64;
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        let taken_in = hot.state.taken_in_bytes();
        if taken_in.saturating_sub(hot.looked_at) >= LOOK_BYTES.min(max / 4) {
            hot.looked_at = taken_in;
            self.events.push(hot.events, Work::Look(id));
        }
    }

    /// Looks here and now.
    pub(super) fn look(&mut self, id: ExecutionId, now: Timestamp) {
        let hot = self.hot.get(&id).filter(|hot| hot.goes_on());
        if let Some(bytes) = hot.map(|hot| hot.state.memory_bytes()) {
            self.looked(id, bytes, now);
        }
    }

    /// What a look has found. Ends an execution whose data takes more memory than one may have. Each
    /// document has its own bound, but a few thousand branches can each hold another one. What is
    /// shared depends on how a state came into memory, so this is no decision of the turn: it is
    /// recorded as an event.
    pub(super) fn looked(&mut self, id: ExecutionId, bytes: usize, now: Timestamp) {
        let max = self.options.state_bytes_max;
        let goes_on = self.hot.get(&id).is_some_and(Hot::goes_on);
        if bytes <= max || !goes_on {
            return;
        }
        let cause = format!(
            "The data of the execution's branches and iterations takes {bytes} bytes of memory in all, more than the {max} that one execution may take; let fewer of them run at once (MaxConcurrency), pass less on to each, or use a distributed Map, whose items are executions of their own."
        );
        let failure = Failure::new("States.DataLimitExceeded", cause);
        self.apply(id, Event::Broken { failure }, now);
    }

    /// The interpreter could not walk an event: it is recorded with a mark, and the execution
    /// waits for somebody to end it. `whole`: its state before, if that is still at hand; if
    /// not, it leaves memory until it is wanted, and is read from its log then.
    fn troubled(
        &mut self,
        id: ExecutionId,
        event: Event,
        at: Timestamp,
        whole: Option<Arc<State>>,
        cause: String,
    ) {
        let failure = Failure::new("Stepwell.EngineFault", cause);
        // It ends the execution all the same, one of which nothing is stored too.
        let is_cancel = matches!(event, Event::Cancelled { .. });
        let how = if is_cancel { "ended" } else { "parked" };
        tracing::error!(execution = %id, cause = %failure.cause, "an execution is {how}");
        if self.is_unrecorded(id) && !is_cancel {
            self.park(id, failure, at);
            return;
        }
        let mut commands = Vec::new();
        if let Some(hot) = self.hot.get_mut(&id) {
            hot.last_at = at;
            match whole {
                Some(state) => {
                    hot.state = state;
                    let state = Arc::make_mut(&mut hot.state);
                    stepwell_interpreter::troubled(
                        state,
                        &event,
                        at,
                        &mut NoHistory,
                        &mut commands,
                    );
                }
                None => hot.spoiled = Some(Box::default()),
            }
        }
        self.log(id, &Logged::Troubled { at, event });
        match is_cancel {
            true => self.still(id),
            false => self.park(id, failure, at),
        }
        for command in commands {
            self.carry_out(id, command, at);
        }
    }

    /// Appends one record to the execution's open row.
    pub(super) fn log(&mut self, id: ExecutionId, logged: &Logged) {
        if self.log_express(id, logged) {
            return;
        }
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        if hot.row.is_empty() {
            hot.row_seq = hot.logged;
        }
        let before = hot.row.len();
        let blobs = &mut hot.blobs;
        let mut apart = 0;
        hot.row.append(logged, &mut |data: &Data| {
            (data.len_bytes() > INLINE_BYTES_MAX).then(|| {
                apart += data.len_bytes();
                let digest = Digest::of(data.text().as_bytes());
                blobs.push((digest, Arc::from(data.text().as_bytes())));
                digest
            })
        });
        hot.logged += 1;
        self.open_bytes += hot.row.len() - before + apart;
        self.touch(id);
    }

    /// The execution has something for the open batch.
    pub(super) fn touch(&mut self, id: ExecutionId) {
        if self.is_unrecorded(id) {
            return;
        }
        if let Some(hot) = self.hot.get_mut(&id) {
            hot.batch = self.batch;
            if !hot.is_dirty {
                hot.is_dirty = true;
                self.dirty.push(id);
            }
        }
    }

    /// Keeps the driver's index of timers and the usage in step with the new state.
    fn after_walk(&mut self, id: ExecutionId, now: Timestamp) {
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        let next = hot.state.next_timer().map(|(at, ..)| at);
        if next != hot.timer {
            if let Some(at) = hot.timer.take() {
                self.timers.remove(&(at, id));
            }
            if let Some(at) = next {
                self.timers.insert((at, id));
            }
            hot.timer = next;
        }
        let is_parent = hot.state.fleets() > 0;
        self.parents = self.parents + usize::from(is_parent) - usize::from(hot.is_parent);
        hot.is_parent = is_parent;
        let kept = hot.express.as_ref().map_or(0, |e| e.kept_bytes());
        let weight = hot.state.size_hint_bytes() + kept;
        self.hot_bytes = (self.hot_bytes + weight).saturating_sub(hot.weight);
        hot.weight = weight;
        let transitions = hot.state.transitions();
        let new = transitions - hot.counted_transitions;
        if new > 0 {
            hot.counted_transitions = transitions;
            let flow = hot.flow.name.clone();
            self.count(&flow, now, |u, m| {
                u.transitions += new;
                m.transitions += new;
            });
        }
    }

    /// Does what one command says.
    fn carry_out(&mut self, id: ExecutionId, command: Command, now: Timestamp) {
        match command {
            Command::Run(step) => {
                if let StepTarget::Activity { name } = &step.target {
                    self.offer(id, name, step.entry, step.attempt);
                }
                self.queue_step(id, step, now);
            }
            Command::Continue => {
                if let Some(hot) = self.hot.get_mut(&id) {
                    hot.queued_events += 1;
                    let queue = hot.events;
                    self.events.push(queue, Work::Event(id, Event::Continued));
                }
            }
            Command::Abort { entry, attempt } => self.abort_step(id, entry, attempt),
            Command::StartChild(_) | Command::CancelChild { .. } => {
                self.command_child(id, command, now);
            }
            Command::Signal {
                entry,
                attempt,
                send,
            } => {
                let hot = self.hot.get(&id);
                let grants = hot.and_then(|hot| hot.program.grants.flow.as_ref());
                let parcel = Parcel::Signal {
                    entry,
                    attempt,
                    send,
                    flows: grants.map(|grants| grants.flows.clone()),
                };
                self.send(id, parcel);
            }
            Command::ForgetResults { entry, run } => {
                self.extra.clear(Range::MapResults {
                    execution: id,
                    entry,
                    run,
                    from: 0,
                });
            }
            Command::Finish(outcome) => self.finish(id, &outcome, now),
        }
    }

    /// Puts a step in its flow's queue. What an outside program does alone has none.
    pub(super) fn queue_step(&mut self, id: ExecutionId, step: RunStep, now: Timestamp) {
        if step.target.is_outside() || step.target.is_between() {
            return;
        }
        if self.gathers(id, &step, now) {
            return;
        }
        if let Some(hot) = self.hot.get_mut(&id) {
            let running = Running::new(hot.place(&step.target), step.state.clone(), now);
            hot.steps.insert((step.entry, step.attempt), running);
            self.wait_to_begin(id, Box::new(step));
        }
    }

    /// Puts a step behind those of its flow that wait for a place like its.
    pub(super) fn wait_to_begin(&mut self, id: ExecutionId, step: Box<RunStep>) {
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        if let Some(running) = hot.steps.get_mut(&(step.entry, step.attempt)) {
            running.queued = true;
            let place = running.place;
            let queue = match place.kind {
                Kind::Step => &mut self.steps,
                Kind::Call => &mut self.calls,
            };
            queue.push(place.flow, Work::Step(id, step));
        }
    }

    /// Hands a step to the surroundings, unless it was aborted while it queued.
    pub(super) fn begin_step(&mut self, id: ExecutionId, step: RunStep, now: Timestamp) {
        // An outside call runs elsewhere: it cannot kill this process.
        let stays = !step.target.leaves();
        // Nothing of it is durable, nor can it be suspected after a crash.
        let stays = stays && !self.is_unrecorded(id);
        let alone = stays && self.suspects.has(id, step.entry, step.attempt);
        let suspected = stays && self.suspects.of(id);
        let cautious = stays && now < self.cautious_until;
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        let Some(running) = hot.steps.get_mut(&(step.entry, step.attempt)) else {
            return;
        };
        running.started = true;
        running.queued = false;
        let by = AttemptId {
            execution: id,
            entry: step.entry,
            attempt: step.attempt,
        };
        let recorded = match self.recorded(by) {
            Ok(recorded) => recorded,
            Err(e) => {
                let failure = Failure::new("Stepwell.EngineFault", e.to_string());
                return self.park(id, failure, now);
            }
        };
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        let grants = hot.program.grants.of(&step.target);
        let entered = hot.state.entered(step.entry);
        let request = Box::new(StepRequest {
            execution: id,
            execution_name: hot.name(),
            flow: hot.flow.name.clone(),
            state: step.state,
            entry: step.entry,
            attempt: step.attempt,
            target: step.target,
            input: step.input,
            deadline: step.deadline,
            token: step.token,
            seed: step.seed,
            grants,
            recorded,
            entered: entered.filter(|at| *at < self.up_since),
        });
        // A step that kills the process must find its deaths counted when it comes again:
        // its execution must be there, and one that is suspected must come to this very
        // entry again, whatever order its branches ended in.
        let batch = if suspected {
            hot.batch
        } else if cautious {
            hot.first_batch
        } else {
            0
        };
        let run = if alone {
            Output::RunAlone(request)
        } else {
            Output::Run(request)
        };
        self.after(batch, run);
    }

    /// Stops an attempt whose answer is no longer wanted.
    pub(super) fn abort_step(&mut self, id: ExecutionId, entry: EntryId, attempt: u32) {
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        hot.forget_journal(entry, attempt);
        self.suspects.clear(id, entry, attempt);
        if let Some(mut running) = hot.steps.remove(&(entry, attempt)) {
            running.give_back(&mut self.places);
            if running.started {
                self.out.push_back(Output::Abort {
                    execution: id,
                    entry,
                    attempt,
                });
            }
        }
    }

    /// The execution ended: whoever waits hears of it when that is durable.
    fn finish(&mut self, id: ExecutionId, outcome: &Outcome, now: Timestamp) {
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        hot.ended = Some(now.max(hot.last_at));
        hot.parked = None;
        let left: Vec<_> = hot.steps.keys().copied().collect();
        for (entry, attempt) in left {
            self.abort_step(id, entry, attempt);
        }
        self.suspects.clear_all(id);
        let unrecorded = self.is_unrecorded(id);
        self.count_open(id, -1);
        let slot = match outcome {
            Outcome::Succeeded(_) => 0,
            Outcome::Failed(_) => 1,
            Outcome::TimedOut(_) => 2,
            Outcome::Aborted(_) => 3,
        };
        self.uncounted.entry(self.batch).or_default().ended[slot] += 1;
        if let Outcome::Succeeded(output) = outcome
            && !unrecorded
            && output.len_bytes() > INLINE_BYTES_MAX
        {
            // It is written with the batch, beside the log.
            self.open_bytes += output.len_bytes();
        }
        self.tell_parent(id);
        self.unblock(id);
        self.wake_waiters(id);
        self.end_express(id, outcome);
    }

    /// Takes an execution out of the race until an operator looks at it.
    pub(super) fn park(&mut self, id: ExecutionId, failure: Failure, _now: Timestamp) {
        if self.is_unrecorded(id) {
            self.break_express(id, &failure);
            return;
        }
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        hot.parked = Some(failure);
        self.still(id);
        self.touch(id);
    }

    /// Nothing runs for an execution any more, and no timer of its fires.
    fn still(&mut self, id: ExecutionId) {
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        if let Some(at) = hot.timer.take() {
            self.timers.remove(&(at, id));
        }
        let left: Vec<_> = hot.steps.keys().copied().collect();
        for (entry, attempt) in left {
            self.abort_step(id, entry, attempt);
        }
    }

    /// Records what a running attempt has written so far.
    pub fn lines(
        &mut self,
        id: ExecutionId,
        entry: EntryId,
        attempt: u32,
        lines: Vec<LogLine>,
        now: Timestamp,
    ) {
        let hot = self.hot.get(&id);
        if hot.is_some_and(|hot| hot.steps.contains_key(&(entry, attempt))) {
            self.log_lines(id, entry, attempt, lines, now);
        }
    }

    /// Records what a step logged.
    pub(super) fn log_lines(
        &mut self,
        id: ExecutionId,
        entry: EntryId,
        attempt: u32,
        lines: Vec<LogLine>,
        now: Timestamp,
    ) {
        self.log(
            id,
            &Logged::Logs {
                at: now,
                entry,
                attempt,
                lines,
            },
        );
    }

    /// Counts a signal that came, when that is durable.
    fn count_signal(&mut self, awaited: bool) {
        let metrics = self.uncounted.entry(self.batch).or_default();
        metrics.signals[usize::from(!awaited)] += 1;
    }

    /// Adds an attempt's cost to its flow's usage.
    pub(super) fn count_attempt(&mut self, id: ExecutionId, spent: &Spent, now: Timestamp) {
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        hot.fuel += spent.fuel;
        let flow = hot.flow.name.clone();
        self.count(&flow, now, |u, m| {
            u.attempts += 1;
            u.fuel += spent.fuel;
            u.step_us += spent.time_us;
            u.bytes += spent.bytes;
            m.attempts += 1;
            m.fuel += spent.fuel;
        });
    }
}

impl Hot {
    /// The name that the interpreter and the summary show.
    pub(super) fn name(&self) -> Arc<str> {
        self.state.name().cloned().unwrap_or_else(|| "".into())
    }
}
