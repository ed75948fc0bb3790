//! Modules whose steps held a loop up: for a while theirs begin on the pool.
//!
//! A slice of a step ends after about a millisecond, but not within an instruction, and one that
//! fills or copies a whole memory takes some hundred. On a loop nothing else goes on meanwhile.
//! Refuses to remember for long: on a busy machine any slice is slow now and then.

use std::collections::HashMap;

use stepwell_types::Digest;

/// How long a slice takes that held its loop up, in microseconds.
const SLOW_US: u64 = 20_000;
/// For how long its module's steps begin elsewhere, in microseconds.
const APART_US: u64 = 10_000_000;
/// Modules that are remembered at once.
const MODULES_MAX: usize = 1_000;

/// Modules by digest, and until when their steps begin on the pool.
#[derive(Default)]
pub(super) struct Slow(HashMap<Digest, u64>);

impl Slow {
    /// Whether a step of this module may take its first slice on the loop.
    pub fn may_begin_here(&mut self, module: &Digest, now_us: u64) -> bool {
        let Some(until) = self.0.get(module) else {
            return true;
        };
        let over = *until <= now_us;
        if over {
            self.0.remove(module);
        }
        over
    }

    /// A step of this module took a slice on the loop.
    pub fn took(&mut self, module: Digest, began_us: u64, ended_us: u64) {
        if ended_us.saturating_sub(began_us) < SLOW_US {
            return;
        }
        if self.0.len() >= MODULES_MAX {
            self.0.retain(|_, until| *until > ended_us);
        }
        if self.0.len() < MODULES_MAX {
            self.0.insert(module, ended_us.saturating_add(APART_US));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_held_the_loop_up_is_kept_from_it_for_a_while() {
        let mut slow = Slow::default();
        let [fast, long] = [b"fast", b"long"].map(|name| Digest::of(name));
        slow.took(fast, 5, 5 + SLOW_US - 1);
        slow.took(long, 5, 5 + SLOW_US);
        let over = 5 + SLOW_US + APART_US;
        assert!(slow.may_begin_here(&fast, over - 1));
        assert!(!slow.may_begin_here(&long, over - 1));
        assert!(slow.may_begin_here(&long, over));
        assert!(slow.0.is_empty(), "nothing is left of it");
    }

    #[test]
    fn few_modules_are_remembered() {
        let mut slow = Slow::default();
        let module = |n: usize| Digest::of(&n.to_be_bytes());
        for n in 0..=MODULES_MAX {
            slow.took(module(n), 0, SLOW_US);
        }
        assert_eq!(slow.0.len(), MODULES_MAX);
        slow.took(module(MODULES_MAX), 2 * APART_US, 3 * APART_US);
        assert_eq!(slow.0.len(), 1, "those whose time is over make room");
    }
}
