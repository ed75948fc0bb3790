//! The project's scripts as a library, so that tests build guests by the same
//! code as `cargo xtask`.
//!
//! Refuses heavy dependencies: it is compiled before everything else.
#![allow(
    clippy::disallowed_methods,
    reason = "scripts read the environment and the clock; the rule is for the runtime"
)]

pub mod demo;
pub mod fuzz;
pub mod guests;
pub mod languages;
pub mod place;
pub mod planted;
pub mod setup;
pub mod shell;
pub mod test;
pub mod tidy;
pub mod vm;
pub mod wasm;
