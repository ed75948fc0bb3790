//! One loop: its inbox, its driver's work and outputs, and when to seal and to sleep.

use std::collections::HashMap;
use std::future::Future;
use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt as _;
use stepwell_interpreter::codec::Logged;
use stepwell_types::{
    AttemptId, BridgeAnswer, BridgeCall, EntryId, ExecutionId, Failure, LogLine, Spent,
    StepOutcome, StepRequest, StepTarget,
};
use tokio::sync::oneshot;

use super::inbox::Letters;
use super::processors::{OnRecord, Processors};
use super::slow::Slow;
use super::{Message, ReplyTo, Shared};
use crate::Error;
use crate::driver::{Driver, Output, Reply, Request, Ticket, Turn, each_row};
use crate::executions::{Ask, Asking};
use crate::gate::{GateHandle, GateKeeper, Verdict, VerdictFuture};
use crate::ports::StepRunner;

/// Messages taken in one go, before work.
const INBOX_TURN: usize = 256;
/// Microseconds of work before connections get a turn. Who uses a busy loop waits for
/// some turns: until it is read, until its commit is seen, until its answer is sent.
const TURN_US: u64 = 250;
/// Age in microseconds at which an open batch that nobody waits for is handed over
/// although work goes on.
const BULK_US: u64 = 5_000;
/// Age at which it is when there is no work. What an attempt does next may come soon, and
/// would have to wait for a commit that has begun: so the answer to a guest's call and the
/// intent of its next share one.
const QUIET_US: u64 = 2_000;
/// Bytes at which it is.
const BULK_BYTES: usize = 256 << 10;
/// Longest sleep: a wall clock that stepped is noticed after this.
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// One driver with its surroundings.
pub(super) struct EventLoop {
    index: usize,
    driver: Driver,
    inbox: Letters,
    shared: Arc<Shared>,
    runner: Arc<dyn StepRunner>,
    processors: Arc<Processors>,
    gate: GateHandle,
    pool: tokio::runtime::Handle,
    fatal: Arc<dyn Fn(Error) + Send + Sync>,
    replies: HashMap<Ticket, ReplyTo>,
    tasks: HashMap<(ExecutionId, EntryId, u32), tokio::task::AbortHandle>,
    /// When the oldest unsealed record came, in monotonic microseconds.
    unsealed_since: Option<u64>,
    stop_at_us: Option<u64>,
    slow: Slow,
}

impl EventLoop {
    #[allow(
        clippy::too_many_arguments,
        reason = "a loop is wired once, from parts that have nothing else in common"
    )]
    pub fn new(
        index: usize,
        driver: Driver,
        inbox: Letters,
        shared: Arc<Shared>,
        runner: Arc<dyn StepRunner>,
        processors: Arc<Processors>,
        pool: tokio::runtime::Handle,
        fatal: Arc<dyn Fn(Error) + Send + Sync>,
    ) -> EventLoop {
        let gate = Arc::new(LoopGate {
            shared: shared.clone(),
        });
        EventLoop {
            index,
            driver,
            inbox,
            shared,
            runner,
            processors,
            gate,
            pool,
            fatal,
            replies: HashMap::new(),
            tasks: HashMap::new(),
            unsealed_since: None,
            stop_at_us: None,
            slow: Slow::default(),
        }
    }

    /// Runs until stopped.
    pub async fn run(mut self) {
        // What recovery found shows before the first commit.
        self.shared.put_metrics(self.index, self.driver.metrics());
        loop {
            let begun = self.shared.clock.monotonic_us();
            for _ in 0..INBOX_TURN {
                match self.inbox.try_recv() {
                    Some(message) => self.take(message),
                    None => break,
                }
                if self.shared.clock.monotonic_us() - begun >= TURN_US {
                    break;
                }
            }
            let now = self.shared.clock.now();
            if self.driver.next_tick().is_some_and(|at| at <= now)
                && let Err(e) = self.driver.tick(now)
            {
                (self.fatal)(e);
                return;
            }
            self.work();
            self.seal();
            if self.is_done() {
                break;
            }
            if self.driver.has_work() {
                tokio::task::yield_now().await;
                continue;
            }
            // Gauges change without a commit too: what they say while nothing moves must be true.
            self.shared.put_metrics(self.index, self.driver.metrics());
            let wait = self.sleep_for();
            tokio::select! {
                biased;
                message = self.inbox.recv() => match message {
                    Some(message) => self.take(message),
                    None => break,
                },
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.shared.put_metrics(self.index, self.driver.metrics());
    }

    /// Some of the ready work, and everything that it wants done.
    fn work(&mut self) {
        let begun = self.shared.clock.monotonic_us();
        self.drain();
        while self.driver.work(self.shared.clock.now()) {
            self.drain();
            if self.shared.clock.monotonic_us() - begun >= TURN_US {
                break;
            }
        }
        self.drain();
    }

    /// Hands the open batch over when somebody waits for it and there is nothing more to add
    /// or a commit is due, or when it is old or large.
    fn seal(&mut self) {
        if !self.driver.has_unsealed() {
            self.unsealed_since = None;
            return;
        }
        let now = self.shared.clock.monotonic_us();
        let since = *self.unsealed_since.get_or_insert(now);
        let effects = self.driver.effects();
        let due = effects > 0 && self.shared.committer.is_due();
        let more = self.driver.has_work();
        let may_wait = if more { BULK_US } else { QUIET_US };
        let old = now - since >= may_wait || self.driver.open_bytes() >= BULK_BYTES;
        let idle = !more && (effects > 0 || self.stop_at_us.is_some());
        if !due && !idle && !old {
            return;
        }
        self.unsealed_since = None;
        if let Some((number, batch)) = self.driver.seal() {
            let inbox = self.shared.inboxes.get(self.index).cloned();
            self.shared.committer.submit(
                batch,
                effects,
                Box::new(move || {
                    if let Some(inbox) = inbox {
                        inbox.send(Message::Committed(number));
                    }
                }),
            );
        }
    }

    fn take(&mut self, message: Message) {
        let now = self.shared.clock.now();
        match message {
            Message::Request(ticket, request, reply_to) => {
                self.replies.insert(ticket, reply_to);
                self.driver.request(ticket, request, now);
            }
            Message::Forget(ticket, id) => {
                self.replies.remove(&ticket);
                self.driver.forget(ticket, id);
            }
            Message::StepEnded(id, entry, attempt, outcome) => {
                self.tasks.remove(&(id, entry, attempt));
                self.driver.step_ended(id, entry, attempt, *outcome, now);
            }
            Message::Waits(by) => self.driver.step_waits(by),
            Message::Answered(answer) => self.driver.call_answered(*answer, now),
            Message::Lines(id, entry, attempt, lines) => {
                self.driver.lines(id, entry, attempt, lines, now);
            }
            Message::Committed(number) => {
                let changed = self.driver.committed(number, now);
                self.shared.watchers.announce(&changed);
                self.shared.put_metrics(self.index, self.driver.metrics());
            }
            Message::Post(post) => {
                if let Err(e) = self.driver.post(*post, now) {
                    (self.fatal)(e);
                }
            }
            Message::Walked(walked) => {
                if let Err(e) = self.driver.walked(*walked, now) {
                    (self.fatal)(e);
                }
            }
            Message::TurnStuck(id) => {
                if let Err(e) = self.driver.turn_stuck(id, now) {
                    (self.fatal)(e);
                }
            }
            Message::Disk(full) => self.driver.set_disk(full),
            Message::Stop { grace } => {
                self.driver.stop();
                let grace = u64::try_from(grace.as_micros()).unwrap_or(u64::MAX);
                self.stop_at_us = Some(self.shared.clock.monotonic_us().saturating_add(grace));
            }
        }
    }

    /// Carries out what the driver wants done.
    fn drain(&mut self) {
        while let Some(output) = self.driver.output() {
            match output {
                Output::Run(request) => self.run_step(*request, false),
                Output::RunAlone(request) => self.run_step(*request, true),
                Output::Abort {
                    execution,
                    entry,
                    attempt,
                } => {
                    if let Some(task) = self.tasks.remove(&(execution, entry, attempt)) {
                        task.abort();
                    }
                }
                Output::Turn(turn) => self.send_turn(*turn),
                Output::Discard(state) => {
                    self.pool.spawn_blocking(move || drop(state));
                }
                Output::Landed(hold) => hold.landed(),
                Output::GivenUp(hold) => {
                    self.pool.spawn_blocking(move || drop(hold));
                }
                Output::TaskWaits(activity) => self.shared.watchers.task_waits(&activity),
                Output::TaskFreed(activity, task) => {
                    self.shared.claims.free(&activity, task);
                    self.shared.watchers.task_waits(&activity);
                }
                Output::Send(post) => {
                    // A loop that is gone has left the row: the next process sends again.
                    if let Some(inbox) = self.shared.inbox_of(post.to()) {
                        inbox.send(Message::Post(Box::new(post)));
                    }
                }
                Output::Reply(ticket, reply) => {
                    // Whoever asked may be gone; the log remembers the answer.
                    let untold = match self.replies.remove(&ticket) {
                        Some(to) => to.send(reply).err(),
                        None => Some(reply),
                    };
                    if let Some(Reply::Claimed(Some(task))) = untold {
                        let now = self.shared.clock.now();
                        let ticket = self.shared.new_ticket();
                        self.driver.request(ticket, Request::GiveBack(task), now);
                    }
                }
            }
        }
    }

    /// Polls a module's step once right here, unless its module held the loop up lately; moves it
    /// to the pool if it needs longer.
    fn run_step(&mut self, request: StepRequest, alone: bool) {
        let (id, entry, attempt) = (request.execution, request.entry, request.attempt);
        let module = match &request.target {
            StepTarget::Wasm { digest, .. } => Some(*digest),
            _ => None,
        };
        let future = self.runner.run(request, self.gate.clone());
        let mut future = OnRecord {
            inner: AssertUnwindSafe(future).catch_unwind(),
            step: (id, entry, attempt),
            alone,
            processors: module.map(|_| self.processors.clone()),
        };
        let began = self.shared.clock.monotonic_us();
        if let Some(module) = module.filter(|m| self.slow.may_begin_here(m, began)) {
            let mut context = Context::from_waker(Waker::noop());
            let polled = Pin::new(&mut future).poll(&mut context);
            let ended = self.shared.clock.monotonic_us();
            self.slow.took(module, began, ended);
            if let Poll::Ready(outcome) = polled {
                let now = self.shared.clock.now();
                let outcome = outcome.unwrap_or_else(|_| panicked());
                self.driver.step_ended(id, entry, attempt, outcome, now);
                return;
            }
        }
        self.driver.step_pending(id, entry, attempt);
        let inbox = self.shared.inboxes.get(self.index).cloned();
        let task = self.pool.spawn(async move {
            let outcome = future.await.unwrap_or_else(|_| panicked());
            if let Some(inbox) = inbox {
                inbox.send(Message::StepEnded(id, entry, attempt, Box::new(outcome)));
            }
        });
        self.tasks.insert((id, entry, attempt), task.abort_handle());
    }

    /// Walks a turn on a thread where it holds nobody up. It cannot be interrupted: one
    /// that takes too long is reported, and its thread is its own until it is done.
    fn send_turn(&self, turn: Turn) {
        let Some(inbox) = self.shared.inboxes.get(self.index).cloned() else {
            return;
        };
        let (id, flow) = (turn.execution(), turn.flow().clone());
        let max = turn.may_stick().then_some(self.shared.turn_max);
        self.pool.spawn(async move {
            let mut walk = tokio::task::spawn_blocking(move || turn.walk());
            let in_time = match max {
                Some(max) => tokio::time::timeout(max, &mut walk).await.ok(),
                None => Some((&mut walk).await),
            };
            let walked = match in_time {
                Some(walked) => walked,
                None => {
                    tracing::error!(
                        execution = %id,
                        flow = %flow.name,
                        version = flow.version,
                        "a turn takes too long: its execution is parked, or was not started"
                    );
                    inbox.send(Message::TurnStuck(id));
                    walk.await
                }
            };
            // A walk catches its own panics; only the end of the process cancels it.
            if let Ok(walked) = walked {
                inbox.send(Message::Walked(Box::new(walked)));
            }
        });
    }

    /// How long nothing is due.
    fn sleep_for(&self) -> Duration {
        let now = self.shared.clock.now();
        let timer = self
            .driver
            .next_tick()
            .map_or(SLEEP_MAX, |at| Duration::from_millis(at.since_ms(now)));
        let mut wait = timer.min(SLEEP_MAX);
        if let Some(since) = self.unsealed_since {
            let left = (since + QUIET_US).saturating_sub(self.shared.clock.monotonic_us());
            wait = wait.min(Duration::from_micros(left));
        }
        if let Some(stop) = self.stop_at_us {
            let left = stop.saturating_sub(self.shared.clock.monotonic_us());
            wait = wait.min(Duration::from_micros(left));
        }
        wait
    }

    /// Stopping, and everything is durable or out of time.
    fn is_done(&mut self) -> bool {
        let Some(stop_at) = self.stop_at_us else {
            return false;
        };
        let late = self.shared.clock.monotonic_us() >= stop_at;
        if late {
            for (_, task) in self.tasks.drain() {
                task.abort();
            }
        }
        // The end of a child that is kept in memory is in its post alone.
        let idle = self.driver.steps_running() == 0
            && self.driver.turns_away() == 0
            && !self.inbox.has_posts();
        (idle || late) && !self.driver.has_unsealed() && self.driver.undurable_bytes() == 0
    }
}

/// The outcome of a step whose host code panicked: one execution's trouble, not ours.
fn panicked() -> StepOutcome {
    StepOutcome {
        result: Err(Failure::new(
            "Stepwell.EngineFault",
            "the step runner panicked; please report it",
        )),
        spent: Spent::default(),
        logs: Vec::new(),
        effects: None,
        notes: None,
    }
}

/// The gate of every loop: sends the call to the loop that owns its execution.
pub(crate) struct LoopGate {
    pub(crate) shared: Arc<Shared>,
}

impl GateKeeper for LoopGate {
    fn admit(&self, call: BridgeCall) -> VerdictFuture {
        let id = call.by.execution;
        let asked = Asked::begin(self.shared.clone(), id, Request::Gate(call));
        Box::pin(async move {
            match asked {
                Ok(asked) => match asked.answer().await {
                    Ok(Reply::Gate(verdict)) => verdict,
                    _ => Verdict::Stopped,
                },
                Err(_) => Verdict::Stopped,
            }
        })
    }

    fn waits(&self, by: AttemptId) {
        if let Some(inbox) = self.shared.inbox_of(by.execution) {
            inbox.send(Message::Waits(by));
        }
    }

    fn answered(&self, answer: BridgeAnswer) {
        if let Some(inbox) = self.shared.inbox_of(answer.by.execution) {
            inbox.send(Message::Answered(Box::new(answer)));
        }
    }

    fn log(&self, call: &BridgeCall, lines: Vec<LogLine>) {
        let (id, entry, attempt) = (call.by.execution, call.by.entry, call.by.attempt);
        if let Some(inbox) = self.shared.inbox_of(id) {
            inbox.send(Message::Lines(id, entry, attempt, lines));
        }
    }

    fn logged(&self, call: &BridgeCall) -> Pin<Box<dyn Future<Output = usize> + Send>> {
        let reader = self.shared.reader.clone();
        let (id, own, number) = (
            call.by.execution,
            (call.by.entry, call.by.attempt),
            call.call,
        );
        Box::pin(async move {
            let count = tokio::task::spawn_blocking(move || {
                // What stands before its intent is of calls that the attempt made before.
                let (mut begun, mut count) = (false, 0);
                let counted = each_row(&*reader, id, 0, &mut |_, records| {
                    for logged in records {
                        match logged {
                            Logged::CallIntent {
                                entry,
                                attempt,
                                call,
                                ..
                            } if (entry, attempt) == own => begun |= call == number,
                            Logged::Logs {
                                entry,
                                attempt,
                                lines,
                                ..
                            } if begun && (entry, attempt) == own => count += lines.len(),
                            _ => {}
                        }
                    }
                });
                counted.map_or(0, |()| count)
            });
            count.await.unwrap_or_default()
        })
    }
}

impl Ask for LoopGate {
    fn ask(&self, id: ExecutionId, request: Request) -> Asking {
        let shared = self.shared.clone();
        Box::pin(async move { shared.ask(id, request).await })
    }
}

impl Shared {
    /// The inbox of the loop that owns an execution.
    pub(crate) fn inbox_of(&self, id: ExecutionId) -> Option<&super::Inbox> {
        self.inboxes.get(super::loop_of(id, self.inboxes.len()))
    }

    /// An execution of a flow that runs, as the loops have it in memory, when all that they had let
    /// in is durable.
    pub(crate) async fn running(&self, flow: Arc<str>) -> Result<Option<ExecutionId>, Error> {
        let mut asked = Vec::new();
        for inbox in &self.inboxes {
            let (reply_to, reply) = oneshot::channel();
            let request = Request::Runs(flow.clone());
            if !inbox.send(Message::Request(self.new_ticket(), request, reply_to)) {
                return Err(Error::Stopping);
            }
            asked.push(reply);
        }
        let mut found = None;
        for reply in asked {
            match reply.await {
                Ok(Reply::Runs(id)) => found = found.or(id),
                Ok(Reply::Refused(e)) => return Err(e),
                Ok(_) | Err(_) => return Err(Error::Stopping),
            }
        }
        Ok(found)
    }

    /// Asks the loop that owns `id`; the answer comes when it is durable.
    pub(crate) async fn ask(&self, id: ExecutionId, request: Request) -> Result<Reply, Error> {
        Asked::begin(self, id, request)?.answer().await
    }
}

/// A loop was asked. Tells it when whoever asked has gone, so that no ticket is kept for ever and
/// no task is handed to nobody.
struct Asked<S: Deref<Target = Shared>> {
    shared: S,
    ticket: Ticket,
    id: ExecutionId,
    reply: oneshot::Receiver<Reply>,
    answered: bool,
}

impl<S: Deref<Target = Shared>> Asked<S> {
    /// Asks the loop that owns `id`.
    fn begin(shared: S, id: ExecutionId, request: Request) -> Result<Asked<S>, Error> {
        let ticket = shared.new_ticket();
        let (reply_to, reply) = oneshot::channel();
        let inbox = shared.inbox_of(id).ok_or(Error::Stopping)?;
        if !inbox.send(Message::Request(ticket, request, reply_to)) {
            return Err(Error::Stopping);
        }
        Ok(Asked {
            shared,
            ticket,
            id,
            reply,
            answered: false,
        })
    }

    /// Its answer, when that is durable.
    async fn answer(mut self) -> Result<Reply, Error> {
        let reply = (&mut self.reply).await;
        self.answered = true;
        match reply {
            Ok(Reply::Refused(e)) => Err(e),
            Ok(reply) => Ok(reply),
            Err(_) => Err(Error::Stopping),
        }
    }
}

impl<S: Deref<Target = Shared>> Drop for Asked<S> {
    fn drop(&mut self) {
        let Some(inbox) = self.shared.inbox_of(self.id).filter(|_| !self.answered) else {
            return;
        };
        // From here on the loop sees that nobody takes its answer.
        self.reply.close();
        match self.reply.try_recv() {
            Ok(Reply::Claimed(Some(task))) => {
                let (nobody, _) = oneshot::channel();
                let request = Request::GiveBack(task);
                inbox.send(Message::Request(self.shared.new_ticket(), request, nobody));
            }
            Ok(_) => {}
            Err(_) => {
                inbox.send(Message::Forget(self.ticket, self.id));
            }
        }
    }
}
