//! Every parser and evaluator that reads a stranger's bytes, as a function of bytes.
//!
//! `cargo xtask fuzz` drives them by coverage for as long as asked; a test drives
//! them by plain damage for a moment. Refuses bytes of megabytes: what is slow
//! there is measured elsewhere.

pub mod mutate;
mod seeds;
mod targets;
mod walk;

/// One thing to fuzz.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As the command line calls it.
    pub name: &'static str,
    /// Takes any bytes.
    ///
    /// # Panics
    /// The code behind it has a fault: that is what is looked for.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that the language knows.
    pub words: &'static [&'static str],
}

/// Longest input that a target looks at.
pub const INPUT_BYTES_MAX: usize = 16 << 10;

/// All targets.
pub const TARGETS: &[Target] = targets::ALL;

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
