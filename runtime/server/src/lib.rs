//! The HTTP door: routes, wire types, status codes, and the sockets under them.
//!
//! Refuses to decide and to write: it checks what came in, asks the orchestrator,
//! and turns the answer into HTTP.

pub mod app;
pub mod auth;
pub mod error;
pub mod listen;
pub mod metrics;
pub mod options;
pub mod problem;
pub mod serve;
pub mod wire;

mod answers;
mod body;
mod document;
mod edge;
mod linger;
mod params;
mod patient;
mod routes;
mod stalled;

pub use app::{app, openapi};
pub use auth::Token;
/// What [`app`] makes; named here so that others need not know axum.
pub use axum::Router;
pub use error::Error;
pub use listen::listen;
pub use options::Options;
pub use serve::serve_on;
