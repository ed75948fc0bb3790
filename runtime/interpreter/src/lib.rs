//! The flow walker: `step(program, &mut state, event, now)` gives commands.
//!
//! Refuses async, clocks, randomness and I/O: the same events give the same
//! state, the same commands and the same history, always.

mod active;
mod activities;
pub mod cloudflow;
pub mod codec;
mod command;
pub mod error;
pub mod event;
pub mod history;
pub mod redrive;
pub mod state;

mod evaluate;
mod fleet;
mod outputs;
mod random;
mod retry;
mod service;
mod states;
mod time;
mod troubled;
mod turn;
mod wanted;
mod weight;

pub use active::{Active, Awaits, active, failed_in};
pub use activities::{OpenActivity, activities};
pub use command::{Command, Outcome, RunStep};
pub use error::Error;
pub use evaluate::jsonata::alone as evaluate_jsonata;
pub use event::{Event, Timer};
pub use fleet::Results;
pub use history::{HistoryEvent, HistoryKind, NoHistory, Observer};
pub use state::State;
pub use states::child;
pub use states::signal::Full as SignalsFull;
pub use troubled::troubled;
pub use turn::step;
pub use wanted::{open_tasks, outstanding};
pub use weight::weight;
