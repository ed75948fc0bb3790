//! Turns away from the loop: what would hold it up is walked on another thread.
//!
//! A turn is a pure function of program, state, event and time. So an input whose turn
//! reads much, or whose flow has lately cost much, waits here while the turn is walked
//! elsewhere on a copy of the state; what else comes for that execution queues behind it.
//! When the turn is back, the input is taken in as if it came only now, and finds its turn
//! walked already. Should anything not fit any more, it is walked again, on the loop: where
//! a turn is walked never changes what it decides, nor the order of the log.
//! Refuses threads and clocks: the surroundings carry [`Output::Turn`] out.

use std::collections::VecDeque;
use std::sync::Arc;

use stepwell_flow::Program;
use stepwell_interpreter::{Event, State, weight};
use stepwell_store::Batch;
use stepwell_types::{
    ChildStart, EntryId, ExecutionId, Failure, FlowRef, ParentLink, StepOutcome, Timestamp,
};

use super::errand::{Begun, Errand, Found, Turn, Walked};
use super::outbox::Parcel;
use super::redrive::other_version;
use super::{Driver, Item, Output, Post, Redrive, Reply, Request, Ticket, TokenAnswer};
use crate::Error;

/// Turns of a flow that go away after one that cost too much.
const WARY_TURNS: u32 = 64;
/// Flows that are remembered as costly; the rest are felt once more.
const COSTLY_MAX: usize = 4_096;
/// Why a turn was given up.
const STUCK: &str = "its expressions took too long on this data";

/// Which turns are walked away from the loop.
#[derive(Debug, Clone, Copy)]
pub struct Aside {
    /// Bytes of JSON that a turn begins with, from which on it goes away.
    pub bytes: usize,
    /// Counted operations of one turn after which the next ones of its flow go away.
    pub operations: u64,
    /// How many turns of one driver may be away at once.
    pub at_once: usize,
}

impl Default for Aside {
    /// About a millisecond of work stays.
    fn default() -> Aside {
        Aside {
            bytes: 64 << 10,
            operations: 5_000,
            at_once: 1,
        }
    }
}

impl Aside {
    /// None: whoever drives has nothing else to do.
    #[must_use]
    pub fn never() -> Aside {
        Aside {
            bytes: usize::MAX,
            operations: u64::MAX,
            at_once: 0,
        }
    }
}

/// Anything that may lead to a turn.
#[derive(Debug)]
pub(super) enum Input {
    Request(Ticket, Box<Request>),
    Step(ExecutionId, EntryId, u32, Box<StepOutcome>),
    Post(Box<Post>),
    Event(ExecutionId, Event),
    /// Its earliest timer is due.
    Timer(ExecutionId),
    /// A sleeper's row is due.
    Row(ExecutionId, Timestamp),
    /// What it holds is to be looked at.
    Look(ExecutionId),
}

impl Input {
    /// Whose turn it may lead to; `None`: nobody's.
    pub(super) fn execution(&self) -> Option<ExecutionId> {
        match self {
            Input::Request(_, request) => match &**request {
                Request::Start { id, .. } | Request::Cancel(id, _) | Request::Redrive(id, _) => {
                    Some(*id)
                }
                Request::Signal(id, ..) => Some(*id),
                Request::Token(token, _) => Some(token.execution),
                Request::Claim(claim) => Some(claim.execution),
                Request::GiveBack(task) => Some(task.execution),
                Request::Spawn(start) => Some(start.child),
                Request::Wait(_)
                | Request::Gate(_)
                | Request::Lineage(_)
                | Request::Runs(_)
                | Request::Queued(_) => None,
            },
            Input::Step(id, ..)
            | Input::Event(id, _)
            | Input::Timer(id)
            | Input::Row(id, _)
            | Input::Look(id) => Some(*id),
            Input::Post(post) => post.execution(),
        }
    }
}

/// An input whose turn is away, and what came after it.
pub(super) struct Away {
    input: Input,
    /// When it came: the turn's time.
    came: Timestamp,
    queue: VecDeque<Input>,
    /// What of `Driver::hot_bytes` is this input's.
    weight: usize,
}

/// The event of a redrive; that there is one, and the program that it moves to.
type Redriven = (Event, Option<Option<Arc<Program>>>);

impl Driver {
    /// Takes an input in, unless its turn goes away or one of its execution's is away.
    pub(super) fn take(&mut self, input: Input, now: Timestamp) -> Result<(), Error> {
        let Some(id) = input.execution() else {
            return self.take_here(input, now);
        };
        if self.suspects.walks_kill(id).is_some() && !self.hot.contains_key(&id) {
            return self.take_unread(id, input, now);
        }
        if let Some(away) = self.away.get_mut(&id) {
            away.queue.push_back(input);
            return Ok(());
        }
        if let Some(queue) = self.hot.get_mut(&id).and_then(|hot| hot.spoiled.as_mut()) {
            queue.push(input);
            return Ok(());
        }
        let turn = match self.fetch(&input) {
            Some(fetch) => Some(fetch),
            None => self.costly_turn(&input, now),
        };
        let Some(turn) = turn else {
            return self.take_here(input, now);
        };
        let weight = match &turn.errand {
            Errand::Walk(begun) => weight(&begun.base, &begun.event),
            Errand::Fetch(..) | Errand::Look(_) => 0,
        };
        self.hot_bytes += weight;
        if let Some(at) = self.hot.get(&id).and_then(|hot| hot.timer) {
            self.timers.remove(&(at, id));
        }
        let away = Away {
            input,
            came: now,
            queue: VecDeque::new(),
            weight,
        };
        self.away.insert(id, away);
        let number = self.turns.number(&turn.flow.name);
        self.turns.push(number, Box::new(turn));
        self.send_turns();
        Ok(())
    }

    /// What comes for an execution that is parked because its turns kill the process: to read it
    /// would kill once more. Only somebody who wants it to end may try that.
    fn take_unread(&mut self, id: ExecutionId, input: Input, now: Timestamp) -> Result<(), Error> {
        match input {
            Input::Request(ticket, request) if !matches!(*request, Request::Cancel(..)) => {
                let refused = Reply::Refused(Error::Parked(id));
                self.out.push_back(Output::Reply(ticket, refused));
            }
            Input::Post(post) => self.keep_for(id, *post),
            Input::Request(..) => return self.take_here(input, now),
            Input::Step(..)
            | Input::Event(..)
            | Input::Timer(_)
            | Input::Row(..)
            | Input::Look(_) => {}
        }
        Ok(())
    }

    /// As many as may be away at once leave, flow by flow.
    fn send_turns(&mut self) {
        while self.turns_away < self.options.aside.at_once {
            let Some(turn) = self.turns.pop() else {
                return;
            };
            self.turns_away += 1;
            self.out.push_back(Output::Turn(turn));
        }
    }

    /// Turns that are away or wait to leave.
    #[must_use]
    pub fn turns_away(&self) -> usize {
        self.away.len()
    }

    /// A turn is back.
    /// # Errors
    /// `RUN0012` when the store cannot be read.
    pub fn walked(&mut self, walked: Walked, now: Timestamp) -> Result<(), Error> {
        let id = walked.id;
        let Some(away) = self.back(id) else {
            // It was given up.
            return Ok(());
        };
        let taken = match walked.found {
            Found::Walk(walk) => {
                self.walked = Some(*walk);
                self.take_here(away.input, away.came)
            }
            Found::Fetched(read) => {
                self.brought = Some((id, read.map(|read| *read)));
                self.take(away.input, away.came)
            }
            Found::Looked(bytes) => {
                self.looked(id, bytes, now);
                Ok(())
            }
        };
        (self.walked, self.brought) = (None, None);
        taken?;
        self.take_queue(id, away.queue, now)
    }

    /// A turn takes longer than anybody should wait, and nothing can stop it. Its execution
    /// is parked, or refused if it was to begin, so that a person hears of it and other turns
    /// may leave; what it decides in the end is thrown away. Nothing of it is in the log.
    /// # Errors
    /// `RUN0012` when the store cannot be read.
    pub fn turn_stuck(&mut self, id: ExecutionId, now: Timestamp) -> Result<(), Error> {
        let Some(away) = self.back(id) else {
            return Ok(());
        };
        if let Input::Request(ticket, _) = &away.input {
            let refused = Reply::Refused(Error::TurnStuck(id));
            self.out.push_back(Output::Reply(*ticket, refused));
        }
        if let Input::Post(post) = away.input {
            match *post {
                // It never began, and nothing else will end it.
                Post::Item(Item::Begin(start)) => {
                    let failure = Failure::new("Stepwell.TurnStuck", STUCK);
                    self.tell_of_item(start.link, id, Err(failure), Batch::default());
                }
                Post::Item(_) => {}
                // Its row stays where it is; it comes again when the execution has ended.
                post => self.keep_for(id, post),
            }
        }
        if self.hot.get(&id).is_some_and(|hot| hot.ended.is_none()) {
            let cause = format!("{STUCK}; the execution is parked until it is cancelled");
            self.park(id, Failure::new("Stepwell.TurnStuck", cause), now);
        }
        self.take_queue(id, away.queue, now)
    }

    fn back(&mut self, id: ExecutionId) -> Option<Away> {
        let away = self.away.remove(&id)?;
        self.turns_away = self.turns_away.saturating_sub(1);
        self.send_turns();
        self.hot_bytes = self.hot_bytes.saturating_sub(away.weight);
        if let Some(at) = self.hot.get(&id).and_then(|hot| hot.timer) {
            self.timers.insert((at, id));
        }
        Some(away)
    }

    fn take_queue(
        &mut self,
        id: ExecutionId,
        queue: VecDeque<Input>,
        now: Timestamp,
    ) -> Result<(), Error> {
        for input in queue {
            self.take(input, now)?;
        }
        // It may have been durable and idle all the while.
        self.settle(id, now);
        Ok(())
    }

    /// Takes in what had to wait. A store that cannot be read shows in every other place too:
    /// who asked is told, and the row of what was sent stays.
    pub(super) fn take_late(&mut self, input: Input, now: Timestamp) {
        let ticket = match &input {
            Input::Request(ticket, _) => Some(*ticket),
            _ => None,
        };
        if let (Err(e), Some(ticket)) = (self.take(input, now), ticket) {
            self.out.push_back(Output::Reply(ticket, Reply::Refused(e)));
        }
    }

    /// Takes an input in, here and now.
    fn take_here(&mut self, input: Input, now: Timestamp) -> Result<(), Error> {
        match input {
            Input::Request(ticket, request) => self.take_request(ticket, *request, now),
            Input::Step(id, entry, attempt, outcome) => {
                self.take_step(id, entry, attempt, *outcome, now);
            }
            Input::Post(post) => self.take_post(*post, now)?,
            Input::Event(id, event) => self.apply(id, event, now),
            Input::Timer(id) => self.fire(id, now),
            Input::Row(id, at) => self.wake_row(id, at, now)?,
            Input::Look(id) => self.look(id, now),
        }
        Ok(())
    }

    /// The turn that an input leads to, if it is better walked elsewhere.
    fn costly_turn(&mut self, input: &Input, now: Timestamp) -> Option<Turn> {
        if self.options.aside.at_once == 0 {
            return None;
        }
        let id = input.execution()?;
        let (event, rebase) = match input {
            Input::Request(_, request) => match &**request {
                Request::Start {
                    flow,
                    name,
                    input,
                    seed,
                    ..
                } => {
                    let shown = name.clone().unwrap_or_else(|| id.to_string().into());
                    return self.costly_start(id, flow, shown, input, *seed, None, now);
                }
                Request::Token(token, TokenAnswer::Ended(result)) => {
                    self.wake(id, now).ok()?;
                    let state = &self.hot.get(&id)?.state;
                    let (entry, attempt) = (token.entry, token.attempt);
                    let genuine = state.token(entry, attempt).proof == token.proof;
                    if !genuine || !state.awaits(entry, attempt) {
                        return None;
                    }
                    let result = result.clone();
                    (
                        Event::TokenEnded {
                            entry,
                            attempt,
                            result,
                        },
                        None,
                    )
                }
                Request::Spawn(start) => return self.costly_child(id, start, now),
                Request::Signal(_, signal, key) => (self.signalled(id, signal, *key, now)?, None),
                Request::Redrive(_, wish) => self.redriven(id, wish)?,
                _ => return None,
            },
            Input::Step(_, entry, attempt, outcome) => {
                let running = self.hot.get(&id)?.steps.get(&(*entry, *attempt))?;
                if running.set_aside {
                    return None;
                }
                (
                    Event::StepEnded {
                        entry: *entry,
                        attempt: *attempt,
                        result: outcome.result.clone(),
                        spent: outcome.spent,
                    },
                    None,
                )
            }
            Input::Post(post) => match &**post {
                Post::Delivery(delivery) => match &delivery.parcel {
                    Parcel::Start(start) if !self.has_room() => return None,
                    Parcel::Start(start) if start.again && self.is_there(start.child) => {
                        self.item_redriven(start, now)?
                    }
                    Parcel::Start(start) => return self.costly_child(id, start, now),
                    Parcel::Ended { link, result, .. } => {
                        self.wake(id, now).ok()?;
                        let state = &self.hot.get(&id)?.state;
                        let (entry, attempt) = (link.entry, link.attempt);
                        // An item of a distributed Map is joined without expressions.
                        let item = link.item.is_some();
                        if item
                            || state.awaits_start(entry, attempt)
                            || !state.awaits_child(entry, attempt)
                        {
                            return None;
                        }
                        let result = result.clone();
                        (
                            Event::ChildEnded {
                                entry,
                                attempt,
                                result,
                            },
                            None,
                        )
                    }
                    Parcel::Signal { send, flows, .. } => {
                        if self.forbidden(id, flows.as_deref()).is_some() {
                            return None;
                        }
                        (self.signalled(id, &send.signal, send.key, now)?, None)
                    }
                    Parcel::Cancel { .. } | Parcel::Tombstone { .. } => return None,
                },
                // Of its flow the turns of the Map are what cost: an item goes away for its own data.
                Post::Item(Item::Begin(start))
                    if start.input.len_bytes() >= self.options.aside.bytes =>
                {
                    return self.costly_child(id, start, now);
                }
                Post::Item(_) => return None,
                Post::Receipt { answer, .. } => {
                    self.wake(id, now).ok()?;
                    let heard = super::outbox::heard(answer)?;
                    let state = &self.hot.get(&id)?.state;
                    let (entry, attempt) = (heard.entry, heard.attempt);
                    if heard.item.is_some() || !state.awaits_start(entry, attempt) {
                        return None;
                    }
                    (
                        Event::StepEnded {
                            entry,
                            attempt,
                            result: heard.result,
                            spent: stepwell_types::Spent::default(),
                        },
                        None,
                    )
                }
            },
            Input::Event(_, event) => (event.clone(), None),
            Input::Timer(_) => {
                let (_, entry, timer) = self.hot.get(&id)?.state.next_timer()?;
                (Event::TimerFired { entry, timer }, None)
            }
            Input::Row(..) => return None,
            Input::Look(_) => {
                let hot = self.hot.get(&id).filter(|hot| hot.goes_on())?;
                let (flow, look) = (hot.flow.clone(), Errand::Look(hot.state.clone()));
                return Some(self.errand(id, flow, look));
            }
        };
        let hot = self.hot.get(&id)?;
        if hot.parked.is_some() || (hot.ended.is_some() && rebase.is_none()) {
            return None;
        }
        let rebase = rebase.flatten();
        if !self.is_costly(&hot.flow, weight(&hot.state, &event)) {
            return None;
        }
        let begun = Begun {
            program: hot.program.clone(),
            base: hot.state.clone(),
            rebase,
            event,
            at: now.max(hot.last_at),
        };
        let flow = hot.flow.clone();
        Some(self.errand(id, flow, Errand::Walk(Box::new(begun))))
    }

    /// Whether something of this execution is away.
    pub(super) fn is_away(&self, id: ExecutionId) -> bool {
        self.away.contains_key(&id)
    }

    fn costly_child(
        &mut self,
        id: ExecutionId,
        start: &ChildStart,
        now: Timestamp,
    ) -> Option<Turn> {
        let flow = self.flow_to_run(start)?;
        let shown = start.name.clone();
        let shown = shown.unwrap_or_else(|| id.to_string().into());
        let parent = Some(start.link.clone().into());
        let (input, seed) = (&start.input, start.seed);
        self.costly_start(id, &flow, shown, input, seed, parent, now)
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one start")]
    fn costly_start(
        &mut self,
        id: ExecutionId,
        flow: &FlowRef,
        name: Arc<str>,
        input: &stepwell_types::Data,
        seed: [u8; 16],
        parent: Option<Arc<ParentLink>>,
        now: Timestamp,
    ) -> Option<Turn> {
        let room = self.has_room_below(self.options.hot_max);
        let known = self.hot.contains_key(&id) || !room;
        if known || !self.is_costly(flow, input.len_bytes()) {
            return None;
        }
        let begun = Begun {
            program: self.programs.program(flow).ok()?,
            base: Arc::new(State::new(id)),
            rebase: None,
            event: Event::Started {
                flow: flow.clone(),
                name,
                input: input.clone(),
                seed,
                parent,
            },
            at: now,
        };
        Some(self.errand(id, flow.clone(), Errand::Walk(Box::new(begun))))
    }

    /// The event of a redrive of an execution in memory, and the program that it moves to.
    fn redriven(&self, id: ExecutionId, wish: &Redrive) -> Option<Redriven> {
        let hot = self.hot.get(&id)?;
        let other = other_version(&*self.programs, hot, wish.version).ok()?;
        let version = other.as_ref().map(|(p, flow)| (&**p, flow.version));
        let (wanted, input) = (wish.state.as_deref(), wish.input.clone());
        let event = hot.state.redrive(&hot.program, version, wanted, input);
        Some((event.ok()?, Some(other.map(|(program, _)| program))))
    }

    /// Whether the store or the memory has it.
    pub(super) fn is_there(&self, id: ExecutionId) -> bool {
        self.hot.contains_key(&id) || self.read_summary(id).is_ok()
    }

    /// The same of an item that a redriven Map wants again.
    fn item_redriven(&mut self, start: &ChildStart, now: Timestamp) -> Option<Redriven> {
        self.recall(start.child, now).ok()?;
        let hot = self.hot.get(&start.child)?;
        hot.ended?;
        let other = other_version(&*self.programs, hot, start.version).ok()?;
        let version = other.as_ref().map(|(p, flow)| (&**p, flow.version));
        let attempt = start.link.attempt;
        let event = hot.state.redrive_item(&hot.program, version, attempt);
        Some((event.ok()?, Some(other.map(|(program, _)| program))))
    }

    fn is_costly(&self, flow: &FlowRef, weight: usize) -> bool {
        weight >= self.options.aside.bytes
            || (!self.costly.is_empty() && self.costly.contains_key(flow))
    }

    /// Remembers what a turn of this flow has cost in counted operations.
    pub(super) fn learn(&mut self, flow: &FlowRef, operations: u64) {
        if operations >= self.options.aside.operations {
            if self.costly.len() >= COSTLY_MAX {
                self.costly.clear();
            }
            self.costly.insert(flow.clone(), WARY_TURNS);
        } else if !self.costly.is_empty()
            && let Some(left) = self.costly.get_mut(flow)
        {
            *left -= 1;
            if *left == 0 {
                self.costly.remove(flow);
            }
        }
    }
}
