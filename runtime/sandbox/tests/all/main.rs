//! The sandbox with real guests: what each does, and what the flow is told.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock; the rule is for the runtime"
)]

mod artifacts;
mod behaviours;
mod harness;
mod http;
mod polling;
mod receiver;
mod uploads;
mod wasi;
mod wat_guest;
