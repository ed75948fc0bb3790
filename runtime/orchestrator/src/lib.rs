//! Runs executions: admits starts, feeds events to the interpreter, commits what it
//! decided, and lets effects out when they may leave.
//!
//! Refuses to know wasmtime, RocksDB and axum: they are behind ports.

mod activity;
pub mod api;
mod bookmarks;
mod catalog;
mod committer;
pub mod driver;
pub mod error;
mod executions;
pub mod gate;
mod handle;
mod history;
mod lists;
pub mod logs;
pub mod oneshot;
pub mod ports;
mod ready;
mod rows;
mod same;
pub mod shell;
pub mod suspects;
pub mod trace;
mod walk;
mod watch;

pub use catalog::{Upload, landings};
pub use error::Error;
pub use executions::{Executions, Refusal};
pub use handle::Orchestrator;
