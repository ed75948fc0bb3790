//! Runs one attempt of a step in a fresh WebAssembly instance.
//!
//! Refuses to know flows or executions: it gets a `StepRequest` and gives a
//! `StepOutcome`. Refuses to compile in its own process: an uploaded module may be hostile.

mod attempt;
mod engine;
pub mod error;
pub mod limits;
pub mod modules;
mod offload;
mod outcome;
mod sandbox;
mod ticker;

pub use engine::Pool;
pub use error::{Error, Refusal};
pub use limits::{CompileLimits, Limits};
pub use modules::compiler::compile_main;
pub use modules::{ModuleInfo, Modules, Upload};
pub use sandbox::{Options, Sandbox};
pub use ticker::Clock;
