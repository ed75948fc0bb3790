//! One target: its limits, its circuit and who waits for it, as a function of time.
//!
//! Reads no clock and wakes nobody: the limiter does.

use std::sync::Arc;

use stepwell_types::{Circuit, TargetName, TargetStatus, WaitReason};

use super::breaker::{Breaker, Epoch, Went};
use super::options::Limit;
use super::queue::{FairQueue, Ticket};
use super::rate::Rate;

/// A call that was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone {
    epoch: Epoch,
    /// As [`Rate::take`] said.
    taken_us: u64,
}

/// What may be done about a call that waits. Microseconds of a steady clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It goes.
    Go(Gone),
    /// Not before this moment; `None`: not before something changes.
    Wait(Option<u64>),
    /// It fails at once: the circuit is open.
    Refused,
}

/// One target.
#[derive(Debug)]
pub(super) struct Target {
    concurrency: Option<u32>,
    per_second: Option<f64>,
    rate: Option<Rate>,
    breaker: Breaker,
    under_way: u32,
    paused_until_us: u64,
    /// Tickets, a line for each flow.
    queue: FairQueue<Arc<str>>,
    calls: u64,
    failed: u64,
    refused: u64,
    /// What the last call that was reserved took.
    reserved_us: u64,
}

impl Target {
    pub(super) fn new(limit: Limit, failures_max: u32, open_us: u64) -> Target {
        let per_second = limit.per_second.filter(|n| *n > 0.0);
        Target {
            concurrency: limit.concurrency.filter(|n| *n > 0),
            per_second,
            rate: per_second.map(|n| Rate::new(n, limit.burst.unwrap_or_else(|| worth(n)))),
            breaker: Breaker::new(failures_max, open_us),
            under_way: 0,
            paused_until_us: 0,
            queue: FairQueue::new(),
            calls: 0,
            failed: 0,
            refused: 0,
            reserved_us: 0,
        }
    }

    /// Whether a call has to wait or fail, leaving out who waits before it.
    fn obstacle(&self, now_us: u64) -> Option<(WaitReason, Option<u64>)> {
        if now_us < self.paused_until_us {
            return Some((WaitReason::RetryAfter, Some(self.paused_until_us)));
        }
        if self.concurrency.is_some_and(|max| self.under_way >= max) {
            return Some((WaitReason::Concurrency, None));
        }
        let free_at = self.rate.as_ref().map_or(0, Rate::free_at);
        (now_us < free_at).then_some((WaitReason::Rate, Some(free_at)))
    }

    /// What calls wait for.
    pub(super) fn reason(&self, now_us: u64) -> WaitReason {
        // Who is behind others waits for what they wait for; where nothing is in the way, the
        // next one goes this moment.
        self.obstacle(now_us)
            .map_or(WaitReason::Concurrency, |(reason, _)| reason)
    }

    /// A new call: it goes, fails, or gets a place in the queue.
    pub(super) fn enter(&mut self, line: &Arc<str>, ticket: Ticket, now_us: u64) -> Turn {
        if self.breaker.refuses(now_us) {
            self.refused += 1;
            return Turn::Refused;
        }
        if self.queue.len() == 0 && self.obstacle(now_us).is_none() {
            return Turn::Go(self.go(now_us));
        }
        self.queue.push(line, ticket);
        Turn::Wait(None)
    }

    /// Asks for a call in the queue. Unless it is told to wait, it is in the queue no longer.
    pub(super) fn ask(&mut self, line: &Arc<str>, ticket: Ticket, now_us: u64) -> Turn {
        if self.breaker.refuses(now_us) {
            self.queue.remove(line, ticket);
            self.refused += 1;
            return Turn::Refused;
        }
        if self.queue.head() != Some(ticket) {
            return Turn::Wait(None);
        }
        if let Some((_, until)) = self.obstacle(now_us) {
            return Turn::Wait(until);
        }
        self.queue.pop();
        Turn::Go(self.go(now_us))
    }

    /// A call that was let go in an earlier life and is under way: it waits for nothing.
    pub(super) fn resume(&mut self, now_us: u64) -> Gone {
        self.go(now_us)
    }

    /// Takes one of what may come a second, for what waits in a queue of its own.
    /// # Errors
    /// When there is one.
    pub(super) fn reserve(&mut self, now_us: u64) -> Result<(), u64> {
        let free_at = self.rate.as_ref().map_or(0, Rate::free_at);
        if now_us < free_at {
            return Err(free_at);
        }
        self.reserved_us = self.rate.as_mut().map_or(0, |rate| rate.take(now_us));
        self.calls += 1;
        Ok(())
    }

    /// What was reserved a moment ago was not used.
    pub(super) fn unreserve(&mut self, now_us: u64) {
        self.give_back(self.reserved_us, now_us);
    }

    /// A call that was let go was not made.
    pub(super) fn unsent(&mut self, gone: Gone, now_us: u64) {
        self.give_back(gone.taken_us, now_us);
    }

    fn give_back(&mut self, taken_us: u64, now_us: u64) {
        if let Some(rate) = &mut self.rate {
            rate.give_back(taken_us, now_us);
        }
        self.calls = self.calls.saturating_sub(1);
    }

    fn go(&mut self, now_us: u64) -> Gone {
        let taken_us = self.rate.as_mut().map_or(0, |rate| rate.take(now_us));
        self.under_way += 1;
        self.calls += 1;
        Gone {
            epoch: self.breaker.begin(now_us),
            taken_us,
        }
    }

    /// A call in the queue is given up.
    pub(super) fn leave(&mut self, line: &Arc<str>, ticket: Ticket) {
        self.queue.remove(line, ticket);
    }

    /// Makes room in a full queue for a call of this line: the ticket that goes instead, from the
    /// longest line. `None`: the call itself is refused.
    pub(super) fn crowd_out(&mut self, line: &Arc<str>) -> Option<Ticket> {
        self.refused += 1;
        let (longest, last) = self.queue.crowds(line)?;
        self.queue.remove(&longest, last);
        Some(last)
    }

    /// Refuses all that wait.
    pub(super) fn refuse_waiting(&mut self) {
        self.refused += self.queue.len() as u64;
        self.queue.clear();
    }

    /// How a call went. Whether the circuit opened.
    pub(super) fn tell(&mut self, gone: Gone, went: Went, now_us: u64) -> bool {
        self.failed += u64::from(went == Went::Badly);
        self.breaker.end(gone.epoch, went, now_us)
    }

    /// A call is no longer under way.
    pub(super) fn end(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// No call goes before this moment. An earlier wish counts no more.
    pub(super) fn pause(&mut self, until_us: u64) {
        self.paused_until_us = self.paused_until_us.max(until_us);
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The ticket that is next.
    pub(super) fn head(&self) -> Option<Ticket> {
        self.queue.head()
    }

    pub(super) fn refuses(&self, now_us: u64) -> bool {
        self.breaker.refuses(now_us)
    }

    /// When an open circuit lets a call try.
    pub(super) fn open_until(&self, now_us: u64) -> Option<u64> {
        self.breaker.stands(now_us).1
    }

    /// Nobody uses it.
    fn is_idle(&self) -> bool {
        self.under_way == 0 && self.queue.len() == 0
    }

    /// Nobody uses it, and a new one in its place would be as good.
    pub(super) fn is_at_rest(&self, now_us: u64) -> bool {
        self.breaker.is_fresh() && self.owes_nothing(now_us)
    }

    /// Nobody uses it, and a new one in its place would let no call go earlier.
    pub(super) fn owes_nothing(&self, now_us: u64) -> bool {
        self.is_idle()
            && now_us >= self.paused_until_us
            && self.rate.is_none_or(|rate| now_us >= rate.free_at())
    }

    /// For people. `wall` turns a moment of the steady clock into a time.
    pub(super) fn status(
        &self,
        target: &TargetName,
        now_us: u64,
        wall: impl Fn(u64) -> stepwell_types::Timestamp,
    ) -> TargetStatus {
        let (circuit, open_until) = self.breaker.stands(now_us);
        let paused = Some(self.paused_until_us).filter(|until| now_us < *until);
        TargetStatus {
            target: target.clone(),
            circuit,
            open_until: open_until.filter(|_| circuit == Circuit::Open).map(&wall),
            paused_until: paused.map(&wall),
            under_way: self.under_way,
            waiting: u32::try_from(self.queue.len()).unwrap_or(u32::MAX),
            concurrency: self.concurrency,
            per_second: self.per_second,
            calls: self.calls,
            failed: self.failed,
            refused: self.refused,
            connections: None,
        }
    }
}

/// One second's calls, at least one.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what fits"
)]
fn worth(per_second: f64) -> u32 {
    per_second.ceil().clamp(1.0, 1e6) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(concurrency: u32, per_second: f64) -> Target {
        let limit = Limit {
            concurrency: Some(concurrency),
            per_second: Some(per_second),
            burst: Some(1),
        };
        Target::new(limit, 2, 1_000_000)
    }

    #[test]
    fn a_call_waits_for_what_is_in_its_way() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut target = target(1, 1.0);
        assert!(matches!(target.enter(&a, 1, 0), Turn::Go(_)));
        assert_eq!(target.enter(&a, 2, 0), Turn::Wait(None));
        assert_eq!(target.enter(&a, 3, 0), Turn::Wait(None));
        assert_eq!(target.enter(&b, 4, 0), Turn::Wait(None));
        assert_eq!(target.reason(0), WaitReason::Concurrency);
        target.end();
        assert_eq!(target.reason(0), WaitReason::Rate);
        assert_eq!(target.ask(&a, 2, 0), Turn::Wait(Some(1_000_000)));
        assert_eq!(
            target.ask(&b, 4, 1_000_000),
            Turn::Wait(None),
            "not its turn"
        );
        target.pause(2_000_000);
        assert_eq!(target.reason(1_000_000), WaitReason::RetryAfter);
        assert_eq!(target.ask(&a, 2, 1_000_000), Turn::Wait(Some(2_000_000)));
        assert!(matches!(target.ask(&a, 2, 2_000_000), Turn::Go(_)));
        assert_eq!(target.head(), Some(4), "the other flow is next");
        // What runs already waits for nothing, and counts.
        target.resume(2_000_000);
        target.end();
        assert_eq!(target.ask(&b, 4, 9_000_000), Turn::Wait(None));
        target.end();
        assert!(matches!(target.ask(&b, 4, 9_000_000), Turn::Go(_)));
        target.leave(&a, 3);
        assert_eq!(target.waiting(), 0);
    }

    #[test]
    fn an_open_circuit_refuses_who_comes_and_who_waits() {
        let a: Arc<str> = "a".into();
        let mut target = target(2, 0.0);
        let mut epochs = Vec::new();
        for ticket in 0..2 {
            match target.enter(&a, ticket, 0) {
                Turn::Go(epoch) => epochs.push(epoch),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(target.enter(&a, 2, 0), Turn::Wait(None));
        assert!(!target.tell(epochs[0], Went::Badly, 5));
        assert!(target.tell(epochs[1], Went::Badly, 5), "it opens");
        assert_eq!(target.ask(&a, 2, 6), Turn::Refused);
        assert_eq!(target.waiting(), 0);
        assert_eq!(target.enter(&a, 3, 6), Turn::Refused);
        target.end();
        target.end();
        assert!(!target.is_at_rest(6));
        let Turn::Go(probe) = target.enter(&a, 4, 1_000_005) else {
            panic!("it is not tried");
        };
        assert_eq!(
            target.enter(&a, 5, 1_000_006),
            Turn::Refused,
            "one at a time"
        );
        target.tell(probe, Went::Well, 1_000_007);
        target.end();
        assert!(target.is_at_rest(1_000_007));
        let name = TargetName::new(stepwell_types::TargetKind::Host, "h");
        let status = target.status(&name, 0, |us| {
            stepwell_types::Timestamp(i64::try_from(us).expect("small"))
        });
        assert_eq!((status.calls, status.failed, status.refused), (3, 2, 3));
    }
}
