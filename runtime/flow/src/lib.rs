//! Text in, checked [`Program`] and diagnostics out.
//!
//! Refuses to run anything, and to read a clock, a file or a network.

pub mod expression;
pub mod program;

pub use program::Program;
