//! Simulation: the real driver and interpreter over the memory store, in virtual time,
//! with crashes at every commit point, lost and uncertain commits, clocks that step,
//! late, double and forged callbacks, signals, an interpreter that panics, express executions, children on another loop whose starts, cancels and
//! answers come late, twice and in any order, cancels that overtake starts, and steps that read and write namespaces.
//!
//! One seed decides everything; a failure prints its seed and replays.

pub mod checks;
mod clients;
mod deaths;
mod express;
mod faults;
pub mod flows;
mod items;
pub mod kept;
pub mod oracle;
mod posts;
pub mod recorded;
mod signals;
pub mod world;

use crate::random::Random;
use world::World;

/// Sums over many seeds, to show that the faults did happen.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Executions accepted.
    pub executions: u64,
    /// Commits that became durable.
    pub commits: u64,
    /// Commits that failed: lost, or durable although the caller was told otherwise.
    pub failed_commits: u64,
    /// Processes that died.
    pub crashes: u64,
    /// Outside calls made.
    pub calls: u64,
    /// Token answers sent, repeats and forgeries included.
    pub tokens: u64,
    /// Cancels sent.
    pub cancels: u64,
    /// Redrives that were taken.
    pub redrives: u64,
    /// Wall-clock steps, either way.
    pub clock_steps: u64,
    /// Steps that killed the process.
    pub poisonings: u64,
    /// Executions that executions started.
    pub children: u64,
    /// Parcels sent from one execution to another.
    pub parcels: u64,
    /// Of these, and of their receipts, delivered more than once.
    pub twice: u64,
    /// Turns that were walked away from their driver.
    pub turns: u64,
    /// Express executions whose end a client was told.
    pub express: u64,
    /// Signals that clients sent, repeats included.
    pub signals: u64,
    /// Executions on which the interpreter panicked.
    pub panics: u64,
    /// Steps that ran again because another's write came between.
    pub conflicts: u64,
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, o: &Tally) {
        self.executions += o.executions;
        self.commits += o.commits;
        self.failed_commits += o.failed_commits;
        self.crashes += o.crashes;
        self.calls += o.calls;
        self.tokens += o.tokens;
        self.cancels += o.cancels;
        self.redrives += o.redrives;
        self.clock_steps += o.clock_steps;
        self.poisonings += o.poisonings;
        self.children += o.children;
        self.parcels += o.parcels;
        self.twice += o.twice;
        self.turns += o.turns;
        self.signals += o.signals;
        self.panics += o.panics;
        self.conflicts += o.conflicts;
        self.express += o.express;
    }
}

/// Runs one seed.
/// # Errors
/// What was violated, in words.
pub fn run(seed: u64) -> Result<(Tally, u64), String> {
    let mut world = World::new(Random::of_world(seed))?;
    world.storm()?;
    world.calm_down()?;
    checks::at_the_end(&world)?;
    world.tally.panics = world.flows.1.count();
    world.tally.children = checks::children(&world)? as u64;
    world.tally.executions = world.known.values().filter(|k| k.accepted).count() as u64;
    Ok((world.tally, world.trace))
}
