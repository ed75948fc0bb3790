//! The circuit breaker of one target: after failures in a row its calls fail at once, until one
//! that is let go to find out does well.
//!
//! A function of time: it reads no clock. What began before the circuit last changed says nothing.

use stepwell_types::Circuit;

/// How a call went, as the circuit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Went {
    /// The target answered.
    Well,
    /// It did not, or said that it is broken.
    Badly,
    /// The call says nothing of the target: it was refused here, or dropped.
    Neither,
}

/// Between two changes of the circuit.
pub(super) type Epoch = u32;

/// Microseconds of a steady clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Breaker {
    /// Failures in a row that open it; 0: never.
    failures_max: u32,
    open_us: u64,
    epoch: Epoch,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until_us: u64,
    },
    /// One call finds out, until this moment for all; behind it another one does too. `None`:
    /// nobody does.
    HalfOpen {
        probe_until_us: Option<u64>,
    },
}

impl Breaker {
    pub(super) fn new(failures_max: u32, open_us: u64) -> Breaker {
        Breaker {
            failures_max,
            open_us,
            epoch: 0,
            state: State::Closed { failures: 0 },
        }
    }

    /// Whether a call fails at once.
    pub(super) fn refuses(&self, now_us: u64) -> bool {
        match self.state {
            State::Closed { .. } => false,
            State::Open { until_us } => now_us < until_us,
            State::HalfOpen { probe_until_us } => {
                probe_until_us.is_some_and(|until| now_us < until)
            }
        }
    }

    /// A call goes that was not refused.
    pub(super) fn begin(&mut self, now_us: u64) -> Epoch {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until_us } if now_us < until_us => {}
            State::Open { .. } | State::HalfOpen { .. } => {
                if !matches!(self.state, State::HalfOpen { .. }) {
                    self.epoch = self.epoch.wrapping_add(1);
                }
                // One that is never answered keeps nobody off for longer than an open circuit.
                let probe_until_us = Some(now_us.saturating_add(self.open_us));
                self.state = State::HalfOpen { probe_until_us };
            }
        }
        self.epoch
    }

    /// A call that began in this epoch has ended. Whether the circuit opened.
    pub(super) fn end(&mut self, epoch: Epoch, went: Went, now_us: u64) -> bool {
        if epoch != self.epoch {
            return false;
        }
        match (self.state, went) {
            (State::Closed { .. }, Went::Well) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, Went::Badly) => {
                let failures = failures.saturating_add(1);
                self.state = State::Closed { failures };
                if self.failures_max != 0 && failures >= self.failures_max {
                    self.open(now_us);
                    return true;
                }
            }
            (State::HalfOpen { .. }, Went::Well) => {
                self.epoch = self.epoch.wrapping_add(1);
                self.state = State::Closed { failures: 0 };
            }
            (State::HalfOpen { .. }, Went::Badly) => {
                self.open(now_us);
                return true;
            }
            (State::HalfOpen { .. }, Went::Neither) => {
                self.state = State::HalfOpen {
                    probe_until_us: None,
                };
            }
            (State::Closed { .. }, Went::Neither) | (State::Open { .. }, _) => {}
        }
        false
    }

    fn open(&mut self, now_us: u64) {
        self.epoch = self.epoch.wrapping_add(1);
        let until_us = now_us.saturating_add(self.open_us);
        self.state = State::Open { until_us };
    }

    /// How it stands, and when an open one lets a call try.
    pub(super) fn stands(&self, now_us: u64) -> (Circuit, Option<u64>) {
        match self.state {
            State::Closed { .. } => (Circuit::Closed, None),
            State::Open { until_us } if now_us < until_us => (Circuit::Open, Some(until_us)),
            State::Open { .. } | State::HalfOpen { .. } => (Circuit::HalfOpen, None),
        }
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_fresh(&self) -> bool {
        self.state == State::Closed { failures: 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPEN_US: u64 = 100;

    /// `b`: a call is let go, `+`, `-`, `0`: the oldest one ends, a number: so much time passes;
    /// `?`: a call is refused.
    #[track_caller]
    fn check(script: &str, expected: Circuit) {
        let mut breaker = Breaker::new(3, OPEN_US);
        let mut under_way = std::collections::VecDeque::new();
        let mut now = 1_000;
        for word in script.split(' ') {
            match word {
                "b" => {
                    assert!(!breaker.refuses(now), "{script}: refused at {now}");
                    under_way.push_back(breaker.begin(now));
                }
                "?" => assert!(breaker.refuses(now), "{script}: not refused at {now}"),
                "+" | "-" | "0" => {
                    let went = match word {
                        "+" => Went::Well,
                        "-" => Went::Badly,
                        _ => Went::Neither,
                    };
                    let epoch = under_way.pop_front().expect("a call");
                    breaker.end(epoch, went, now);
                }
                time => now += time.parse::<u64>().expect("a time"),
            }
        }
        assert_eq!(breaker.stands(now).0, expected, "{script}");
    }

    #[test]
    fn circuits_open_and_close() {
        check("b + b -", Circuit::Closed);
        check("b - b - b + b - b -", Circuit::Closed);
        check("b - b 0 b - b -", Circuit::Open);
        check("b - b - b - ? 99 ?", Circuit::Open);
        check("b - b - b - 100", Circuit::HalfOpen);
        check("b - b - b - 100 b ? ?", Circuit::HalfOpen);
        check("b - b - b - 100 b + b b b", Circuit::Closed);
        check("b - b - b - 100 b - ? 99 ?", Circuit::Open);
        check("b - b - b - 100 b - 100 b +", Circuit::Closed);
        // One that is not answered for as long as the circuit was open does too, and its word
        // counts when it comes.
        check("b - b - b - 100 b ? 99 ? 1 b ?", Circuit::HalfOpen);
        check("b - b - b - 100 b 100 b 100 b + b b", Circuit::Closed);
        check("b - b - b - 100 b 100 b - ? 99 ?", Circuit::Open);
        check("b - b - b - 100 b 100 b - + ?", Circuit::Open);
        // A probe that says nothing makes room for the next.
        check("b - b - b - 100 b 0 b + b", Circuit::Closed);
        // What began before the circuit opened neither closes it nor opens it again.
        check("b b b b b - - - + -", Circuit::Open);
        check("b b b b - - - 100 b - ? 1", Circuit::HalfOpen);
        check("b b b b b - - - 100 b - - ?", Circuit::HalfOpen);
    }

    #[test]
    fn one_that_never_opens() {
        let mut breaker = Breaker::new(0, OPEN_US);
        for now in 0..100 {
            assert!(!breaker.refuses(now));
            let epoch = breaker.begin(now);
            assert!(!breaker.end(epoch, Went::Badly, now));
        }
    }

    proptest! {
        /// A target that is well again is called again, whatever came before; and while the
        /// circuit is not closed at most one call at a time is let go.
        #[test]
        fn it_closes_again(script in prop::collection::vec((0u8..4, 0u64..80), 0..200)) {
            let mut breaker = Breaker::new(3, OPEN_US);
            let mut under_way: Vec<(Epoch, u64)> = Vec::new();
            let mut now = 0;
            for (what, time) in script {
                now += time;
                if what == 0 && !breaker.refuses(now) {
                    let epoch = breaker.begin(now);
                    let probe = breaker.stands(now).0 == Circuit::HalfOpen;
                    let late = |(e, began): &(Epoch, u64)| *e != epoch || now - began >= OPEN_US;
                    prop_assert!(!probe || under_way.iter().all(late));
                    under_way.push((epoch, now));
                } else if let Some((epoch, _)) = under_way.pop() {
                    let went = [Went::Neither, Went::Well, Went::Badly, Went::Badly];
                    breaker.end(epoch, went[usize::from(what)], now);
                }
            }
            for (epoch, _) in under_way {
                breaker.end(epoch, Went::Neither, now);
            }
            now += OPEN_US;
            prop_assert!(!breaker.refuses(now));
            let epoch = breaker.begin(now);
            breaker.end(epoch, Went::Well, now);
            prop_assert_eq!(breaker.stands(now).0, Circuit::Closed);
        }
    }
}
