//! How many calls a second: a token bucket, kept as the moment at which it is full again.
//!
//! A function of time: it reads no clock. Source: the generic cell rate algorithm, ITU-T I.371.

/// Calls a second, and how many may come at once after a pause. Microseconds of a steady clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// Between two calls in the long run.
    interval_us: u64,
    /// How far ahead of that calls may be.
    ahead_us: u64,
    /// When the next call would be due if all calls were evenly spaced.
    due_us: u64,
}

impl Rate {
    /// `per_second` above 0, `burst` at least 1: what is less is taken as these.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what fits"
    )]
    pub(super) fn new(per_second: f64, burst: u32) -> Rate {
        let interval_us = (1e6 / per_second.max(1e-6)).round().clamp(1.0, 1e12) as u64;
        Rate {
            interval_us,
            ahead_us: interval_us.saturating_mul(u64::from(burst.max(1)) - 1),
            due_us: 0,
        }
    }

    /// When the next call may go; a moment that has passed: now.
    pub(super) fn free_at(&self) -> u64 {
        self.due_us.saturating_sub(self.ahead_us)
    }

    /// A call did not go after all that took what [`Rate::take`] said. Behind that moment what it
    /// took is there again already: time has given it back.
    pub(super) fn give_back(&mut self, taken_us: u64, now_us: u64) {
        if now_us < taken_us {
            self.due_us = self.due_us.saturating_sub(self.interval_us);
        }
    }

    /// A call goes. Until when what it takes is missed at least.
    pub(super) fn take(&mut self, now_us: u64) -> u64 {
        self.due_us = self.due_us.max(now_us).saturating_add(self.interval_us);
        self.due_us
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lets every call go as soon as it may, and says when each went.
    fn went(per_second: f64, burst: u32, wanted: &[u64]) -> Vec<u64> {
        let mut rate = Rate::new(per_second, burst);
        let mut now = 0;
        let go = |at: &u64| {
            now = now.max(*at).max(rate.free_at());
            rate.take(now);
            now
        };
        wanted.iter().map(go).collect()
    }

    #[test]
    fn calls_are_spaced_after_a_burst() {
        let check = |per_second: f64, burst: u32, wanted: &[u64], expected: &[u64]| {
            assert_eq!(went(per_second, burst, wanted), expected);
        };
        check(2.0, 1, &[0, 0, 0], &[0, 500_000, 1_000_000]);
        check(2.0, 3, &[0, 0, 0, 0, 0], &[0, 0, 0, 500_000, 1_000_000]);
        // A pause fills it again, and no fuller.
        check(
            1.0,
            2,
            &[0, 0, 9_000_000, 9_000_000, 9_000_000],
            &[0, 0, 9_000_000, 9_000_000, 10_000_000],
        );
        check(0.1, 1, &[0, 0], &[0, 10_000_000]);
        check(1e9, 0, &[0, 0], &[0, 1]);
        let mut rate = Rate::new(1.0, 1);
        let taken = rate.take(5);
        rate.give_back(taken, 6);
        assert_eq!(rate.free_at(), 5);
    }

    #[test]
    fn what_time_gave_back_is_not_given_back_again() {
        let mut rate = Rate::new(10.0, 10);
        let taken: Vec<u64> = (0..10).map(|_| rate.take(0)).collect();
        // All is there again, and ten others go.
        let now = 5_000_000;
        assert!((0..10).all(|_| rate.free_at() <= now && rate.take(now) > now));
        for taken in taken {
            rate.give_back(taken, now);
        }
        assert!(rate.free_at() > now);
    }

    proptest! {
        /// In no window of time do more calls go than the rate allows and the burst adds.
        #[test]
        fn no_window_has_more_than_it_may(
            per_second in 1u32..1_000,
            burst in 1u32..20,
            steps in prop::collection::vec(0u64..2_000_000, 1..200),
        ) {
            let wanted: Vec<u64> = steps
                .iter()
                .scan(0, |at, step| { *at += step; Some(*at) })
                .collect();
            let went = went(f64::from(per_second), burst, &wanted);
            let interval = Rate::new(f64::from(per_second), burst).interval_us;
            for (i, from) in went.iter().enumerate() {
                for (n, to) in went[i..].iter().enumerate() {
                    let may = (to - from) / interval + u64::from(burst);
                    prop_assert!((n as u64) < may, "{} in {} us", n + 1, to - from);
                }
            }
            prop_assert!(went.iter().zip(&wanted).all(|(went, wanted)| went >= wanted));
        }

        /// The same where some are refused at the last moment, a while later.
        #[test]
        fn what_is_given_back_lets_no_more_go(
            burst in 1u32..20,
            steps in prop::collection::vec((0u64..300_000, 0u64..3_000_000, any::<bool>()), 1..200),
        ) {
            let mut rate = Rate::new(10.0, burst);
            let (mut now, mut went, mut refused) = (0, Vec::new(), Vec::new());
            for (step, later, goes) in steps {
                now += step;
                refused.retain(|(at, taken)| {
                    if *at <= now {
                        rate.give_back(*taken, now);
                    }
                    *at > now
                });
                if rate.free_at() > now {
                    continue;
                }
                let taken = rate.take(now);
                match goes {
                    true => went.push(now),
                    false => refused.push((now + later, taken)),
                }
            }
            for (i, from) in went.iter().enumerate() {
                for (n, to) in went[i..].iter().enumerate() {
                    let may = (to - from) / rate.interval_us + u64::from(burst);
                    prop_assert!((n as u64) < may, "{} in {} us", n + 1, to - from);
                }
            }
        }
    }
}
