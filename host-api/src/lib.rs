//! The host's doors to guests: one file per WIT interface, and the bridges to outside systems.
//!
//! Refuses to hold a `Writer`: what a call leaves behind goes through the [`Gate`].
//! Refuses to grant by default: no directory, no environment, no network address of the machine's own.

pub mod account;
pub mod answer;
pub mod bindings;
pub mod blobs;
pub mod bridges;
mod config;
pub mod container;
pub mod error;
pub mod execution;
pub mod gate;
pub mod host;
pub mod http;
mod job;
pub mod journal;
pub mod keyvalue;
pub mod limit;
mod listing;
pub mod log;
pub mod machine;
pub mod objects;
pub mod secrets;
mod task;
pub mod vault;
pub mod waits;
pub mod wasi;

pub use bridges::{Bridges, Outside, Surroundings};
pub use error::Error;
pub use execution::{ExecutionBridge, Executions};
pub use gate::{Gate, OpenGate, Verdict};
pub use host::{Host, HostView, link};
pub use http::{HttpBridge, HttpOptions};
pub use journal::{Call, Journal};
pub use keyvalue::Namespaces;
pub use limit::{LimitOptions, Limiter};
pub use secrets::Secrets;
pub use vault::Vault;
pub use waits::Steady;

/// As much of a guest's string as a message shows: it may have many megabytes.
pub(crate) fn shown(text: &str) -> &str {
    let end = text
        .char_indices()
        .nth(100)
        .map_or(text.len(), |(at, _)| at);
    &text[..end]
}
