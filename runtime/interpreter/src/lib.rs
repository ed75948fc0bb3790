//! The flow walker: `step(program, &mut state, event, now)` gives commands.
//!
//! Refuses async, clocks, randomness and I/O: the same events give the same
//! state, the same commands and the same history, always.

pub mod command;
pub mod event;

pub use command::{Command, Outcome, RunStep};
pub use event::{Event, Timer};
