//! The one way to a turn: every call to the outside passes here before its intent is recorded.
//!
//! A target (an HTTP host, an image, a machine, an activity) has a concurrency limit, a rate limit,
//! a pause that it asked for itself, and a circuit breaker. Who has to wait has left no intent: after a
//! crash the attempt runs again and asks again, so that nothing is lost with this memory.
//! Refuses to queue without end, and to count as under way what waits.

mod after;
mod breaker;
mod options;
mod queue;
mod rate;
mod target;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use stepwell_types::{
    AttemptId, ExecutionId, Failure, StepRequest, TargetKind, TargetName, TargetStatus, Timestamp,
    Waiting,
};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use breaker::Went;
pub use options::{Limit, LimitOptions, Rules};

use crate::gate::Gate;
use crate::http::WallClock;
use queue::Ticket;
use target::{Gone, Target, Turn};

/// A call that was given less time than this says nothing of its target by taking more.
const PATIENCE: Duration = Duration::from_secs(1);
/// Targets that are remembered at once, those in use apart.
const TARGETS_MAX: usize = 1_000;

/// Limits calls to the outside. Cheap to clone; share one among all bridges.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    options: LimitOptions,
    clock: WallClock,
    began: Instant,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    targets: HashMap<TargetName, Slot>,
    tickets: u64,
    /// Targets beyond which those that are not needed are dropped.
    sweep_at: usize,
}

impl Table {
    /// A ticket for who comes now. Who waited in an earlier life of the process may come in any order: there they
    /// go by when their states were entered, and before all others of their flow.
    fn ticket(&mut self, entered: Option<Timestamp>) -> Ticket {
        let number = self.tickets;
        self.tickets += 1;
        let before = entered.map_or(u64::MAX, |at| at.0.max(0).unsigned_abs());
        (Ticket::from(before) << 64) | Ticket::from(number)
    }
}

struct Slot {
    target: Target,
    waiting: HashMap<Ticket, Waiter>,
}

/// How a call that waits hears that something changed.
#[derive(Default)]
struct Wake {
    notify: Notify,
    /// It gave way to another flow's call.
    crowded: AtomicBool,
}

struct Waiter {
    wake: Arc<Wake>,
    by: AttemptId,
    state: Arc<str>,
    since: Timestamp,
}

/// Who asks for a turn.
#[derive(Clone)]
pub struct Asker {
    pub(crate) gate: Arc<dyn Gate>,
    /// What asked for the attempt.
    pub(crate) request: Arc<StepRequest>,
}

impl Asker {
    /// The attempt that a request asks for.
    #[must_use]
    pub fn new(gate: Arc<dyn Gate>, request: Arc<StepRequest>) -> Asker {
        Asker { gate, request }
    }

    /// Names the attempt.
    pub(crate) fn by(&self) -> AttemptId {
        self.request.id()
    }
}

impl Limiter {
    /// A limiter with these settings. `clock` tells people since when a call waits, and
    /// what a date in `Retry-After` means.
    #[must_use]
    pub fn new(options: LimitOptions, clock: WallClock) -> Limiter {
        Limiter(Arc::new(Inner {
            options,
            clock,
            began: Instant::now(),
            table: Mutex::default(),
        }))
    }

    /// Waits until a call may go: in turn among flows, first come first served within one, also over
    /// the death of a process.
    /// Dropping the future gives the place up.
    /// # Errors
    /// `Stepwell.CircuitOpen`, `Stepwell.TooManyWaiting`.
    pub(crate) async fn turn(&self, target: &TargetName, asker: &Asker) -> Result<Permit, Failure> {
        let waits = || asker.gate.waits(asker.by());
        self.both(target, asker, &waits).await
    }

    /// A further turn within a call whose intent is recorded: a stop waits for its answer, so the
    /// gate is told nothing. Whoever asks has given up the turn that he had: nobody waits for one
    /// place while he holds another.
    /// # Errors
    /// As [`Limiter::turn`].
    pub(crate) async fn further(
        &self,
        target: &TargetName,
        asker: &Asker,
    ) -> Result<Permit, Failure> {
        self.both(target, asker, &|| {}).await
    }

    /// A place with the target, then one among all of its kind: always in this order.
    async fn both(
        &self,
        target: &TargetName,
        asker: &Asker,
        waits: &(dyn Fn() + Sync),
    ) -> Result<Permit, Failure> {
        let mut permit = self.one(target, asker, waits).await?;
        if self.0.options.rules(target.kind).total > 0 {
            let all = TargetName::all(target.kind);
            permit.beside = Some(Box::new(self.one(&all, asker, waits).await?));
        }
        Ok(permit)
    }

    /// A turn for a call that was let go before a crash and is under way where it was sent.
    pub(crate) fn resume(&self, target: &TargetName) -> Permit {
        let mut permit = self.resumed(target);
        if self.0.options.rules(target.kind).total > 0 {
            permit.beside = Some(Box::new(self.resumed(&TargetName::all(target.kind))));
        }
        permit
    }

    fn resumed(&self, name: &TargetName) -> Permit {
        let now = self.0.now_us();
        let mut table = self.0.table.lock();
        let gone = self.0.slot(&mut table, name, now).target.resume(now);
        drop(table);
        self.permit(name, gone)
    }

    async fn one(
        &self,
        name: &TargetName,
        asker: &Asker,
        waits: &(dyn Fn() + Sync),
    ) -> Result<Permit, Failure> {
        let place = match self.enter(name, asker)? {
            Entered::Goes(permit) => return Ok(permit),
            Entered::Waits(place) => place,
        };
        waits();
        loop {
            let turn = match place.ask() {
                Some(turn) => turn,
                None => return Err(self.0.crowded(name)),
            };
            let until = match turn {
                Turn::Go(gone) => return Ok(self.permit(name, gone)),
                Turn::Refused => return Err(self.0.open(name)),
                Turn::Wait(until) => until,
            };
            let woken = place.wake.notify.notified();
            match until {
                None => woken.await,
                Some(us) => {
                    let at = self.0.began + Duration::from_micros(us);
                    let _ = tokio::time::timeout_at(at, woken).await;
                }
            }
        }
    }

    fn enter(&self, name: &TargetName, asker: &Asker) -> Result<Entered, Failure> {
        let now = self.0.now_us();
        let mut table = self.0.table.lock();
        let ticket = table.ticket(asker.request.entered);
        let slot = self.0.slot(&mut table, name, now);
        if slot.target.waiting() >= self.0.options.waiting_max {
            // Who asks for ten thousand calls keeps nobody else out.
            let Some(other) = slot.target.crowd_out(&asker.request.flow) else {
                drop(table);
                return Err(self.0.crowded(name));
            };
            if let Some(other) = slot.waiting.remove(&other) {
                other.wake.crowded.store(true, Ordering::Relaxed);
                other.wake.notify.notify_one();
            }
        }
        match slot.target.enter(&asker.request.flow, ticket, now) {
            Turn::Go(gone) => {
                drop(table);
                Ok(Entered::Goes(self.permit(name, gone)))
            }
            Turn::Refused => {
                drop(table);
                Err(self.0.open(name))
            }
            Turn::Wait(_) => {
                let wake = Arc::new(Wake::default());
                let waiter = Waiter {
                    wake: Arc::clone(&wake),
                    by: asker.by(),
                    state: Arc::clone(&asker.request.state),
                    since: (self.0.clock)(),
                };
                slot.waiting.insert(ticket, waiter);
                Ok(Entered::Waits(Place {
                    limiter: self.clone(),
                    name: name.clone(),
                    line: Arc::clone(&asker.request.flow),
                    ticket,
                    wake,
                }))
            }
        }
    }

    fn permit(&self, name: &TargetName, gone: Gone) -> Permit {
        Permit {
            limiter: self.clone(),
            name: name.clone(),
            gone,
            told: false,
            beside: None,
        }
    }

    /// Takes one of what may go to a target a second, for whoever has a queue of its own.
    /// # Errors
    /// How long there is none.
    pub fn reserve(&self, target: &TargetName) -> Result<(), Duration> {
        let now = self.0.now_us();
        let mut table = self.0.table.lock();
        let reserved = self.0.slot(&mut table, target, now).target.reserve(now);
        reserved.map_err(|at| Duration::from_micros(at.saturating_sub(now)))
    }

    /// How many calls may be under way to a target of this name; `None`: as many as come.
    #[must_use]
    pub fn concurrency(&self, kind: TargetKind, name: &str) -> Option<u32> {
        let limit = self.0.options.rules(kind).of(name);
        limit.concurrency.filter(|n| *n > 0)
    }

    /// What was reserved was not used.
    pub fn give_back(&self, target: &TargetName) {
        let now = self.0.now_us();
        let mut table = self.0.table.lock();
        if let Some(slot) = table.targets.get_mut(target) {
            slot.target.unreserve(now);
        }
    }

    /// Every target that was called lately, by name.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetStatus> {
        let now = self.0.now_us();
        let wall = |us: u64| (self.0.clock)().plus_ms(us.saturating_sub(now) / 1_000);
        let table = self.0.table.lock();
        let one = |(name, slot): (&TargetName, &Slot)| slot.target.status(name, now, wall);
        let mut all: Vec<_> = table.targets.iter().map(one).collect();
        drop(table);
        all.sort_by(|a, b| a.target.cmp(&b.target));
        all
    }

    /// The calls of an execution that wait for their turn, the longest first.
    #[must_use]
    pub fn waiting(&self, execution: ExecutionId) -> Vec<Waiting> {
        let now = self.0.now_us();
        let table = self.0.table.lock();
        let mut all = Vec::new();
        for (name, slot) in &table.targets {
            let mine = slot
                .waiting
                .values()
                .filter(|w| w.by.execution == execution);
            all.extend(mine.map(|waiter| Waiting {
                entry: waiter.by.entry,
                state: Arc::clone(&waiter.state),
                target: Some(name.clone()),
                reason: slot.target.reason(now),
                since: waiter.since,
            }));
        }
        drop(table);
        all.sort_by_key(|waiting| waiting.since);
        all
    }
}

enum Entered {
    Goes(Permit),
    Waits(Place),
}

/// A place in a queue. Dropping it gives it up.
struct Place {
    limiter: Limiter,
    name: TargetName,
    line: Arc<str>,
    ticket: Ticket,
    wake: Arc<Wake>,
}

impl Place {
    /// Asks for its turn. `None`: it gave way to another flow's call.
    fn ask(&self) -> Option<Turn> {
        let inner = &self.limiter.0;
        let now = inner.now_us();
        let mut table = inner.table.lock();
        let slot = table.targets.get_mut(&self.name)?;
        if !slot.waiting.contains_key(&self.ticket) {
            let crowded = self.wake.crowded.load(Ordering::Relaxed);
            return (!crowded).then_some(Turn::Refused);
        }
        let turn = slot.target.ask(&self.line, self.ticket, now);
        if !matches!(turn, Turn::Wait(_)) {
            slot.waiting.remove(&self.ticket);
            slot.wake(now);
        }
        Some(turn)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let inner = &self.limiter.0;
        let now = inner.now_us();
        let mut table = inner.table.lock();
        if let Some(slot) = table.targets.get_mut(&self.name)
            && slot.waiting.remove(&self.ticket).is_some()
        {
            slot.target.leave(&self.line, self.ticket);
            slot.wake(now);
        }
    }
}

/// Leave to make one call. Dropping it says that the call is no longer under way.
pub(crate) struct Permit {
    limiter: Limiter,
    name: TargetName,
    gone: Gone,
    told: bool,
    /// The one for all of its kind.
    beside: Option<Box<Permit>>,
}

impl Permit {
    /// Whom it may call.
    pub(crate) fn target(&self) -> &TargetName {
        &self.name
    }

    /// Whether somebody said how the call went.
    pub(crate) fn is_told(&self) -> bool {
        self.told
    }

    /// How the call went. The first word counts.
    pub(crate) fn tell(&mut self, went: Went) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let inner = &self.limiter.0;
        let now = inner.now_us();
        let mut table = inner.table.lock();
        if let Some(slot) = table.targets.get_mut(&self.name) {
            if slot.target.tell(self.gone, went, now) {
                tracing::warn!(target = %self.name, "its circuit is open: calls fail at once for a while");
            }
            slot.wake(now);
        }
    }

    /// The call brought no answer: by its failure's name that is the target's doing, or not.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        if &*failure.error == "Stepwell.HttpDenied" {
            self.unsent();
        }
        self.tell(match &*failure.error {
            "States.Http.Socket" | "Stepwell.HttpCertificate" => Went::Badly,
            _ => Went::Neither,
        });
    }

    /// The call was refused here, at the last moment: whoever asks is told of no call, and what
    /// it took of a rate is there for others.
    fn unsent(&self) {
        let now = self.limiter.0.now_us();
        let mut table = self.limiter.0.table.lock();
        if let Some(slot) = table.targets.get_mut(&self.name) {
            slot.target.unsent(self.gone, now);
        }
        drop(table);
        if let Some(beside) = &self.beside {
            beside.unsent();
        }
    }

    /// The call took longer than it may. Nobody's impatience opens a circuit for others.
    pub(crate) fn timed_out(&mut self, after: Duration) {
        self.tell(match after >= PATIENCE {
            true => Went::Badly,
            false => Went::Neither,
        });
    }

    /// The target answered: it may ask to be left alone for a while, and 5xx is its own
    /// failure unless it asks so (or says that it never knew the method).
    pub(crate) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        let inner = Arc::clone(&self.limiter.0);
        let max = inner.options.retry_after_ms_max;
        let pause = after::pause_ms(status, headers, (inner.clock)(), max);
        if let Some(ms) = pause {
            let until = inner.now_us().saturating_add(ms.saturating_mul(1_000));
            let mut table = inner.table.lock();
            if let Some(slot) = table.targets.get_mut(&self.name) {
                slot.target.pause(until);
            }
        }
        let broken = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
        self.tell(match broken && pause.is_none() {
            true => Went::Badly,
            false => Went::Well,
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.tell(Went::Neither);
        let inner = &self.limiter.0;
        let now = inner.now_us();
        let mut table = inner.table.lock();
        if let Some(slot) = table.targets.get_mut(&self.name) {
            slot.target.end();
            slot.wake(now);
        }
    }
}

impl Slot {
    /// Wakes whoever may go or fail now.
    fn wake(&mut self, now_us: u64) {
        if self.target.refuses(now_us) {
            // All at once: each by itself would look through all the others.
            self.target.refuse_waiting();
            for (_, waiter) in self.waiting.drain() {
                waiter.wake.notify.notify_one();
            }
        } else if let Some(waiter) = self.target.head().and_then(|t| self.waiting.get(&t)) {
            waiter.wake.notify.notify_one();
        }
    }
}

impl Inner {
    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The target of this name, made if it is new.
    fn slot<'t>(&self, table: &'t mut Table, name: &TargetName, now_us: u64) -> &'t mut Slot {
        let targets = &mut table.targets;
        let sweep_at = table.sweep_at.max(TARGETS_MAX);
        if targets.len() >= sweep_at && !targets.contains_key(name) {
            targets.retain(|_, slot| !slot.target.is_at_rest(now_us));
            if targets.len() >= TARGETS_MAX {
                // Guests make names up: what circuits remember of them gives way, but no limit.
                targets.retain(|_, slot| !slot.target.owes_nothing(now_us));
            }
            table.sweep_at = 2 * targets.len();
        }
        targets.entry(name.clone()).or_insert_with(|| {
            let rules = self.options.rules(name.kind);
            let target = if name.name.is_none() {
                let limit = Limit {
                    concurrency: Some(rules.total),
                    ..Limit::default()
                };
                Target::new(limit, 0, 0)
            } else {
                let open_us = self.options.open_ms.saturating_mul(1_000);
                Target::new(
                    rules.of(name.name.as_deref().unwrap_or_default()),
                    self.options.failures_max,
                    open_us,
                )
            };
            Slot {
                target,
                waiting: HashMap::new(),
            }
        })
    }

    fn crowded(&self, name: &TargetName) -> Failure {
        let max = self.options.waiting_max;
        Failure::new(
            "Stepwell.TooManyWaiting",
            format!("{max} calls wait for {name} already; try again later"),
        )
    }

    fn open(&self, name: &TargetName) -> Failure {
        let now = self.now_us();
        let table = self.table.lock();
        let slot = table.targets.get(name);
        let until = slot.and_then(|slot| slot.target.open_until(now));
        drop(table);
        let when = match until {
            Some(until) => format!("in {} s", until.saturating_sub(now).div_ceil(1_000_000)),
            None => "this moment".to_owned(),
        };
        Failure::new(
            "Stepwell.CircuitOpen",
            format!(
                "calls to {name} failed in a row; one is tried {when}, the others fail at once"
            ),
        )
    }
}

/// The host that a URL leads to: with its port unless that is the scheme's own.
pub(crate) fn host(url: &url::Url) -> TargetName {
    let host = url.host_str().unwrap_or_default();
    let host = host.strip_suffix('.').unwrap_or(host);
    match url.port() {
        Some(port) => TargetName::new(TargetKind::Host, format!("{host}:{port}")),
        None => TargetName::new(TargetKind::Host, host),
    }
}

#[cfg(test)]
mod tests;
