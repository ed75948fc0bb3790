//! Every target takes its seeds, and a moment's damage done to them.
//!
//! The same inputs at each run. The long runs are `cargo xtask fuzz`.

#![allow(
    clippy::disallowed_methods,
    reason = "a test measures its own patience"
)]

use std::time::{Duration, Instant};

use stepwell_fuzz::TARGETS;
use stepwell_fuzz::mutate::Mutator;

/// Damaged inputs of a target, unless the time is over before.
const INPUTS: usize = 3_000;
/// Time of a target on a slow machine.
const TIME: Duration = Duration::from_millis(1_500);

#[test]
fn no_target_panics_on_its_seeds_or_on_damage() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        let begun = Instant::now();
        for seed in seeds.iter().take_while(|_| begun.elapsed() < TIME) {
            (target.run)(seed);
        }
        let mut mutator = Mutator::new(0x5eed);
        let mut tried = 0;
        while tried < INPUTS && begun.elapsed() < TIME {
            let (seed, other) = (mutator.pick(&seeds), mutator.pick(&seeds));
            let input = mutator.damage(seed, other, target.words);
            if std::panic::catch_unwind(|| (target.run)(&input)).is_err() {
                panic!("{}: {:?}", target.name, String::from_utf8_lossy(&input));
            }
            tried += 1;
        }
        println!("{}: {} seeds, {tried} damaged", target.name, seeds.len());
    }
}
