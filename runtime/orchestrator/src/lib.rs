//! Runs executions: admits starts, feeds events to the interpreter, commits what it
//! decided, and lets effects out when they may leave.
//!
//! Refuses to know wasmtime, RocksDB and axum: they are behind ports.

pub mod api;
pub mod error;
pub mod gate;
pub mod ports;
mod ready;
mod rows;

pub use error::Error;
